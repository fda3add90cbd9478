"""The cosines' histograms, and the error of the recovery over the count of numbers."""

from __future__ import annotations

import numpy as np

from mechtui.paint.tokens import visible_text
from mechtui.views.directions import Directions, DirectionsAnswer, called
from mechtui.views.tables import Around, Block, Column, Curve, Listing, fact


def tables(question: Directions, answer: DirectionsAnswer, around: Around) -> list[Block]:
    own = called(answer.of)
    sets = {"random": answer.random, own: answer.model}
    counts = tuple(map(str, answer.numbers))

    def numbers(values: np.ndarray) -> list[float]:
        return [float(value) for value in values]

    bins = tuple(f"{low:+.4f} to {high:+.4f}" for low, high in zip(answer.edges[:-1], answer.edges[1:], strict=True))
    shares = [Column(name, each.share, "of the pairs", places=4) for name, each in sets.items()]
    ends = [
        Column("from", answer.edges[:-1], "cosine", signs=True, places=4),
        Column("to", answer.edges[1:], "cosine", signs=True, places=4),
    ]
    names = tuple(str(at + 1) for at in range(len(answer.closest)))
    return [
        fact("dimensions of the random directions", answer.dims, "dimensions", places=0),
        fact("expected beyond: one pair of random directions", answer.bound, "cosine", places=3),
        Listing(
            "cosines of all pairs",
            "directions",
            tuple(sets),
            (
                Column("directions", [each.count for each in sets.values()], "directions", places=0),
                Column("mean", [each.mean for each in sets.values()], "cosine", signs=True, places=4),
                Column("sd", [each.sd for each in sets.values()], "cosine", places=4),
                Column("largest", [each.largest for each in sets.values()], "cosine", signs=True, places=3),
            ),
        ),
        Listing("where cosines lie", "cosine", bins, (*ends, *shares)),
        Listing(
            f"closest of the {own}",
            "pair",
            names,
            (
                Column("first", [visible_text(each.first) for each in answer.closest]),
                Column("second", [visible_text(each.second) for each in answer.closest]),
                Column("cosine", [each.cosine for each in answer.closest], "cosine", signs=True, places=3),
            ),
        ),
        fact("numbers that it takes, about", answer.rule, "numbers", places=1),
        fact("vectors recovered from each count", answer.trials, "vectors", places=0),
        Listing(
            f"{question.active} of {question.features} recovered",
            "numbers",
            counts,
            (
                Column("count", answer.numbers, "numbers", places=0),
                Column("error", numbers(answer.error), "of the vector's length", places=4),
                Column("low", numbers(answer.low), "of the vector's length", places=4),
                Column("high", numbers(answer.high), "of the vector's length", places=4),
                Column("recovered", numbers(answer.recovered), "of the vectors"),
            ),
        ),
        Curve("error", "of the vector's length", "numbers", counts, {"median error": answer.error}, low=0.0),
    ]
