"""Where each pane stands: a pure plan from the window's size, and the textual layout that follows it.

Left to right: where (heads), what (the attention table), so what (next token, edits). A narrow or low window
shows one chosen pane beside the next tokens; a maximised pane has all the room. Of the panes that share a place
(residual, generate) the one in front is the wider.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from textual.geometry import Offset, Region, Size, Spacing
from textual.layout import ArrangeResult, Layout, WidgetPlacement
from textual.widget import Widget

from mechtui.session.document import ModelShape
from mechtui.ui.state import View

# Panes in the order of their digits.
PANES = ("tokens", "heads", "attention", "next_tokens", "residual", "effects", "vectors", "generate")
TABS = ("residual", "generate")
EDITOR, SOURCE = "prompt", "source"
LABEL = 9


class Wish(NamedTuple):
    """What the plan depends on besides the size: rows that the prompt and its tokens need."""

    view: View
    shape: ModelShape | None
    prompt_rows: int
    source_rows: int
    token_rows: int
    edits: int = 0
    vectors: int = 0


def compact(width: int, height: int) -> bool:
    """Whether there is room for one pane only beside the next tokens."""
    return width < 100 or height < 30


def plan(width: int, height: int, wish: Wish) -> dict[str, Region]:
    """Regions of everything visible, borders included, within width x height cells."""
    regions: dict[str, Region] = {}
    top = _prompt(regions, width, height, wish)
    room = Region(0, top, width, max(height - top, 0))
    view = wish.view
    if view.maximised:
        if view.maximised != "tokens":
            regions[view.maximised] = room
    elif compact(width, height):
        _compact(regions, room, view)
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
    if wish.view.maximised == "tokens":
        rows = height - top
    else:
        rows = min(wish.token_rows, 2 if low else max(height // 6, 3)) + 2
    regions["tokens"] = Region(0, top, width, rows)
    return top + rows


def _compact(regions: dict[str, Region], room: Region, view: View) -> None:
    front = view.solo
    if room.width >= 70:
        right = min(34, room.width * 2 // 5)
        regions[front] = Region(room.x, room.y, room.width - right, room.height)
        regions["next_tokens"] = Region(room.right - right, room.y, right, room.height)
    else:
        below = max(room.height // 2, 4)
        regions[front] = Region(room.x, room.y, room.width, room.height - below)
        regions["next_tokens"] = Region(room.x, room.bottom - below, room.width, below)


def _below(regions: dict[str, Region], room: Region, front: str) -> None:
    """The panes below the attention table, side by side: the one in front is wide enough to be worked in, the
    other has what is left, or no place."""
    other = max(room.width * 2 // 5, 28)
    if room.width - other < 40:
        regions[front] = room
        return
    widths = {name: room.width - other if name == front else other for name in TABS}
    x = room.x
    for name in TABS:
        regions[name] = Region(x, room.y, widths[name], room.height)
        x += widths[name]


def heads_width(shape: ModelShape | None, width: int) -> int:
    """Columns for a grid of n_heads cells of three, with layer numbers, frame and legend."""
    wanted = 8 + 3 * (shape.n_heads if shape else 12)
    return max(24, min(wanted, 48, width // 3))


def _full(regions: dict[str, Region], room: Region, wish: Wish) -> None:
    right = max(30, min(room.width // 3, 46 + (room.width - 120) // 8) - wish.view.wider)
    left = room.width - right
    low = max(room.height * 2 // 5, 9)
    high = room.height - low
    grid = heads_width(wish.shape, left)
    regions["heads"] = Region(room.x, room.y, grid, high)
    regions["attention"] = Region(room.x + grid, room.y, left - grid, high)
    _below(regions, Region(room.x, room.y + high, left, low), wish.view.tab)
    # On the right the three share the height by what they hold.
    next_height = max(min(room.height // 2 + 1, 18), 9)
    rest = room.height - next_height
    vectors = max(min(wish.vectors * 3 + 2, rest // 2), rest // 3)
    x = room.x + left
    regions["next_tokens"] = Region(x, room.y, right, next_height)
    regions["effects"] = Region(x, room.y + next_height, right, rest - vectors)
    regions["vectors"] = Region(x, room.bottom - vectors, right, vectors)


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
