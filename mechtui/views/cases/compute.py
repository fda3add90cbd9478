"""Every case clean and edited, many at once; what is known already is not run again."""

from __future__ import annotations

import numpy as np

from mechtui.engine.api import Answers, CaseRuns, Differences, Need, OpenSession
from mechtui.evidence import summary
from mechtui.views.cases import Cases, CasesAnswer

# Times that an answer comes before it is whole: each holds all texts.
MOST_PARTS = 24


def needs(question: Cases, opened: OpenSession) -> list[Need]:
    return []


def answers(question: Cases, opened: OpenSession) -> Answers:
    runs = opened.over_cases()
    told = 0.0
    for done in runs.fill():
        opened.progress(done)
        if done < 1 and done - told >= 1 / MOST_PARTS:
            told = done
            yield *_answers(opened.session.cases, runs), True
    yield *_answers(opened.session.cases, runs), False


def _answers(line: str, runs: CaseRuns) -> tuple[CasesAnswer, CasesAnswer | None]:
    clean = runs.clean()
    edited = runs.of_edited() if runs.edited else None
    left = sum(_left(each) for each in (clean, edited) if each is not None)
    none = np.empty(0, dtype=np.float32)
    first = CasesAnswer(line, runs.cases, _float32(clean), clean.problems, summary(clean.values), none, None, left)
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
        left,
    )
    return first, second


def _float32(found: Differences) -> np.ndarray:
    return found.values.astype(np.float32)


def _left(found: Differences) -> int:
    """Cases that have neither a number nor a reason."""
    return sum(not why and bool(np.isnan(value)) for value, why in zip(found.values, found.problems, strict=True))
