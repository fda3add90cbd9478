"""Name movers that do most of it, and one head that may go."""

from __future__ import annotations

from msgspec.structs import replace

from mechtui.evidence import Ratio, Summary
from mechtui.views.example import SESSION, Example
from mechtui.views.faithfulness import Faithfulness, FaithfulnessAnswer, Part

KEPT = tuple(Part(*each) for each in ((9, 9), (10, 0), (9, 6), (8, 6), (7, 3), (5, 5), (0, 1)))
DROPS = (1.31, 0.62, 0.7, 0.94, 0.55, 0.41, 0.01)

LINES = ("faithfulness L0H1 L1.mlp",)
REFUSED = LINES


def example() -> Example:
    answer = FaithfulnessAnswer(
        of="ioi 64",
        components=tuple(part.name for part in KEPT),
        model=Summary(64, 3.31, 2.96, 3.65, 1.4, 0.98),
        circuit=Summary(64, 2.74, 2.38, 3.1, 1.5, 0.97),
        nothing=Summary(64, 0.12, -0.05, 0.3, 0.7, 0.55),
        without=Summary(64, 0.91, 0.7, 1.14, 0.9, 0.8),
        faithfulness=Ratio(64, 0.821, 0.76, 0.88),
        completeness=Ratio(64, 0.752, 0.69, 0.81),
        drops=tuple(Summary(64, drop, drop - 0.2, drop + 0.2, 0.8, 0.8) for drop in DROPS),
    )
    return Example(Faithfulness(KEPT), answer, None, replace(SESSION, cases="ioi 64"))
