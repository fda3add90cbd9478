"""Heads as circuits of the weights, and how the heads of later layers read what those of earlier ones write.

A head is two bilinear maps of the residual stream (Elhage et al. 2021): W_QK = W_Q W_K^T says what attends to what,
W_OV = W_V W_O what is then written. The matrices here are those of TransformerLens's processed weights: with what the
norm before them does to every stream alike (its weight, its centring), and what a norm behind attention does. Norms'
scales, biases and rotary positions are no part of them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor

from mechtui.engine import weights
from mechtui.engine.errors import Cancelled, SessionError
from mechtui.engine.readout import Norm

Kind = Literal["Q", "K", "V"]
# Numbers of two tables that are multiplied at once: 128 MB each.
AT_ONCE = 32_000_000
# Pairs of random matrices that say what composition is without any: with 24 of each kind there are 576.
RANDOM, SEED = 24, 0


@dataclass(frozen=True, eq=False)
class Matrices:
    """One layer's, float32. Q, K, V [head, d_model, d_head]; O [head, d_head, d_model]."""

    Q: Tensor
    K: Tensor
    V: Tensor
    O: Tensor


def norm_of(block: Any, name: str, like: Tensor) -> Norm | None:
    """The block's norm of this name, where it has one. Raises ValueError for one of an unknown kind."""
    module = getattr(block, name, None)
    return None if module is None else Norm(module, like.to(next(block.parameters()).device))


@torch.inference_mode()
def matrices(bridge: Any, layer: int, name: str) -> Matrices:
    """A layer's. name: the model's. Raises SessionError where the bridge does not have its weights so, or one of its
    norms is of an unknown kind."""
    found = [weights.reading(bridge, layer, each) for each in ("W_Q", "W_K", "W_V")]
    like = weights.W_U(bridge)[:, 0]
    block = bridge.blocks[layer]
    try:
        before, behind = norm_of(block, "ln1", like), norm_of(block, "ln1_post", like)
    except ValueError as error:
        raise SessionError(f"a norm of {name} is of a kind that its circuits cannot be read through") from error
    if any(each is None for each in found):
        raise SessionError(f"{name} does not keep W_Q, W_K and W_V head by head, so its circuits cannot be read")
    whole = [each.float() for each in found if each is not None]
    Q, K, V = whole if before is None else [before.transposed(each.mT).mT for each in whole]
    written = weights.W_O(bridge, layer).float()
    return Matrices(Q, K, V, written if behind is None else behind.linear(written))


@torch.inference_mode()
def composition(
    bridge: Any, kind: Kind, name: str, cancelled: Callable[[], bool], progress: Callable[[float], None]
) -> Tensor:
    """[later head, earlier head], heads counted through the layers: the Frobenius norm of the product of what the
    earlier head writes (W_OV) with what the later one reads it by (Q: W_QK, K: W_QK^T, V: W_OV), over the product of
    their norms, 0..1. NaN where the earlier head does not stand in an earlier layer. Raises SessionError, Cancelled.

    ||W_OV M||_F^2 is the inner product of W_OV^T W_OV and M M^T, so that of each head one d_model x d_model table is
    made, in stripes, and never the product of a pair.
    """
    n_layers = int(bridge.cfg.n_layers)
    wrote: list[Tensor] = []
    reads: list[Tensor] = []
    layer_of: list[int] = []
    for layer in range(n_layers):
        if cancelled():
            raise Cancelled
        each = matrices(bridge, layer, name)
        wrote.append(_factor(each.V, each.O.mT))
        reads.append(_reader(each, kind))
        layer_of += [layer] * len(each.Q)
    first = wrote[0].device
    writers, readers = (torch.cat([each.to(first) for each in layers]) for layers in (wrote, reads))
    table = _composed(writers, readers, cancelled, progress)
    where = torch.tensor(layer_of)
    return torch.where(where[None, :] < where[:, None], table.cpu(), torch.nan)


def _reader(each: Matrices, kind: Kind) -> Tensor:
    """[head, d_head, d_model]: what the later head reads a write by, as far as norms of products go."""
    match kind:
        case "Q":
            return _factor(each.K, each.Q)
        case "K":
            return _factor(each.Q, each.K)
        case "V":
            return _factor(each.O.mT, each.V)


def _factor(inner: Tensor, outer: Tensor) -> Tensor:
    """inner, outer [head, d_model, d_head] -> F [head, d_head, d_model] with ||X F^T|| = ||X outer inner^T|| for every
    X: as long as the whole product, and d_model / d_head times as small."""
    triangle: Tensor = torch.linalg.qr(inner, mode="r").R
    return triangle @ outer.mT


def _composed(wrote: Tensor, reads: Tensor, cancelled: Callable[[], bool], progress: Callable[[float], None]) -> Tensor:
    """[reader, writer]: ||W_OV M||_F over the product of the norms, from both factors [head, d_head, d_model]."""
    # Of length 1, so that what rounds does not depend on the model's scale.
    wrote, reads = (each / each.norm(dim=(-2, -1), keepdim=True).clamp_min(1e-30) for each in (wrote, reads))
    count, _, width = wrote.shape
    stripe = max(AT_ONCE // (count * width), 1)
    total = torch.zeros(len(reads), count, device=wrote.device)
    for begin in range(0, width, stripe):
        if cancelled():
            raise Cancelled
        left, right = ((each[:, :, begin : begin + stripe].mT @ each).reshape(len(each), -1) for each in (reads, wrote))
        total += left @ right.T
        progress(min(begin + stripe, width) / width)
    return total.clamp_min(0).sqrt()


def random_composition(width: int, head: int) -> tuple[float, float]:
    """Mean and standard deviation of the composition of random heads of this shape: matrices of independent normal
    numbers, d_model x d_head each."""
    generator = torch.Generator().manual_seed(SEED)

    def some() -> Tensor:
        return torch.randn(RANDOM, width, head, generator=generator)

    values = _composed(_factor(some(), some()), _factor(some(), some()), lambda: False, lambda share: None)
    return float(values.mean()), float(values.std())
