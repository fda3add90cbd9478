"""A head that looks back from the last token to one name."""

from __future__ import annotations

import numpy as np

from mechtui.none import NONE
from mechtui.views.attention import Attention, AttentionAnswer
from mechtui.views.example import COUNT, Example, numbers

LINES = ("attention L1H2", "attention L1H3 scores", "attention L0H1 value")


def example() -> Example:
    return Example(Attention(9, 9), _answer(0, name=1), _answer(1, name=3))


def _answer(seed: int, name: int) -> AttentionAnswer:
    """Rows that add up to 1; the last attends to the name's position most."""
    weights = np.exp(numbers(seed, COUNT, COUNT, high=4))
    weights[-1, name] *= 8
    weights[np.triu_indices(COUNT, 1)] = NONE
    return AttentionAnswer("pattern", weights / np.nansum(weights, axis=1, keepdims=True))
