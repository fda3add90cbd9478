"""A text that the model foresees well but for its names, and less well with an edit."""

from __future__ import annotations

import numpy as np

from mechtui.views.example import COUNT, NEXT, TOKENS, Example, numbers
from mechtui.views.loss import Loss, LossAnswer

TOP = 3


def example() -> Example:
    return Example(Loss(), _answer(0), _answer(1))


def _answer(seed: int) -> LossAnswer:
    loss = numbers(3, COUNT, low=0.02, high=4) + numbers(seed, COUNT, high=0.4)
    loss[[place for place, token in enumerate(TOKENS) if token.text.strip() in ("Mary", "John")]] += 6
    rank = np.floor(np.exp(loss) - 1).astype(np.float32)
    probs = -np.sort(-numbers(seed + 5, COUNT, TOP, high=0.3), axis=1)
    loss[0] = rank[0] = np.nan
    probs[0] = np.nan
    best = tuple(NEXT[place % 9 : place % 9 + TOP] if place else () for place in range(COUNT))
    known = loss[1:].astype(np.float64)
    return LossAnswer(loss, rank, best, probs, float(known.sum()), float(known.mean()))
