"""Every case clean and edited, many at once; what is known already is not run again."""

from __future__ import annotations

import numpy as np
from msgspec.structs import replace

from mechtui.engine.api import Answers, CaseRuns, Differences, Need, OpenSession
from mechtui.evidence import summary
from mechtui.session.document import Session
from mechtui.session.grammar.edits import format_edit
from mechtui.views.cases import Alone, Cases, CasesAnswer

# Times that an answer comes before it is whole: each holds all texts.
MOST_PARTS = 24


def needs(question: Cases, opened: OpenSession) -> list[Need]:
    return []


def answers(question: Cases, opened: OpenSession) -> Answers:
    runs = opened.over_cases()
    told = 0.0
    for done, of in runs.fill():
        opened.progress(done / of)
        if done < of and done / of - told >= 1 / MOST_PARTS:
            told = done / of
            yield *_answers(opened.session, runs, of - done), True
    yield *_answers(opened.session, runs, 0), False


def _answers(session: Session, runs: CaseRuns, left: int) -> tuple[CasesAnswer, CasesAnswer | None]:
    line, clean = session.cases, runs.clean()
    edited = runs.of_edited() if runs.edited else None
    none = np.empty(0, dtype=np.float32)
    lines = [format_edit(replace(edit, on=True)) for edit in session.edits]
    effects = (summary(each.values - clean.values) for each in runs.alone())
    alone = tuple(map(Alone, lines, effects))
    first = CasesAnswer(
        line, runs.cases, _float32(clean), clean.problems, summary(clean.values), none, None, alone, left
    )
    if edited is None:
        return first, None
    effect = edited.values - clean.values
    second = CasesAnswer(
        line,
        runs.cases,
        _float32(edited),
        edited.problems,
        summary(edited.values),
        effect.astype(np.float32),
        summary(effect),
        (),
        left,
    )
    return first, second


def _float32(found: Differences) -> np.ndarray:
    return found.values.astype(np.float32)
