"""`over cases` behind a question: the same of every case that the session names, and what all of them say together."""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import pairwise
from typing import Any, Self

import msgspec
import numpy as np

from mechtui import none
from mechtui.evidence import Spread, Summary, spread
from mechtui.session.cases import Case
from mechtui.session.document import Cells, OverCases, Session
from mechtui.session.grammar.loose import Fields, Reader
from mechtui.session.sweeps import told
from mechtui.views.question import plain

WORDS = "over cases"
NONE = "the session names no cases: :cases ioi 64 makes some"
_BEGIN, _BEHIND = re.compile(r"over\s+cases(?!\S)"), re.compile(r"(?<!\S)over\s+$")
# Tables that stay in a session besides the means.
KEPT = ("low", "high", "sd", "share", "n")
_EMPTY = np.empty(0, dtype=np.float32)


def taken(words: Sequence[tuple[str, int]]) -> tuple[list[tuple[str, int]], bool]:
    """A line's words without `over cases`, and whether it stood among them."""
    for at, ((first, _), (second, _)) in enumerate(pairwise(words)):
        if (first, second) == ("over", "cases"):
            return [*words[:at], *words[at + 2 :]], True
    return list(words), False


def over_cases() -> Reader:
    """For lines of loose words: the two words, one after the other, make the field `over` True."""

    def read(word: str, line: str, at: int) -> Fields | None:
        first = word == "over" and _BEGIN.match(line, at) is not None
        second = word == "cases" and _BEHIND.search(line[:at]) is not None
        return {"over": True} if first or second else None

    return read


class Over(msgspec.Struct, frozen=True, eq=False):
    """What the cases say of a table, whose means stand in the answer.

    of: the session's line that names them. cases: their texts, None where the session's own stands. problems: of each
    why it has no numbers; empty where it has, or will. n [...]: how many cases have a number there. low, high: the
    bootstrap's 95 % interval of the mean; sd: with n - 1; share: of the cases that have the mean's sign. each [case,
    ...]: their own numbers, NaN for none; empty while cases are still to come. done: cases that have been asked.
    """

    of: str
    cases: tuple[Case, ...]
    problems: tuple[str, ...]
    n: np.ndarray
    low: np.ndarray
    high: np.ndarray
    sd: np.ndarray
    share: np.ndarray
    each: np.ndarray
    done: int

    @classmethod
    def made(
        cls, of: str, cases: tuple[Case, ...], problems: tuple[str, ...], each: np.ndarray, done: int
    ) -> tuple[np.ndarray, Self]:
        """The means, and the rest. each [case, ...]: the cases' tables."""
        found: Spread = spread(each)
        whole = each if done == len(cases) else _EMPTY
        return found.mean, cls(of, cases, problems, found.n, found.low, found.high, found.sd, found.share, whole, done)

    def at(self, means: np.ndarray, cell: tuple[int, ...]) -> Summary:
        """What the cases say of one cell."""
        numbers = (float(table[cell]) for table in (means, self.low, self.high, self.sd, self.share))
        return Summary(int(self.n[cell]), *numbers)

    def changed(self, before: Self) -> tuple[np.ndarray, Self] | None:
        """The means of the cases' differences to an earlier table of the same cases, and the rest; None where not all
        cases are known of both."""
        if self.each.shape != before.each.shape or not self.each.size:
            return None
        problems = tuple(one or other for one, other in zip(self.problems, before.problems, strict=True))
        return self.made(self.of, self.cases, problems, self.each - before.each, self.done)

    def kept(self) -> OverCases:
        """What stays in a session: five digits, and no case by itself."""
        tables = {name: cells_of(getattr(self, name)) for name in KEPT}
        why = next(filter(None, self.problems), "")
        return OverCases(count=len(self.cases), texts=told(self.cases), left_out=self.left_out, why=why, **tables)

    @classmethod
    def of_kept(cls, of: str, kept: OverCases) -> Self:
        """What was kept: of the cases no more than how many there are."""
        problems = (kept.why,) * kept.left_out + ("",) * (kept.count - kept.left_out)
        low, high, sd, share, n = (numbers(getattr(kept, name)) for name in KEPT)
        cases = tuple(Case(line) for line in range(1, kept.count + 1))
        return cls(of, cases, problems, n, low, high, sd, share, _EMPTY, kept.count)

    @property
    def left_out(self) -> int:
        return sum(map(bool, self.problems))

    def json(self) -> dict[str, Any]:
        """Keys beside the answer's own."""
        return {
            "over": self.of,
            "cases": [
                {**{name: getattr(case, name) for name in ("prompt", "source", "answer", "foil")}, "problem": problem}
                for case, problem in zip(self.cases, self.problems, strict=True)
            ],
            **{name: plain(getattr(self, name)) for name in ("n", "low", "high", "sd", "share", "each")},
        }


def cells_of(values: np.ndarray) -> Cells:
    """A table as a session keeps it: five digits are enough to be looked at again, and None is a number that is not
    there."""
    known = np.isfinite(values)
    return tuple(
        tuple(float(f"{value:.5g}") if there else None for value, there in zip(*row, strict=True))
        for row in zip(values.tolist(), known.tolist(), strict=True)
    )


def numbers(kept: Cells) -> np.ndarray:
    """Such a table, float32, with a NaN that is not painted for None."""
    return np.asarray([[none.NONE if value is None else value for value in row] for row in kept], dtype=np.float32)


def names(session: Session, cases: Sequence[Case]) -> list[str]:
    """A name for each case: its number and its prompt."""
    return [f"{at} {case.alone(session).prompt}" for at, case in enumerate(cases, 1)]
