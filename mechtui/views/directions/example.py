"""Random directions, unembeddings that have more in common than these, and a curve that falls where it should."""

from __future__ import annotations

import numpy as np

from mechtui.views.directions import Cosines, Directions, DirectionsAnswer, Pair
from mechtui.views.example import Example, numbers

LINES = ("directions 60>16 sparse2/16", "directions 40 neurons sparse1/9 seed2", "directions 50 embed sparse1/6")
BINS = 81


def example() -> Example:
    question = Directions()
    edges = np.linspace(-0.4, 0.4, BINS + 1)
    middle = (edges[1:] + edges[:-1]) / 2

    def cosines(seed: int, sd: float, mean: float, largest: float) -> Cosines:
        shares = np.exp(-(((middle - mean) / sd) ** 2) / 2) * numbers(seed, BINS, low=0.9, high=1.1)
        return Cosines(2000, tuple((shares / shares.sum()).tolist()), mean, sd, largest)

    tall = np.array(question.numbers) / question.rule
    error = np.clip(1.4 - 1.1 * tall, 0, 1).astype(np.float32)
    pairs = tuple(
        Pair(first, second, cosine)
        for first, second, cosine in ((" Mary", " Maria", 0.39), (" store", " stores", 0.38), (" the", "The", 0.31))
    )
    return Example(
        question,
        DirectionsAnswer(
            768,
            "unembed",
            tuple(edges.tolist()),
            cosines(1, 0.036, 0.0, -0.18),
            cosines(2, 0.07, 0.01, 0.39),
            0.199,
            pairs,
            question.numbers,
            error,
            (error * 0.6).astype(np.float32),
            np.clip(error * 1.3, 0, 1.2).astype(np.float32),
            (error < 0.01).astype(np.float32),
            question.rule,
        ),
    )
