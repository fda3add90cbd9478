"""Paths into one receiver, each with what it does."""

from __future__ import annotations

from mechtui.views.path import Path, PathAnswer
from mechtui.views.tables import Around, Block, Column, Listing, fact

MOVES = {
    "q": ("score", "nats"),
    "k": ("score", "nats"),
    "v": ("share", "of its length"),
    "mlp": ("share", "of its length"),
}


def tables(question: Path, answer: PathAnswer, around: Around) -> list[Block]:
    rows = tuple(around.at(int(name[1:])) if name.startswith("@") else name for name in answer.senders)
    columns = [Column("effect", answer.effect.tolist(), "logits", signs=True)]
    if question.part in MOVES:
        name, unit = MOVES[question.part]
        columns.append(Column(name, answer.moves.tolist(), unit, signs=True))
    done = {"cut": "taken away", "patch": "as in the source"}[answer.how]
    what = f"paths into {answer.receiver}, one write {done}: change of the logit difference"
    blocks: list[Block] = [
        Listing(what, "position" if question.sender is not None else "sender", rows, tuple(columns)),
        fact("logit difference without it", answer.baseline, "logits", signs=True),
    ]
    if answer.together is not None:
        blocks.append(fact("all paths at once", answer.together, "logits", signs=True))
    if answer.score is not None:
        blocks.append(fact(f"attention score {answer.query}>{answer.key}", answer.score, "nats", signs=True))
    for name, position in (("query", answer.query), ("key", answer.key)):
        if position is not None:
            blocks.append(fact(f"{name} that is looked at: {around.at(position)}", position, "position", places=0))
    return blocks
