"""What the terminal shows, cell by cell, so that only what is another is sent.

Textual sends whole parts of rows, each cell of a table with its colours: 24 KB where a cursor moves by one. Over a slow
line that is seconds behind a key that is held. Here a frame is compared with what was sent before, and frames that come
while the terminal has not taken the last one are never sent at all: what is sent next is the difference to the newest.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from functools import lru_cache
from itertools import pairwise
from typing import NamedTuple

from rich.cells import cached_cell_len
from rich.color import Color, ColorSystem
from rich.segment import Segment
from rich.style import Style
from textual._compositor import ChopsUpdate, CompositorUpdate, LayoutUpdate
from textual.geometry import Size

# So many cells that are the same are sent again rather than jumped over: a jump takes as many bytes.
GAP = 4
# Codes of SGR by rich's names of attributes.
ATTRIBUTES = {
    "bold": "1", "dim": "2", "italic": "3", "underline": "4", "blink": "5", "blink2": "6", "reverse": "7",
    "conceal": "8", "strike": "9", "underline2": "21", "frame": "51", "encircle": "52", "overline": "53",
}  # fmt: skip
RESET = "\x1b[m"


class Look(NamedTuple):
    """Codes of SGR: attributes, colour, background. Empty: the terminal's own."""

    attributes: str = ""
    color: str = ""
    background: str = ""


PLAIN = Look()
# What stands in a cell: a character with what is combined with it, nothing in the second cell of a wide one.
Cell = tuple[str, Look]
BLANK: Cell = (" ", PLAIN)


class Frame:
    """The cells of a terminal: those that are to be there, and those that were sent (None: nobody knows)."""

    def __init__(self) -> None:
        self.size = Size(0, 0)
        self._wanted: list[list[Cell]] = []
        self._sent: list[list[Cell | None]] = []
        # Row -> in which update it was touched first since it was sent, and in which last.
        self._touched: dict[int, tuple[int, int]] = {}
        self._updates = 0
        self.cells = 0  # that were sent
        self._newest = True  # whether what changed last comes first

    def forget(self) -> None:
        """Nobody knows what the terminal shows."""
        self._sent = [[None] * self.size.width for _ in range(self.size.height)]
        self._touched = dict.fromkeys(range(self.size.height), (self._updates, self._updates))

    def take(self, update: CompositorUpdate, size: Size, colors: ColorSystem | None) -> None:
        """What is to be there from now on. size: of the terminal; where it is another, all is sent anew."""
        if size != self.size:
            self.size = size
            self._wanted = [[BLANK] * size.width for _ in range(size.height)]
            self.forget()
        self._updates += 1
        for x, y, segments in _pieces(update):
            if 0 <= y < self.size.height:
                self._put(x, y, segments, colors)

    def _put(self, x: int, y: int, segments: Iterable[Segment], colors: ColorSystem | None) -> None:
        row, width = self._wanted[y], self.size.width
        self._touched[y] = self._touched.get(y, (self._updates, 0))[0], self._updates
        if x < width and row[x][0] == "" and x > 0:
            row[x - 1] = (" ", row[x - 1][1])  # half of a wide character is none
        for text, style, control in segments:
            if control:
                continue
            look = PLAIN if style is None else look_of(style, colors)
            if text.isascii() and text.isprintable():
                cells: list[Cell] = [(sign, look) for sign in text[: max(width - x, 0)]]
                row[x : x + len(cells)] = cells
                x += len(cells)
                continue
            for sign in text:
                wide = cached_cell_len(sign)
                if wide == 0:
                    if 0 < x <= width:
                        _combine(row, x - 1, sign)
                elif x + wide <= width:
                    row[x : x + wide] = [(sign, look), ("", look)][:wide]
                    x += wide
        if x < width and row[x][0] == "":
            row[x] = (" ", row[x][1])

    def changes(self, most: float = math.inf) -> str:
        """What makes of what was sent what is to be there; from now on it counts as sent. It begins and ends with plain
        looks, and the cursor may be anywhere. most: about so many characters, of whole rows, at least one; in turn
        those that changed last, so that a key is seen soon, and those that have waited longest. `whole` says whether
        that was all."""
        parts: list[str] = []
        look, size = PLAIN, 0
        for y in self._in_turn(math.isfinite(most)):
            wanted, sent = self._wanted[y], self._sent[y]
            if wanted != sent:
                row: list[str] = []
                then, cells = look, 0
                for begin, end in _runs(wanted, sent):
                    cells += end - begin
                    row.append(f"\x1b[{y + 1};{begin + 1}H")
                    then = _write(row, wanted, begin, end, y, then)
                length = sum(map(len, row))
                if parts and size + length > most:
                    break
                parts += row
                self.cells += cells
                size, look = size + length, then
                self._sent[y] = [*wanted]
            del self._touched[y]
        if look != PLAIN:
            parts.append(RESET)
        return "".join(parts)

    def _in_turn(self, some: bool) -> list[int]:
        """The rows that were touched, from above; where there may be room for some only, in their turn."""
        if not some:
            return sorted(self._touched)
        self._newest = not self._newest
        if self._newest:
            return sorted(self._touched, key=lambda y: (-self._touched[y][1], y))
        return sorted(self._touched, key=lambda y: (self._touched[y][0], y))

    @property
    def whole(self) -> bool:
        """Whether all that is to be there was sent."""
        return not self._touched


