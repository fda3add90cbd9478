"""Direct logit attribution: each write to the last position's residual, through the final norm and W_U."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from mechtui.engine.api import Answers, Need, OpenSession, Run, SessionError, each
from mechtui.views.attribution import Attribution, AttributionAnswer


def _needs(opened: OpenSession) -> tuple[list[Need], list[Need], list[Need]]:
    last = len(opened.ids) - 1
    layers = range(opened.shape.n_layers)
    embedding = [Need("hook_pos_embed", "at", last)] if opened.shape.has_pos else []
    heads = [Need(f"blocks.{layer}.attn.hook_z", "at", last) for layer in layers]
    mlps = [Need(f"blocks.{layer}.hook_mlp_out", "at", last) for layer in layers] if opened.shape.d_mlp else []
    return embedding, heads, mlps


def needs(question: Attribution, opened: OpenSession) -> list[Need]:
    embedding, heads, mlps = _needs(opened)
    return embedding + heads + mlps


def answers(question: Attribution, opened: OpenSession) -> Answers:
    answer_id, foil_id = opened.targets_at(len(opened.ids) - 1)
    if answer_id is None or foil_id is None:
        raise SessionError("attribution explains a logit difference: give the session an answer and a foil")
    readout = opened.readout
    name = opened.ready.name
    if readout.caps:
        raise SessionError(f"{name} caps its logits, which is no sum: attribution cannot split them")
    try:
        norm = readout.norm()
        writes = [opened.writes(layer) for layer in range(opened.shape.n_layers)]
    except ValueError as error:
        raise SessionError(f"a norm of {name} is of a kind that attribution does not know") from error
    direction = readout.column(answer_id) - readout.column(foil_id)
    constant = (opened.b_U(answer_id) - opened.b_U(foil_id)) * readout.times

    @torch.inference_mode()
    def answer(run: Run) -> AttributionAnswer:
        embedding, heads, mlps = _needs(opened)
        last = len(run.ids) - 1
        final = run.resid_at(opened.shape.n_layers, last).float()
        fixed = float(norm.bias @ direction) + constant
        reads = norm.transposed(direction.to(final.device)) / norm.scale(final)

        def part(write: Tensor) -> float:
            return float(write.float().to(reads.device) @ reads)

        by_head, bias = [], fixed
        for wrote, need in zip(writes, heads, strict=True):
            each, rest = wrote.parts(run.take(need))
            by_head.append([part(write) for write in each])
            bias += part(rest)
        by_mlp = [part(run.take(need)) for need in mlps]
        # What enters block 0 is what the model makes of its embeddings, be it a norm or a projection.
        positions = part(run.take(embedding[0])) if embedding else 0.0
        embed = part(run.resid_at(0, last)) - positions
        total = part(final) + fixed
        logits = run.logits([last])[0]
        shown = float(logits[answer_id] - logits[foil_id])
        # In half precision every addition to the stream is rounded, and so are both logits; in float32 a part that is
        # missing is a mistake.
        summands = float((final * reads).abs().sum())
        rounded = summands * (2 * len(heads) + 3) ** 0.5 + float(logits[answer_id].abs() + logits[foil_id].abs())
        rounding = max(1e-3, float(torch.finfo(opened.dtype).eps) * rounded)
        named = sum(map(sum, by_head)) + sum(by_mlp) + embed + positions + bias
        gap = max(abs(total - shown), 0.0 if run.actions else abs(total - named))
        if gap > rounding:
            raise SessionError(
                f"the parts of attribution miss the logit difference of {name} by {gap:.2g}, so it is not shown: its "
                "blocks write to the residual stream in a way that attribution does not know"
            )
        return AttributionAnswer(
            np.array(by_head, dtype=np.float32),
            np.array(by_mlp or [np.nan] * len(heads), dtype=np.float32),
            embed,
            positions,
            bias,
            total - named if run.actions else 0.0,
            total,
            rounding,
        )

    return each(opened, answer)
