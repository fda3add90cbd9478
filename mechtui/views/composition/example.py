"""Weights that are nearly random, and a few pairs of heads that are not; one of them does nothing on this prompt."""

from __future__ import annotations

import numpy as np

from mechtui.views.composition import Composition, CompositionAnswer
from mechtui.views.example import COUNT, SHAPE, Example, numbers

# (later, earlier), each as (layer, head).
PAIRS = {((5, 5), (4, 11)): 0.14, ((6, 9), (4, 11)): 0.12, ((7, 10), (2, 2)): 0.08, ((10, 7), (9, 9)): -0.02}
HERE = {((5, 5), (4, 11)): 3.25, ((6, 9), (4, 11)): 2.5, ((7, 10), (2, 2)): 0.02, ((10, 7), (9, 9)): -1.75}
BASELINE, SPREAD = 0.036, 0.0005

LINES = ("composition Q", "composition K", "composition V")


def example() -> Example:
    heads = SHAPE.n_heads
    count = SHAPE.n_layers * heads
    values = numbers(4, count, count, low=-0.004, high=0.012)
    layers = np.arange(count) // heads
    for (later, earlier), value in PAIRS.items():
        values[later[0] * heads + later[1], earlier[0] * heads + earlier[1]] = value
    contribution = numbers(5, count, count, low=-0.3, high=0.3)
    for (later, earlier), value in HERE.items():
        contribution[later[0] * heads + later[1], earlier[0] * heads + earlier[1]] = value
    for table in (values, contribution):
        table[layers[None, :] >= layers[:, None]] = np.nan
    keys = tuple(int(each) for each in numbers(6, count, high=COUNT))
    score = numbers(7, count, low=-2, high=9)
    score[:heads] = np.nan

    def answer(here: np.ndarray) -> CompositionAnswer:
        return CompositionAnswer("K", values, BASELINE, SPREAD, heads, here, COUNT - 1, keys, score)

    cut = contribution.copy()
    cut[:, 9 * heads + 9] *= 0
    return Example(Composition(), answer(contribution), answer(cut))
