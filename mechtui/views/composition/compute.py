"""Composition of all pairs of heads, from the model's weights."""

from __future__ import annotations

from mechtui.engine.api import Answers, Need, OpenSession
from mechtui.views.composition import Composition, CompositionAnswer


def needs(question: Composition, opened: OpenSession) -> list[Need]:
    return []


def answers(question: Composition, opened: OpenSession) -> Answers:
    values, baseline, spread = opened.composition(question.kind)
    yield CompositionAnswer(question.kind, values - baseline, baseline, spread, opened.shape.n_heads), None, False
