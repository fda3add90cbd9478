"""What each head does on random tokens said twice, and whether it copies."""

from __future__ import annotations

import numpy as np

from mechtui.views.scores import Scores, ScoresAnswer
from mechtui.views.tables import Around, Block, Column, Listing

UNITS = {"copying": "-1 to 1"}


def tables(question: Scores, answer: ScoresAnswer, around: Around) -> list[Block]:
    layers, heads = answer.induction.shape
    places = [(layer, head) for layer in range(layers) for head in range(heads)]
    by = answer.copying if question.by == "copying" else getattr(answer, question.by, None)
    if isinstance(by, np.ndarray):
        # What was not computed is last.
        values = {place: float(by[place]) for place in places}
        places.sort(key=lambda place: (np.isnan(values[place]), values[place] * (1 if question.up else -1)))
    numbers = ("induction", "previous", "duplicate", "copying", "first")
    columns = [
        Column(
            name,
            [float(getattr(answer, name)[place]) for place in places],
            UNITS.get(name, "share of attention"),
            signs=name == "copying",
        )
        for name in numbers
    ]
    columns.append(Column("label", [answer.label[layer][head] for layer, head in places]))
    lengths = ", ".join(map(str, answer.lengths))
    title = f"on random tokens said twice: stretches of {lengths} tokens, {answer.count} texts of each"
    return [Listing(title, "head", tuple(f"L{layer}H{head}" for layer, head in places), columns)]
