"""The distribution over the next token, from a run's logits."""

from __future__ import annotations

import torch

from mechtui.engine.api import Answers, Need, OpenSession, Run
from mechtui.views import Answer
from mechtui.views.next_tokens import Candidate, NextTokens, NextTokensAnswer


def needs(question: NextTokens, opened: OpenSession) -> list[Need]:
    return []


def answers(question: NextTokens, opened: OpenSession) -> Answers:
    position = opened.position(question.position)
    if opened.waits:
        ids, targets = opened.clean.best(position, question.top), opened.targets_at(position)
        yield _answer(opened, opened.clean, position, ids, len(ids), targets), None, True
    runs = (opened.clean, opened.edited)
    best = [run.best(position, question.top) if run is not None else [] for run in runs]
    targets = opened.targets_at(position)

    def answer(run: Run, mine: list[int], others: list[int]) -> Answer:
        seen = [*mine, *(id for id in others if id not in mine)]
        key = (position, len(mine), seen, targets, opened.auto)
        return run.remembered(NextTokens, key, lambda: _answer(opened, run, position, seen, len(mine), targets))

    pair = [
        answer(run, mine, others) if run is not None else None
        for run, mine, others in zip(runs, best, reversed(best), strict=True)
    ]
    yield pair[0], pair[1], False


def _answer(
    opened: OpenSession,
    run: Run,
    position: int,
    seen: list[int],
    top: int,
    targets: tuple[int | None, int | None],
) -> NextTokensAnswer:
    """seen: the run's own `top` best, then what is only among the other run's."""
    logits = run.logits([position])[0]
    # A vocabulary is long: it is gone through as few times as can be.
    below = logits - logits[seen[0]]
    weights = below.exp()
    total = weights.sum()
    entropy = (total.log() - weights.dot(below) / total).clamp_min(0)
    wanted = [*seen, *(id for id in targets if id is not None)]
    values = logits[wanted]
    # What is larger than one of the best is itself one of the best.
    among = (values[None, :top] > values[:, None]).sum(-1)
    outside = [at for at, id in enumerate(wanted) if id not in seen[:top]]
    if outside:
        among[outside] = (logits[None, :] > values[outside, None]).sum(-1)
    # One transfer for all of it: a number fetched from a GPU costs as much as a thousand.
    packed = torch.cat([values, weights[wanted] / total, among.to(values.dtype), entropy[None]]).tolist()
    count = len(wanted)

    def candidate(at: int) -> Candidate:
        token = opened.token(wanted[at])
        return Candidate(token, packed[at], packed[count + at], int(packed[2 * count + at]))

    pair = iter(range(len(seen), count))
    answer, foil = (candidate(next(pair)) if id is not None else None for id in targets)
    return NextTokensAnswer(
        position=position,
        top=tuple(candidate(at) for at in range(top)),
        also=tuple(candidate(at) for at in range(top, len(seen))),
        answer=answer,
        foil=foil,
        auto=opened.auto,
        logit_diff=answer.logit - foil.logit if answer and foil else None,
        entropy=packed[-1],
    )
