"""A table of coloured cells with names and a cursor: layers by heads, layers by positions, texts instead of numbers.

A pane makes a `Grid` of what it shows, gives its `page` to the screen, and asks it what a click hit. Nothing here knows
of models or widgets.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
from rich.style import Style

from mechtui.paint import heat
from mechtui.paint.heat import Piece, cell
from mechtui.paint.numbers import fit, tick
from mechtui.paint.palette import Palette, diverging_level, level
from mechtui.paint.tokens import column_name, pad
from mechtui.paint.tokens import width as cells
from mechtui.panes.pane import Line, Page, line, window

# (row, column); -1 is the names beside or above.
Cell = tuple[int, int]

# The narrowest column that shows a token's letters, and from how many rows on one is left to number such columns.
NAMED = 3
NUMBERED = 10
# From so many rows on there is one for the scale.
FOOTED = 6
# What the border keeps to itself around the legend.
BORDER = 4
# Before a number that is only estimated, and in a cell that one is warned of.
ESTIMATED, FLAG = "~", "!"
STEPS = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000)


class Legend(NamedTuple):
    """What stands on the lower border, and the lines below the table; whole: the border had room for everything."""

    border: tuple[Piece, ...]
    foot: list[Line]
    whole: bool


@dataclass(frozen=True, eq=False)
class Grid:
    """values [row, column]: the colour of each cell, and its number; NaN: not computed, blank.

    rows, columns: their names (columns: numbers, of which as many are shown as fit). tokens: names of the columns that
    stand above the numbers where columns are wide enough, visible already. texts [row][column]: shown instead of the
    number, visible already. width: cells of the whole table; a column takes `least` to `most` of them, and scrolls
    where not all fit. low, high: the ends of the colours; signs: a difference, -high..high, blue and orange.
    cursor: the cell that is looked at. edited: cells with a star. touched: rows with a star. touched_columns: columns
    with a coloured name. pale [row, column]: cells that are only estimated, in a paler shade and with a `~`. flagged:
    cells with a `!`.
    """

    values: np.ndarray
    rows: Sequence[str]
    columns: Sequence[str]
    width: int
    low: float
    high: float
    signs: bool = False
    cursor: Cell | None = None
    tokens: Sequence[str] = ()
    texts: Sequence[Sequence[str]] | None = None
    edited: frozenset[Cell] = frozenset()
    touched: frozenset[int] = frozenset()
    touched_columns: frozenset[int] = frozenset()
    least: int = 2
    most: int = 6
    digits: int = 3
    pale: np.ndarray | None = None
    flagged: frozenset[Cell] = frozenset()

    @cached_property
    def label(self) -> int:
        """Cells of the rows' names, with a star and a blank behind them."""
        return min(max(map(cells, self.rows), default=0) + 2, max(self.width // 3, 5))

    @cached_property
    def wide(self) -> int:
        """Cells of a column: whole columns that fill the width as far as they may."""
        return max(self.least, min(self.most, (self.width - self.label) // max(len(self.columns), 1)))

    def page(
        self,
        palette: Palette,
        height: int,
        *,
        title: str = "",
        legend: tuple[Piece, ...] = (),
        foot: Sequence[Line] = (),
    ) -> Page:
        """The table in `height` rows, names and foot with them."""
        names = self._names(height)
        _, here = self.cursor or (None, None)

        def top(left: int) -> list[Line]:
            blank = [(" " * self.label, palette.dim)]
            return [window(blank, self._above(kind, palette, left), left % self.wide) for kind in names]

        return Page(
            len(self.rows),
            lambda index, left: self._row(index, left, palette),
            head=top,
            head_rows=len(names),
            foot=list(foot) if height >= FOOTED else [],
            wide=self.label + self.wide * len(self.columns),
            cursor=self.cursor[0] if self.cursor else None,
            cursor_x=None if here is None else (self.label + self.wide * here, self.label + self.wide * (here + 1) - 1),
            stick=self.label,
            step=self.wide,
            title=title,
            legend=legend,
        )

    def hit(self, index: int, x: int, left: int) -> Cell | None:
        """What lies at cell `x` of row `index` (-1: the names above), scrolled `left` cells; None: nothing."""
        if x < self.label:
            return (index, -1) if index >= 0 else None
        column = (x - self.label + left) // self.wide
        return (index, column) if column < len(self.columns) else None

    def moved(self, dx: int, dy: int) -> Cell | None:
        """The cell `dx` to the right of the cursor and `dy` below it, as far as there is one."""
        if self.cursor is None or not self.values.size:
            return None
        row, column = self.cursor
        return max(0, min(row + dy, len(self.rows) - 1)), max(0, min(column + dx, len(self.columns) - 1))

    def number(self) -> str:
        """The cursor's number as a legend says it."""
        value = math.nan if self.cursor is None else float(self.values[self.cursor])
        said = fit(value, 7, sign=self.signs).strip()
        return (ESTIMATED * self._is_pale(self.cursor) + said) if said else "not computed"

    def value(self) -> str:
        """The cursor's number for the clipboard; with a `~` where it is only estimated."""
        return "" if self.cursor is None else self._copied(*self.cursor)

    def _copied(self, row: int, column: int) -> str:
        return ESTIMATED * self._is_pale((row, column)) + f"{float(self.values[row, column]):.6g}"

    def _is_pale(self, cell: Cell | None) -> bool:
        return self.pale is not None and cell is not None and bool(self.pale[cell])

    def row_values(self) -> str:
        """The cursor's row for the clipboard, separated by tabs."""
        if self.cursor is None:
            return ""
        return "\t".join(self._copied(self.cursor[0], column) for column in range(len(self.columns)))

    def legend(
        self, palette: Palette, here: str, unit: str = "", before: str = "", ends: tuple[str, str] | None = None
    ) -> Legend:
        """The cursor's name and number, the scale and its unit. Without room for all that, `before` (what else the
        number is, else said in the title) stands before the number, and the scale below the table. ends: the scale's
        where they are written otherwise than as low and high."""
        ends = ends or (tick(self.low), tick(self.high, sign=self.signs))
        scale = heat.legend(*ends, palette, signs=self.signs)
        said: Piece = (here, palette.bold)
        of: Piece = (f" {unit}" if unit else "", palette.dim)
        whole: tuple[Piece, ...] = (said, (" ─ ", palette.dim), *scale, of) if scale else (said, of)
        if sum(cells(text) for text, _ in whole) <= self.width - BORDER:
            return Legend(whole, [], True)
        fits = scale and sum(cells(text) for text, _ in scale) <= self.width
        return Legend(((before, palette.dim), said), [line(*scale)] if fits else [], False)

    # The names above

    def _names(self, height: int) -> list[str]:
        if height < 2:
            return []
        if not self.tokens or self.wide < NAMED:
            return ["numbers"]
        # Tokens may be alike, their numbers are not.
        return ["tokens", "numbers"] if height >= NUMBERED and self.wide > self._longest else ["tokens"]

    @cached_property
    def _longest(self) -> int:
        return max(map(cells, self.columns), default=0)

    def _in_sight(self, left: int) -> range:
        last = (left + self.width - self.label) // self.wide
        return range(left // self.wide, max(min(len(self.columns), last), 0))

    def _above(self, kind: str, palette: Palette, left: int) -> list[Piece]:
        seen = self._in_sight(left)
        if kind == "tokens":
            right = self.texts is None  # as the cells below
            return [
                (" " + column_name(self.tokens[i], self.wide - 1, right=right), self._look(i, palette)) for i in seen
            ]
        every = next((k for k in STEPS if k * self.wide > self._longest), len(self.columns))
        at, limit = seen.start * self.wide, seen.stop * self.wide
        # The cursor's number is always there, whole at the left edge too; no other runs into it or out of sight.
        here = self.cursor[1] if self.cursor and self.cursor[1] in seen else -1
        first, last = self._span(here) if here >= 0 else (-2, -2)
        first, last = max(first, at), last + max(at - first, 0)
        pieces: list[Piece] = []
        for i in seen:
            start, stop = (first, last) if i == here else self._span(i)
            if i != here and (i % every or not (stop < first or start > last)):
                continue
            if start < at or stop > limit:
                continue
            # A number's look is its whole column's.
            begin = max(min(start, i * self.wide), at)
            pieces += [(" " * (begin - at), palette.dim), (self.columns[i].rjust(stop - begin), self._look(i, palette))]
            at = stop
        return [*pieces, (" " * (limit - at), palette.dim)]

    def _span(self, column: int) -> tuple[int, int]:
        """The first cell of a column's number, and the one behind it."""
        end = (column + 1) * self.wide
        return end - cells(self.columns[column]), end

    def _look(self, column: int, palette: Palette) -> Style:
        if column in self.touched_columns:
            return palette.mark
        return palette.row if self.cursor and column == self.cursor[1] else palette.dim

    # The rows

    def _row(self, index: int, left: int, palette: Palette) -> Line:
        star = index in self.touched
        here = self.cursor is not None and index == self.cursor[0]
        look = palette.mark if star else palette.row if here else palette.dim
        name = pad(self.rows[index], self.label - 2, right=True) + ("* " if star else "  ")
        pieces = [self._cell(index, column, palette) for column in self._in_sight(left)]
        return window([(name, look)], pieces, left % self.wide)

    def _cell(self, row: int, column: int, palette: Palette) -> Piece:
        value, wide = float(self.values[row, column]), self.wide
        text, style = self._text(row, column, value, palette)
        if (row, column) == self.cursor:
            return "▸" + text[1:], style + palette.selected
        if (row, column) not in self.edited:
            # The number has a blank before it; a shade gives up its first cell.
            return (FLAG + text[1:] if (row, column) in self.flagged else text), style
        if self.texts is None:
            return _starred(text, value, wide, self.signs), style + palette.bold
        return "*" + text[1:], style + palette.bold

    def _text(self, row: int, column: int, value: float, palette: Palette) -> Piece:
        if self._is_pale((row, column)) and not math.isnan(value):
            return self._estimated(value, palette)
        if self.texts is None or self.wide < NAMED or math.isnan(value):
            return cell(value, self.low, self.high, self.wide, palette, signs=self.signs, digits=self.digits)
        front, step = " ", (diverging_level(value, self.high) if self.signs else level(value, self.low, self.high)) or 0
        style = palette.diverging(step) if self.signs else palette.sequential(step)
        if palette.shaded:
            # The text is not the number, and no colour says it: the cell's blank does.
            front = ("+" if step > 0 else "-" if step else " ") if self.signs else palette.shade(step)
        return front + column_name(self.texts[row][column], self.wide - 1, right=False), style

    def _estimated(self, value: float, palette: Palette) -> Piece:
        """A number that nobody measured: it is paler and says so, in narrow cells with its sign alone."""
        room = self.wide - 2
        text = fit(value, room, sign=self.signs).strip() if room >= self.digits else ""
        step = diverging_level(value, self.high) or 0
        mark = ("+" if step > 0 else "-" if step < 0 else " ") if self.signs else ""
        return f"{ESTIMATED}{text or mark}".rjust(self.wide)[: self.wide], palette.pale(step)


def _starred(text: str, value: float, wide: int, signs: bool) -> str:
    """An edited cell: the star before its own number with a blank before both, or under the column's name."""
    number = fit(value, wide - 2, sign=signs).strip() if wide > 3 else ""
    # A number that has no room beside the star is left to the cell's colour: no cut one is shown.
    shade = "" if wide > 3 else text.lstrip()[: wide - 1]
    return f"*{number}".rjust(wide) if number else f"{shade}*".rjust(wide)
