"""Features of which the first have a dimension of their own and the next ones share; the last have none."""

from __future__ import annotations

import numpy as np

from mechtui.views.example import Example, numbers
from mechtui.views.toy import Toy, ToyAnswer

LINES = ("toy 6>2 steps60", "toy 5>3 sparsity0.4 linear seed3 steps40")


def example() -> Example:
    question = Toy()
    models, features, dims = len(question.sparsities), question.features, question.dims
    weights = numbers(1, models, dims, features, low=-0.05, high=0.05)
    for model in range(models):
        for feature in range(min(dims + 2 * model, features)):
            # The first share nothing; of the others two lie opposite each other.
            own = feature < max(dims - model, 0)
            sign = 1 if own or feature % 2 else -1
            weights[model, feature // (1 if own else 2) % dims, feature] = sign * (1.0 - 0.02 * feature)
    sparse = np.array(question.sparsities)
    on = 1 - sparse
    importance = question.importance ** np.arange(features)
    spread = (on / 3 - on**2 / 4)[:, None] * importance
    apart = spread[:, dims:].sum(1)
    return Example(
        question,
        ToyAnswer(
            question.sparsities,
            question.sparsities.index(question.sparsity),
            importance.astype(np.float32),
            weights,
            numbers(2, models, features, low=-0.1, high=0.1),
            (apart * (1 - 0.8 * sparse**2)).astype(np.float32),
            apart.astype(np.float32),
            spread.sum(1).astype(np.float32),
            question.steps,
            question.steps,
        ),
    )
