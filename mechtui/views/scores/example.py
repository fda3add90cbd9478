"""A few heads with names, and many without."""

from __future__ import annotations

import numpy as np

from mechtui.views.example import SHAPE, Example, numbers
from mechtui.views.scores import Scores, ScoresAnswer, labels

NAMED = {"induction": ((5, 5), (6, 9), (5, 1)), "previous": ((4, 11), (2, 2)), "duplicate": ((3, 0),)}
REPEAT = " lamp river stone cloud green seven" * 2

LINES = ("scores copying",)


def example() -> Example:
    names = ("induction", "previous", "duplicate", "first")
    scores = {name: _some(seed, high=0.2) for seed, name in enumerate(names)}
    scores["copying"] = _some(9, low=-1.0, high=1.0)
    for name, heads in NAMED.items():
        for place, head in enumerate(heads):
            scores[name][head] = 0.93 - 0.12 * place
    answer = ScoresAnswer(**scores, label=labels(scores), lengths=(32, 64, 96), count=6, bos=True, repeat=REPEAT)
    return Example(Scores(), answer)


def _some(seed: int, low: float = 0.0, high: float = 1.0) -> np.ndarray:
    return numbers(seed, SHAPE.n_layers, SHAPE.n_heads, low=low, high=high)
