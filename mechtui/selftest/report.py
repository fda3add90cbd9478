"""The checks as a table, as JSON, and for a card."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from rich.table import Table
from rich.text import Text

from mechtui.selftest.checks import Check
from mechtui.visible import seen

VERDICTS = {True: Text("pass", "green"), False: Text("FAIL", "bold red"), None: Text("")}


def table(model: str, checks: Sequence[Check]) -> Table:
    """One row a check. Published claims have a number, by which `--open` finds them, and a source."""
    made = Table(title=Text(seen(f"selftest {model}")), title_justify="left")
    numbered = any(check.number for check in checks)
    for column in (*(("#",) if numbered else ()), "what", "expected", "measured", "verdict"):
        made.add_column(column, overflow="fold", min_width=len(column))
    for check in checks:
        what = Text(seen(check.what))
        if check.source:
            what.append(f"\n{check.source}", "dim")
        number = (Text(str(check.number or "")),) if numbered else ()
        made.add_row(*number, what, Text(seen(check.expected)), Text(seen(check.measured)), VERDICTS[check.passed])
    return made


def plain(model: str, checks: Sequence[Check]) -> dict[str, Any]:
    """What `--json` prints. A number that is none is null."""
    return {"model": model, "lines": [_line(check) for check in checks]}


def _line(check: Check) -> dict[str, Any]:
    return {
        "number": check.number or None,
        "what": check.what,
        "source": check.source,
        "expected": check.expected,
        "measured": check.measured,
        "numbers": {name: value if math.isfinite(value) else None for name, value in check.numbers.items()},
        "passed": check.passed,
    }


def markdown(checks: Sequence[Check]) -> str:
    """The same for a model card."""
    rows = ["| what | expected | measured | |", "|---|---|---|---|"]
    for check in checks:
        rows.append(f"| {check.what} | {check.expected} | {check.measured} | {VERDICTS[check.passed]} |")
    return "\n".join(rows) + "\n"
