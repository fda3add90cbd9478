"""One head's attention, query by key."""

from __future__ import annotations

from mechtui.views.attention import Attention, AttentionAnswer
from mechtui.views.tables import Around, Block, Matrix

UNITS = {
    "pattern": "share of the query's attention",
    "scores": "before the softmax",
    "value": "share, weighted by the length of the value vectors",
}


def tables(question: Attention, answer: AttentionAnswer, around: Around) -> list[Block]:
    queries, keys = answer.table.shape
    ends = (None, None) if answer.what == "scores" else (0.0, 1.0)
    return [
        Matrix(
            f"L{question.layer}H{question.head} {answer.what}",
            UNITS[answer.what],
            ("query", "key"),
            around.positions(queries),
            around.positions(keys),
            answer.table,
            low=ends[0],
            high=ends[1],
        )
    ]
