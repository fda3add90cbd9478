"""The toy models' features, and their loss over the sparsity."""

from __future__ import annotations

import numpy as np

from mechtui.session.grammar.words import format_number
from mechtui.views.tables import Around, Block, Column, Curve, Listing, Matrix, fact, numbered
from mechtui.views.toy import Toy, ToyAnswer

UNIT = "Σ importance · squared error"


def tables(question: Toy, answer: ToyAnswer, around: Around) -> list[Block]:
    features = numbered("x", question.features)
    sparsities = tuple(map(format_number, answer.sparsities))
    at, own = answer.at, sparsities[answer.at]

    def numbers(values: np.ndarray) -> list[float]:
        return [float(value) for value in values]

    losses = {"loss": answer.loss, "most important apart": answer.apart, "no feature": answer.nothing}
    columns = [Column("sparsity", answer.sparsities, "probability of 0", places=3)]
    columns += [Column(name, numbers(values), UNIT, places=4) for name, values in losses.items()]
    columns.append(Column("represented", numbers(answer.represented), f"of {question.features} features", places=0))
    shares = {name: values / answer.nothing for name, values in losses.items() if name != "no feature"}
    of = ("sparsity", "feature")
    return [
        fact("step", answer.step, f"of {answer.steps}", places=0),
        fact("steps", answer.steps, "of the training", places=0),
        fact("sparsity", answer.sparsities[at], "probability that a feature is 0"),
        Matrix(
            f"Wᵀ W at sparsity {own}",
            "what a feature gives to another",
            ("feature", "feature"),
            features,
            features,
            answer.gram[at],
            signs=True,
        ),
        Matrix(
            f"W at sparsity {own}",
            "per unit of the feature",
            ("dimension", "feature"),
            numbered("h", question.dims),
            features,
            answer.weights[at],
            signs=True,
        ),
        Listing(
            f"features at sparsity {own}",
            "feature",
            features,
            (
                Column("importance", numbers(answer.importance), "of the loss", places=4),
                Column("bias", numbers(answer.bias[at]), "per feature", signs=True),
            ),
        ),
        Listing("loss over the sparsity", "sparsity", sparsities, columns),
        Curve("loss over the sparsity", "of the loss without any feature", "sparsity", sparsities, shares, low=0.0),
        Matrix("norm", "length of a column of W", of, sparsities, features, answer.norms),
        Matrix("interference", "Σ over others of (Ŵ_i·W_j)²", of, sparsities, features, answer.interference),
        Matrix("dimensionality", "of a dimension", of, sparsities, features, answer.dimensionality),
    ]
