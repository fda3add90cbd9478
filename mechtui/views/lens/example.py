"""Early layers say anything, late ones the next word; the answer comes on top late, and with the edits not at all."""

from __future__ import annotations

import numpy as np

from mechtui.session.document import Token
from mechtui.views.example import COUNT, NEXT, SHAPE, TOKENS, Example, numbers
from mechtui.views.lens import Lens, LensAnswer

NOISE = (Token(2000, "ality"), Token(2001, " the"), Token(2002, "\n"), Token(2003, " �", "20e4"), Token(2004, "ement"))
AFTER = (*TOKENS[1:], NEXT[0])
MARY, JOHN = NEXT[:2]

LINES = ("lens", "lens mid")


def example() -> Example:
    return Example(Lens(), _answer(0, wins=True), _answer(1, wins=False))


def _answer(seed: int, wins: bool) -> LensAnswer:
    rows = SHAPE.n_layers
    last = MARY if wins else JOHN
    ids = np.array([token.id for token in NOISE])[np.random.default_rng(seed).integers(0, len(NOISE), (rows, COUNT))]
    for place, token in enumerate((*AFTER[:-1], last)):
        ids[4 + place % 5 :, place] = token.id
    rising = np.linspace(0.05, 1, rows)[:, None] ** 2
    prob = (0.04 + 0.9 * rising * numbers(seed + 2, rows, COUNT, low=0.6)).astype(np.float32)
    named = prob * numbers(seed + 4, rows, COUNT, high=0.2)
    answer, foil = (np.where(ids == token.id, prob, named).astype(np.float32) for token in (MARY, JOHN))
    return LensAnswer(
        layers=tuple(f"L{layer}.post" for layer in range(rows)),
        top=ids.astype(np.int32),
        prob=prob,
        entropy=(8 * (1 - rising) * numbers(seed + 6, rows, COUNT, low=0.8)).astype(np.float32),
        kl=(9 * (1 - rising) * numbers(seed + 8, rows, COUNT, low=0.8)).astype(np.float32),
        vocabulary=(*NOISE, *dict.fromkeys((*AFTER, *NEXT[:2]))),
        auto=False,
        answers=np.full(COUNT, MARY.id, dtype=np.int32),
        answer_logit=(16 + np.log(answer)).astype(np.float32),
        answer_prob=answer,
        answer_rank=np.where(ids == MARY.id, 0, np.ceil(0.3 / answer)).astype(np.int32),
        foils=np.full(COUNT, JOHN.id, dtype=np.int32),
        foil_logit=(16 + np.log(foil)).astype(np.float32),
        foil_prob=foil,
    )
