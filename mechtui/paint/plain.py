"""The signs that are painted as a terminal shows them that has ASCII only: one for one, in as many cells.

Whether this terminal is one of these is known once, when the app starts (`use`). Tokens then spell out what else they
have (`mechtui.paint.tokens`), so that no two of them look alike; what is left over has a `?` for each of its cells.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from functools import lru_cache

from rich.cells import get_character_cell_size

# A cell of what has no form.
UNKNOWN = "?"
# The sign of a space in a token, which spells out what looks like it. Between words the same sign is a dot.
SPACE, DOT = "~", "."
# Behind what was cut off: no dot, with which a token may end.
CUT = "$"
_SIGNS: tuple[tuple[str, str], ...] = (
    # frames
    ("─━┈╌═▔", "-"), ("│┃┊╎║▕", "|"), ("╭╮╰╯┌┐└┘├┤┬┴┼╔╗╚╝╠╣╦╩╬", "+"),
    # arrows and marks
    ("▸→▶›»⇥", ">"), ("←‹«◀", "<"), ("▾▼↓⌄", "_"), ("▴▲↑", "^"),
    ("è", "e"),
    ("●", "@"), ("○◌", "o"), ("◆", "&"), ("◇", "%"), ("•", "*"), ("✗×", "x"), ("∅", "-"), ("⏎", "$"), ("␣", SPACE),
    # numbers
    ("…", DOT), ("−–—", "-"), ("±", "+"), ("√", "V"), ("∞", "I"), ("≤", "<"), ("≥", ">"), ("‖", "|"), ("⋅", "*"),
    ("Δ", "d"), ("λ", "l"), ("Σ", "S"), ("²", "2"), ("ᵀ", "T"), ("Ŵ", "W"), ("“”", '"'), ("‘’", "'"),
    # shades, and bars from left to right and from below
    ("░", ":"), ("▒", "="), ("▓", "%"), ("█", "#"),
    ("▏▎", DOT), ("▍▌", "-"), ("▋▊", "="), ("▉", "#"),
    ("▁", "_"), ("▂", DOT), ("▃", ":"), ("▄", "-"), ("▅", "="), ("▆", "+"), ("▇", "*"),
    # halves and quarters of a cell
    ("▀▘▝", "'"), ("▖▗", DOT), ("▐", "|"), ("▚", "\\"), ("▞", "/"), ("▛▜▙▟", "#"),
)  # fmt: skip
FORMS = {sign: form for signs, form in _SIGNS for sign in signs}

# What Python sets LC_CTYPE to where LANG says C.
_C, _COERCED = ("C", "POSIX"), ("C.UTF-8", "C.utf8", "UTF-8")


class _Terminal:
    ascii = False


_elsewhere: ContextVar[bool] = ContextVar("elsewhere", default=False)


def wanted(signs: str, environ: Mapping[str, str]) -> bool:
    """Whether the terminal is to get ASCII only: as is said; else by its name and the locale. Where no locale is set,
    UTF-8 is taken for granted, as Python does."""
    if signs != "auto":
        return signs == "ascii"
    if environ.get("TERM", "").lower().startswith("vt"):
        return True
    every, kind, language = (environ.get(name, "") for name in ("LC_ALL", "LC_CTYPE", "LANG"))
    if language in _C and kind in _COERCED:
        kind = ""  # Python's own word, not the user's
    locale = every or kind or language
    return bool(locale) and "utf8" not in locale.lower().replace("-", "")


def use(ascii: bool) -> None:
    """What is painted from now on is for a terminal with ASCII only, or for one with all signs."""
    _Terminal.ascii = ascii


def only_ascii() -> bool:
    """Whether what is painted here and now is for a terminal with ASCII only."""
    return _Terminal.ascii and not _elsewhere.get()


@contextmanager
def elsewhere() -> Iterator[None]:
    """Within, what is painted goes to a file, which has all signs whatever the terminal is."""
    token = _elsewhere.set(True)
    try:
        yield
    finally:
        _elsewhere.reset(token)


@lru_cache(4096)
def _form(sign: str) -> str:
    if sign.isascii():
        return sign
    return FORMS.get(sign) or UNKNOWN * get_character_cell_size(sign)


@lru_cache(8192)
def form(text: str) -> str:
    """The text in ASCII, in as many cells. A `·` with a blank or nothing behind it is a dot, else a token's space."""
    if text.isascii():
        return text
    last = len(text) - 1
    return "".join(
        (DOT if at == last or text[at + 1] == " " else SPACE) if sign == "·" else _form(sign)
        for at, sign in enumerate(text)
    )
