"""GPT-2's block."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from mechtui.engine.forward.fast_blocks.fast_block import FastBlock, Given


@dataclass(frozen=True, eq=False)
class LayerNorm:
    weight: Tensor
    bias: Tensor
    eps: float


def gelu_new(value: Tensor) -> Tensor:
    """Hendrycks and Gimpel 2016, by the tangent: GPT-2's."""
    return functional.gelu(value, approximate="tanh")


class GPT2Block(FastBlock):
    """Radford et al. 2019. ln1, ln2: LayerNorms."""

    linear: tuple[str, ...] = ("q", "k", "v", "o", "into", "out")

    def norm(self, ln: LayerNorm, residual: Tensor) -> Tensor:
        if not self.exact or residual.requires_grad:
            return functional.layer_norm(residual, ln.weight.shape, ln.weight, ln.bias, ln.eps)
        # As the bridge computes it, which is not to the last bit as torch does; no gradient goes through it.
        value = residual if residual.dtype in (torch.float32, torch.float64) else residual.float()
        value = value - value.mean(-1, keepdim=True)
        scale = (value.pow(2).mean(-1, keepdim=True) + ln.eps).sqrt()
        return value.div_(scale).mul_(ln.weight).add_(ln.bias).to(residual.dtype)

    def rotated(self, q: Tensor, k: Tensor, given: Given) -> tuple[Tensor, Tensor]:
        return q, k

    def softmax(self, scores: Tensor) -> Tensor:
        return functional.softmax(scores, dim=-1)

    def neurons(self, normal: Tensor) -> Tensor:
        value = self.into(normal)
        if self.act is not gelu_new or not self.exact or normal.requires_grad:
            activated: Tensor = self.act(value)
            return activated
        # The same as transformers' module, in place: the neurons of a batch are megabytes.
        inner = torch.pow(value, 3.0).mul_(0.044715).add_(value).mul_(math.sqrt(2.0 / math.pi)).tanh_().add_(1.0)
        half: Tensor = value.mul_(0.5)
        return half.mul_(inner)


class AttentionOnlyBlock(GPT2Block):
    """The same without an MLP (Elhage et al. 2021)."""

    linear = ("q", "k", "v", "o")

    def _behind_attention(self, residual: Tensor, tap: Any) -> Tensor:
        left: Tensor = tap("hook_resid_post", residual)
        return left
