"""Tokens as text that shows what is in them, in a known number of cells, and is never markup.

Space `·`, newline `⏎`, tab `⇥`; what is hidden (see `mechtui.visible`) or sits on its neighbour as an escape; bytes
that are not whole UTF-8 characters as hex, `<e4b8>`. On a terminal with ASCII only, all other characters as escapes.
"""

from __future__ import annotations

import unicodedata
from functools import lru_cache

from rich.cells import cell_len, get_character_cell_size

from mechtui.paint import plain
from mechtui.session.document import Token
from mechtui.visible import harmless, spelled

_ASCII = {"\n": "\\n", "\t": "\\t", plain.SPACE: spelled(plain.SPACE)}


@lru_cache(4096)
def _shown(char: str, ascii: bool) -> str:
    if char == " ":
        return "·"
    if ascii and (not char.isascii() or char in _ASCII):
        return _ASCII.get(char) or spelled(char)
    # A token stands alone: what elsewhere sits on the character before it would sit on the frame here.
    alone = unicodedata.category(char) not in ("Mn", "Me") and get_character_cell_size(char) > 0
    return char if alone and harmless(char) else spelled(char)


# A token that is one space and nothing else: the sign of a space in a word would look like a dot of its own.
LONE_SPACE = "␣"


def visible_text(text: str) -> str:
    """Any text with everything in it visible."""
    return _visible_text(text, plain.only_ascii())


@lru_cache(8192)
def _visible_text(text: str, ascii: bool) -> str:
    return "".join(_shown(char, ascii) for char in text)


def visible(token: Token) -> str:
    """A token's text, or its bytes where they are no whole characters; `<empty>` where there is neither."""
    if token.hex:
        return f"<{token.hex}>"
    if token.text == " ":
        return LONE_SPACE
    return visible_text(token.text) or "<empty>"


def width(text: str) -> int:
    """Cells that visible text takes."""
    return cell_len(text)


def cut(text: str, cells: int) -> str:
    """At most `cells` cells, ending in `…` (`$` with ASCII only) when something was cut off."""
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
    return "".join(kept) + (plain.CUT if plain.only_ascii() else "…")


def fitting(room: int, *texts: str) -> str:
    """The first of the texts that fits into `room` cells; else the last one, which is the shortest."""
    return next((text for text in texts if cell_len(text) <= room), texts[-1])


def pad(text: str, cells: int, *, right: bool = False) -> str:
    """Exactly `cells` cells: cut with `…`, or filled with spaces (before the text with `right`)."""
    text = cut(text, cells)
    blank = " " * max(cells - cell_len(text), 0)
    return blank + text if right else text + blank


def column_name(token: str, cells: int, *, right: bool = True) -> str:
    """A token (visible) in exactly `cells` cells: where room is scarce the leading space goes first, and no … takes the
    place of a letter."""
    if cells >= 5:
        return pad(token, cells, right=right)
    kept = token[1:] if token.startswith("·") and len(token) > 1 else token
    while cell_len(kept) > cells:
        kept = kept[:-1]
    return pad(kept, cells, right=right)
