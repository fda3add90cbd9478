"""A block of a well-known architecture, written out: the bridge's own operations in the bridge's own order, and nothing
of what it does around them. Of one token's way through a block of GPT-2 small, that is half.

Every value that an edit may change or a view may ask for passes a tap under TransformerLens's name for it. Whether a
model's block computes what is written here is tried out when it first runs (see choice.py); where its output or its
heads' is not the same to the last bit, the bridge's block runs. A block that passed is then packed, where that can be:
the same to rounding, and faster.
"""

from __future__ import annotations

import copy
from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Self

import torch
from torch import Tensor
from torch.nn import functional

from mechtui.engine.forward.block import Block, SomeRun
from mechtui.engine.forward.cache import Cache
from mechtui.engine.forward.calls import Call
from mechtui.engine.forward.packed_linear import PackedLinear
from mechtui.engine.forward.taps import PATTERN, SCORES, Tap, Taps, tap_in

# From so many keys on one operation is faster than three.
FUSED_FROM = 256

# (name of an argument that the model gives the block) -> the argument, None where there is none.
Given = Callable[[str], Any]


@dataclass(frozen=True, eq=False)
class Parts:
    """What a block is made of. ln1, ln2: the norms before attention and MLP. attention: its q, k, v and o. into, out,
    gate: the MLP's products; one without a gate has none, and attention alone has no `ln2`, `into` and `out`. act: what
    neurons do. scale: of the scores. order: the places of the arguments that the model gives the block without their
    names."""

    ln1: Any
    attention: Sequence[Any]
    d_head: int
    scale: float
    ln2: Any = None
    into: Any = None
    out: Any = None
    gate: Any = None
    act: Any = None
    order: Mapping[str, int] = field(default_factory=dict)


