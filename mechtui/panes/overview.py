"""A whole table on a few cells: each dot is the strongest of the values that share it, so that no stripe is lost."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mechtui.paint.halves import halves
from mechtui.paint.heat import Piece
from mechtui.paint.palette import Palette

Place = tuple[int, int]


@dataclass(frozen=True, eq=False)
class Overview:
    """dots [row, column]: the strongest of each block of the table, NaN where none was computed. rows, columns: where
    in the table the blocks begin, and its end. scale: dots of a value in each direction, where the table is small.
    signs: a difference, of which the strongest is the farthest from 0."""

    dots: np.ndarray
    rows: np.ndarray
    columns: np.ndarray
    scale: int
    low: float
    high: float
    signs: bool

    @property
    def width(self) -> int:
        """Cells of a line."""
        return int(self.dots.shape[1])

    @property
    def height(self) -> int:
        """Lines of two rows of dots each."""
        return (len(self.dots) + 1) // 2

    def line(self, y: int, palette: Palette) -> list[Piece]:
        """The pieces of line y, one for each cell."""
        return halves(self.dots, 2 * y, self.low, self.high, palette, signs=self.signs)

    def place(self, row: int, column: int) -> Place:
        """Line and cell that show this cell of the table."""
        across, down = (
            int(np.searchsorted(edges, at, side="right") - 1) * self.scale
            for edges, at in ((self.columns, column), (self.rows, row))
        )
        return down // 2, across

    def span(self, y: int) -> tuple[int, int]:
        """The first row of the table that line y shows, and the one behind its last."""
        first, last = (min(-(-dot // self.scale), len(self.rows) - 1) for dot in (2 * y, 2 * y + 2))
        return int(self.rows[first]), int(self.rows[last])

    def strongest(self, table: np.ndarray, y: int, x: int) -> Place | None:
        """The cell of the table that is strongest in what line y shows at cell x; None where nothing was computed."""
        if not (0 <= y < self.height and 0 <= x < self.width):
            return None
        blocks = sorted({min(dot // self.scale, len(self.rows) - 2) for dot in (2 * y, 2 * y + 1)})
        first, last = int(self.rows[blocks[0]]), int(self.rows[blocks[-1] + 1])
        left, right = (int(self.columns[x // self.scale + more]) for more in (0, 1))
        block = table[first:last, left:right]
        if np.isnan(block).all():
            return None
        at = int(np.nanargmax(np.abs(block) if self.signs else block))
        return first + at // block.shape[1], left + at % block.shape[1]


def overview(table: np.ndarray, height: int, width: int, low: float, high: float, signs: bool = False) -> Overview:
    """The table [row, column] on at most `height` lines of at most `width` cells. It looks at every value: make it once
    for a table and a size."""
    count, across = table.shape
    most = min(2 * height, width)
    scale = max(most // max(count, across, 1), 1)
    rows, columns = _edges(count, min(count, 2 * height)), _edges(across, min(across, width))
    dots = _pooled(table, rows, columns, np.fmax)
    if signs:
        lowest = _pooled(table, rows, columns, np.fmin)
        dots = np.where(-lowest > dots, lowest, dots)
    return Overview(dots.repeat(scale, 0).repeat(scale, 1), rows, columns, scale, low, high, signs)


def _edges(count: int, blocks: int) -> np.ndarray:
    return np.arange(blocks + 1) * count // max(blocks, 1)


def _pooled(table: np.ndarray, rows: np.ndarray, columns: np.ndarray, best: np.ufunc) -> np.ndarray:
    """The best of each block; NaN does not count."""
    pooled: np.ndarray = best.reduceat(best.reduceat(table, rows[:-1], axis=0), columns[:-1], axis=1)
    return pooled
