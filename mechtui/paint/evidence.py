"""What is said of many cases in a line: `+3.20 [+2.91, +3.48] sd 1.21 98% + n 64`, as exactly as there is room."""

from __future__ import annotations

import math

from mechtui.evidence import Summary
from mechtui.paint.numbers import signed
from mechtui.paint.tokens import width as cells


def said(over: Summary, room: int) -> str:
    """The mean with its interval, spread, the share that has its sign, and n; what has no room goes, n never. Of no
    numbers: that there are none."""
    if not over.n:
        return "none yet, n 0"[: max(room, 0)]
    mean, count = signed(over.mean).strip(), f"n {over.n}"
    interval = "" if math.isnan(over.low) else f" [{signed(over.low).strip()}, {signed(over.high).strip()}]"
    spread = "" if math.isnan(over.sd) else f" sd {over.sd:.2f}"
    agree = f" {over.share:.0%} {'+' if over.mean > 0 else '−' if over.mean < 0 else '0'}"
    ways = (
        f"{mean}{interval}{spread}{agree} {count}",
        f"{mean}{interval}{agree} {count}",
        f"{mean}{interval} {count}",
        f"{mean}{interval} n{over.n}",
    )
    return next((text for text in ways if cells(text) <= room), f"{mean} n{over.n}")
