"""Direct logit attribution: each write to the last position's residual, through the final norm and W_U."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from mechtui.views.attribution import Attribution, AttributionAnswer
from mechtui.worker.engine import Answers, Need, Opened, Run, SessionError, each
from mechtui.worker.engine.weights import W_O, b_O, final_bias, final_weight, unembedding_bias, unembedding_column


def _needs(opened: Opened) -> tuple[list[Need], list[Need], list[Need]]:
    last = len(opened.ids) - 1
    layers = range(opened.model.shape.n_layers)
    embedding = [Need("hook_embed", "at", last)]
    if opened.model.shape.has_pos:
        embedding.append(Need("hook_pos_embed", "at", last))
    heads = [Need(f"blocks.{layer}.attn.hook_z", "at", last) for layer in layers]
    mlps = [Need(f"blocks.{layer}.hook_mlp_out", "at", last) for layer in layers] if opened.model.shape.d_mlp else []
    return embedding, heads, mlps


def needs(question: Attribution, opened: Opened) -> list[Need]:
    embedding, heads, mlps = _needs(opened)
    return embedding + heads + mlps


def answers(question: Attribution, opened: Opened) -> Answers:
    answer_id, foil_id = opened.targets_at(len(opened.ids) - 1)
    if answer_id is None or foil_id is None:
        raise SessionError("attribution explains a logit difference: give the session an answer and a foil")
    bridge = opened.model.bridge
    if float(getattr(bridge.cfg, "output_logits_soft_cap", -1) or -1) > 0:
        raise SessionError("this model caps its logits, which is no sum: attribution cannot split them")
    direction = unembedding_column(bridge, answer_id) - unembedding_column(bridge, foil_id)
    constant = unembedding_bias(bridge, answer_id) - unembedding_bias(bridge, foil_id)

    @torch.inference_mode()
    def answer(run: Run) -> AttributionAnswer:
        embedding, heads, mlps = _needs(opened)
        final = run.trace.resid[-1].part(len(run.ids) - 1)[0, 0].float()
        reads, fixed = _readout(opened, final, direction)

        def part(write: Tensor) -> float:
            return float(write.float().to(reads.device) @ reads)

        by_head, bias = [], fixed + constant
        for layer, need in enumerate(heads):
            writes = torch.einsum("hd,hdm->hm", run.take(need), W_O(bridge, layer))
            by_head.append([part(write) for write in writes])
            bias += part(b_O(bridge, layer, final))
        by_mlp = [part(run.take(need)) for need in mlps]
        embeds = [part(run.take(need)) for need in embedding]
        total = float(final @ reads) + fixed + constant
        named = sum(map(sum, by_head)) + sum(by_mlp) + sum(embeds) + bias
        return AttributionAnswer(
            np.array(by_head, dtype=np.float32),
            np.array(by_mlp or [np.nan] * len(heads), dtype=np.float32),
            embeds[0],
            embeds[1] if len(embeds) > 1 else 0.0,
            bias,
            total - named if run.trace.actions else 0.0,
            total,
        )

    return each(opened, answer)


def _readout(opened: Opened, final: Tensor, direction: Tensor) -> tuple[Tensor, float]:
    """(reads [d_model], constant): logit difference = residual @ reads + constant, at this residual's scale."""
    bridge = opened.model.bridge
    weight, bias = final_weight(bridge), final_bias(bridge)
    reads = direction if weight is None else direction * weight.float()
    eps = float(bridge.cfg.eps)
    if getattr(bridge.cfg, "uses_rms_norm", False):
        scale = (final.pow(2).mean() + eps).sqrt()
    else:
        reads = reads - reads.mean()  # reading a centred vector is reading with a centred one
        scale = (final.var(correction=0) + eps).sqrt()
    return reads / scale, float(bias.float() @ direction) if bias is not None else 0.0
