"""A model whose bigrams know some of what it knows, and less of it with an edit."""

from __future__ import annotations

import math

import numpy as np

from mechtui.views.bigrams import Bigrams, BigramsAnswer
from mechtui.views.example import COUNT, NEXT, SHAPE, Example, numbers

TOP = 3

LINES = ("bigrams", "bigrams mlps top4")


def example() -> Example:
    return Example(Bigrams(), _answer(0), _answer(1))


def _answer(seed: int) -> BigramsAnswer:
    model = numbers(3, COUNT, low=0.02, high=4) + numbers(seed, COUNT, high=0.4)
    bigrams = model + numbers(seed + 7, COUNT, low=-0.5, high=5)
    model[-1] = bigrams[-1] = np.nan
    probs, model_probs = (-np.sort(-numbers(seed + each, COUNT, TOP, high=0.3), axis=1) for each in (5, 9))
    return BigramsAnswer(
        bigrams,
        model,
        best=tuple(NEXT[at % 9 : at % 9 + TOP] for at in range(COUNT)),
        probs=probs,
        model_best=tuple(NEXT[(at + 4) % 9 : (at + 4) % 9 + TOP] for at in range(COUNT)),
        model_probs=model_probs,
        uniform=math.log(SHAPE.d_vocab),
        mean_bigrams=float(bigrams[:-1].mean()),
        mean_model=float(model[:-1].mean()),
    )
