"""Which heads could read what earlier ones write, by the weights, and what they read of it on this prompt."""

from __future__ import annotations

import numpy as np

from mechtui.views.composition import Composition, CompositionAnswer
from mechtui.views.tables import Around, Block, Column, Listing, Matrix, fact

UNIT = "|product| over the norms' product, less that of random matrices"


def tables(question: Composition, answer: CompositionAnswer, around: Around) -> list[Block]:
    def pairs(title: str, unit: str, values: np.ndarray, places: int) -> Matrix:
        of = ("later head", "earlier head")
        return Matrix(title, unit, of, answer.heads, answer.heads, values, signs=True, places=places, sparse=True)

    blocks: list[Block] = [
        pairs(f"{answer.kind} composition", UNIT, answer.values, 3),
        fact("random matrices have, on average", answer.baseline, "|product| over the norms' product", places=4),
        fact("their standard deviation", answer.spread, "|product| over the norms' product", places=5),
    ]
    if answer.refused:
        return blocks
    unit = "of the value, along itself" if answer.kind == "V" else "nats of the attention score"
    columns = [Column("key", answer.keys, "position", places=0)]
    if answer.kind != "V":
        columns.append(Column("attention score", answer.score.tolist(), "nats", signs=True))
    query = around.at(answer.query)
    return [
        *blocks,
        pairs(f"what the earlier head wrote of what the later one reads from {query}", unit, answer.contribution, 2),
        Listing(f"where the later heads are looked at from {query}", "head", answer.heads, columns),
        fact(f"query that is looked at: {query}", answer.query, "position", places=0),
    ]
