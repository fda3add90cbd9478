"""Names that come twice: most cases lose by the edit, one cannot be edited."""

from __future__ import annotations

import numpy as np
from msgspec.structs import replace

from mechtui.evidence import summary
from mechtui.session.cases import Case
from mechtui.views.cases import Cases, CasesAnswer
from mechtui.views.example import NAMES, SESSION, Example, numbers

COUNT = 24

FILES = {"cases.csv": "prompt\nWhen Mary\nWhen John\n"}


def example() -> Example:
    pairs = [(NAMES[at % 2 * 8], NAMES[1]) for at in range(COUNT)]
    places = ("store", "park", "school", "garden", "station", "beach")
    cases = tuple(
        Case(
            at + 1,
            f"When{one} and{two} went to the {places[at % 6]},{two} gave a drink to",
            f"When{one} and{two} went to the {places[at % 6]},{one} gave a drink to",
            one,
            two,
        )
        for at, (one, two) in enumerate(pairs)
    )
    clean = 3.3 + numbers(3, COUNT, low=-1.5, high=1.5)
    effect = numbers(4, COUNT, low=-2.4, high=0.3)
    effect[5] = np.nan
    edited = clean + effect
    none, why = "", 'zero L9H9 @" Mary": no token of the prompt is " Mary"'
    problems = tuple(why if at == 5 else none for at in range(COUNT))
    return Example(
        Cases(),
        CasesAnswer("ioi 24", cases, clean, ("",) * COUNT, summary(clean), np.empty(0, dtype=np.float32)),
        CasesAnswer("ioi 24", cases, edited, problems, summary(edited), effect, summary(effect)),
        replace(SESSION, cases="ioi 24"),
    )
