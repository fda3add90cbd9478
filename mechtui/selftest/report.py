"""The checks as a table."""

from __future__ import annotations

from collections.abc import Sequence

from rich.table import Table
from rich.text import Text

from mechtui.selftest.checks import Check

VERDICTS = {True: Text("pass", "green"), False: Text("FAIL", "bold red"), None: Text("")}


def table(model: str, checks: Sequence[Check]) -> Table:
    """One row a check."""
    made = Table(title=f"selftest {model}", title_justify="left")
    for column in ("what", "expected", "measured", "verdict"):
        made.add_column(column, overflow="fold")
    for check in checks:
        made.add_row(Text(check.what), Text(check.expected), Text(check.measured), VERDICTS[check.passed])
    return made


def markdown(checks: Sequence[Check]) -> str:
    """The same for a model card."""
    rows = ["| what | expected | measured | |", "|---|---|---|---|"]
    for check in checks:
        rows.append(f"| {check.what} | {check.expected} | {check.measured} | {VERDICTS[check.passed]} |")
    return "\n".join(rows) + "\n"
