"""Horizontal bars in eighths of a cell."""

from __future__ import annotations

import math

EIGHTHS = "▏▎▍▌▋▊▉█"


def bar(part: float, width: int) -> str:
    """A bar over `part` (0..1) of `width` cells, padded to `width`; blank for NaN.

    Anything above zero shows at least the thinnest line: a small probability is not none.
    """
    if width <= 0:
        return ""
    if math.isnan(part) or part <= 0:
        return " " * width
    eighths = max(1, round(min(part, 1.0) * width * 8))
    whole, rest = divmod(eighths, 8)
    return ("█" * whole + (EIGHTHS[rest - 1] if rest else "")).ljust(width)
