"""Four runs of every case, and one more for each component of the circuit."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from mechtui.engine.api import Answers, CircuitRuns, Component, Need, OpenSession
from mechtui.evidence import ratio, summary
from mechtui.views.faithfulness import Faithfulness, FaithfulnessAnswer

# Times that an answer comes before it is whole.
MOST_PARTS = 24


def needs(question: Faithfulness, opened: OpenSession) -> list[Need]:
    return []


def answers(question: Faithfulness, opened: OpenSession) -> Answers:
    parts = [(part.layer, part.head if part.head >= 0 else None) for part in question.kept]
    runs = opened.over_circuit(parts, question.mlps)
    all_but = runs.every - frozenset(runs.kept)
    less = [all_but | {part} for part in runs.kept]
    wanted: list[frozenset[Component]] = [frozenset(), all_but, runs.every, frozenset(runs.kept), *less]
    told = 0.0
    for done, of in runs.fill(wanted):
        opened.progress(done / of)
        if done < of and done / of - told >= 1 / MOST_PARTS:
            told = done / of
            yield _answer(question, opened, runs, wanted, of - done), None, True
    yield _answer(question, opened, runs, wanted, 0), None, False


def _answer(
    question: Faithfulness,
    opened: OpenSession,
    runs: CircuitRuns,
    wanted: Sequence[frozenset[Component]],
    left: int,
) -> FaithfulnessAnswer:
    model, circuit, nothing, without, *less = (runs.without(ablated) for ablated in wanted)
    return FaithfulnessAnswer(
        of=opened.session.cases,
        components=tuple(part.name for part in question.kept),
        model=summary(model),
        circuit=summary(circuit),
        nothing=summary(nothing),
        without=summary(without),
        faithfulness=ratio(circuit - nothing, model - nothing),
        completeness=ratio(model - without, model - nothing),
        drops=tuple(summary(circuit - each) for each in less),
        left_out=int(np.count_nonzero(runs.problems)),
        left=left,
    )
