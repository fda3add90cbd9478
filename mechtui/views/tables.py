"""A view's answer as labelled tables and curves, for files and reports.

`views/<v>/tables.py` has `tables(question, answer, around) -> list[Block]`: all numbers of one run, each with its unit
and with the names of its row and column. A view without such a file gets tables whose rows have numbers for names.
"""

from __future__ import annotations

import importlib
import importlib.util
import math
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from mechtui.evidence import Summary
from mechtui.paint.tokens import visible
from mechtui.session.document import ModelShape, Session, Token
from mechtui.views import spec_of
from mechtui.views.question import Answer, Question


class Cell(NamedTuple):
    """One number, or a text in its place: value is NaN where nothing was computed, and where there is only a text."""

    row: str
    column: str
    value: float
    unit: str = ""
    text: str = ""


@dataclass(frozen=True, eq=False)
class Matrix:
    """values [row, column], all of one unit. of: what rows and columns are. texts [row][column]: what the cells say,
    where that is no number. signs: a difference, coloured -high..high; else low..high, by default the ends of the
    values. places: digits behind the point. extra: of second rank, out of sight until one asks for it. sparse: where a
    value is NaN there is no such pair of a row and a column, rather than no number."""

    title: str
    unit: str
    of: tuple[str, str]
    rows: Sequence[str]
    columns: Sequence[str]
    values: np.ndarray
    texts: Sequence[Sequence[str]] | None = None
    signs: bool = False
    low: float | None = None
    high: float | None = None
    places: int = 2
    extra: bool = False
    sparse: bool = False

    def cells(self) -> Iterator[Cell]:
        for at, row in enumerate(self.rows):
            for there, column in enumerate(self.columns):
                if self.sparse and math.isnan(self.values[at, there]):
                    continue
                text = self.texts[at][there] if self.texts is not None else ""
                yield Cell(row, column, float(self.values[at, there]), self.unit, text)


@dataclass(frozen=True)
class Column:
    """values: a number for each row, None or NaN for none; or a text for each."""

    name: str
    values: Sequence[float | None] | Sequence[str]
    unit: str = ""
    signs: bool = False
    places: int = 2

    @property
    def is_text(self) -> bool:
        return any(isinstance(value, str) for value in self.values)

    def number(self, row: int) -> float:
        """NaN for a text, and for none."""
        value = self.values[row]
        return math.nan if value is None or isinstance(value, str) else float(value)


@dataclass(frozen=True)
class Listing:
    """A list of named rows with columns of their own units. of: what rows are. No two rows have one name."""

    title: str
    of: str
    rows: Sequence[str]
    columns: Sequence[Column]
    extra: bool = False

    def cells(self) -> Iterator[Cell]:
        for at, row in enumerate(self.rows):
            for column in self.columns:
                value = column.values[at]
                text = value if isinstance(value, str) else ""
                yield Cell(row, column.name, column.number(at), column.unit, text)


@dataclass(frozen=True, eq=False)
class Curve:
    """Lines over the same points: series: name -> a number for each point. of: what points are. low, high: the axis's
    ends where they are not those of the values. What it shows stands in a table, too: it has no cells of its own."""

    title: str
    unit: str
    of: str
    points: Sequence[str]
    series: dict[str, np.ndarray]
    low: float | None = None
    high: float | None = None
    places: int = 2

    def cells(self) -> Iterator[Cell]:
        return iter(())


@dataclass(frozen=True)
class Passage:
    """Text that a run wrote. note: how it came to its end."""

    title: str
    tokens: Sequence[Token]
    note: str = ""

    def cells(self) -> Iterator[Cell]:
        for at, token in enumerate(self.tokens):
            yield Cell(str(at), "token", float(token.id), "id", token.text)


Block = Matrix | Listing | Curve | Passage


