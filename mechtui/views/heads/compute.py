"""One number for every head."""

from __future__ import annotations

import torch
from torch import Tensor

from mechtui.engine.api import Answers, Need, OpenSession, Run, each, together
from mechtui.views.heads import Heads, HeadsAnswer


def _needs(question: Heads, opened: OpenSession) -> list[Need]:
    hook = "hook_z" if question.summary == "norm" else "hook_pattern"
    position = opened.position(question.position)
    return [Need(f"blocks.{layer}.attn.{hook}", "at", position) for layer in range(opened.shape.n_layers)]


def needs(question: Heads, opened: OpenSession) -> list[Need]:
    return _needs(question, opened)


def answers(question: Heads, opened: OpenSession) -> Answers:
    def answer(run: Run) -> HeadsAnswer:
        taken = [run.take(need) for need in _needs(question, opened)]
        if question.summary == "norm":
            taken = [_norms(opened, layer, z) for layer, z in enumerate(taken)]
        values = together(taken)
        if question.summary == "entropy":
            values = torch.special.entr(values.clamp_min(0)).sum(-1)
        elif question.summary == "first":
            values = values[:, :, 0]
        return HeadsAnswer(question.summary, opened.position(question.position), values.numpy())

    return each(opened, answer, question)


@torch.inference_mode()
def _norms(opened: OpenSession, layer: int, z: Tensor) -> Tensor:
    """[head]: of what each head writes, from z [head, d_head]."""
    written = torch.einsum("hd,hdm->hm", z, opened.W_O(layer).to(z.device))
    norms: Tensor = torch.linalg.vector_norm(written, dim=-1)
    return norms
