"""Small pictures: two values one above the other in a cell, so that a dot is about as high as wide."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from rich.style import Style

from mechtui.paint import plain
from mechtui.paint.heat import Piece
from mechtui.paint.palette import HALF, LEVELS, Palette, diverging_level, level


def halves(
    values: np.ndarray, row: int, low: float, high: float, palette: Palette, *, signs: bool = False
) -> list[Piece]:
    """One piece for each column: the values [row, column] of `row` above those of the next one, on the scale low..high
    (-high..high with signs). NaN has no colour; neither has what lies below the last row."""
    above = values[row]
    below = values[row + 1] if row + 1 < len(values) else np.full(above.shape, np.nan)

    def step(value: float) -> int | None:
        return diverging_level(value, high) if signs else level(value, low, high)

    return [_half(step(float(a)), step(float(b)), palette, signs) for a, b in zip(above, below, strict=True)]


@lru_cache(4096)
def _half(above: int | None, below: int | None, palette: Palette, signs: bool) -> Piece:
    if palette.shaded:
        # Without colours a cell shows the stronger of its two.
        strongest = max((abs(each) for each in (above, below) if each is not None), default=None)
        if strongest is None:
            return " ", Style.null()
        dot = plain.DOT if palette.ascii else "·"
        return palette.shade(strongest, HALF + 1 if signs else LEVELS).replace(" ", dot), Style.null()
    look = palette.diverging if signs else palette.sequential
    if palette.ascii:
        # No sign is half a cell there: the stronger one has all of it.
        known = [each for each in (above, below) if each is not None]
        return (" ", look(max(known, key=abs))) if known else (" ", Style.null())
    top, bottom = (None if each is None else look(each).bgcolor for each in (above, below))
    if top is None and bottom is None:
        return " ", Style.null()
    if top is None:
        return "▄", Style(color=bottom)
    return ("▀", Style(color=top)) if bottom is None else ("▀", Style(color=top, bgcolor=bottom))
