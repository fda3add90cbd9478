"""Text from files, models, tokenizers and errors, made fit for a terminal and for its reader.

Hidden is what acts on a terminal (controls, C1 too), what turns or joins the text around it (bidirectional overrides,
joiners, tags, variation selectors), what has no shape (zero-width characters, blanks other than the space), and what
is no character (lone surrogates, private use, unassigned). Three ways to show it: spelled out (`seen`), as one sign
in one cell (`signs`), and in JSON's and TOML's own escapes. Imported by all parts; imports none of them.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import lru_cache
from typing import TextIO, cast

# What str.isprintable() lets through: fillers without a shape, jamo, flags, skin tones and variation selectors.
_JOINING = frozenset(
    chr(code)
    for first, last in (
        *((0x34F, 0x34F), (0x1100, 0x11FF), (0x17B4, 0x17B5), (0x180B, 0x180F), (0x3164, 0x3164), (0xA960, 0xA97F)),
        *((0xD7B0, 0xD7FF), (0xFE00, 0xFE0F), (0xFFA0, 0xFFA0), (0x1F1E6, 0x1F1FF), (0x1F3FB, 0x1F3FF)),
        (0xE0100, 0xE01EF),
    )
    for code in range(first, last + 1)
)
_SPELLED = {"\n": "⏎", "\t": "⇥", "\r": "\\r"}
_SIGNS = {"\n": "⏎", "\t": "⇥", "\x7f": "␡"}
NO_SHAPE, BLANK = "␦", "␣"


def harmless(text: str) -> bool:
    """Whether nothing in it is hidden."""
    return text.isprintable() and (text.isascii() or _JOINING.isdisjoint(text))


@lru_cache(4096)
def spelled(char: str) -> str:
    """One hidden character written out: ⏎, ⇥, `\\x1b`, `\\u202e`, `\\U0e0041`."""
    if (sign := _SPELLED.get(char)) is not None:
        return sign
    code = ord(char)
    if code <= 0xFF:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code <= 0xFFFF else f"\\U{code:06x}"


@lru_cache(4096)
def _sign(char: str) -> str:
    if (sign := _SIGNS.get(char)) is not None:
        return sign
    if char < " ":
        return chr(0x2400 + ord(char))  # the control pictures, in the order of the controls
    return BLANK if char.isspace() and char > "\x9f" else NO_SHAPE


def _json_escape(char: str) -> str:
    units = char.encode("utf-16-be", "surrogatepass").hex()
    return "".join(f"\\u{units[at : at + 4]}" for at in range(0, len(units), 4))


def _toml_escape(char: str) -> str:
    return f"\\u{ord(char):04x}" if char <= "\uffff" else f"\\U{ord(char):08x}"


def _each(text: str, show: Callable[[str], str], keep: str) -> str:
    if harmless(text):
        return text
    return "".join(char if char in keep or harmless(char) else show(char) for char in text)


def seen(text: str, keep: str = "") -> str:
    """The text with what is hidden spelled out; `keep`: characters that stay as they are."""
    return _each(text, spelled, keep)


def signs(text: str) -> str:
    """The text with one sign, one cell wide, for each hidden character: places in the one are places in the other."""
    return _each(text, _sign, "")


def json_escaped(source: str) -> str:
    """JSON on one line, with `\\u` escapes for what is hidden in its strings: the same value."""
    return _each(source, _json_escape, "")


def toml_escaped(source: str) -> str:
    """The same for TOML whose strings are all in double quotes, each on one line."""
    return _each(source, _toml_escape, "\n")


class Shown:
    """A text stream on which nothing hidden goes out, whoever writes: a library, a warning, a traceback.
    `beneath` is the stream itself, for those who mean the controls that they write."""

    def __init__(self, beneath: TextIO) -> None:
        self.beneath = beneath

    def write(self, text: str) -> int:
        self.beneath.write(seen(text, keep="\n"))
        return len(text)

    def writelines(self, lines: list[str]) -> None:
        for line in lines:
            self.write(line)

    def __getattr__(self, name: str) -> object:
        return getattr(self.beneath, name)


def guard() -> None:
    """From here on, what this process prints shows what is hidden."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is not None and not isinstance(stream, Shown):
            setattr(sys, name, Shown(stream))


def beneath(stream: TextIO) -> TextIO:
    """The stream that takes controls as they are."""
    return stream.beneath if isinstance(stream, Shown) else stream


def write_over(text: str) -> None:
    """On a terminal: write a line of progress over the one before. Elsewhere: nothing."""
    stream = beneath(cast(TextIO, sys.stderr))
    if stream.isatty():
        stream.write(f"\r\x1b[K{seen(text)}")
        stream.flush()
