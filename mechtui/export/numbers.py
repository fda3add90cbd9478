"""A pane's numbers as files: labelled rows for a spreadsheet or pandas, and what `mechtui run` writes."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterator
from functools import lru_cache

from mechtui.export.report import Report
from mechtui.headless.output import WRITE, no_formula
from mechtui.headless.work import Item
from mechtui.link.messages import Checked
from mechtui.views.tables import Cell, tables
from mechtui.views.tokens import Tokens
from mechtui.visible import seen

COLUMNS = ("question", "run", "table", "row", "column", "value", "unit", "text")


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


@lru_cache(1 << 14)
def safe(text: str) -> str:
    """A text that no spreadsheet takes for a formula, with what is hidden seen."""
    return no_formula(seen(text))


def as_run(report: Report, format: str) -> bytes:
    """What `mechtui run --output FILE` writes for the views that are shown. format: json or npz."""
    answered = {each.question.asked(): (each.clean, each.edited) for each in report.shown}
    item = Item(report.session, {each.question.line(): each.question.asked() for each in report.shown})
    checked = report.checked or Checked(report.ready.name)
    result = item.result(report.ready, checked, {Tokens(): (report.tokens, None), **answered})
    out = io.BytesIO()
    WRITE[format](out, [result], False)
    return out.getvalue()
