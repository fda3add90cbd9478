"""Contexts of a neuron of a gated MLP that likes rivers."""

from __future__ import annotations

import numpy as np

from mechtui.session.document import Token
from mechtui.views.contexts import Context, Contexts, ContextsAnswer
from mechtui.views.example import Example, numbers

NEURONS = ((9, 77),)
TEXTS = (
    ("the boat went slowly down the", " river", " to the town where\nthey had lived"),
    ("On Monday they walked along the", " Thames", ", and nobody knew why it was"),
    ("a bridge over the", " stream", " that was older than the village itself"),
    ("He fell into the", " canal", "."),
    ("The second chapter is about the", " 中文", " of the delta, and its [b]fish[/b]"),
)
PLACES = 10

NOTE = "Mary and John went to the store. The boat on the river was old, and John gave a drink to Mary. " * 3
FILES = {"contexts.txt": NOTE}
LINES = (
    'contexts L0N3 L1N7 "contexts.txt" window24',
    'contexts "contexts.txt" window20 activation top3',
)


def example() -> Example:
    value = (6.0 * np.exp(-np.arange(PLACES) / 9))[None].astype(np.float32)
    gate = value / 1.5
    contexts = tuple(_context(place) for place in range(PLACES))
    answer = ContextsAnswer(
        "notes.txt",
        18_400,
        24_128,
        128,
        np.array([layer for layer, _ in NEURONS], dtype=np.int32),
        np.array([neuron for _, neuron in NEURONS], dtype=np.int32),
        numbers(3, 1, low=0.02, high=0.4),
        value,
        (contexts,),
        gate=gate,
        into=value / gate,
    )
    return Example(Contexts(NEURONS, "notes.txt", known=True), answer, None)


def _context(place: int) -> Context:
    before, token, after = TEXTS[place % len(TEXTS)]
    return Context(before, Token(100 + place, token), after, before + token)
