"""The logit difference of a state."""

from __future__ import annotations

from mechtui.engine.api import Answers, Need, OpenSession, Run, each
from mechtui.views.history import History, HistoryAnswer


def needs(question: History, opened: OpenSession) -> list[Need]:
    return []


def answers(question: History, opened: OpenSession) -> Answers:
    position = opened.position(question.position)
    answer, foil = opened.targets_at(position)

    def of(run: Run) -> HistoryAnswer:
        if answer is None or foil is None:
            return HistoryAnswer(position, None)
        logits = run.logits([position])[0]
        return HistoryAnswer(position, float(logits[answer] - logits[foil]))

    return each(opened, of)
