"""A head whose queries a few earlier heads make, the rest nearly nothing."""

from __future__ import annotations

import numpy as np

from mechtui.session.grammar.places import format_site
from mechtui.views.example import SHAPE, Example, numbers
from mechtui.views.path import Path, PathAnswer

STRONG = {"L8H6": -1.42, "L7H9": -1.05, "L8H10": -0.71, "L7H3": -0.66, "L5.mlp": 0.31, "L0.mlp": -0.58, "embed": -0.12}

LINES = (
    *("path L1H2.q", "path L0H1>L1H0.k", "path logits", "path L1H3.k 9>4 cut", "path L1H1.v @9 layers"),
    *("path L1.mlp @3 cut", "path logits cut"),
)


def example() -> Example:
    question = Path("q", 9, 9)
    return Example(question, _answer(question, 0, 6.12), _answer(question, 1, 4.87))


def _answer(question: Path, seed: int, baseline: float) -> PathAnswer:
    names = tuple(format_site(sender) for sender in question.senders(SHAPE))
    effect = numbers(seed, len(names), low=-0.05, high=0.05)
    moves = numbers(seed + 2, len(names), low=-0.2, high=0.2)
    for name, value in STRONG.items():
        effect[names.index(name)] = value * (1 - seed / 4)
        moves[names.index(name)] = 2 * value
    together = float(np.float32(-3.1))
    return PathAnswer("L9H9.q", "patch", names, effect, moves, baseline, 14, 2, 7.4, together)
