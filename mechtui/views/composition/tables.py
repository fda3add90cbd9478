"""Which heads could read what earlier ones write, by the weights."""

from __future__ import annotations

from mechtui.views.composition import Composition, CompositionAnswer
from mechtui.views.tables import Around, Block, Matrix, fact

UNIT = "|product| over the norms' product, less that of random matrices"


def tables(question: Composition, answer: CompositionAnswer, around: Around) -> list[Block]:
    heads = tuple(f"L{at // answer.n_heads}H{at % answer.n_heads}" for at in range(len(answer.values)))
    return [
        Matrix(
            f"{answer.kind} composition",
            UNIT,
            ("later head", "earlier head"),
            heads,
            heads,
            answer.values,
            signs=True,
            places=3,
            sparse=True,
        ),
        fact("random matrices have, on average", answer.baseline, "|product| over the norms' product", places=4),
        fact("their standard deviation", answer.spread, "|product| over the norms' product", places=5),
    ]
