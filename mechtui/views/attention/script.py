"""One head's table, read from the cache."""

from __future__ import annotations

from mechtui.views.attention import Attention
from mechtui.views.script import Around, seen_values


def lines(question: Attention, around: Around) -> list[str]:
    layer, head, shape = question.layer, question.head, around.shape
    if question.what == "scores" and around.native:
        # The bridge does not show them.
        q, k = (f'cache["blocks.{layer}.attn.hook_{each}"][0, :, {head}]' for each in "qk")
        return [
            f"scores = {q} @ {k}.T / {shape.d_head} ** 0.5",
            "seen = torch.ones_like(scores).tril() > 0",
            'return {"scores": torch.where(seen, scores, torch.nan)}',
        ]
    if question.what == "scores":
        return [
            f'scores = cache["blocks.{layer}.attn.hook_attn_scores"][0, {head}]',
            "seen = scores > torch.finfo(scores.dtype).min / 2",
            'return {"scores": torch.where(seen, scores, torch.nan)}',
        ]
    pattern = f'pattern = cache["blocks.{layer}.attn.hook_pattern"][0, {head}]'
    if question.what == "pattern":
        return [pattern, 'return {"pattern": pattern}']
    group = head * shape.n_kv_heads // shape.n_heads
    return [
        pattern,
        *seen_values(layer, group),
        "value = pattern * values.norm(dim=-1)",
        "total = value.sum(-1, keepdim=True)",
        'return {"value": value / torch.where(total > 0, total, 1)}',
    ]
