"""One head's table, from the pattern, the scores and the values of its layer."""

from __future__ import annotations

from typing import Literal

import torch

from mechtui.engine.api import Answers, Need, OpenSession, Run, each, seen_in
from mechtui.none import NONE
from mechtui.session.document import Site, Span
from mechtui.views.attention import Attention, AttentionAnswer


def needs(question: Attention, opened: OpenSession) -> list[Need]:
    shape = opened.shape
    if question.layer >= shape.n_layers or question.head >= shape.n_heads:
        return []
    needed = [_table(question, "scores" if question.what == "scores" else "pattern")]
    if question.what == "value":
        needed.append(_lengths(question))
    if opened.windows and question.what != "scores":
        needed.append(_table(question, "scores"))
    return needed


def _table(question: Attention, what: Literal["pattern", "scores"]) -> Need:
    # One head's table only: all heads of a long prompt are fifty megabytes and more.
    hook = "hook_attn_scores" if what == "scores" else "hook_pattern"
    return Need(f"blocks.{question.layer}.attn.{hook}", "head", question.head)


def _lengths(question: Attention) -> Need:
    return Need(f"blocks.{question.layer}.attn.hook_v", "norm")


def answers(question: Attention, opened: OpenSession) -> Answers:
    shape = opened.shape
    head = Site("head", Span(question.layer, question.layer), Span(question.head, question.head), "z")
    opened.check_site(head)

    def answer(run: Run) -> AttentionAnswer:
        table = run.take(_table(question, "scores" if question.what == "scores" else "pattern")).float()
        if question.what == "value":
            group = question.head * shape.n_kv_heads // shape.n_heads
            table = table * run.take(_lengths(question))[None, :, group]
            total = table.sum(-1, keepdim=True)
            table = torch.where(total > 0, table / torch.where(total > 0, total, 1), table)
        seen = torch.ones_like(table, dtype=torch.bool).tril()
        if opened.windows:
            # Keys outside a window are masked as those ahead are.
            scores = run.take(_table(question, "scores"))
            seen &= seen_in(scores, opened.dtype)
        return AttentionAnswer(question.what, torch.where(seen, table, NONE).cpu().numpy())

    return each(opened, answer)
