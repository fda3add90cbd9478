"""What panes show of a table that was taken over the session's cases: means, how sure they are, and who is left out."""

from __future__ import annotations

import numpy as np

from mechtui.paint.evidence import said
from mechtui.panes.rows import Column, Numbers
from mechtui.views.over import Over
from mechtui.visible import seen

# Cells in which what the cases say of a number has to fit.
ROOM = 48


def named(over: Over) -> str:
    """Behind a title: over which cases, and how many of them so far."""
    return f" over {seen(over.of)}" + (f", {so_far(over)}" if over.done < len(over.cases) else "")


def so_far(over: Over) -> str:
    return f"{over.done} of {len(over.cases)} cases"


def notes(over: Over, unit: str) -> list[str]:
    """What must be said of the numbers."""
    count, known = len(over.cases), over.done - over.left_out
    several = f"means over {known if known == count else f'{known} of {count}'} cases, {unit}; [ ] their 95 % intervals"
    why = next(filter(None, over.problems), "")
    return [several, *([f"{over.left_out} left out: {seen(why)}"] if why else [])]


def said_of(over: Over, means: np.ndarray, cell: tuple[int, ...], room: int = ROOM) -> str:
    """A cell's mean, interval, spread, share and number of cases."""
    return said(over.at(means, cell), room)


def columns(over: Over) -> list[Column]:
    """Beside the means of a list, whose rows are the table's cells one after the other."""
    tables = {"low": over.low, "high": over.high, "sd": over.sd, "share": over.share}
    found: list[Column] = [
        Numbers(name, table.ravel().astype(float), signs=name in ("low", "high")) for name, table in tables.items()
    ]
    return [*found, Numbers("n", over.n.ravel().astype(float), places=0)]
