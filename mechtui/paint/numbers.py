"""Numbers as people of the field write them in tables: `.71`, `1.0`, `-5.08`, `480`, `3.1k`.

NaN, a value that was not computed, is blank everywhere; one that was computed is `nan` (`paint.nans`).
"""

from __future__ import annotations

import math

from mechtui.paint.nans import nan_text


def share(value: float, places: int = 2) -> str:
    """A number in 0..1, `places + 1` cells: `.71`, `1.0` (`.710`, `1.00` with three places)."""
    width = places + 1
    if math.isnan(value):
        return nan_text(value, width)
    text = f"{value:.{places}f}"
    if text.startswith("0."):
        return text[1:]
    if text.startswith("-"):
        return f"{value:.{places}f}".replace("-0.", "-.", 1)
    return f"{value:.{places - 1}f}" if places > 1 else f"{value:.0f}."


def signed(value: float, places: int = 2) -> str:
    """A difference: `+1.04`, `-5.08`; ` 0.00` where rounding leaves nothing."""
    if math.isnan(value):
        return nan_text(value)
    text = f"{value:+.{places}f}"
    return f" {text[1:]}" if float(text) == 0 else text


def fixed(value: float, places: int = 2, *, sign: bool = False) -> str:
    """A number of a column, all with as many places: `.71`, `12.00`, with its sign `+1.04`, `-.31`, ` .00`.

    Right-aligned, such numbers are aligned on their points.
    """
    if math.isnan(value):
        return nan_text(value)
    if math.isinf(value):
        return "∞" if value > 0 else "-∞"
    text = f"{abs(value):.{places}f}"
    zero = float(text) == 0
    short = text[1:] if places and text.startswith("0.") else text
    front = " " if zero and sign else "" if zero else "-" if value < 0 else "+" if sign else ""
    return front + short


def amount(value: float) -> str:
    """A size in at most four cells without its sign: `.71`, `9.1`, `480`, `3.1k`, `31k`, `2.0M`."""
    if math.isnan(value):
        return nan_text(value)
    if math.isinf(value):
        return "∞" if value > 0 else "-∞"
    sign, size = ("-" if value < 0 else ""), abs(value)
    for unit in ("", "k", "M", "G", "T"):
        # Rounding may lift a number to the next unit: 999.6 is 1.0k, not 1000.
        if size < 9.95:
            text = f"{size:.1f}"
            if not unit and size < 0.995:
                text = f"{size:.2f}"[1:]
            return f"{sign}{text}{unit}"
        if size < 999.5:
            return f"{sign}{size:.0f}{unit}"
        size /= 1000
    return f"{sign}{size * 1e12:.0e}"


def fit(value: float, width: int, *, sign: bool = False) -> str:
    """The number right-aligned in `width` cells as exactly as they allow; blank when nothing true fits."""
    if width <= 0:
        return ""
    if math.isnan(value):
        return nan_text(value, width)
    if math.isinf(value):
        return ("∞" if value > 0 else "-∞").rjust(width)[:width]
    front = "+" if sign and value > 0 else ""
    for places in (2, 1, 0):
        digits = f"{value:.{places}f}"
        if float(digits) == 0:
            digits = digits.removeprefix("-")
            text = digits
        else:
            text = front + digits
        # ".5" says as much as "0.5".
        short = text.replace("0.", ".", 1) if text.lstrip("+-").startswith("0.") else text
        # Without a point only what that changes little: .6 is no 1.
        whole = places > 0 or value == 0 or abs(float(digits) - value) <= 0.15 * abs(value)
        if len(short) <= width and whole:
            return short.rjust(width)
    rough = front + amount(value)
    return rough.rjust(width) if len(rough) <= width else " " * width


def tick(value: float, *, sign: bool = False) -> str:
    """The end of a scale, as short as it is true to two places: `0`, `1`, `.5`, `-8.57`, `+3`."""
    text = fit(value, 7, sign=sign).strip()
    return (text.rstrip("0").rstrip(".") or "0") if "." in text else text


def duration(seconds: float) -> str:
    """About how long: `0.4 s`, `12 s`, `3 min`, `1.5 h`."""
    if seconds < 90:
        return f"{max(seconds, 0.1):.1f} s" if seconds < 0.95 else f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 90 * 60 else f"{seconds / 3600:.1f} h"


def memory(count: int) -> str:
    """Bytes as 548 MB, 1.3 GB."""
    return f"{count / 1e9:.1f} GB" if count >= 1e9 else f"{max(count / 1e6, 1):.0f} MB"


def column(values: list[str]) -> list[str]:
    """The same texts, aligned on their points and of one width."""
    cut = [text.partition(".") for text in values]
    left = max((len(head) for head, _, _ in cut), default=0)
    right = max((len(point) + len(tail) for _, point, tail in cut), default=0)
    return [head.rjust(left) + (point + tail).ljust(right) for head, point, tail in cut]
