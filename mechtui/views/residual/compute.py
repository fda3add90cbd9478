"""Norms of the residual stream and of what is written to it."""

from __future__ import annotations

import numpy as np

from mechtui.engine.api import Answers, Need, OpenSession, Run, each, together
from mechtui.none import NONE
from mechtui.views.residual import Residual, ResidualAnswer


def _writes(opened: OpenSession, what: str) -> list[Need]:
    return [Need(f"blocks.{layer}.hook_{what}_out", "norm") for layer in range(opened.shape.n_layers)]


def needs(question: Residual, opened: OpenSession) -> list[Need]:
    return _writes(opened, "attn") + (_writes(opened, "mlp") if opened.shape.d_mlp else [])


def answers(question: Residual, opened: OpenSession) -> Answers:
    n_layers = opened.shape.n_layers
    sites = (*(f"L{layer}.pre" for layer in range(n_layers)), f"L{n_layers - 1}.post")

    def answer(run: Run) -> ResidualAnswer:
        attn = together([run.take(need) for need in _writes(opened, "attn")]).numpy()
        mlp = np.full_like(attn, NONE)
        if opened.shape.d_mlp:
            mlp = together([run.take(need) for need in _writes(opened, "mlp")]).numpy()
        return ResidualAnswer(sites, together(run.residual_norms()).numpy(), attn, mlp)

    return each(opened, answer, question)
