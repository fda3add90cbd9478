"""Llama's block, and those that are built alike."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from mechtui.engine.forward.fast_blocks.fast_block import FastBlock, Given


class LlamaBlock(FastBlock):
    """Touvron et al. 2023; Mistral's and Qwen2's are the same. ln1, ln2: modules."""

    linear = ("q", "k", "v", "o", "gate", "into", "out")

    def norm(self, ln: torch.nn.Module, residual: Tensor) -> Tensor:
        normal: Tensor = ln(residual)
        return normal

    def rotated(self, q: Tensor, k: Tensor, given: Given) -> tuple[Tensor, Tensor]:
        cos, sin = (each.unsqueeze(1) for each in given("position_embeddings"))
        return q * cos + _turned(q) * sin, k * cos + _turned(k) * sin

    def softmax(self, scores: Tensor) -> Tensor:
        return functional.softmax(scores, dim=-1, dtype=torch.float32).to(scores.dtype)

    def neurons(self, normal: Tensor) -> Tensor:
        gated: Tensor = self.act(self.gate(normal)) * self.into(normal)
        return gated


def _turned(x: Tensor) -> Tensor:
    """Each pair of halves [..., d_head], a quarter turn on (Su et al. 2021)."""
    first, second = x.chunk(2, dim=-1)
    return torch.cat((-second, first), dim=-1)
