"""Histograms: how many of the numbers lie where, as rows of blocks over an axis with its ends and 0."""

from __future__ import annotations

import math

import numpy as np
from rich.style import Style

from mechtui.paint.heat import Piece
from mechtui.paint.numbers import signed, tick
from mechtui.paint.palette import HALF, Palette
from mechtui.paint.spark import BLOCKS
from mechtui.paint.tokens import fitting
from mechtui.paint.tokens import width as cells

# Of so few numbers more columns would say nothing.
MOST_COLUMNS = 40
LEAST_WIDTH = 24
# Cells of a column.
WIDEST = 4


def histogram(values: np.ndarray, width: int, rows: int, palette: Palette, here: float = math.nan) -> list[list[Piece]]:
    """`rows` rows of columns, the number of the highest one before the first, and below them the axis: lines of at most
    `width` cells. Negative numbers are blue, positive ones orange; 0 is an edge between two columns where it lies
    within. here: the number whose column is marked. Nothing where there is no number, or no room."""
    known = values[np.isfinite(values)]
    if not len(known) or width < LEAST_WIDTH or rows < 1:
        return []
    edges = _edges(known, min(MOST_COLUMNS, width - 8))
    counts, _ = np.histogram(known, edges)
    most = int(counts.max())
    margin = len(str(most)) + 1
    wide = max(1, min(WIDEST, (width - margin - 1) // len(counts)))
    marked = -1 if math.isnan(here) else min(int(np.searchsorted(edges, here, "right")) - 1, len(counts) - 1)
    lines: list[list[Piece]] = []
    for row in range(rows, 0, -1):
        front = str(most).rjust(margin - 1) + "┤" if row == rows else " " * (margin - 1) + "│"
        line: list[Piece] = [(front, palette.dim)]
        for column, count in enumerate(counts.tolist()):
            eighths = math.ceil(count / most * rows * 8) - (row - 1) * 8
            sign = " " if eighths <= 0 else BLOCKS[min(eighths, 8) - 1]
            look = palette.mark if column == marked else _look(edges[column], edges[column + 1], palette)
            line.append((sign * wide, look))
        lines.append(line)
    return [*lines, _axis(edges, margin, wide, palette)]


def binned(counts: np.ndarray, step: float, width: int, rows: int, palette: Palette, *what: str) -> list[list[Piece]]:
    """The same of numbers above 0 that are counted already, in bins that are `step` wide, as far as there are some;
    where there are too many, several share a column. In one row it has no axis of its own, and the ends stand beside
    it. what: which numbers they are, the first of these that there is room for."""
    last = int(np.flatnonzero(counts)[-1]) + 1
    room = width - 16 if rows == 1 else width - 8
    if rows < 1 or room < 4:
        return []
    share = -(-last // room)  # bins of a column
    columns = [int(counts[at : at + share].sum()) for at in range(0, last, share)]
    end = tick(step * share * len(columns))
    most, wide = max(columns), 1 if rows == 1 else max(1, min(WIDEST // 2, room // len(columns)))
    look = Style(color=palette.diverging(HALF).bgcolor)

    def blocks(row: int) -> str:
        signs = []
        for count in columns:
            eighths = math.ceil(count / most * rows * 8) - (row - 1) * 8
            signs.append((" " if eighths <= 0 else BLOCKS[min(eighths, 8) - 1]) * wide)
        return "".join(signs)

    if rows == 1:
        tail = fitting(max(width - len(columns) - len(end) - 4, 0), *(f" {each}" for each in what), "")
        return [[("0 ", palette.dim), (blocks(1), look), (f" {end}{tail}", palette.dim)]]
    margin = len(str(most)) + 1
    lines: list[list[Piece]] = []
    for row in range(rows, 0, -1):
        front = str(most).rjust(margin - 1) + "┤" if row == rows else " " * (margin - 1) + "│"
        lines.append([(front, palette.dim), (blocks(row), look)])
    size = margin + wide * len(columns)
    axis = " " * (margin - 1) + "0"
    axis += end.rjust(max(size - cells(axis), cells(end) + 1))
    tail = fitting(max(width - cells(axis), 0), *(f"  {each}" for each in what), "")
    return [*lines, [(f"{axis}{tail}", palette.dim)]]


def _edges(known: np.ndarray, most: int) -> np.ndarray:
    """Of columns of one width; 0 is among them where it lies within the numbers."""
    low, high = float(known.min()), float(known.max())
    if low == high:
        half = abs(low) / 10 or 0.5
        return np.array([low - half, low + half])
    # As many as there are numbers to fill them (twice the cube root, after Rice).
    count = max(2, min(most - 1, math.ceil(2 * len(known) ** (1 / 3)) + 2))
    step = (high - low) / count
    if low < 0 < high:
        below, above = math.ceil(-low / step), math.ceil(high / step)
        return np.asarray(step * np.arange(-below, above + 1))
    return np.asarray(np.linspace(low, high, count + 1))


def _look(low: float, high: float, palette: Palette) -> Style:
    return Style(color=palette.diverging(HALF if (low + high) / 2 > 0 else -HALF).bgcolor)


def _axis(edges: np.ndarray, margin: int, wide: int, palette: Palette) -> list[Piece]:
    """The ends below their columns, and 0 where it lies between and there is room."""
    low, high = (signed(float(edge)).strip() for edge in (edges[0], edges[-1]))
    size = margin + wide * (len(edges) - 1)
    text = " " * (margin - 1) + low
    zero = np.flatnonzero(edges == 0)
    if len(zero) and 0 < zero[0] < len(edges) - 1:
        at = margin + wide * int(zero[0])
        if at > cells(text) + 1 and at + 2 + cells(high) < size:
            text = text.ljust(at) + "0"
    text = text.ljust(max(size - cells(high), cells(text) + 1)) + high
    return [(text, palette.dim)]
