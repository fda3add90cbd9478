"""What comes next by each token alone and by the model."""

from __future__ import annotations

from mechtui.paint.tokens import visible
from mechtui.views.bigrams import Bigrams, BigramsAnswer
from mechtui.views.tables import Around, Block, Column, Listing


def tables(question: Bigrams, answer: BigramsAnswer, around: Around) -> list[Block]:
    rows = around.positions(len(answer.bigrams))
    columns = [
        Column("bigrams", answer.bigrams.tolist(), "nats"),
        Column("model", answer.model.tolist(), "nats"),
        Column("gain", (answer.bigrams - answer.model).tolist(), "nats", signs=True),
    ]
    for what, best, probs in (
        ("bigrams", answer.best, answer.probs),
        ("model", answer.model_best, answer.model_probs),
    ):
        for place in range(probs.shape[1] if probs.ndim == 2 else 0):
            columns.append(Column(f"{what}: likeliest {place + 1}", [visible(row[place]) for row in best]))
            columns.append(Column(f"{what}: probability {place + 1}", probs[:, place].tolist(), "of 1", places=3))
    means = Column("loss", [answer.mean_bigrams, answer.mean_model, answer.uniform], "nats")
    return [
        Listing("loss of the token that follows", "token", rows, columns),
        Listing("mean of all that have one", "", ("bigrams", "model", "uniform guess"), (means,)),
        Listing("", "", ("explained by bigrams",), (Column("", [answer.explained], "of 1"),)),
    ]
