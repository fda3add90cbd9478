"""One number for every head."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from mechtui.engine.api import CLEAN, EDITED, Answers, Need, OpenSession, Run, SessionError, each, together
from mechtui.engine.ledger import direction, per_head
from mechtui.session.sweeps import of_heads
from mechtui.views.heads import NO_SWEEP, OF_MODEL, Heads, HeadsAnswer
from mechtui.views.over import Over


def needs(question: Heads, opened: OpenSession) -> list[Need]:
    return [] if question.summary in (*OF_MODEL, "sweep") else _needs(question, opened)


def _needs(question: Heads, opened: OpenSession) -> list[Need]:
    hook = "hook_z" if question.summary in ("norm", "attribution") else "hook_pattern"
    position = opened.position(question.position)
    return [Need(f"blocks.{layer}.attn.{hook}", "at", position) for layer in range(opened.shape.n_layers)]


def answers(question: Heads, opened: OpenSession) -> Answers:
    position = opened.position(question.position)
    if question.summary in OF_MODEL:
        for cards, more in opened.head_cards():
            values = np.array(getattr(cards, question.summary), dtype=np.float32)
            yield HeadsAnswer(question.summary, position, values), None, more
        return

    if question.summary == "sweep":
        made = of_heads(opened.session.sweeps, opened.session, opened.shape.n_layers, opened.shape.n_heads)
        if made is None:
            raise SessionError(NO_SWEEP)
        yield HeadsAnswer("sweep", position, np.array(made.values, dtype=np.float32)), None, False
        return

    if question.over:
        yield from _over_cases(question, opened)
        return

    def answer(run: Run) -> HeadsAnswer:
        return HeadsAnswer(question.summary, position, _values(question, opened, run))

    # What is attributed goes by the session's answer and foil too.
    yield from each(opened, answer, None if question.summary == "attribution" else question)


def _over_cases(question: Heads, opened: OpenSession) -> Answers:
    over = opened.over_each(question, lambda case, run: {"values": _values(question, case, run)})
    shape = (opened.shape.n_layers, opened.shape.n_heads)

    def answer(run: int) -> HeadsAnswer:
        means, said = Over.made(
            over.of, over.cases, over.problems(run), over.table(run, "values", shape), over.asked(run)
        )
        return HeadsAnswer(question.summary, question.position, means, said)

    def both() -> tuple[HeadsAnswer, HeadsAnswer | None]:
        return answer(CLEAN), answer(EDITED) if over.edited else None

    for _ in over.parts():
        yield *both(), True
    yield *both(), False


def _values(question: Heads, opened: OpenSession, run: Run) -> np.ndarray:
    """[layer, head]"""
    position = opened.position(question.position)
    if question.summary == "attribution":
        return per_head(run, opened, position, direction(opened, position))
    taken = [run.take(need) for need in _needs(question, opened)]
    if question.summary == "norm":
        taken = [_norms(opened, layer, z) for layer, z in enumerate(taken)]
    values = together(taken)
    if question.summary == "entropy":
        values = torch.special.entr(values.clamp_min(0)).sum(-1)
    elif question.summary == "first":
        values = values[:, :, 0]
    return values.numpy()


@torch.inference_mode()
def _norms(opened: OpenSession, layer: int, z: Tensor) -> Tensor:
    """[head]: of what each head writes, from z [head, d_head]."""
    written = torch.einsum("hd,hdm->hm", z, opened.W_O(layer).to(z.device))
    norms: Tensor = torch.linalg.vector_norm(written, dim=-1)
    return norms
