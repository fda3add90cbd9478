"""What may go to the terminal's clipboard by OSC 52, which works through ssh and never asks the machine."""

from __future__ import annotations

# xterm takes 100 kB of base64 and drops what is longer without a word; others take as much or more.
LIMIT = 74_000


class TooLongError(ValueError):
    """The text is longer than what terminals take."""


def fitting(text: str) -> str:
    """The text with lone surrogates escaped. Raises TooLongError."""
    data = text.encode("utf-8", "backslashreplace")
    if len(data) > LIMIT:
        raise TooLongError(f"That is {len(data):,} bytes and terminals take {LIMIT:,}; copy a part of it.")
    return data.decode("utf-8")
