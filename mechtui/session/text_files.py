"""Texts that stand in files: a line each, or a field of a CSV or JSONL column each.

Spaces at either end of a text are part of it; lines and fields without a text are left out, both of a pair together.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from mechtui.session.document import Vector, surrogate
from mechtui.session.grammar.vectors import MOST_TEXTS
from mechtui.session.grammar.words import short
from mechtui.session.paths import PathError, decoded

MOST_BYTES = 1 << 22


class TextsError(ValueError):
    """Texts that cannot be had: one sentence that names the file and the line."""


class Text(NamedTuple):
    """where: how messages call it, as in `happy.txt line 3`."""

    text: str
    where: str


def sides_of(vector: Vector) -> tuple[tuple[Text, ...], ...]:
    """The texts that a vector is read from: a list for each side of diff, and the lists are of one length; one list of
    mean and pca. Raises TextsError."""
    if not vector.files:
        sides = zip(*vector.rows, strict=True)
        return tuple(tuple(Text(text, f'"{short(text)}"') for text in side) for side in sides)
    if vector.columns:
        (file,) = vector.files
        rows = list(_rows(file, vector.columns))
    else:
        rows = _lines(vector.files)
    return _full(rows, " and ".join(vector.files), 2 if vector.source == "pca" else 1)


def _full(rows: Sequence[tuple[Text, ...]], files: str, least: int) -> tuple[tuple[Text, ...], ...]:
    """By side, without the rows that hold nothing."""
    full = []
    for row in rows:
        empty = [each for each in row if not each.text.strip()]
        if empty and len(empty) < len(row):
            other = next(each for each in row if each.text.strip())
            raise TextsError(f"{empty[0].where} is empty, and its pair {other.where} is not: write both, or neither")
        if not empty:
            full.append(row)
    if len(full) > MOST_TEXTS:
        raise TextsError(f"{files} holds {len(full):,} texts, more than the {MOST_TEXTS:,} that a vector is made from")
    if len(full) < least:
        texts = "no text" if not full else "1 text, and a principal direction needs two or more"
        raise TextsError(f"{files} holds {texts}")
    return tuple(zip(*full, strict=True))


def _lines(files: Sequence[str]) -> list[tuple[Text, ...]]:
    sides = []
    for file in files:
        lines = _read(file).split("\n")
        while lines and not lines[-1].strip():
            del lines[-1]
        sides.append([Text(line, f"{file} line {number}") for number, line in enumerate(lines, 1)])
    if len({len(side) for side in sides}) > 1:
        counts = " and ".join(f"{file} {len(side):,}" for file, side in zip(files, sides, strict=True))
        raise TextsError(f"a pair is a line of each file, and they have different numbers of lines: {counts}")
    return list(zip(*sides, strict=True))


def _rows(file: str, columns: Sequence[str]) -> Iterator[tuple[Text, ...]]:
    """Of each row the fields of these columns."""
    found = _objects(file) if file.lower().endswith(".jsonl") else _records(file)
    for number, row in found:
        where = f"{file} line {number}"
        for column in columns:
            if column not in row:
                names = ", ".join(short(name) for name in row)
                raise TextsError(f"{where} has no column {short(column)}: there are {short(names) or 'none'}")
            if not isinstance(row[column], str) or surrogate(str(row[column])) is not None:
                raise TextsError(f"{where}: {short(column)} should be text of whole characters")
        yield tuple(Text(str(row[column]), f"{where} {short(column)}") for column in columns)


def _objects(file: str) -> Iterator[tuple[int, dict[str, object]]]:
    for number, line in enumerate(_read(file).split("\n"), 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise TextsError(f"{file} line {number} is not JSON") from error
        if not isinstance(row, dict):
            raise TextsError(f'{file} line {number} is no object, as {{"happy": "…", "sad": "…"}} is one')
        yield number, row


def _records(file: str) -> Iterator[tuple[int, dict[str, str]]]:
    reader = csv.reader(io.StringIO(_read(file), newline=""), strict=True)
    names: list[str] = []
    begins = 1
    try:
        for fields in reader:
            begin, begins = begins, reader.line_num + 1
            if not fields:
                continue
            if not names:
                names = fields
                twice = next((name for name in names if names.count(name) > 1), None)
                if twice is not None:
                    raise TextsError(f"{file} line {begin}: the column {short(twice)} stands there twice")
                continue
            if len(fields) != len(names):
                counts = f"{len(fields)} fields, and the first line names {len(names)}"
                raise TextsError(f"{file} line {begin} has {counts}")
            yield begin, dict(zip(names, fields, strict=True))
    except csv.Error as error:
        raise TextsError(f"{file} line {begins} is not CSV: {error}") from error


def _read(file: str) -> str:
    """What a text file holds, its lines ended by a line feed alone."""
    try:
        return decoded(file, MOST_BYTES).replace("\r\n", "\n")
    except PathError as error:
        raise TextsError(str(error)) from error
