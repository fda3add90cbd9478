"""Measure on a model what is known of it: `mechtui selftest [MODEL]`."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console

NO_MODEL = 3


def is_published(model: str) -> bool:
    """Whether the published claims are about the model of this name: gpt2 itself, wherever it lies."""
    return model.partition("@")[0].rstrip("/").rpartition("/")[2] == "gpt2"


def run(model: str = "demo", *, as_json: bool = False, console: Console | None = None) -> int:
    """Print what is expected, measured and the verdict, a line each, as a table or as JSON; the exit status.

    0: all that is expected is there; 1: something is not; 3: there is no such model.
    """
    import sys

    from rich.text import Text

    from mechtui.console import VisibleConsole
    from mechtui.engine.errors import ModelError
    from mechtui.selftest import checks, report, subject
    from mechtui.visible import json_escaped, seen

    console = console or VisibleConsole()
    working = VisibleConsole(sys.stderr)
    try:
        with working.status(Text(seen(f"loading {model}"))):
            loaded = subject.load(model)
    except ModelError as error:
        print(f"mechtui: {seen(str(error))}", file=sys.stderr)
        return NO_MODEL
    lines = []
    with working.status("measuring") as status:
        for check in checks.for_model(loaded, published=is_published(model)):
            lines.append(check)
            status.update(Text(seen(f"measuring: {check.what}")))
    if as_json:
        print(json_escaped(json.dumps(report.plain(model, lines), ensure_ascii=False)))
    else:
        console.print(report.table(model, lines))
    return 1 if any(check.passed is False for check in lines) else 0
