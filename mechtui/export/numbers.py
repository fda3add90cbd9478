"""A pane's numbers as files: labelled rows for a spreadsheet or pandas, and what `mechtui run` writes."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Iterator
from typing import Any

import numpy as np

from mechtui.export.report import Report
from mechtui.link.messages import Checked
from mechtui.session.storage import to_builtins
from mechtui.views.question import plain
from mechtui.views.tables import Cell, array_of, tables
from mechtui.visible import json_escaped, seen

COLUMNS = ("question", "run", "table", "row", "column", "value", "unit", "text")
# A spreadsheet takes a text that begins so for a formula.
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


def as_csv(report: Report) -> str:
    """A row for each number of the views that are shown, under a row of names. value: empty where nothing was computed;
    digits enough to be the same float32 again."""
    out = io.StringIO()
    rows = csv.writer(out, lineterminator="\n")
    rows.writerow(COLUMNS)
    for line, run, table, cell in _cells(report):
        value = "" if math.isnan(cell.value) else f"{cell.value:.9g}"
        texts = (safe(text) for text in (line, run, table, cell.row, cell.column))
        rows.writerow((*texts, value, safe(cell.unit), safe(cell.text)))
    return out.getvalue()


def _cells(report: Report) -> Iterator[tuple[str, str, str, Cell]]:
    for shown in report.shown:
        for run, answer in (("clean", shown.clean), ("edited", shown.edited)):
            if answer is None:
                continue
            for block in tables(shown.question, answer, report.around):
                for cell in block.cells():
                    yield shown.question.line(), run, block.title, cell


def safe(text: str) -> str:
    """A text that no spreadsheet takes for a formula, with what is hidden seen."""
    text = seen(text)
    return f"'{text}" if text.startswith(_FORMULA) else text


def as_run(report: Report, ending: str) -> bytes:
    """What `mechtui run --output FILE` writes for the views that are shown. ending: .json or .npz."""
    result = _result(report)
    text = json_escaped(json.dumps(result, ensure_ascii=False, allow_nan=False))
    if ending == ".json":
        return f"{text}\n".encode()
    out = io.BytesIO()
    np.savez(out, **{"json": np.array(text), **_arrays(report)})  # type: ignore[arg-type]
    return out.getvalue()


def _result(report: Report) -> dict[str, Any]:
    ready, shape, checked = report.ready, report.ready.shape, report.checked or Checked(report.ready.name)
    edited = {each.question.line(): each.edited.json() for each in report.shown if each.edited is not None}
    return {
        "session": to_builtins(report.session),
        "model": {
            **{name: getattr(ready, name) for name in ("name", "source", "architecture")},
            **{name: getattr(shape, name) for name in ("n_layers", "n_heads", "n_kv_heads", "d_model", "d_head")},
            **{name: getattr(ready, name) for name in ("device", "dtype", "weights")},
            "checked": {
                "differences": plain(checked.differences),
                "tolerance": checked.tolerance,
                "problem": checked.sentence,
            },
        },
        "tokens": [{"id": token.id, "text": token.text} for token in report.tokens.tokens],
        "clean": {each.question.line(): each.clean.json() for each in report.shown if each.clean is not None},
        "edited": edited if report.session.active_edits() else None,
    }


def _arrays(report: Report) -> dict[str, np.ndarray]:
    """Every table of numbers as "clean/attention L9H9/pattern" -> array, null as NaN."""
    found: dict[str, np.ndarray] = {}
    for each in report.shown:
        for run, answer in (("clean", each.clean), ("edited", each.edited)):
            for key, value in ({} if answer is None else answer.json()).items():
                if (table := array_of(value)) is not None:
                    found[f"{run}/{each.question.line()}/{key}"] = table
    return found
