"""The model's head cards."""

from __future__ import annotations

import numpy as np

from mechtui.engine.api import Answers, HeadCards, Need, OpenSession
from mechtui.views.scores import Scores, ScoresAnswer, labels


def needs(question: Scores, opened: OpenSession) -> list[Need]:
    return []


def answers(question: Scores, opened: OpenSession) -> Answers:
    for cards, more in opened.head_cards():
        yield _answer(cards, opened.repeat), None, more


def _answer(cards: HeadCards, repeat: str) -> ScoresAnswer:
    names = ("induction", "previous", "duplicate", "copying", "first")
    tables = {name: np.array(getattr(cards, name), dtype=np.float32) for name in names}
    return ScoresAnswer(
        **tables, label=labels(tables), lengths=cards.lengths, count=cards.count, bos=cards.bos, repeat=repeat
    )
