"""GPT-2's block."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional
from transformers.activations import NewGELUActivation

from mechtui.engine.forward.fast_blocks.fast_block import FastBlock, Given, inner


class GPT2Block(FastBlock):
    """Radford et al. 2019."""

    linear = ("q", "k", "v", "o", "into", "out")

    def __init__(self, bridged: Any, layer: int) -> None:
        super().__init__(bridged, layer)
        self.ln1, self.ln2 = bridged.ln1, bridged.ln2
        self.scale = self.d_head**-0.5
        if getattr(bridged.attn.config, "scale_attn_by_inverse_layer_idx", False):
            self.scale /= float(layer + 1)
        own = inner(bridged.mlp)
        self.into, self.out, self.act = inner(own.c_fc), inner(own.c_proj), own.act

    def norm(self, ln: Any, residual: Tensor) -> Tensor:
        own = ln.original_component
        if not self.exact or residual.requires_grad:
            return functional.layer_norm(residual, own.weight.shape, own.weight, own.bias, ln.config.eps)
        # As the bridge computes it, which is not to the last bit as torch does; no gradient goes through it.
        value = residual if residual.dtype in (torch.float32, torch.float64) else residual.float()
        value = value - value.mean(-1, keepdim=True)
        scale = (value.pow(2).mean(-1, keepdim=True) + ln.config.eps).sqrt()
        return value.div_(scale).mul_(own.weight).add_(own.bias).to(residual.dtype)

    def rotated(self, q: Tensor, k: Tensor, given: Given) -> tuple[Tensor, Tensor]:
        return q, k

    def softmax(self, scores: Tensor) -> Tensor:
        return functional.softmax(scores, dim=-1)

    def neurons(self, normal: Tensor) -> Tensor:
        value = self.into(normal)
        if not isinstance(self.act, NewGELUActivation):
            activated: Tensor = self.act(value)
            return activated
        if not self.exact or normal.requires_grad:
            return functional.gelu(value, approximate="tanh")
        # The same as the module's, in place: the neurons of a batch are megabytes.
        inner = torch.pow(value, 3.0).mul_(0.044715).add_(value).mul_(math.sqrt(2.0 / math.pi)).tanh_().add_(1.0)
        half: Tensor = value.mul_(0.5)
        return half.mul_(inner)
