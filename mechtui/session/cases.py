"""Cases: texts, each of which takes the place of the session's own, and the files that hold them.

JSONL has an object a line, CSV a row a case under a line of names. The names are those of `Case`, and `@S2` for a
position of the prompt that the case calls S2: words of the prompt, as `John`, or `John#2` for their second place.
"""

from __future__ import annotations

import csv
import difflib
import io
import json
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec
from msgspec.structs import replace

from mechtui.session.document import Session, Struct, surrogate
from mechtui.session.grammar.places import ROLE
from mechtui.session.grammar.words import quote, short
from mechtui.session.paths import MOST_TEXT, PathError, read_text

SUFFIXES = (".jsonl", ".csv")
# What every prompt has: its last token; and what stands for all positions.
END = "end"
NAMED = (END, "all")


class CasesError(ValueError):
    """A cases file that cannot be read: one sentence that says which, where and why."""


class Case(Struct, frozen=True):
    """Texts of one case; None leaves the session's own. line: where it begins in its file, from 1. roles: what it calls
    positions of its prompt, and for each how many characters end with the token there."""

    line: int = 0
    prompt: str | None = None
    source: str | None = None
    answer: str | None = None
    foil: str | None = None
    roles: tuple[tuple[str, int], ...] = ()

    def alone(self, session: Session) -> Session:
        """The session with this case's texts, for its numbers over many cases: a source belongs to its prompt, so that
        a prompt without one has none."""
        own = self.of(session if self.prompt is None else replace(session, source="", align="auto"))
        return replace(own, cases="", views=())

    def of(self, session: Session) -> Session:
        """The session with this case's texts."""
        return replace(session, **{name: text for name in COLUMNS if (text := getattr(self, name)) is not None})


COLUMNS = Case.__struct_fields__[1:-1]


def load(name: str) -> tuple[Case, ...]:
    """name: as a user writes it; it ends in .jsonl or .csv. Raises CasesError."""
    suffix = Path(name).suffix.lower()
    if suffix not in SUFFIXES:
        raise CasesError(f"{name} should end in .jsonl or .csv")
    try:
        text = read_text(name, MOST_TEXT)
    except PathError as error:
        raise CasesError(str(error)) from error
    return parse(text, suffix, name)


def parse(text: str, suffix: str, name: str = "the cases") -> tuple[Case, ...]:
    """What a file of this kind holds. name: what the messages call it. Raises CasesError."""
    text = text.removeprefix("\ufeff")  # spreadsheets write one in front
    cases = tuple(_rows(text, name) if suffix == ".csv" else _objects(text, name))
    if not cases:
        raise CasesError(f"{name} holds no case: a line for each is expected, with {', '.join(COLUMNS)}")
    return cases


def _objects(text: str, name: str) -> Iterator[Case]:
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        where = f"{name} line {number}"
        try:
            pairs = json.loads(line, object_pairs_hook=_Pairs)
        except (ValueError, RecursionError) as error:
            raise CasesError(f"{where} is not JSON: {_short_reason(error)}") from error
        if not isinstance(pairs, _Pairs):
            raise CasesError(f'{where} is not an object; a case is one, as in {{"prompt": "Mary and John"}}')
        keys = [key for key, _ in pairs]
        _check_columns(keys, where)
        yield _case(number, dict(pairs), where)


class _Pairs(list[Any]):
    """An object's keys and values, all of them: of two equal keys json would lose one."""


def _short_reason(error: Exception) -> str:
    if isinstance(error, json.JSONDecodeError):
        return f"{error.msg[:1].lower()}{error.msg[1:]} at character {error.pos}"
    return "it is nested too deeply" if isinstance(error, RecursionError) else short(str(error))


def _rows(text: str, name: str) -> Iterator[Case]:
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    columns: list[str] | None = None
    begins = 1
    _check_separator(text.partition("\n")[0], f"{name} line 1")
    try:
        for row in reader:
            where, begin, begins = f"{name} line {begins}", begins, reader.line_num + 1
            if not row:
                continue
            if columns is None:
                columns = row
                _check_columns(columns, where)
                continue
            if len(row) != len(columns):
                raise CasesError(f"{where} has {len(row)} fields, and the first line names {len(columns)}")
            # An empty field cannot be told from none.
            yield _case(begin, {key: value or None for key, value in zip(columns, row, strict=True)}, where)
    except csv.Error as error:
        raise CasesError(f"{name} line {begins} is not CSV: {error}") from error


def _check_separator(head: str, where: str) -> None:
    """A spreadsheet of some languages separates by semicolons, other programs by tabs."""
    for sign, name in ((";", "semicolons"), ("\t", "tabs")):
        parts = [part.strip().strip('"').lower() for part in head.split(sign)]
        if len(parts) > 1 and set(parts) & set(COLUMNS):
            raise CasesError(f"{where} separates its columns by {name}; save it with commas between them")


def _check_columns(columns: Sequence[str], where: str) -> None:
    for column in columns:
        if column.startswith("@"):
            _check_role(column[1:], where)
        elif column not in COLUMNS:
            near = difflib.get_close_matches(column.strip().lower(), COLUMNS, n=1, cutoff=0.5)
            hint = f"did you mean {near[0]}?" if near else f"the columns are {', '.join(COLUMNS)}"
            # A name with a line break in it would break the sentence.
            named = short(column) if column.isprintable() else quote(short(column))
            raise CasesError(f"{where}: {named or 'an empty name'} is no column of a case; {hint}")
        if columns.count(column) > 1:
            raise CasesError(f"{where}: {column} stands there twice")


def _check_role(name: str, where: str) -> None:
    if name in NAMED or ROLE.fullmatch(name) is None:
        why = f"{name} is taken" if name in NAMED else "it is a letter, and then letters, digits and _"
        raise CasesError(f"{where}: {short(name)} cannot be the name of a position, as @S2 is: {why}")


def _role(name: str, text: str, prompt: str | None, where: str) -> tuple[str, int]:
    """Where in the prompt the words of a role end. text: the words, #2 behind them for their second place."""
    if prompt is None:
        raise CasesError(f"{where}: @{name} names words of a prompt, and the case has none of its own")
    words, sign, number = text.rpartition("#")
    if not (sign and words and re.fullmatch("[1-9][0-9]{0,3}", number)):
        words, number = text, "1"
    at = -1
    for _ in range(int(number)):
        at = prompt.find(words, at + 1)
        if at < 0:
            times = "" if number == "1" else f" {number} times"
            raise CasesError(f"{where}: @{name}: {quote(short(words))} does not stand{times} in its prompt")
    return name, at + len(words)


def _case(line: int, said: dict[str, Any], where: str) -> Case:
    for key, value in said.items():
        if value is not None and not isinstance(value, str):
            raise CasesError(f"{where}: {key} should be text, not {_kind(value)}")
        if value is not None and (at := surrogate(value)) is not None:
            raise CasesError(f"{where}: {key}: character {at} is half of a character (a lone surrogate); leave it out")
    named = {key: text for key, text in said.items() if key.startswith("@")}
    roles = tuple(_role(key[1:], text, said.get("prompt"), where) for key, text in named.items() if text)
    own = {key: text for key, text in said.items() if key not in named}
    return msgspec.convert({"line": line, **own, "roles": roles}, Case)


def _kind(value: object) -> str:
    if isinstance(value, bool):
        return "true or false"
    return "a number" if isinstance(value, (int, float)) else "a list" if type(value) is list else "an object"
