"""A list with columns: sorted by any of them, narrowed by words, with a cursor, marks, and whole columns only.

A row keeps its number, however the list is sorted or narrowed: cursor and marks are such numbers. Nothing here has
state: a pane builds `Rows` from its answers, asks for the page, and keeps the number that `moved` gives it.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np
from rich.style import Style

from mechtui.paint.bars import bar
from mechtui.paint.heat import Piece
from mechtui.paint.nans import nan_shown
from mechtui.paint.numbers import fixed
from mechtui.paint.palette import HALF, Palette, diverging_level, level
from mechtui.paint.tokens import cut, fitting, pad
from mechtui.paint.tokens import width as cells
from mechtui.panes.pane import Line, Page, line

_CURSOR = re.compile(r"(.*?)(?:/([0-9]{1,3}))?", re.ASCII)


def write_cursor(row: str | int, column: int | None) -> str:
    """The word in which a pane says where its cursor is (`Pane.cursor`): L3N7/2, or L3N7 in the column that sorts.
    row: its name, or its number, of which 0 needs no word."""
    said = str(row or "")
    return said if column is None else f"{said}/{column}"


def read_cursor(word: str) -> tuple[str, int | None]:
    """The row and the column of such a word."""
    found = _CURSOR.fullmatch(word)
    row, column = found.groups() if found is not None else ("", None)
    return row, None if column is None else int(column)


def read_number(row: str) -> int:
    """The number of a row that such a word says; 0 where it says none."""
    return int(row) if re.fullmatch(r"[0-9]{1,5}", row, re.ASCII) else 0


# Blanks before a column; the last of them holds the mark of the column that sorts.
GAP = 2
# Cells of a bar: at least, and at most where the list has room to spare.
LEAST_BAR, MOST_BAR = 6, 40
# Cells before and behind a row's name, for the marks of what is chosen and of what is edited.
CHOSEN, EDITED = "●", "*"


@dataclass(frozen=True, eq=False)
class Texts:
    """A column of texts, left-aligned. name: the word that sorts by it. head: what stands above it where the names do
    not all fit. most: cells that it takes at most; longer texts end in `…`."""

    name: str
    values: Sequence[str]
    head: str = ""
    most: int = 40

    @cached_property
    def cells(self) -> int:
        return min(max((cells(text) for text in self.values), default=0), self.most)

    def text(self, row: int) -> str:
        return self.values[row]

    def order(self, rows: Sequence[int], up: bool) -> list[int]:
        """From a to z; the other way round with `up`."""
        return sorted(rows, key=lambda row: self.values[row], reverse=up)


@dataclass(frozen=True, eq=False)
class Numbers:
    """A column of numbers, aligned on their points; NaN is blank. places: digits behind the point. signs: each number
    has its sign, blue and orange are its colours, and its size sorts. look: plain, coloured as a cell between `low`
    and `high` (-high and high with signs), or followed by a bar. unit: for who writes the legend."""

    name: str
    values: np.ndarray
    head: str = ""
    unit: str = ""
    places: int = 2
    signs: bool = False
    look: Literal["plain", "shade", "bar"] = "plain"
    low: float = 0.0
    high: float = 1.0

    @cached_property
    def cells(self) -> int:
        finite = self.values[~np.isnan(self.values)]
        ends = (float(finite.min()), float(finite.max())) if finite.size else ()
        # The longest text is that of one of the ends: all have the same places.
        return max((len(fixed(end, self.places, sign=self.signs)) for end in ends), default=0)

    def text(self, row: int) -> str:
        return fixed(float(self.values[row]), self.places, sign=self.signs)

    def order(self, rows: Sequence[int], up: bool) -> list[int]:
        """The largest first, or the smallest with `up`; what was not computed is last either way."""

        def place(row: int) -> tuple[bool, float]:
            value = float(self.values[row])
            size = abs(value) if self.signs else value
            return math.isnan(value), size if up else -size

        return sorted(rows, key=place)


Column = Texts | Numbers


def ordered(columns: Sequence[Column], by: str = "", up: bool = False, only: str = "") -> tuple[int, ...]:
    """Numbers of the rows whose texts hold every word of `only` (without regard to case), sorted by the column of this
    name, equals as they were given; without such a column all as they were given."""
    words = only.lower().split()
    texts = [column for column in columns if isinstance(column, Texts)]
    count = len(columns[0].values) if columns else 0
    rows = [
        row
        for row in range(count)
        if not words or all(word in " ".join(column.values[row] for column in texts).lower() for word in words)
    ]
    column = next((column for column in columns if by and column.name == by), None)
    return tuple(rows if column is None else column.order(rows, up))


@dataclass(frozen=True, eq=False)
class Rows:
    """columns: the first names the rows and is always in sight. order: the rows that are shown, see `ordered`. by, up:
    what they are sorted by. only: what narrows them, for the sentence where no row is left. chosen, edited: rows with a
    mark. below: rows that stay under the list, such as its sum."""

    columns: tuple[Column, ...]
    order: tuple[int, ...]
    by: str = ""
    up: bool = False
    only: str = ""
    chosen: frozenset[int] = frozenset()
    edited: frozenset[int] = frozenset()
    below: tuple[int, ...] = ()

    @cached_property
    def _places(self) -> dict[int, int]:
        return {row: place for place, row in enumerate(self.order)}

    def moved(self, row: int, down: int) -> int:
        """The row that stands `down` below this one; from a row that is not shown, counted from the first. The same
        row where none is shown."""
        if not self.order:
            return row
        place = self._places.get(row)
        here = down if place is not None else 0
        return self.order[max(0, min((place or 0) + here, len(self.order) - 1))]

    def beside(self, at: int | None, right: int) -> int:
        """The column that stands `right` beside this one (None: the one that sorts); never the names' own."""
        return max(min(self._column(at) + right, len(self.columns) - 1), min(1, len(self.columns) - 1))

    def row_text(self, row: int) -> str:
        """All of a row, with tabs between, for the clipboard; nothing of one that the list has not (yet)."""
        if not 0 <= row < len(self.columns[0].values):
            return ""
        return "\t".join(column.text(row).strip() for column in self.columns)

    def value(self, row: int, at: int | None) -> str:
        """A cell as it is, for the clipboard: of column `at`, else of the one that sorts; nothing of a row that the
        list has not (yet)."""
        if not 0 <= row < len(self.columns[0].values):
            return ""
        column = self.columns[self._column(at)]
        if isinstance(column, Texts):
            return column.values[row]
        value = float(column.values[row])
        return f"{value:.6g}" if nan_shown(value) or not math.isnan(value) else ""

    def column_at(self, x: int, width: int, at: int | None = None) -> int | None:
        """The number of the column at cell x of a page of this width, for a click on its head."""
        fit = self._fit(width, at)
        end = fit.name
        if x < end:
            return 0
        for number, wide in fit.shown:
            end += GAP + wide
            if x < end:
                return number
        return None

    def page(self, palette: Palette, width: int, height: int, cursor: int, at: int | None = None) -> Page:
        """The list at this size, with the cursor on a row and, if not on the one that sorts, on column `at`.
        Columns that have no room are named at the foot; the column of the cursor is always in sight."""
        fit = self._fit(width, at)
        foot: list[Line] = []
        if fit.left_out and height >= 6:
            names = " ".join(self.columns[number].name for number in fit.left_out)
            foot = [line((cut(f"←→ more: {names}", width), palette.dim))]
        if not self.order:
            why = f"no row has {self.only!r} in it" if self.only else "there is nothing to list"
            return Page(1, lambda index, left: line((cut(why, width), palette.dim)), foot=foot)
        foot += [self._line(palette, fit, row, cursor, at) for row in self.below]
        here = self._places.get(cursor)
        return Page(
            len(self.order),
            lambda index, left: self._line(palette, fit, self.order[index], cursor, at),
            head=lambda left: [self._head(palette, fit, at)],
            head_rows=1 if height > 1 else 0,
            foot=foot,
            full=self._full,
            cursor=here,
        )

    @property
    def _full(self) -> int:
        """Cells of all columns under their names."""
        name = max(cells(self._title(0, False)), self.columns[0].cells) + cells(CHOSEN) + cells(EDITED)
        return name + sum(GAP + self._wide(number, False) for number in range(1, len(self.columns)))

    @property
    def _sorting(self) -> int:
        """Number of the column that sorts; without one, of the first behind the names."""
        found = (number for number, column in enumerate(self.columns) if self.by and column.name == self.by)
        return next(found, min(1, len(self.columns) - 1))

    def _column(self, at: int | None) -> int:
        """The cursor's column: the one that sorts before it was moved; the last of a list that has fewer now."""
        return self._sorting if at is None else min(at, len(self.columns) - 1)

    def _fit(self, width: int, at: int | None) -> _Fit:
        """What fits into this width: all columns under their names, else under their short heads, else those from the
        one on from which the cursor's column still fits."""
        name = max(cells(self._title(0, False)), self.columns[0].cells) + cells(CHOSEN) + cells(EDITED)
        name = min(name, max(width, 1))
        numbers = range(1, len(self.columns))
        here = self._column(at)

        def total(shown: Sequence[int], short: bool) -> int:
            return sum(GAP + self._wide(number, short) for number in shown)

        for short in (False, True):
            if name + total(numbers, short) <= width:
                return self._stretched(name, tuple(numbers), short, width)
        first, last = 1, here + 1
        while first < here and name + total(range(first, last), True) > width:
            first += 1
        while last < len(self.columns) and name + total(range(first, last + 1), True) <= width:
            last += 1
        shown = tuple(number for number in range(first, last) if name + total(range(first, number + 1), True) <= width)
        return self._stretched(name, shown, True, width)

    def _stretched(self, name: int, shown: tuple[int, ...], short: bool, width: int) -> _Fit:
        """The bars share the room that is left."""
        wide = [self._wide(number, short) for number in shown]
        bars = [i for i, number in enumerate(shown) if self._bar(number)]
        spare = width - name - sum(GAP + each for each in wide)
        for i in bars:
            wide[i] += min(spare // len(bars), MOST_BAR - LEAST_BAR)
        left_out = tuple(number for number in range(1, len(self.columns)) if number not in shown)
        return _Fit(name, tuple(zip(shown, wide, strict=True)), short, left_out)

    def _bar(self, number: int) -> bool:
        column = self.columns[number]
        return isinstance(column, Numbers) and column.look == "bar"

    def _title(self, number: int, short: bool) -> str:
        column = self.columns[number]
        return (column.head if short else "") or column.name

    def _wide(self, number: int, short: bool) -> int:
        own = self.columns[number].cells + (1 + LEAST_BAR if self._bar(number) else 0)
        return max(own, cells(self._title(number, short)))

    def _head(self, palette: Palette, fit: _Fit, at: int | None) -> Line:
        here = self._column(at)
        mark = "▴" if self.up else "▾"
        sorts = self.by == self.columns[0].name
        name, more = self._title(0, False), f"+{len(fit.left_out)}" if fit.left_out else ""
        if more:
            name = fitting(fit.name - 1, f"{name} {more}", name)
        pieces: list[Piece] = [(mark if sorts else " ", palette.bold), (pad(name, max(fit.name - 1, 0)), palette.dim)]
        for number, wide in fit.shown:
            column = self.columns[number]
            sorts = bool(self.by) and self.by == column.name
            title = self._title(number, fit.short)
            aligned = self._bar(number) or isinstance(column, Texts)
            text = pad(title, wide) if aligned else pad(title, wide, right=True)
            look = palette.row if number == here else palette.dim
            if sorts:
                # The mark stands right before the name, wherever that begins.
                blank = len(text) - len(text.lstrip())
                text = " " * (GAP - 1 + blank) + mark + text[blank:]
            else:
                text = " " * GAP + text
            pieces.append((text, look))
        return line(*pieces)

    def _line(self, palette: Palette, fit: _Fit, row: int, cursor: int, at: int | None) -> Line:
        chosen, edited, here = row in self.chosen, row in self.edited, row == cursor
        name = pad(self.columns[0].text(row) + (EDITED if edited else ""), max(fit.name - 1, 0))
        look = palette.selected if here else palette.mark if chosen or edited else palette.plain
        below = row in self.below
        pieces: list[Piece] = [(CHOSEN if chosen else " ", palette.mark), (name, look)]
        for number, wide in fit.shown:
            column = self.columns[number]
            plain = palette.bold if here or below else palette.plain
            pieces.append((" " * GAP, Style.null()))
            if isinstance(column, Texts):
                found = [(pad(column.text(row), wide), plain)]
            elif below:
                # A sum has no place on the scale of what it sums up.
                found = [(pad(column.text(row).rjust(column.cells if column.look == "bar" else wide), wide), plain)]
            else:
                found = _number(column, row, wide, palette, plain)
            if here and at is not None and number == at:
                found = [(text, style + palette.selected) for text, style in found]
            pieces += found
        return line(*pieces)


@dataclass(frozen=True)
class _Fit:
    """How a list fits into a width. name: cells of the names with their marks. shown: (number, cells) of the columns.
    short: whether under their short heads. left_out: numbers of those that have no room."""

    name: int
    shown: tuple[tuple[int, int], ...]
    short: bool
    left_out: tuple[int, ...]


def _number(column: Numbers, row: int, wide: int, palette: Palette, plain: Style) -> list[Piece]:
    value = float(column.values[row])
    text = column.text(row)
    if column.look == "bar":
        number = text.rjust(column.cells)
        room = wide - column.cells - 1
        size, most = (abs(value), column.high) if column.signs else (value - column.low, column.high - column.low)
        part = math.nan if math.isnan(value) or most <= 0 else min(size / most, 1.0)
        return [(f"{number} ", plain), (bar(part, room), _bar_style(column, value, palette))]
    if math.isnan(value) or column.look == "plain":
        return [(text.rjust(wide), plain)]
    if column.signs:
        return [(text.rjust(wide), palette.diverging(diverging_level(value, column.high) or 0))]
    return [(text.rjust(wide), palette.sequential(level(value, column.low, column.high) or 0))]


def _bar_style(column: Numbers, value: float, palette: Palette) -> Style:
    """Orange above 0 and blue below; what has no sign in the plain colour."""
    if not column.signs or math.isnan(value) or value == 0:
        return palette.accent
    return Style(color=palette.diverging(HALF if value > 0 else -HALF).bgcolor)
