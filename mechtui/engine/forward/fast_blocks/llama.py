"""Llama's block, and those that are built alike."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional
from transformers.models.llama.modeling_llama import apply_rotary_pos_emb

from mechtui.engine.forward.fast_blocks.fast_block import FastBlock, Given, inner


class LlamaBlock(FastBlock):
    """Touvron et al. 2023; Mistral's and Qwen2's are the same."""

    linear = ("q", "k", "v", "o", "gate", "into", "out")

    def __init__(self, bridged: Any, layer: int) -> None:
        super().__init__(bridged, layer)
        self.ln1, self.ln2 = inner(bridged.ln1), inner(bridged.ln2)
        self.scale = float(inner(bridged.attn).scaling)
        own = inner(bridged.mlp)
        self.gate, self.into, self.out = (inner(each) for each in (own.gate_proj, own.up_proj, own.down_proj))
        self.act = own.act_fn

    def norm(self, ln: Any, residual: Tensor) -> Tensor:
        normal: Tensor = ln(residual)
        return normal

    def rotated(self, q: Tensor, k: Tensor, given: Given) -> tuple[Tensor, Tensor]:
        q, k = apply_rotary_pos_emb(q, k, *given("position_embeddings"))
        return q, k

    def softmax(self, scores: Tensor) -> Tensor:
        return functional.softmax(scores, dim=-1, dtype=torch.float32).to(scores.dtype)

    def neurons(self, normal: Tensor) -> Tensor:
        gated: Tensor = self.act(self.gate(normal)) * self.into(normal)
        return gated
