"""Weights that are nearly random, and a few pairs of heads that are not."""

from __future__ import annotations

import numpy as np

from mechtui.views.composition import Composition, CompositionAnswer
from mechtui.views.example import SHAPE, Example, numbers

# (later, earlier), each as (layer, head).
PAIRS = {((5, 5), (4, 11)): 0.14, ((6, 9), (4, 11)): 0.12, ((7, 10), (2, 2)): 0.08, ((10, 7), (9, 9)): -0.02}
BASELINE, SPREAD = 0.036, 0.0005


def example() -> Example:
    heads = SHAPE.n_heads
    count = SHAPE.n_layers * heads
    values = numbers(4, count, count, low=-0.004, high=0.012)
    layers = np.arange(count) // heads
    for (later, earlier), value in PAIRS.items():
        values[later[0] * heads + later[1], earlier[0] * heads + earlier[1]] = value
    values[layers[None, :] >= layers[:, None]] = np.nan
    return Example(Composition(), CompositionAnswer("K", values, BASELINE, SPREAD, heads))