class FastBlock(Block):
    # To the last bit as the bridge's, or to rounding.
    exact = True
    # From so many keys on attention runs in one operation where nobody looks at its pattern; None: never.
    fused_from: int | None = None
    # Of each architecture: the names of its linear modules.
    linear: tuple[str, ...] = ()

    def __init__(self, parts: Parts, layer: int) -> None:
        self.layer, self.d_head, self.scale, self.act = layer, parts.d_head, parts.scale, parts.act
        self.ln1, self.ln2 = parts.ln1, parts.ln2
        self.q, self.k, self.v, self.o = parts.attention
        self.gate, self.into, self.out = parts.gate, parts.into, parts.out
        self._order = parts.order

    def run(
        self, residual: Tensor, call: Call, cache: Cache | None, taps: Taps, z: Tensor | None = None
    ) -> tuple[Tensor, Tensor | None]:
        tap = tap_in(self.layer, taps)
        entered = tap("hook_resid_pre", residual)
        if z is None:
            z = self._heads(entered, partial(call.argument, self._order), cache, tap, self._looked_at(taps))
        return self._rest(entered, z, tap), z

    def heads(self, residual: Tensor, call: Call, cache: Cache | None, taps: Taps) -> Tensor:
        tap, given = tap_in(self.layer, taps), partial(call.argument, self._order)
        return self._heads(tap("hook_resid_pre", residual), given, cache, tap, self._looked_at(taps))

    def _looked_at(self, taps: Taps) -> bool:
        """Whether something acts on scores or patterns of this block, or asks for them."""
        return any(f"blocks.{self.layer}.attn.{hook}" in taps for hook in (SCORES, PATTERN))

    def begins_at_z(self, some_run: SomeRun) -> bool:
        return True

    @property
    def products(self) -> dict[str, Any]:
        """The block's linear modules, by their names here."""
        return {name: getattr(self, name) for name in self.linear}

    def packed(self) -> Self:
        """This block with packed weights: its values are the same to rounding."""
        block = copy.copy(self)
        block.exact = False
        for name, module in self.products.items():
            setattr(block, name, PackedLinear(module))
        return block

    def _heads(self, residual: Tensor, given: Given, cache: Cache | None, tap: Tap, looked_at: bool) -> Tensor:
        """What the heads give [batch, pos, head * d_head]. residual: what enters the block, any edit of it done.
        looked_at: whether there has to be a pattern."""
        normal = self.norm(self.ln1, residual)
        batch, count, _ = normal.shape
        q, k, v = (
            tap(f"attn.hook_{name}", project(normal).view(batch, count, -1, self.d_head)).transpose(1, 2)
            for name, project in (("q", self.q), ("k", self.k), ("v", self.v))
        )
        q, k = self.rotated(q, k, given)
        if cache is not None:
            k, v = cache.update(k, v, self.layer)
        if k.shape[1] != q.shape[1]:
            k, v = (each.repeat_interleave(q.shape[1] // k.shape[1], dim=1) for each in (k, v))
        if not looked_at and self.fused_from is not None and k.shape[2] >= self.fused_from:
            z = self._fused(q, k, v, given("attention_mask"))
            return z.transpose(1, 2).contiguous().view(batch, count, -1)
        scores = torch.matmul(q, k.transpose(-2, -1)).mul_(self.scale)
        scores = tap("attn.hook_attn_scores", _masked(scores, given("attention_mask")))
        pattern = tap("attn.hook_pattern", self.softmax(scores))
        return torch.matmul(pattern, v).transpose(1, 2).contiguous().view(batch, count, -1)

    def _fused(self, q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None) -> Tensor:
        """Attention in torch's one operation, which keeps no table [query, key]: the same to rounding."""
        queries, keys = q.shape[2], k.shape[2]
        if mask is None:
            if queries == keys:
                return functional.scaled_dot_product_attention(q, k, v, is_causal=True, scale=self.scale)
            mask = torch.ones(queries, keys, device=q.device, dtype=torch.bool).tril(keys - queries)
        mask = mask[..., -queries:, :keys]
        mask = mask if mask.dtype == torch.bool else mask.to(q.dtype)
        return functional.scaled_dot_product_attention(q, k, v, mask, scale=self.scale)

    def _rest(self, residual: Tensor, z: Tensor, tap: Tap) -> Tensor:
        """What leaves the block, from what entered it and what its heads gave."""
        z = tap("attn.hook_z", z.view(*z.shape[:-1], -1, self.d_head)).reshape(z.shape)
        return self._behind_attention(residual + tap("hook_attn_out", self.o(z)), tap)

    def _behind_attention(self, residual: Tensor, tap: Tap) -> Tensor:
        """What leaves the block. residual: with what attention wrote."""
        mid = tap("hook_resid_mid", residual)
        normed = tap("mlp.hook_in", self.norm(self.ln2, tap("hook_mlp_in", mid)))
        post = tap("mlp.hook_post", self.neurons(normed))
        return tap("hook_resid_post", mid + tap("hook_mlp_out", self.out(post)))

    @abstractmethod
    def norm(self, ln: Any, residual: Tensor) -> Tensor: ...

    @abstractmethod
    def rotated(self, q: Tensor, k: Tensor, given: Given) -> tuple[Tensor, Tensor]: ...

    @abstractmethod
    def softmax(self, scores: Tensor) -> Tensor: ...

    @abstractmethod
    def neurons(self, normal: Tensor) -> Tensor: ...


def _masked(scores: Tensor, mask: Tensor | None) -> Tensor:
    least = torch.finfo(scores.dtype).min
    queries, keys = scores.shape[-2:]
    if mask is None:
        seen = torch.ones(queries, keys, device=scores.device, dtype=torch.bool).tril(keys - queries)
        return scores.masked_fill_(~seen, least)
    mask = mask[..., -queries:, :keys]
    if mask.dtype == torch.bool:
        return scores.masked_fill_(~mask, least)
    return scores.add_(mask.to(scores.dtype))