@dataclass(frozen=True)
class Around:
    """What rows and columns are named by. position: the token that is looked at."""

    session: Session
    shape: ModelShape | None
    tokens: Sequence[Token]
    source: Sequence[Token] = ()
    alignment: Sequence[int] = ()
    position: int = -1

    @property
    def here(self) -> int:
        """The token that is looked at, from 0."""
        count = len(self.tokens)
        return max(0, min(self.position + count if self.position < 0 else self.position, count - 1))

    def at(self, position: int) -> str:
        """`13 ·to`"""
        there = 0 <= position < len(self.tokens)
        return f"{position} {visible(self.tokens[position])}" if there else str(position)

    def positions(self, count: int) -> tuple[str, ...]:
        return tuple(map(self.at, range(count)))


def tables(question: Question, answer: Answer, around: Around) -> list[Block]:
    """All numbers of an answer, labelled."""
    name = f"mechtui.views.{spec_of(question).name}.tables"
    if importlib.util.find_spec(name) is None:
        return plain_tables(question, answer, around)
    found: list[Block] = importlib.import_module(name).tables(question, answer, around)
    return found


def numbered(letter: str, count: int) -> tuple[str, ...]:
    """L0, L1, ..."""
    return tuple(f"{letter}{at}" for at in range(count))


def named(tokens: Iterable[Token]) -> tuple[str, ...]:
    """The tokens' names; those that look alike have their ids behind them."""
    found = [(visible(token), token.id) for token in tokens]
    twice = Counter(name for name, _ in found)
    return tuple(f"{name} #{id}" if twice[name] > 1 else name for name, id in found)


def fact(name: str, value: float | None, unit: str, *, signs: bool = False, places: int = 2) -> Listing:
    """One number that stands alone."""
    return Listing("", "", (name,), (Column("", (value,), unit, signs, places),))


def summaries(title: str, of: str, rows: Sequence[str], over: Sequence[Summary]) -> Listing:
    """What many numbers say together, a row for each of several."""
    return Listing(
        f"{title}: mean, 95 % bootstrap interval, standard deviation, share with the mean's sign",
        of,
        tuple(rows),
        (
            Column("n", [each.n for each in over], "cases", places=0),
            Column("mean", [each.mean for each in over], "logits", signs=True),
            Column("low", [each.low for each in over], "logits", signs=True),
            Column("high", [each.high for each in over], "logits", signs=True),
            Column("sd", [each.sd for each in over], "logits"),
            Column("share", [each.share for each in over], "of 1"),
        ),
    )


def plain_tables(question: Question, answer: Answer, around: Around) -> list[Block]:
    """What `mechtui run` prints of an answer, as tables: rows and columns have their numbers."""
    facts: dict[str, float | None] = {}
    blocks: list[Block] = []
    for key, value in _flat(answer.json()):
        table = array_of(value)
        if table is None or table.ndim > 2:
            if isinstance(value, (int, float)) and not isinstance(value, bool):
                facts[key] = float(value)
        elif table.ndim == 1:
            rows = around.positions(len(table)) if len(table) == len(around.tokens) else numbered("", len(table))
            blocks.append(Listing(key, "", rows, (Column(key, tuple(map(float, table))),)))
        else:
            rows, columns = (numbered("", count) for count in table.shape)
            blocks.append(Matrix(key, "", ("", ""), rows, columns, table, signs=bool(np.nanmin(table, initial=0) < 0)))
    if facts:
        blocks.insert(0, Listing("", "", tuple(facts), (Column("value", tuple(facts.values())),)))
    return blocks


def _flat(said: dict[str, Any], before: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in said.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{before}{key}.")
        elif isinstance(value, list) and value and all(isinstance(each, dict) for each in value):
            yield from ((f"{before}{key}.{name}", [each.get(name) for each in value]) for name in value[0])
        else:
            yield f"{before}{key}", value


def array_of(value: Any) -> np.ndarray | None:
    """A table of numbers of an answer's JSON, null as NaN; None where it is none."""
    if not isinstance(value, list) or not value:
        return None
    try:
        found = np.array(value, dtype=np.float64)
    except (TypeError, ValueError):
        return None
    return found if found.ndim and found.size else None
