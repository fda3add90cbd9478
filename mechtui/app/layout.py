"""Where each pane stands: a pure plan from the window's size, and the textual layout that follows it.

The ruler of tokens is at the top, or the editor of the prompt while one types. Below it, left to right, are the columns
of the workspace and the result rail. A narrow or low window shows one chosen pane and the result as one line; a
maximised pane has all the room.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

from textual.geometry import Offset, Region, Size, Spacing
from textual.layout import ArrangeResult, Layout, WidgetPlacement
from textual.widget import Widget

from mechtui.app.state import Arrangement
from mechtui.app.workspaces import MAP, RAIL, RESULT, TOP, Column, Place, Workspace
from mechtui.session.document import ModelShape
from mechtui.views import specs
from mechtui.views.spec import Axis

# Rows above and below what is planned here: the head and the footer.
AROUND = 3
# The smallest window, and the smallest one that shows more than one pane; columns and rows, all of the window.
SMALLEST = (60, 18)
SEVERAL = (100, 30)
LABEL = 9
# The least that a place of a workspace, a column beside the map, and a list below the map are useful with.
PLACE_ROWS, COLUMN, LIST_ROWS = 14, 40, 9
# Columns that the list below the map is whole in, and the most that the map has to fill with whole cells.
MAP_COLUMNS, WIDEST_MAP = 48, 56
# Columns of a column from which on it gives the map what it has more, and of one that stands beside no map.
WIDE_COLUMN = 56
# What is shown in place of everything in a window that is too small.
SMALL = "small"


# Cells and rows of a frame; the least of the rail's list of edits and of vectors, and of the result above them.
FRAME, LIST, LEAST_RESULT = 2, 6, 18
# What a prompt that grows is counted in, so that not every token moves the panes.
STRIDE = 8


class Wish(NamedTuple):
    """What the plan depends on besides the size. writing: the editor that is open, empty for none. Rows: those that
    the editors, the ruler and the panes of the rail below the result would fill. tokens: of the prompt."""

    arrangement: Arrangement
    workspace: Workspace
    shape: ModelShape | None = None
    writing: str = ""
    editor_rows: int = 1
    top_rows: int = 2
    rail_rows: tuple[int, ...] = (0, 0)
    tokens: int = 0


class Plan(NamedTuple):
    """regions: everything visible, borders included. tabs: per visible pane those that share its place, itself among
    them. bare: those that have no border."""

    regions: dict[str, Region]
    tabs: dict[str, Place]
    bare: frozenset[str]


def compact(width: int, rows: int) -> bool:
    """Whether a window has room for one pane only beside the result's line. rows: all of the window's."""
    return width < SEVERAL[0] or rows < SEVERAL[1]


def too_small(width: int, rows: int) -> bool:
    return width < SMALLEST[0] or rows < SMALLEST[1]


def plan(width: int, height: int, wish: Wish) -> Plan:
    """The plan for width x height cells between head and footer."""
    made = Plan({}, {}, frozenset())
    rows = height + AROUND
    if too_small(width, rows):
        return made._replace(regions={SMALL: Region(0, 0, width, height)})
    top = _top(made.regions, width, height, wish)
    bare = {TOP} & set(made.regions) if rows < SEVERAL[1] and wish.arrangement.maximised != TOP else set()
    room = Region(0, top, width, max(height - top, 0))
    if wish.arrangement.maximised:
        if wish.arrangement.maximised != TOP:
            made.regions[wish.arrangement.maximised] = room
    elif compact(width, rows):
        bare |= _compact(made, room, wish)
    else:
        _full(made, room, wish)
    return made._replace(bare=frozenset(bare))


def _top(regions: dict[str, Region], width: int, height: int, wish: Wish) -> int:
    """The ruler, or the editor in its place; where what is below them begins."""
    if wish.arrangement.maximised == TOP:
        regions[TOP] = Region(0, 0, width, height)
        return height
    low = height + AROUND < SEVERAL[1]
    rows = min(wish.top_rows, 2 if low else max(height // 6, 3)) + (0 if low else 2)
    if wish.writing:
        rows = max(rows, min(wish.editor_rows, 3 if low else 8))
        regions[f"{wish.writing}-label"] = Region(0, 0, LABEL, rows)
        regions[wish.writing] = Region(LABEL, 0, width - LABEL, rows)
    else:
        regions[TOP] = Region(0, 0, width, rows)
    return rows


def in_turn(wish: Wish) -> Place:
    """The views that take turns where there is one place: the workspace's, the guest, the rail's."""
    guest = (wish.arrangement.guest,) if wish.arrangement.guest else ()
    return tuple(dict.fromkeys((*wish.workspace.views, *guest, *RAIL)))


def _compact(made: Plan, room: Region, wish: Wish) -> set[str]:
    views = in_turn(wish)
    front = _front(views, wish.arrangement, wish.workspace.main)
    made.tabs[front] = views
    if front == RESULT:
        made.regions[front] = room
        return set()
    made.regions[RESULT] = Region(room.x, room.y, room.width, 1)
    made.regions[front] = Region(room.x, room.y + 1, room.width, room.height - 1)
    return {RESULT}


def _front(views: Sequence[str], arrangement: Arrangement, otherwise: str = "") -> str:
    """Of the views that share a place the one that was called last, else the first."""
    return next((view for view in arrangement.recent if view in views), otherwise or views[0])


def map_width(shape: ModelShape | None, width: int) -> int:
    """Columns for a grid of n_heads cells of three, with layer numbers, frame and legend; in a wide window as many as
    the list of heads below it makes use of, and up to the grid's next whole column."""
    heads = shape.n_heads if shape else 12
    free = width - 2 * WIDE_COLUMN
    wanted = min(max(8 + 3 * heads, min(MAP_COLUMNS, free)), MAP_COLUMNS)
    whole = 8 + heads * -(-(wanted - 8) // heads)
    return max(24, min(whole if whole <= min(WIDEST_MAP, free) else wanted, width // 3))


def map_rows(shape: ModelShape | None) -> int:
    """Rows for a grid of n_layers, with its head, its scale and its frame."""
    return 4 + (shape.n_layers if shape else 12)


def _full(made: Plan, room: Region, wish: Wish) -> None:
    right = max(32, min(room.width // 3, 46 + (room.width - 120) // 16) - wish.arrangement.wider)
    left = room.width - right
    mapped = wish.workspace.columns[0][0] == (MAP,)
    first = map_width(wish.shape, left) if mapped else 0
    # Without the map, what stands there are lists with long names.
    least = COLUMN if mapped else WIDE_COLUMN
    columns = _columns(wish, mapped + max((left - first) // least, 1))
    columns = _below_the_map(columns, room.height, wish.shape)
    x, last = room.x, len(columns) - 1
    for number, column in enumerate(columns):
        width = first if number == 0 and mapped else (left - first) // (len(columns) - mapped)
        if number == last:  # the last one has what is left
            width = room.x + left - x
        _column(made, Region(x, room.y, width, room.height), column, wish)
        x += width
    _rail(made, Region(x, room.y, right, room.height), wish)


def _columns(wish: Wish, most: int) -> list[Column]:
    """The workspace's columns that there is room for; the last takes in those after it, the first place of each before
    their second ones."""
    columns = list(wish.workspace.columns)
    kept, rest = columns[:most], columns[most:]
    merged = [kept[-1], *rest]
    kept[-1] = tuple(column[at] for at in range(max(map(len, merged))) for column in merged if at < len(column))
    if guest := wish.arrangement.guest:
        kept[-1] = ((*kept[-1][0], guest), *kept[-1][1:])
    return kept


def _below_the_map(columns: list[Column], height: int, shape: ModelShape | None) -> list[Column]:
    """Where the map leaves no room below it, what stands there goes to the last column."""
    first = columns[0]
    if len(columns) > 1 and first[0] == (MAP,) and len(first) > 1 and height - map_rows(shape) < LIST_ROWS:
        columns = [first[:1], *columns[1:-1], (*columns[-1], *first[1:])]
    return columns


def _column(made: Plan, room: Region, column: Column, wish: Wish) -> None:
    """The places of a column, as many as there is room for; the last one is shared by the views of the others."""
    mapped = column[0] == (MAP,) and len(column) > 1
    count = len(column) if mapped else max(1, min(len(column), room.height // PLACE_ROWS))
    places = [*column[: count - 1], tuple(view for place in column[count - 1 :] for view in place)]
    views = [_front(place, wish.arrangement) for place in places]
    first = [map_rows(wish.shape)] if mapped else []
    wanted = [_wanted(view, wish) for view in views[len(first) :]]
    y, heights = room.y, [*first, *_shared(room.height - sum(first), wanted)]
    for view, place, rows in zip(views, places, heights, strict=True):
        made.regions[view] = Region(room.x, y, room.width, rows)
        made.tabs[view] = place
        y += rows


def _wanted(view: str, wish: Wish) -> int | None:
    """The rows that a view fills, frame and all; None for as many as there are."""
    filled = specs()[view].rows
    if filled is None or not wish.tokens:
        return None
    layers = wish.shape.n_layers if wish.shape else 12
    count = -(-wish.tokens // STRIDE) * STRIDE if filled.of is Axis.TOKENS else layers
    return max(count + filled.more + FRAME, PLACE_ROWS)


def _shared(rows: int, wanted: list[int | None]) -> list[int]:
    """The rows of each place: no more than it fills where others can fill the rest; the first of equals is a little
    higher."""
    found = [0] * len(wanted)
    left, open_ = rows, list(range(len(wanted)))
    while open_:
        # The one that wants least of an equal share has it, and leaves the rest to the others.
        modest = min(open_, key=lambda i: math.inf if wanted[i] is None else wanted[i] or 0)
        want = wanted[modest]
        if len(open_) > 1 and want is not None and want <= left // len(open_):
            found[modest] = want
        else:
            modest = open_[0]
            found[modest] = left if len(open_) == 1 else left * 5 // (len(open_) * 5 - 1)
        left -= found[modest]
        open_.remove(modest)
    return found


def _rail(made: Plan, room: Region, wish: Wish) -> None:
    """The result, and below it the edits and what else the workspace does not show, each as high as what it holds; the
    result has the rest."""
    result, *below = (view for view in RAIL if view == RESULT or view not in made.regions)
    if room.height < 2 * PLACE_ROWS:
        below = below[:1]
    of = dict(zip(RAIL[1:], wish.rail_rows, strict=True))
    # In steps, so that not every new line moves the others.
    wanted = [max(-(-(of[view] + FRAME) // 4) * 4, LIST) for view in below]
    most = room.height - min(LEAST_RESULT, room.height // 2 + 1)
    sizes = [min(want, max(most // len(below), LIST)) for want in wanted]
    if sizes and sum(wanted) <= most:
        sizes = wanted
    rows = max(room.height - sum(sizes), 0)
    made.regions[result] = Region(room.x, room.y, room.width, rows)
    y = room.y + rows
    for view, size in zip(below, sizes, strict=True):
        made.regions[view] = Region(room.x, y, room.width, size)
        y += size


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
