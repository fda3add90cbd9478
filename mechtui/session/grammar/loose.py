"""Lines whose words stand in any order: each word sets a field, and who reads a line says which words there are.

A reader gets a word and gives the fields that it sets, or None for a word that is not its own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from mechtui.session.grammar.words import LineError, cut, one_position, short, unquote

Fields = dict[str, Any]
# (word, line, where it stands) -> the fields that it sets. It may raise LineError.
Reader = Callable[[str, str, int], Fields | None]


def fields(line: str, wanted: str, *readers: Reader) -> Fields:
    """What the words behind the line's name set; of two that set the same the last one counts. wanted: what a word
    should be, for one that no reader knows. Raises LineError."""
    found: Fields = {}
    for word, at in cut(line)[1:]:
        each = (read(word, line, at) for read in readers)
        said = next((said for said in each if said is not None), None)
        if said is None:
            raise LineError(line, at, f"{short(word)} should be {wanted}")
        found |= said
    return found


def choice(field: str, options: Iterable[str]) -> Reader:
    """One of these words is the field's value."""
    known = frozenset(options)
    return lambda word, line, at: {field: word} if word in known else None


def flag(field: str, name: str = "") -> Reader:
    """The word of this name, else the field's own, makes the field True."""
    return lambda word, line, at: {field: True} if word == (name or field) else None


def count(field: str, most: int = 99) -> Reader:
    """The field's name and a number from 1 to `most`, as in top5."""

    def read(word: str, line: str, at: int) -> Fields | None:
        digits = word.removeprefix(field)
        plain = digits != word and digits.isascii() and digits.isdigit() and digits[0] != "0"
        return {field: int(digits)} if plain and len(digits) <= len(str(most)) and int(digits) <= most else None

    return read


def text(field: str) -> Reader:
    """Text in double quotes is the field's value."""
    return lambda word, line, at: {field: unquote(word, line, at)} if word.startswith('"') else None


def position(field: str = "position") -> Reader:
    """A position as in @-1."""

    def read(word: str, line: str, at: int) -> Fields | None:
        found = one_position(word, line, at)
        return None if found is None else {field: found}

    return read
