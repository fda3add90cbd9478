"""One number for every head."""

from __future__ import annotations

import torch
from torch import Tensor

from mechtui.views.heads import Heads, HeadsAnswer
from mechtui.worker.engine import Answers, Need, Opened, Run, each
from mechtui.worker.engine.weights import W_O


def _needs(question: Heads, opened: Opened) -> list[Need]:
    hook = "hook_z" if question.summary == "norm" else "hook_pattern"
    position = opened.position(question.position)
    return [Need(f"blocks.{layer}.attn.{hook}", "at", position) for layer in range(opened.model.shape.n_layers)]


def needs(question: Heads, opened: Opened) -> list[Need]:
    return _needs(question, opened)


def answers(question: Heads, opened: Opened) -> Answers:
    def answer(run: Run) -> HeadsAnswer:
        rows = [
            _summary(question, opened, layer, run.take(need)).cpu()
            for layer, need in enumerate(_needs(question, opened))
        ]
        return HeadsAnswer(question.summary, opened.position(question.position), torch.stack(rows).float().numpy())

    return each(opened, answer, question)


@torch.inference_mode()
def _summary(question: Heads, opened: Opened, layer: int, taken: Tensor) -> Tensor:
    """[head], from the pattern's row [head, key] or z [head, d_head]."""
    if question.summary == "entropy":
        entropy: Tensor = torch.special.entr(taken.float().clamp_min(0)).sum(-1)
        return entropy
    if question.summary == "first":
        return taken[:, 0]
    written = torch.einsum("hd,hdm->hm", taken, W_O(opened.model.bridge, layer).to(taken.device))
    norms: Tensor = torch.linalg.vector_norm(written, dim=-1)
    return norms
