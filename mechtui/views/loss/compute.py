"""The loss of every token, and the tokens that were likelier, from a run's logits."""

from __future__ import annotations

import numpy as np
import torch

from mechtui.engine.api import Answers, Need, OpenSession, Run, each
from mechtui.none import NONE
from mechtui.views.loss import Loss, LossAnswer

# Positions looked at together: 64 rows of a 50,000-token vocabulary are 13 MB.
POSITIONS = 64


def needs(question: Loss, opened: OpenSession) -> list[Need]:
    return []


def answers(question: Loss, opened: OpenSession) -> Answers:
    return each(opened, lambda run: _answer(opened, run, question.top), question.asked())


@torch.inference_mode()
def _answer(opened: OpenSession, run: Run, top: int) -> LossAnswer:
    count = len(run.ids)
    top = min(top, opened.shape.d_vocab)
    loss = run.surprise().numpy().astype(np.float32)
    rank = np.full(count, NONE, dtype=np.float32)
    probs = np.full((count, top), NONE, dtype=np.float32)
    best: list[list[int]] = [[] for _ in range(count)]
    for begin in range(1, count, POSITIONS):
        end = min(begin + POSITIONS, count)
        opened.check_cancelled()
        logits = run.logits(slice(begin - 1, end - 1))
        came = torch.tensor(run.ids[begin:end], device=logits.device)[:, None]
        values, ids = logits.topk(top)
        rank[begin:end] = (logits > logits.gather(-1, came)).sum(-1).cpu().numpy()
        probs[begin:end] = (values - logits.logsumexp(-1, keepdim=True)).exp().cpu().numpy()
        best[begin:end] = ids.tolist()
    known = loss[1:].astype(np.float64)
    return LossAnswer(
        loss=loss,
        rank=rank,
        best=tuple(tuple(opened.token(id) for id in row) for row in best),
        probs=probs,
        sum=float(known.sum()) if known.size else NONE,
        mean=float(known.mean()) if known.size else NONE,
    )
