"""A text of twenty windows, of which an edit makes most a little harder to foresee."""

from __future__ import annotations

import numpy as np

from mechtui.views.example import Example, numbers
from mechtui.views.perplexity import Perplexity, PerplexityAnswer

WINDOWS = 20
TEXTS = (
    " the boat went down the river",
    ". On Monday they saw",
    "\n\nThe second chapter",
    " and nobody knew why it",
    ', "Where is the key',
)

LINES = ('perplexity "notes.txt" window24 stride9',)
FILES = {
    "notes.txt": """On Monday Mary and John went to the store. The store was old, and John gave a drink to Mary.
Then they went to the river, where a boat lay in the sun. "Whose boat is that?" said Mary.
"""
}


def example() -> Example:
    clean = numbers(2, WINDOWS, low=2.4, high=4.1)
    edited = clean + numbers(3, WINDOWS, low=-0.1, high=0.6)
    return Example(Perplexity("notes.txt"), _answer(clean), _answer(edited))


def _answer(loss: np.ndarray) -> PerplexityAnswer:
    counts = np.full(WINDOWS, 128, dtype=np.int32)
    counts[0], counts[-1] = 255, 61
    texts = tuple(TEXTS[at % len(TEXTS)] for at in range(WINDOWS))
    return PerplexityAnswer(loss, counts, texts, WINDOWS, int(counts.sum()), 256, 128, ("zero L9H9 @-1: it names …",))