def _pieces(update: CompositorUpdate) -> Iterator[tuple[int, int, Iterable[Segment]]]:
    """(x, y, segments) of what an update paints, as Textual would send it."""
    match update:
        case LayoutUpdate():
            for y, line in enumerate(update.strips, update.region.y):
                x = update.region.x
                for strip in line:
                    yield x, y, strip
                    x += strip.cell_length
        case ChopsUpdate():
            for y, begin, end in update.spans:
                for until, (x, part) in zip(update.chop_ends[y], update.chops[y].items(), strict=False):
                    if part is not None and x <= end and until > begin:
                        whole = begin <= x < end and until <= end
                        yield x, y, part if whole else part.crop(0, min(until, end) - x)
        case _:
            raise TypeError(f"an update of a kind that is not known: {type(update).__name__}")


def _combine(row: list[Cell], x: int, sign: str) -> None:
    """Add a sign of no width to the character before it."""
    at = x - 1 if row[x][0] == "" and x > 0 else x
    text, look = row[at]
    row[at] = (text + sign, look)


def _runs(wanted: list[Cell], sent: list[Cell | None]) -> Iterator[tuple[int, int]]:
    """Where they differ: from, to. Small gaps between are joined, and no wide character is begun in its middle."""
    others = [x for x, (new, old) in enumerate(zip(wanted, sent, strict=True)) if new != old]
    begin = others[0]
    for one, next_one in pairwise(others):
        if next_one - one > GAP:
            yield _start(wanted, begin), _end(wanted, one + 1)
            begin = next_one
    yield _start(wanted, begin), _end(wanted, others[-1] + 1)


def _start(row: list[Cell], x: int) -> int:
    return x - 1 if x > 0 and row[x][0] == "" else x


def _end(row: list[Cell], x: int) -> int:
    """Behind a character that a terminal may take for a wider one, the next cell is sent, too."""
    while x < len(row) and not _certain(row[x - 1][0]):
        x += 1
    return x


def _certain(text: str) -> bool:
    """Whether all terminals give it one cell."""
    return len(text) == 1 and (text < "\u0300" or "\u2190" <= text <= "\u259f" or "\u2800" <= text <= "\u28ff")


def _write(parts: list[str], row: list[Cell], begin: int, end: int, y: int, look: Look) -> Look:
    """Add what writes these cells of a row. look: that of what was written last -> that of this."""
    placed = True
    for x in range(begin, end):
        text, wanted = row[x]
        if not text:
            continue
        if not placed:
            parts.append(f"\x1b[{y + 1};{x + 1}H")
        if wanted != look:
            parts.append(_turned(look, wanted))
            look = wanted
        # Terminals differ in how wide they take some characters: what comes behind has its place said, and where one is
        # to have two cells both are blank before.
        placed = _certain(text)
        if not placed and x + 1 < len(row) and not row[x + 1][0]:
            parts.append(f"  \x1b[{y + 1};{x + 1}H")
        parts.append(text)
    return look


@lru_cache(1 << 12)
def _turned(look: Look, wanted: Look) -> str:
    """The sequence that makes of one look the other."""
    if wanted == PLAIN:
        return RESET
    if look.attributes != wanted.attributes:
        # Some attributes cannot be taken back one by one everywhere.
        codes = ["" if look == PLAIN else "0", *wanted]
    else:
        codes = ["" if look.color == wanted.color else wanted.color or "39"]
        codes.append("" if look.background == wanted.background else wanted.background or "49")
    return f"\x1b[{';'.join(filter(None, codes))}m"


@lru_cache(1 << 12)
def look_of(style: Style, colors: ColorSystem | None) -> Look:
    """colors: those that the terminal has."""
    attributes = ";".join(code for name, code in ATTRIBUTES.items() if getattr(style, name))
    return Look(attributes, _codes(style.color, colors, True), _codes(style.bgcolor, colors, False))


def _codes(color: Color | None, colors: ColorSystem | None, foreground: bool) -> str:
    if color is None or colors is None or color.is_default:
        return ""
    return ";".join(color.downgrade(colors).get_ansi_codes(foreground))
