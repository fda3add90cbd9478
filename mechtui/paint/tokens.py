"""Tokens as text that shows what is in them, in a known number of cells, and is never markup.

Space `·`, newline `⏎`, tab `⇥`; what has no shape or no certain width (controls, zero-width characters,
joiners, flags) as an escape; bytes that are not whole UTF-8 characters as hex, `<e4b8>`.
"""

from __future__ import annotations

import unicodedata
from functools import lru_cache

from rich.cells import cell_len, get_character_cell_size

from mechtui.session.document import Token

_VISIBLE = {" ": "·", "\n": "⏎", "\t": "⇥", "\r": "\\r"}


@lru_cache(4096)
def _shown(char: str) -> str:
    if (shape := _VISIBLE.get(char)) is not None:
        return shape
    code = ord(char)
    uncertain = (
        unicodedata.category(char) in ("Cc", "Cf", "Cs", "Co", "Cn", "Mn", "Me", "Zl", "Zp", "Zs")
        or get_character_cell_size(char) == 0
        or 0x1F1E6 <= code <= 0x1F1FF  # two of them are one flag in some terminals
        or 0x1F3FB <= code <= 0x1F3FF  # skin tones join the emoji before them
        or 0x1100 <= code <= 0x11FF  # jamo join to one syllable
    )
    if not uncertain:
        return char
    if code <= 0xFF:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code <= 0xFFFF else f"\\U{code:06x}"


@lru_cache(8192)
def visible_text(text: str) -> str:
    """Any text with everything in it visible."""
    return "".join(_shown(char) for char in text)


def visible(token: Token) -> str:
    """A token's text, or its bytes where they are no whole characters; `<empty>` where there is neither."""
    if token.hex:
        return f"<{token.hex}>"
    return visible_text(token.text) or "<empty>"


def width(text: str) -> int:
    """Cells that visible text takes."""
    return cell_len(text)


def cut(text: str, cells: int) -> str:
    """At most `cells` cells, ending in `…` when something was cut off."""
    if cells <= 0:
        return ""
    if cell_len(text) <= cells:
        return text
    kept, used = [], 0
    for char in text:
        size = get_character_cell_size(char)
        if used + size > cells - 1:
            break
        kept.append(char)
        used += size
    return "".join(kept) + "…"


def pad(text: str, cells: int, *, right: bool = False) -> str:
    """Exactly `cells` cells: cut with `…`, or filled with spaces (before the text with `right`)."""
    text = cut(text, cells)
    blank = " " * max(cells - cell_len(text), 0)
    return blank + text if right else text + blank
