"""A table of more keys than can be named, folded: of each query the keys that it looks at most."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from mechtui.paint.heat import Piece, cell
from mechtui.paint.nans import blank
from mechtui.paint.numbers import fit
from mechtui.paint.palette import Palette
from mechtui.paint.tokens import column_name
from mechtui.panes.overview import Overview, overview

# Cells of a key's number: of what is 0 to 1, and of what may be any number or has a sign.
SHARE, ANY = 3, 5
# Cells of a key's name: as many as it would like, and the fewest.
NAME, LEAST_NAME = 7, 4
# The narrowest overview that shows something, and the cells between it and the keys: a blank and the window's mark.
LEAST_OVERVIEW, BESIDE = 12, 2
ORDINALS = ("1st", "2nd", "3rd")


class Room(NamedTuple):
    """How the folded table fits: cells of the queries' names, of a key, how many keys, and of the overview."""

    label: int
    wide: int
    keys: int
    overview: int


@dataclass(frozen=True, eq=False)
class Folded:
    """table [query, key], NaN where the query does not see the key; low, high, signs: its colours, as a grid's. unit:
    whether its rows add up to 1. A query's keys are put in order once, when they are first looked at."""

    table: np.ndarray
    low: float
    high: float
    signs: bool
    unit: bool
    _orders: dict[int, np.ndarray] = field(default_factory=dict)
    _overviews: dict[tuple[int, int], Overview] = field(default_factory=dict)

    def order(self, query: int) -> np.ndarray:
        """All keys that the query sees, the strongest first."""
        found = self._orders.get(query)
        if found is None:
            row = self.table[query]
            seen = np.flatnonzero(~blank(row))
            size = np.abs(row[seen]) if self.signs else row[seen]
            found = self._orders[query] = seen[np.argsort(-size, kind="stable")]
        return found

    def keys(self, query: int, count: int, ranked: bool, cursor: int | None = None) -> list[int]:
        """The `count` strongest keys of a query, the strongest first or, unless `ranked`, as they stand in the text.
        The cursor's key is among them, in place of the weakest if it has to be."""
        found = [int(key) for key in self.order(query)[:count]]
        if cursor is not None and cursor not in found:
            found = [*found[: count - 1], cursor]
        return found if ranked else sorted(found)

    def moved(self, query: int, count: int, ranked: bool, cursor: int, right: int) -> int:
        """The key `right` of the cursor's; by rank one comes to all that the query sees."""
        keys = [int(key) for key in self.order(query)] if ranked else self.keys(query, count, ranked, cursor)
        at = keys.index(cursor) if cursor in keys else 0
        return keys[max(0, min(at + right, len(keys) - 1))] if keys else cursor

    def below(self, query: int, other: int, count: int, ranked: bool, cursor: int) -> int:
        """The key of the other query that stands in the cursor's column."""
        at = self.keys(query, count, ranked, cursor).index(cursor)
        keys = self.keys(other, count, ranked)
        return keys[min(at, len(keys) - 1)] if keys else cursor

    def overview(self, height: int, width: int) -> Overview:
        size = height, width
        if size not in self._overviews:
            self._overviews.clear()
            self._overviews[size] = overview(self.table, height, width, self.low, self.high, self.signs)
        return self._overviews[size]

    def room(self, width: int, height: int, label: int, name: int) -> Room:
        """name: cells of the longest token. Half of the width or more is the overview's, as far as it is square."""
        digits = len(str(max(self.table.shape[1] - 1, 0)))
        number = SHARE if self.unit and not self.signs else ANY
        wide = 1 + digits + max(min(name, NAME), LEAST_NAME) + 1 + number
        rest = width - label - BESIDE
        most = min(2 * height, rest)
        beside = min(most, max(rest // 2, LEAST_OVERVIEW))
        if rest - beside < wide:
            beside = rest - wide
        if beside < LEAST_OVERVIEW:
            count = max((width - label) // wide, 1)
            return Room(label, min(wide, max(width - label, 1)), count, 0)
        count = max((rest - beside) // wide, 1)
        beside = min(most, rest - count * wide)
        spare = (rest - beside) // count - wide
        return Room(label, wide + min(spare, max(name - NAME, 0)), count, beside)

    def cell(self, query: int, key: int, name: str, wide: int, palette: Palette, always: bool) -> list[Piece]:
        """A key in `wide` cells: number, name and value, coloured by the value. Next to nothing is blank, unless
        `always`."""
        value = float(self.table[query, key])
        if not always and self.unit and abs(value) < 0.005:
            return [(" " * wide, palette.dim)]
        number = SHARE if self.unit and not self.signs else ANY
        text = fit(value, number, sign=self.signs)
        digits = len(str(self.table.shape[1] - 1))
        room = max(wide - 1 - digits - 1 - number, 0)
        said = f"{key:>{digits}}{column_name(name, room, right=False)} {text:>{number}}"[: wide - 1]
        _, look = cell(value, self.low, self.high, 1, palette, signs=self.signs)
        if palette.shaded or math.isnan(value):
            look = palette.plain
        else:
            look = palette.diverging(0) if self.signs and look.bgcolor is None else look
        return [(" ", palette.plain), (said, look)]

    def above(self, room: Room, ranked: bool) -> str:
        """What stands above the keys."""
        named = [*ORDINALS, *(f"{at}th" for at in range(len(ORDINALS) + 1, room.keys + 1))]
        names = [f"{named[at]} key" if ranked else "key" for at in range(room.keys)]
        return "".join(f" {name:<{room.wide - 1}}"[: room.wide] for name in names)

    def held(self, query: int, keys: list[int]) -> str:
        """How much of what the query looks at these keys hold."""
        if not self.unit or self.signs:
            return ""
        row, seen = self.table[query], len(self.order(query))
        share = float(np.nansum(row[keys]))
        return f"{len(keys)} of its {seen} keys: {fit(share, SHARE).strip()} of the row"
