"""Measure on a model what a card can claim: `mechtui selftest [MODEL]`."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console

NO_MODEL = 3


def run(model: str = "demo", *, console: Console | None = None) -> int:
    """Print a table of expected, measured and verdict; the exit status.

    0: all that is expected is there; 1: something is not; 3: there is no such model.
    """
    import sys

    from rich.console import Console as MakeConsole

    from mechtui.selftest import checks, report, subject
    from mechtui.worker.models import ModelError

    console = console or MakeConsole(file=sys.stdout)
    try:
        with console.status(f"loading {model}"):
            loaded = subject.load(model)
    except ModelError as error:
        print(f"mechtui: {error}", file=sys.stderr)
        return NO_MODEL
    lines = []
    with console.status("measuring") as status:
        for check in checks.for_model(loaded):
            lines.append(check)
            status.update(f"measuring: {check.what}")
    console.print(report.table(model, lines))
    return 1 if any(check.passed is False for check in lines) else 0
