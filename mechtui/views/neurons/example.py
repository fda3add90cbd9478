"""Neurons of a gated MLP, some for the answer and some against it."""

from __future__ import annotations

import numpy as np

from mechtui.views.circuit import Scored
from mechtui.views.example import COUNT, NEXT, Example, numbers
from mechtui.views.neurons import WORDS, Neurons, NeuronsAnswer

MOST = 12

LINES = ("neurons top7", "neurons L0 @3 activation top4")


def example() -> Example:
    return Example(Neurons(), _answer(0), _answer(1))


def _answer(seed: int) -> NeuronsAnswer:
    layers = np.array([11, 11, 10, 9, 11, 10, 8, 9, 11, 7, 5, 2], dtype=np.int32)
    neurons = np.array([573, 12, 1262, 77, 2041, 3, 640, 1999, 8, 256, 2811, 90], dtype=np.int32)
    gate, into = (numbers(each, MOST, COUNT, low=-3, high=5) for each in (1, 2))
    post = gate / (1 + np.exp(-gate)) * into
    size = 1.4 * np.exp(-np.arange(MOST) / 5) * np.where(np.arange(MOST) % 3 == 0, -1, 1)
    attribution = (size * (1 - 0.4 * seed * (np.arange(MOST) % 2))).astype(np.float32)
    post[:, -1] *= 1 - 0.4 * seed * (np.arange(MOST) % 2)
    return NeuronsAnswer(
        COUNT - 1,
        layers,
        neurons,
        post.astype(np.float32),
        gate,
        numbers(4, MOST, low=0.5, high=2),
        _words(1, 5.0),
        _words(4, 3.0),
        _words(7, -3.0),
        into=into,
        attribution=attribution,
        answer=NEXT[0],
        foil=NEXT[1],
    )


def _words(first: int, most: float) -> tuple[tuple[Scored, ...], ...]:
    return tuple(
        tuple(Scored(NEXT[(first + row + at) % len(NEXT)], most * float(np.exp(-at / 4))) for at in range(WORDS))
        for row in range(MOST)
    )
