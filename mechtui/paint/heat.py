"""Rows of a matrix as coloured cells; neighbours that look alike become one segment."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from functools import lru_cache

from rich.segment import Segment
from rich.style import Style

from mechtui.paint import plain
from mechtui.paint.nans import nan_text
from mechtui.paint.numbers import fit
from mechtui.paint.palette import HALF, LEVELS, Palette, diverging_level, level

Piece = tuple[str, Style]


def merge(pieces: Iterable[Piece]) -> list[Segment]:
    """Pieces of text to segments, neighbours of one style joined, empty ones left out."""
    found: list[Segment] = []
    text, look = "", Style.null()
    for part, style in pieces:
        if not part:
            continue
        if style is look or style == look:
            text += part
            continue
        if text:
            found.append(Segment(text, look))
        text, look = part, style
    if text:
        found.append(Segment(text, look))
    return found


def cell(
    value: float, low: float, high: float, wide: int, palette: Palette, *, signs: bool = False, digits: int = 3
) -> Piece:
    """One value in `wide` cells: the number where `digits` cells are free for it, colour always.

    With `signs` the scale is -high..high and blue or orange; without, low..high and dark to light. A blank
    without colour is NaN: nothing was computed there; `·` is a number that has no room, or is too little for a shade.
    """
    if math.isnan(value):
        return nan_text(value, wide), Style.null()
    return _cell(value, low, high, wide, palette, signs, digits)


# A cursor that moves repaints rows whose numbers are the same.
@lru_cache(16384)
def _cell(value: float, low: float, high: float, wide: int, palette: Palette, signs: bool, digits: int, /) -> Piece:
    room = wide - 1 if wide > 1 else wide
    text = fit(value, room, sign=signs).rjust(wide) if room >= digits else ""
    if signs:
        step = diverging_level(value, high) or 0
        if not text.strip():
            # Blue and orange are equally light: the sign must not be told by hue alone.
            mark = "+" if step > 0 else "-" if step < 0 else " "
            text = mark.rjust(wide)
            if palette.shaded and step and wide > 1:
                text = mark + palette.shade(abs(step), HALF + 1) * (wide - 1)
        return text, palette.diverging(step)
    step = level(value, low, high) or 0
    if text.strip():
        return text, palette.sequential(step)
    filled, look = palette.fill(step, wide)
    none = room >= digits or (look.bgcolor is None and not filled.strip())
    return ((plain.DOT if palette.ascii else "·").rjust(wide) if none else filled), look


def row(
    values: Sequence[float],
    low: float,
    high: float,
    wide: int,
    palette: Palette,
    *,
    signs: bool = False,
    digits: int = 3,
) -> list[Segment]:
    """A matrix row, each value in `wide` cells."""
    return merge(cell(float(value), low, high, wide, palette, signs=signs, digits=digits) for value in values)


def legend(low: str, high: str, palette: Palette, *, signs: bool = False, unit: str = "") -> list[Piece]:
    """The scale in one line: `0 ░▒▓█ 3.1 nats`, or `-2 ▓░ ░▓ +2`; nothing where its ends are one."""
    if low == high:
        return []
    steps: list[Piece] = []
    if signs:
        for step in (-HALF, -HALF // 2, 0, HALF // 2, HALF):
            mark = "-" if step < 0 else "+" if step > 0 else " "
            steps.append((mark, palette.diverging(step)))
    else:
        for step in range(0, LEVELS, 3):
            steps.append(palette.fill(step))
    return [(f"{low} ", Style.null()), *steps, (f" {high}" + (f" {unit}" if unit else ""), Style.null())]
