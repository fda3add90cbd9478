"""Contexts of a neuron of a gated MLP that likes rivers."""

from __future__ import annotations

import numpy as np

from mechtui.session.document import Token
from mechtui.views.contexts import BINS, Context, Contexts, ContextsAnswer
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
    'contexts featsF3 featsF7 "contexts.txt" window24',
    'contexts feats "contexts.txt" window20 value top3',
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
        tuple(f"L{layer}N{neuron}" for layer, neuron in NEURONS),
        numbers(3, 1, low=0.02, high=0.4),
        value,
        (contexts,),
        np.floor(400 * np.exp(-np.arange(BINS) / 4))[None].astype(np.float32),
        np.array([8 / BINS], dtype=np.float32),
        ("",),
        gate=gate,
        into=value / gate,
    )
    return Example(Contexts(NEURONS, file="notes.txt", known=True), answer, None)


def _context(place: int) -> Context:
    before, token, after = TEXTS[place % len(TEXTS)]
    return Context(before, Token(100 + place, token), after, before + token)
