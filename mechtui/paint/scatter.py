"""Scatter plots: a mark in the cell of each point, or how many lie there, between two axes with their ends and 0."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from rich.style import Style

from mechtui.paint.heat import Piece
from mechtui.paint.numbers import signed
from mechtui.paint.palette import HALF, Palette
from mechtui.paint.tokens import pad
from mechtui.paint.tokens import width as cells

LEAST_WIDTH, LEAST_HEIGHT = 24, 5
POINT, HERE, MANY = "●", "◆", "+"
# Lines through 0.
ACROSS, UP = "┈", "┊"


@dataclass(frozen=True)
class Scatter:
    """lines: of the plot. at: the points that lie in a cell, by its line and its place in the line. cell: where the
    marked point lies, None where there is none."""

    lines: list[list[Piece]]
    at: dict[tuple[int, int], list[int]]
    cell: tuple[int, int] | None


def scatter(
    xs: np.ndarray, ys: np.ndarray, names: tuple[str, str], width: int, height: int, palette: Palette, here: int = -1
) -> Scatter:
    """Points as marks in a plot of so many cells; those that are not finite have none. Marks are blue where y is
    negative, else orange. names: of the axes. here: the point that is marked. Empty where there is no point, or no
    room."""
    known = np.flatnonzero(np.isfinite(xs) & np.isfinite(ys))
    if not len(known) or width < LEAST_WIDTH or height < LEAST_HEIGHT:
        return Scatter([], {}, None)
    left, right = _ends(xs[known])
    low, high = _ends(ys[known])
    texts = [signed(high).strip(), signed(low).strip()]
    margin = max(map(cells, texts)) + 1
    columns, rows = width - margin, height - 2
    across = {int(point): _place(float(xs[point]), left, right, columns) for point in known}
    down = {int(point): rows - 1 - _place(float(ys[point]), low, high, rows) for point in known}
    body = _zero(left, right, low, high, columns, rows, palette)
    at: dict[tuple[int, int], list[int]] = {}
    for point, column in across.items():
        at.setdefault((down[point] + 1, column + margin), []).append(point)
    for (row, column), points in at.items():
        sign = HALF if float(ys[points].mean()) > 0 else -HALF
        mark = POINT if len(points) == 1 else str(len(points)) if len(points) < 10 else MANY
        look = Style(color=palette.diverging(sign).bgcolor)
        body[row - 1][column - margin] = (HERE, palette.mark) if here in points else (mark, look)
    lines: list[list[Piece]] = [[(pad(f"{names[1]} ↑", width), palette.dim)]]
    for row in range(rows):
        said = texts[0] if row == 0 else texts[1] if row == rows - 1 else ""
        edge = "┤" if said else "│"
        lines.append([(said.rjust(margin - 1) + edge, palette.dim), *body[row]])
    lines.append([(_below(left, right, names[0], margin, columns), palette.dim)])
    cell = next((place for place, points in at.items() if here in points), None)
    return Scatter(lines, at, cell)


def _ends(values: np.ndarray) -> tuple[float, float]:
    """Of an axis that holds all of them; of one value, with something around it."""
    low, high = float(values.min()), float(values.max())
    if low < high:
        return low, high
    half = abs(low) / 10 or 0.5
    return low - half, high + half


def _place(value: float, low: float, high: float, count: int) -> int:
    return min(count - 1, max(0, round((value - low) / (high - low) * (count - 1))))


def _zero(
    left: float, right: float, low: float, high: float, columns: int, rows: int, palette: Palette
) -> list[list[Piece]]:
    """The cells before any point, with a line where a 0 lies within."""
    row = rows - 1 - _place(0.0, low, high, rows) if low < 0 < high else -1
    column = _place(0.0, left, right, columns) if left < 0 < right else -1
    return [
        [(ACROSS if down == row else UP if across == column else " ", palette.dim) for across in range(columns)]
        for down in range(rows)
    ]


def _below(left: float, right: float, name: str, margin: int, columns: int) -> str:
    """The ends below the axis, and its name between them where there is room."""
    first, last = signed(left).strip(), signed(right).strip()
    room = columns - cells(first) - cells(last) - 2
    named = f"{name} →"
    middle = named.center(room) if 0 < cells(named) <= room else " " * max(room, 0)
    return " " * margin + f"{first} {middle} {last}"[:columns]
