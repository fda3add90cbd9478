"""Scatter plots: a mark in the cell of each point, or how many lie there, between two axes with their ends and 0; with
names beside the points where there is room."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from rich.cells import get_character_cell_size
from rich.style import Style

from mechtui.paint.heat import Piece
from mechtui.paint.numbers import signed
from mechtui.paint.palette import HALF, Palette
from mechtui.paint.tokens import pad
from mechtui.paint.tokens import width as cells

LEAST_WIDTH, LEAST_HEIGHT = 24, 5
POINT, HERE, MANY, HOLLOW, WAS = "●", "◆", "+", "○", "◇"
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
    xs: np.ndarray,
    ys: np.ndarray,
    names: tuple[str, str],
    width: int,
    height: int,
    palette: Palette,
    here: int = -1,
    *,
    labels: Sequence[str] = (),
    hollow: Collection[int] = (),
    was: int = -1,
    signs: bool = True,
) -> Scatter:
    """Points as marks in a plot of so many cells, never more lines than columns; those that are not finite have none.
    names: of the axes. here: the point that is marked. labels: what stands beside each point where there is room,
    visible already; empty for none. hollow: points with a faint mark, which gives way to others. was: the one of them
    that belongs to `here`. signs: marks are blue where y is negative, else orange; without, all are of one colour.
    Empty where there is no point, or no room."""
    known = np.flatnonzero(np.isfinite(xs) & np.isfinite(ys))
    if not len(known) or width < LEAST_WIDTH or height < LEAST_HEIGHT:
        return Scatter([], {}, None)
    height = min(height, width)  # where all is to be seen, there is room without end
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
        full = [point for point in points if point not in hollow]
        count = len(full)
        mark = HOLLOW if not count else POINT if count == 1 else str(count) if count < 10 else MANY
        look = Style(color=palette.diverging(sign).bgcolor) if signs else palette.accent
        look = look if count else palette.dim
        if was in points and not count:
            mark, look = WAS, palette.mark
        body[row - 1][column - margin] = (HERE, palette.mark) if here in points else (mark, look)
    if labels:
        taken = {(row - 1, column - margin) for row, column in at}
        for point in sorted(across, key=lambda point: point != here):
            style = palette.mark if point == here else palette.plain
            _label(body, taken, (down[point], across[point]), labels[point], style)
    lines: list[list[Piece]] = [[(pad(f"{names[1]} ↑", width), palette.dim)]]
    for row in range(rows):
        said = texts[0] if row == 0 else texts[1] if row == rows - 1 else ""
        edge = "┤" if said else "│"
        lines.append([(said.rjust(margin - 1) + edge, palette.dim), *body[row]])
    lines.append([(_below(left, right, names[0], margin, columns), palette.dim)])
    cell = next((place for place, points in at.items() if here in points), None)
    return Scatter(lines, at, cell)


def _label(
    body: list[list[Piece]], taken: set[tuple[int, int]], place: tuple[int, int], label: str, style: Style
) -> None:
    """Write a name beside the point at `place` (row, column) where nothing stands: behind it, before it, above it or
    below it. taken: where something stands."""
    row, column = place
    size = cells(label)
    beside = (row, column + 2), (row, column - 1 - size), (row - 1, column - size // 2), (row + 1, column - size // 2)
    for there, start in beside if size else ():
        around = {(there, at) for at in range(start - 1, start + size + 1)} - {place}
        if 0 <= there < len(body) and start >= 0 and start + size <= len(body[0]) and not around & taken:
            at = start
            for char, wide in _sized(label):
                body[there][at : at + wide] = [(char, style), *[("", style)] * (wide - 1)]
                at += wide
            taken |= {(there, at) for at in range(start, start + size)}
            return


def _sized(text: str) -> Iterable[tuple[str, int]]:
    """Each character with the cells that it takes."""
    return ((char, get_character_cell_size(char)) for char in text)


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
