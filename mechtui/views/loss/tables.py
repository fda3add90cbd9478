"""How surprising each token is to what stands before it, and which were likelier."""

from __future__ import annotations

import math

from mechtui.paint.tokens import visible
from mechtui.views.loss import Loss, LossAnswer
from mechtui.views.tables import Around, Block, Column, Listing


def tables(question: Loss, answer: LossAnswer, around: Around) -> list[Block]:
    rows = around.positions(len(answer.loss))
    columns = [
        Column("loss", [float(value) for value in answer.loss], "nats"),
        Column("rank", [float(value) for value in answer.rank], "0 is first", places=0),
    ]
    for place in range(answer.probs.shape[1] if answer.probs.ndim == 2 else 0):
        names = [visible(row[place]) if place < len(row) else "" for row in answer.best]
        columns.append(Column(f"likeliest {place + 1}", names))
        columns.append(Column(f"probability {place + 1}", [float(p) for p in answer.probs[:, place]], "of 1", places=3))
    both = (("sum", answer.sum), ("mean", answer.mean))
    facts = tuple(name for name, _ in both)
    values = [None if math.isnan(value) else value for _, value in both]
    return [
        Listing("loss of each token", "token", rows, columns),
        Listing("of all that have one", "", facts, (Column("loss", values, "nats"),)),
    ]
