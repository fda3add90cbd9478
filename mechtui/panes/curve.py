"""Line charts: several series over the same points, with axes, units and a legend, as lines of segments.

Lines are drawn in quarters of a cell, which every font for terminals has. Without colours to tell series apart, or
with ASCII only, each has a mark of its own, one to a cell. Nothing here knows of models or widgets.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from rich.style import Style

from mechtui.paint.heat import Piece, merge
from mechtui.paint.numbers import tick
from mechtui.paint.palette import Depth, Palette
from mechtui.paint.tokens import cut
from mechtui.paint.tokens import width as cells
from mechtui.panes.pane import Line

# By which quarters are filled: 1 and 2 above, 4 and 8 below.
QUARTERS = " ▘▝▀▖▌▞▛▗▚▐▜▄▙▟█"
# What stands for series where there are no colours.
MARKS = "●○+×"
CURSOR = "┊"
# Less than this has no room for numbers at the axis, or for names above it.
NUMBERED, NAMED, LABELLED = 16, 4, 3
STEPS = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000)

Point = tuple[int, int]


@dataclass(frozen=True)
class Series:
    """A line: its name, visible already, a value for each point (NaN: a gap), and how it looks."""

    name: str
    values: Sequence[float] | np.ndarray
    style: Style


@dataclass(frozen=True)
class Axis:
    """What one axis says. unit: its name. low, high: its ends where they are not those of the values. scaled: grows
    with a value, so that the axis need not be linear. signs: whether positive numbers have one."""

    unit: str = ""
    low: float | None = None
    high: float | None = None
    scaled: Callable[[float], float] = float
    signs: bool = False


def curve(
    series: Sequence[Series],
    width: int,
    height: int,
    palette: Palette,
    *,
    points: Sequence[str],
    of: str = "",
    xs: Sequence[float] = (),
    axis: Axis = Axis(),
    cursor: int | None = None,
) -> list[Line]:
    """`height` lines of `width` cells. points: their names; of: what they are; xs: their places, else evenly apart;
    cursor: the point whose values the legend says."""
    if width <= 0 or height <= 0:
        return []
    ends = _ends(series, axis)
    head = 1 if height >= NAMED else 0
    foot = 1 if height >= LABELLED else 0
    rows = height - head - foot
    numbers = _numbers(ends, axis, rows) if width >= NUMBERED else {}
    below = cells(of) if numbers and cells(of) <= width // 4 else 0
    margin = 1 + max(below, *map(cells, numbers.values())) if numbers else 0
    fine = _fine(palette)
    places = _places(len(points), xs, (width - margin) * fine - 1)
    heights = [[_height(value, ends, axis) for value in each.values] for each in series]
    body = _body(series, heights, places, (width - margin, rows), palette, cursor)
    lines = [_legend(series, cursor, axis, width, palette)] if head else []
    for row in range(rows):
        edge = f"{numbers.get(row, ''):>{margin - 1}}{'┤' if row in numbers else '│'}" if margin else ""
        lines.append(merge([(edge, palette.dim), *body[row]]))
    if foot:
        names = _names(points, [place // fine for place in places], width - margin, cursor, palette)
        lines.append(merge([(f"{of if below else '':<{margin}}", palette.dim), *names]))
    return lines


def _fine(palette: Palette) -> int:
    """Into how many parts a cell is divided, either way."""
    return 1 if palette.depth == Depth.NONE or palette.ascii else 2


def _ends(series: Sequence[Series], axis: Axis) -> tuple[float, float]:
    values = [value for each in series for value in each.values if math.isfinite(value)]
    low = axis.low if axis.low is not None else min(values, default=math.nan)
    high = axis.high if axis.high is not None else max(values, default=math.nan)
    return low, high


def _numbers(ends: tuple[float, float], axis: Axis, rows: int) -> dict[int, str]:
    """Row -> the number that stands at the axis there."""
    low, high = (_written(end, axis) for end in ends)
    if low == high:
        return {rows // 2: low} if low else {}
    return {0: high, rows - 1: low}


def _written(value: float, axis: Axis) -> str:
    return tick(value, sign=axis.signs) if math.isfinite(value) else ""


def _places(count: int, xs: Sequence[float], most: int) -> list[int]:
    """The dot column, 0 to `most`, of each point; evenly apart where they are no numbers."""
    at = list(xs) if xs and all(map(math.isfinite, xs)) else [float(i) for i in range(count)]
    first, last = min(at, default=0.0), max(at, default=0.0)
    return [round((x - first) / (last - first) * most) if last > first else most // 2 for x in at]


def _height(value: float, ends: tuple[float, float], axis: Axis) -> float:
    """0 at the low end, 1 at the high one; NaN for what has none."""
    low, high = ends
    if not math.isfinite(value) or not math.isfinite(high - low):
        return math.nan
    bottom, top = axis.scaled(low), axis.scaled(high)
    if top <= bottom:
        return 0.5
    return (axis.scaled(min(max(value, low), high)) - bottom) / (top - bottom)


def _body(
    series: Sequence[Series],
    heights: Sequence[Sequence[float]],
    places: Sequence[int],
    size: tuple[int, int],
    palette: Palette,
    cursor: int | None,
) -> list[list[Piece]]:
    """The cells between the axes, row by row, size: columns and rows; the first series lies on top."""
    columns, rows = size
    fine = _fine(palette)
    shown: dict[Point, Piece] = {}
    for number, each in reversed(list(enumerate(series))):
        bits: dict[Point, int] = {}
        for x, y in _dots(list(zip(places, heights[number], strict=True)), rows * fine - 1):
            cell = x // fine, y // fine
            bits[cell] = bits.get(cell, 0) | 1 << (x % fine + 2 * (y % fine))
        mark = MARKS[number % len(MARKS)]
        shown |= {cell: (QUARTERS[quarters] if fine > 1 else mark, each.style) for cell, quarters in bits.items()}
    if cursor is not None:
        column = places[cursor] // fine
        shown = {(column, row): (CURSOR, palette.dim) for row in range(rows)} | shown
    blank = " ", Style.null()
    return [[shown.get((column, row), blank) for column in range(columns)] for row in range(rows)]


def _dots(line: Sequence[tuple[int, float]], most: int) -> Iterable[Point]:
    """The dots of a line through points of which each has a column and a height; rows count from the top, to `most`."""
    points = [(x, None if math.isnan(share) else round((1 - share) * most)) for x, share in line]
    for x, y in points:
        if y is not None:
            yield x, y
    for (x, y), (next_x, next_y) in pairwise(points):
        if y is not None and next_y is not None:
            steps = max(abs(next_x - x), abs(next_y - y))
            for step in range(1, steps):
                yield x + round((next_x - x) * step / steps), y + round((next_y - y) * step / steps)


def _legend(series: Sequence[Series], cursor: int | None, axis: Axis, width: int, palette: Palette) -> Line:
    """The unit and the series' names with their values at the cursor, as far as there is room: names last longest."""
    values = ["" if cursor is None else _written(each.values[cursor], axis) for each in series]

    def pieces(unit: str, values: Sequence[str], room: int) -> list[Piece]:
        found = [(f"{unit}  " if unit else "", palette.dim)]
        for number, (each, value) in enumerate(zip(series, values, strict=True)):
            mark = MARKS[number % len(MARKS)] if _fine(palette) == 1 else "━"
            found += [(f"{mark} ", each.style), (f"{cut(each.name, room)} ", palette.plain)]
            found.append((f"{value}  " if value else " ", each.style))
        return found

    room = max(width // max(len(series), 1) - 3, 1)
    for choice in ((axis.unit, values, width), ("", values, width), ("", [""] * len(series), room)):
        line = pieces(*choice)
        if sum(cells(text) for text, _ in line) <= width + 2:
            break
    return _cropped(line, width)


def _cropped(pieces: Sequence[Piece], width: int) -> Line:
    """At most this many cells, and blanks up to them."""
    found: list[Piece] = []
    left = width
    for text, style in pieces:
        kept = cut(text, left)
        found.append((kept, style))
        left -= cells(kept)
    return merge([*found, (" " * left, Style.null())])


def _names(points: Sequence[str], at: Sequence[int], columns: int, cursor: int | None, palette: Palette) -> list[Piece]:
    """The points' names below the axis: the cursor's, and of the others as many as stand apart."""
    longest = max(map(cells, points), default=0)
    apart = (at[-1] - at[0]) / (len(at) - 1) if len(at) > 1 else columns
    every = next((step for step in STEPS if step * apart > longest + 2), len(points))
    last = [len(points) - 1] if points else []
    spans: dict[int, int] = {}  # first cell of a name -> its point
    taken: set[int] = set()
    for point in [*([] if cursor is None else [cursor]), *last, *range(0, len(points), every)]:
        size = cells(points[point])
        start = max(min(at[point] - (size - 1) // 2, columns - size), 0)
        around = set(range(start - 1, start + size + 1))
        if size <= columns and not around & taken:
            spans[start] = point
            taken |= set(range(start, start + size))
    pieces: list[Piece] = []
    end = 0
    for start in sorted(spans):
        name = points[spans[start]]
        look = palette.selected if spans[start] == cursor else palette.dim
        pieces += [(" " * (start - end), Style.null()), (name, look)]
        end = start + cells(name)
    return [*pieces, (" " * (columns - end), Style.null())]
