"""Sparklines: a row of numbers as a row of blocks, with gaps where a number is missing."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from rich.segment import Segment
from rich.style import Style

from mechtui.none import NONE
from mechtui.paint.nans import nan_shown, nan_text

BLOCKS = "▁▂▃▄▅▆▇█"


def block(value: float, low: float, high: float) -> str:
    """One value on the scale low..high; a space for NaN."""
    if math.isnan(value):
        return nan_text(value, 1)
    if high <= low or math.isinf(high - low):
        return BLOCKS[0]
    place = (min(max(value, low), high) - low) / (high - low)
    return BLOCKS[min(int(place * len(BLOCKS)), len(BLOCKS) - 1)]


def squeeze(values: Sequence[float], width: int) -> list[float]:
    """At most `width` values: each the largest of those that share its cell, so that no peak is lost."""
    count = len(values)
    if count <= width or width <= 0:
        return list(values)[: max(width, 0)]
    found = []
    for cell in range(width):
        there = values[cell * count // width : (cell + 1) * count // width]
        some = [v for v in there if not math.isnan(v)]
        found.append(max(some, default=next((v for v in there if nan_shown(v)), NONE)))
    return found


def cell_of(index: int, count: int, width: int) -> int:
    """In which cell `squeeze` puts the value at `index`."""
    if count <= width:
        return index
    return next(cell for cell in range(width) if index < (cell + 1) * count // width)


def scale(*rows: Sequence[float] | np.ndarray, log: bool = False) -> tuple[float, float]:
    """Lowest and highest of all rows (of their logarithms with `log`); (0, 0) when there is nothing."""
    values = np.concatenate([np.ravel(np.asarray(row, dtype=float)) for row in rows]) if rows else np.empty(0)
    values = values[np.isfinite(values) & ((values > 0) | (not log))]
    if not values.size:
        return 0.0, 0.0
    low, high = float(values.min()), float(values.max())
    return (math.log10(low), math.log10(high)) if log else (low, high)


def logs(values: Sequence[float]) -> list[float]:
    """log10; NaN for what has none, one that is not painted where the number is no NaN itself."""
    return [math.log10(v) if v > 0 and math.isfinite(v) else v if math.isnan(v) else NONE for v in values]


def sparkline(values: Sequence[float], width: int, low: float, high: float) -> str:
    """`width` cells at most, on the scale low..high."""
    return "".join(block(value, low, high) for value in squeeze(values, width))


def sizes(row: np.ndarray, width: int) -> str:
    """How far from 0 each value is, the farthest a whole block: what fires may also be below 0."""
    values = np.abs(row)
    return sparkline(values.tolist(), width, 0.0, float(np.nanmax(values, initial=0.0)))


def with_cursor(text: str, cursor: int | None, style: Style, selected: Style) -> list[Segment]:
    """The sparkline with one of its cells marked."""
    if cursor is None or not 0 <= cursor < len(text):
        return [Segment(text, style)]
    parts = [(text[:cursor], style), (text[cursor], selected), (text[cursor + 1 :], style)]
    return [Segment(part, look) for part, look in parts if part]
