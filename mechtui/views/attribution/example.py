"""A ledger in which a few heads and MLPs write most, and an edited head writes nothing."""

from __future__ import annotations

import numpy as np

from mechtui.views.attribution import Attribution, AttributionAnswer, Components
from mechtui.views.example import COUNT, NEXT, SHAPE, Example, numbers

LINES = (
    *("attribution", "attribution L1H2", "attribution measured mean", "attribution L0.mlp top7"),
    *("attribution @3 answer", "attribution L1H2 @4 measured here", "attribution over cases"),
)


def example() -> Example:
    return Example(Attribution(), _answer(1.0), _answer(0.0))


def _answer(spoken: float) -> AttributionAnswer:
    """spoken: how much of L9H9's write there is; powers make few numbers large."""
    heads = 2 * numbers(0, SHAPE.n_layers, SHAPE.n_heads, low=-1) ** 5
    heads[9, 9] = 2.31 * spoken
    mlps = numbers(1, SHAPE.n_layers, low=-1) ** 3
    parts = Components(heads, mlps, 0.21, -0.05, 0.12, 0.0 if spoken else 0.34)
    total = float(np.sum(heads, dtype=np.float64) + np.sum(mlps, dtype=np.float64))
    total += parts.embed + parts.pos + parts.bias + parts.edits
    return AttributionAnswer(COUNT - 1, NEXT[0], NEXT[1], False, parts, total, 1e-3)
