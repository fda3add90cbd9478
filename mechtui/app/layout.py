"""Where each pane stands: a pure plan from the window's size, and the textual layout that follows it.

Left to right: where (the map), what (the main pane), so what (the rail). A narrow or low window shows one chosen pane
beside the result; a maximised pane has all the room. Of the panes that share a place the one in front is the wider.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from textual.geometry import Offset, Region, Size, Spacing
from textual.layout import ArrangeResult, Layout, WidgetPlacement
from textual.widget import Widget

from mechtui.app.state import Arrangement
from mechtui.app.workspaces import DESK
from mechtui.session.document import ModelShape

EDITOR, SOURCE = "prompt", "source"
LABEL = 9


class Wish(NamedTuple):
    """What the plan depends on besides the size. Rows: those that the editors, the pane at the top and the last one
    of the rail would fill."""

    arrangement: Arrangement
    shape: ModelShape | None
    prompt_rows: int
    source_rows: int
    top_rows: int
    last_rows: int = 0


def compact(width: int, height: int) -> bool:
    """Whether there is room for one pane only beside the result."""
    return width < 100 or height < 30


def plan(width: int, height: int, wish: Wish) -> dict[str, Region]:
    """Regions of everything visible, borders included, within width x height cells."""
    regions: dict[str, Region] = {}
    top = _prompt(regions, width, height, wish)
    room = Region(0, top, width, max(height - top, 0))
    maximised = wish.arrangement.maximised
    if maximised:
        if maximised != DESK.top:
            regions[maximised] = room
    elif compact(width, height):
        _compact(regions, room, wish.arrangement.solo)
    else:
        _full(regions, room, wish)
    return {name: region for name, region in regions.items() if region.width > 2 and region.height > 0}


def _prompt(regions: dict[str, Region], width: int, height: int, wish: Wish) -> int:
    low = height < 30
    top = 0
    for name, wanted, most in (
        (EDITOR, wish.prompt_rows, 2 if low else 5),
        (SOURCE, wish.source_rows, 1 if low else 3),
    ):
        rows = min(wanted, most)
        if rows:
            regions[name + "-label"] = Region(0, top, LABEL, rows)
            regions[name] = Region(LABEL, top, width - LABEL, rows)
            top += rows
    if wish.arrangement.maximised == DESK.top:
        rows = height - top
    else:
        rows = min(wish.top_rows, 2 if low else max(height // 6, 3)) + 2
    regions[DESK.top] = Region(0, top, width, rows)
    return top + rows


def _compact(regions: dict[str, Region], room: Region, front: str) -> None:
    if room.width >= 70:
        right = min(34, room.width * 2 // 5)
        regions[front] = Region(room.x, room.y, room.width - right, room.height)
        regions[DESK.result] = Region(room.right - right, room.y, right, room.height)
    else:
        below = max(room.height // 2, 4)
        regions[front] = Region(room.x, room.y, room.width, room.height - below)
        regions[DESK.result] = Region(room.x, room.bottom - below, room.width, below)


def _below(regions: dict[str, Region], room: Region, front: str) -> None:
    """The panes below the main one, side by side: the one in front is wide enough to be worked in, the
    other has what is left, or no place."""
    other = max(room.width * 2 // 5, 28)
    if room.width - other < 40:
        regions[front] = room
        return
    widths = {name: room.width - other if name == front else other for name in DESK.tabs}
    x = room.x
    for name in DESK.tabs:
        regions[name] = Region(x, room.y, widths[name], room.height)
        x += widths[name]


def map_width(shape: ModelShape | None, width: int) -> int:
    """Columns for a grid of n_heads cells of three, with layer numbers, frame and legend."""
    wanted = 8 + 3 * (shape.n_heads if shape else 12)
    return max(24, min(wanted, 48, width // 3))


def _full(regions: dict[str, Region], room: Region, wish: Wish) -> None:
    right = max(30, min(room.width // 3, 46 + (room.width - 120) // 8) - wish.arrangement.wider)
    left = room.width - right
    low = max(room.height * 2 // 5, 9)
    high = room.height - low
    grid = map_width(wish.shape, left)
    regions[DESK.map] = Region(room.x, room.y, grid, high)
    regions[DESK.main] = Region(room.x + grid, room.y, left - grid, high)
    _below(regions, Region(room.x, room.y + high, left, low), wish.arrangement.tab)
    # On the right the three share the height by what they hold.
    result, middle, last = DESK.rail
    result_rows = max(min(room.height // 2 + 1, 18), 9)
    rest = room.height - result_rows
    last_rows = max(min(wish.last_rows + 2, rest // 2), rest // 3)
    x = room.x + left
    regions[result] = Region(x, room.y, right, result_rows)
    regions[middle] = Region(x, room.y + result_rows, right, rest - last_rows)
    regions[last] = Region(x, room.bottom - last_rows, right, last_rows)


class DeskLayout(Layout):
    """Puts each child where the plan says; the children that are not in it are not placed."""

    name = "desk"

    def __init__(self, where: Callable[[Size], dict[str, Region]]) -> None:
        self._where = where

    def arrange(self, parent: Widget, children: list[Widget], size: Size, greedy: bool = True) -> ArrangeResult:
        regions = self._where(size)
        return [
            WidgetPlacement(regions[child.id], Offset(0, 0), Spacing(), child)
            for child in children
            if child.id in regions
        ]
