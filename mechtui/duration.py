"""Lengths of time as one writes them: `45s`, `30m`, `1h30m`, `2d`; `off` is none at all."""

from __future__ import annotations

import re

UNITS = {"d": 86_400, "h": 3_600, "m": 60, "s": 1}
_PARTS = re.compile(r"(?:(\d{1,9})d)?(?:(\d{1,9})h)?(?:(\d{1,9})m)?(?:(\d{1,9})s)?")
MOST = 30 * UNITS["d"]
OFF = ("", "off", "no", "0")


class DurationError(ValueError):
    """What was written is no length of time: the end of a sentence."""


def seconds(text: str) -> int:
    """The seconds of `1h30m`; 0 for `off`. Raises DurationError."""
    text = text.strip().lower()
    if text in OFF:
        return 0
    parts = _PARTS.fullmatch(text)
    if parts is None:
        raise DurationError("should be a time such as 30m, 2h, 1h30m or 45s, or off")
    total = sum(int(part) * unit for part, unit in zip(parts.groups(), UNITS.values(), strict=True) if part)
    if total > MOST:
        raise DurationError(f"should be {MOST // UNITS['d']}d at most")
    return total


def said(length: float) -> str:
    """Whole seconds in words, the two largest units: "1 h 30 min"."""
    left, parts = max(round(length), 0), []
    for unit, word in zip(UNITS.values(), ("d", "h", "min", "s"), strict=True):
        count, left = divmod(left, unit)
        if count:
            parts.append(f"{count} {word}")
    return " ".join(parts[:2]) or "0 s"
