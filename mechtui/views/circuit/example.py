"""A name mover: it raises the names that it attends to."""

from __future__ import annotations

import numpy as np

from mechtui.session.document import Token
from mechtui.views.circuit import TOP, Circuit, CircuitAnswer, Scored
from mechtui.views.example import NEXT, TOKENS, Example

WORDS = (*NEXT, *(Token(2000 + at, f" word{at}") for at in range(TOP)))

LINES = ("circuit L1H2", 'circuit L0H3 " Mary"', "circuit L0H1 trigrams", "circuit L0H1 directions")
REFUSED = ("circuit L0H1 trigrams", "circuit L0H1 directions")


def example() -> Example:
    answer = CircuitAnswer(
        "word",
        TOKENS[1],
        attends=_falling(3, 9.0),
        attended=_falling(1, 8.0),
        raises=_falling(0, 24.0),
        lowers=_falling(5, -11.0),
        raised_by=_falling(0, 22.0),
        own=24.0,
        rank=0,
    )
    return Example(Circuit(9, 9, word=" Mary"), answer)


def _falling(first: int, most: float) -> tuple[Scored, ...]:
    values = most * np.exp(-np.arange(TOP) / 6)
    return tuple(Scored(WORDS[first + at], float(value)) for at, value in enumerate(values))
