"""The distribution over the next token, from a run's logits."""

from __future__ import annotations

import torch
from torch import Tensor

from mechtui.views.next_tokens import Candidate, NextTokens, NextTokensAnswer
from mechtui.worker.engine import Answers, Need, Opened


def needs(question: NextTokens, opened: Opened) -> list[Need]:
    return []


def answers(question: NextTokens, opened: Opened) -> Answers:
    position = opened.position(question.position)
    clean = opened.clean.logits([position])[0]
    edited = opened.edited.logits([position])[0] if opened.edited is not None else None
    top = min(question.top, clean.shape[-1])
    best = [logits.topk(top).indices.tolist() if logits is not None else [] for logits in (clean, edited)]
    targets = opened.targets_at(position)
    pair = [
        _answer(opened, position, logits, mine, others, targets) if logits is not None else None
        for logits, mine, others in ((clean, best[0], best[1]), (edited, best[1], best[0]))
    ]
    yield pair[0], pair[1], False


def _answer(
    opened: Opened,
    position: int,
    logits: Tensor,
    best: list[int],
    others: list[int],
    targets: tuple[int | None, int | None],
) -> NextTokensAnswer:
    # A vocabulary is long: it is gone through as few times as can be.
    below = logits - logits[best[0]]
    weights = below.exp()
    total = weights.sum()
    entropy = (total.log() - weights.dot(below) / total).clamp_min(0)
    seen = [*best, *(id for id in others if id not in best)]
    wanted = [*seen, *(id for id in targets if id is not None)]
    values = logits[wanted]
    # What is larger than one of the best is itself one of the best.
    among = (values[None, : len(best)] > values[:, None]).sum(-1)
    outside = [at for at, id in enumerate(wanted) if id not in best]
    if outside:
        among[outside] = (logits[None, :] > values[outside, None]).sum(-1)
    # One transfer for all of it: a number fetched from a GPU costs as much as a thousand.
    packed = torch.cat([values, weights[wanted] / total, among.to(values.dtype), entropy[None]]).tolist()
    count = len(wanted)

    def candidate(at: int) -> Candidate:
        token = opened.model.token(wanted[at])
        return Candidate(token, packed[at], packed[count + at], int(packed[2 * count + at]))

    pair = iter(range(len(seen), count))
    answer, foil = (candidate(next(pair)) if id is not None else None for id in targets)
    return NextTokensAnswer(
        position=position,
        top=tuple(candidate(at) for at in range(len(best))),
        also=tuple(candidate(at) for at in range(len(best), len(seen))),
        answer=answer,
        foil=foil,
        auto=opened.auto,
        logit_diff=answer.logit - foil.logit if answer and foil else None,
        entropy=packed[-1],
    )
