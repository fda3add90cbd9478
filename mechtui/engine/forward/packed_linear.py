"""Matrix products with weights that lie as the processor's kernels read them (oneDNN's, which come with torch).

A product with few rows, a prompt's, spends much of its time on laying out the weights. Done once instead, a block of
GPT-2 small takes a quarter less at 32 tokens. The weights are held twice for it; the numbers are the same to rounding.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

from mechtui.engine.memory import free

# Of the free memory, what a second copy of the weights may take at most.
SHARE = 0.25


class PackedLinear:
    """What a linear module gives: x [..., d_in] -> x W + b [..., d_out], float32 on a CPU."""

    def __init__(self, module: Any) -> None:
        self.module = module
        weight: Tensor = self.module.weight.detach()
        self.bias = None if self.module.bias is None else self.module.bias.detach()
        self.weight: Tensor = torch.ops.mkldnn._reorder_linear_weight(
            weight if type(module) is nn.Linear else weight.t()
        )

    def __call__(self, x: Tensor) -> Tensor:
        if x.numel() == x.shape[-1]:
            # One row passes the weights once, however they lie, and faster as they are.
            alone: Tensor = self.module(x)
            return alone
        if x.requires_grad:
            both: Tensor = _Product.apply(x, self)  # type: ignore[no-untyped-call]
            return both
        return self.product(x)

    def product(self, x: Tensor) -> Tensor:
        product: Tensor = torch.ops.mkldnn._linear_pointwise(x, self.weight, self.bias, "none", [], "")
        return product


class _Product(torch.autograd.Function):
    """The same where a gradient is asked for: it goes back through the weights as they lie."""

    @staticmethod
    def forward(context: Any, x: Tensor, linear: PackedLinear) -> Tensor:
        context.module = linear.module
        return linear.product(x)

    @staticmethod
    def backward(context: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        weight = context.module.weight
        return gradients[0] @ (weight if type(context.module) is nn.Linear else weight.t()), None


def can_be_packed(modules: Iterable[Any]) -> bool:
    """Whether all of these are linear modules whose weights can lie twice in this machine's memory."""
    there = torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]
    if not (there and torch.backends.mkldnn.enabled):
        return False
    if not all(hasattr(torch.ops.mkldnn, name) for name in ("_reorder_linear_weight", "_linear_pointwise")):
        return False
    weights: list[Tensor] = []
    for module in modules:
        # Not a class that inherits from these: it may compute something else.
        if type(module) is not nn.Linear and not _is_conv1d(module):
            return False
        weights.append(module.weight)
    if any(each.dtype != torch.float32 or each.device.type != "cpu" for each in weights):
        return False
    return sum(each.nbytes for each in weights) <= SHARE * free(torch.device("cpu"))


def _is_conv1d(module: object) -> bool:
    """Whether it is transformers' linear module with weights [d_in, d_out], and no class that inherits from it. Known
    by its name: a model that does without transformers does not import it."""
    kind = type(module)
    return (kind.__module__, kind.__name__) == ("transformers.pytorch_utils", "Conv1D")


def close(one: Tensor, other: Tensor, share: float = 1e-5) -> bool:
    """Whether two activations [..., d] are the same at every position, to a share of their length."""
    difference = (one - other).norm(dim=-1)
    return bool((difference <= share * other.norm(dim=-1)).all())
