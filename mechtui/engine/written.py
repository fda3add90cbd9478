"""Blocks of well-known architectures, written out: the bridge's own operations in the bridge's own order, and nothing
of what it does around them. Of one token's way through a block of GPT-2 small, that is half.

Every value that an edit may change or a view may ask for passes a tap under TransformerLens's name for it. Whether a
model's block computes what is written here is tried out when it first runs (see Passes); where its output or its
heads' is not the same to the last bit, the bridge's block runs. A block that passed is then packed, where that can be:
the same to rounding, and faster.
"""

from __future__ import annotations

import copy
import inspect
import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any, Self

import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers.activations import NewGELUActivation
from transformers.cache_utils import Cache
from transformers.models.llama.modeling_llama import apply_rotary_pos_emb, repeat_kv

from mechtui.engine.packed import Packed

# (hook's name within its block, value) -> the value that goes on. Shapes: [batch, pos, d_model], of q, k, v and z
# [batch, pos, head, d_head], of scores and patterns [batch, head, query, key], of mlp.hook_post [batch, pos, d_mlp].
Tap = Callable[[str, Tensor], Tensor]
# (name of an argument that the model gives the block) -> the argument, None where there is none.
Given = Callable[[str], Any]


class Written(ABC):
    """One block. bridged: the bridge's, whose weights it uses."""

    def __init__(self, bridged: Any, layer: int) -> None:
        self.layer = layer
        self.d_head = int(_inner(bridged.attn).head_dim)
        self.q, self.k, self.v, self.o = (_inner(getattr(bridged.attn, name)) for name in "qkvo")

    @property
    def products(self) -> dict[str, Any]:
        """The block's linear modules, by their names here."""
        return {name: getattr(self, name) for name in self.linear}

    def packed(self) -> Self:
        """This block with packed weights: its values are the same to rounding."""
        block = copy.copy(self)
        block.exact = False
        for name, module in self.products.items():
            setattr(block, name, Packed(module))
        return block

    def heads(self, residual: Tensor, given: Given, cache: Cache | None, tap: Tap) -> Tensor:
        """What the heads give [batch, pos, head * d_head]. residual: what enters the block, any edit of it done."""
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
            k, v = (repeat_kv(each, q.shape[1] // k.shape[1]) for each in (k, v))
        scores = torch.matmul(q, k.transpose(-2, -1)).mul_(self.scale)
        scores = tap("attn.hook_attn_scores", _masked(scores, given("attention_mask")))
        pattern = tap("attn.hook_pattern", self.softmax(scores))
        return torch.matmul(pattern, v).transpose(1, 2).contiguous().view(batch, count, -1)

    def rest(self, residual: Tensor, z: Tensor, tap: Tap) -> Tensor:
        """What leaves the block, from what entered it and what its heads gave."""
        z = tap("attn.hook_z", z.view(*z.shape[:-1], -1, self.d_head)).reshape(z.shape)
        mid = tap("hook_resid_mid", residual + tap("hook_attn_out", self.o(z)))
        post = tap("mlp.hook_post", self.neurons(self.norm(self.ln2, mid)))
        return tap("hook_resid_post", mid + tap("hook_mlp_out", self.out(post)))

    # To the last bit as the bridge's, or to rounding.
    exact = True
    # Of each architecture: its linear modules, the norms before attention and MLP, the scores' factor, the MLP's last
    # product.
    linear: tuple[str, ...]
    ln1: Any
    ln2: Any
    scale: float
    out: Any

    @abstractmethod
    def norm(self, ln: Any, residual: Tensor) -> Tensor: ...

    @abstractmethod
    def rotated(self, q: Tensor, k: Tensor, given: Given) -> tuple[Tensor, Tensor]: ...

    @abstractmethod
    def softmax(self, scores: Tensor) -> Tensor: ...

    @abstractmethod
    def neurons(self, normal: Tensor) -> Tensor: ...


class GPT2Block(Written):
    """Radford et al. 2019."""

    linear = ("q", "k", "v", "o", "into", "out")

    def __init__(self, bridged: Any, layer: int) -> None:
        super().__init__(bridged, layer)
        self.ln1, self.ln2 = bridged.ln1, bridged.ln2
        self.scale = self.d_head**-0.5
        if getattr(bridged.attn.config, "scale_attn_by_inverse_layer_idx", False):
            self.scale /= float(layer + 1)
        own = _inner(bridged.mlp)
        self.into, self.out, self.act = _inner(own.c_fc), _inner(own.c_proj), own.act

    def norm(self, ln: Any, residual: Tensor) -> Tensor:
        own = ln.original_component
        if not self.exact:
            return functional.layer_norm(residual, own.weight.shape, own.weight, own.bias, ln.config.eps)
        # As the bridge computes it, which is not to the last bit as torch does.
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
        if not self.exact:
            return functional.gelu(value, approximate="tanh")
        # The same as the module's, in place: the neurons of a batch are megabytes.
        inner = torch.pow(value, 3.0).mul_(0.044715).add_(value).mul_(math.sqrt(2.0 / math.pi)).tanh_().add_(1.0)
        half: Tensor = value.mul_(0.5)
        return half.mul_(inner)


class LlamaBlock(Written):
    """Touvron et al. 2023; Mistral's and Qwen2's are the same."""

    linear = ("q", "k", "v", "o", "gate", "into", "out")

    def __init__(self, bridged: Any, layer: int) -> None:
        super().__init__(bridged, layer)
        self.ln1, self.ln2 = _inner(bridged.ln1), _inner(bridged.ln2)
        self.scale = float(_inner(bridged.attn).scaling)
        own = _inner(bridged.mlp)
        self.gate, self.into, self.out = (_inner(each) for each in (own.gate_proj, own.up_proj, own.down_proj))
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


KINDS: dict[str, type[Written]] = {
    "GPT2Block": GPT2Block,
    "LlamaDecoderLayer": LlamaBlock,
    "MistralDecoderLayer": LlamaBlock,
    "Qwen2DecoderLayer": LlamaBlock,
}


def written_out(blocks: Sequence[nn.Module]) -> list[Written]:
    """The blocks written out; none where the architecture is another, or where parts of it lie on several devices."""
    own = [_inner(block) for block in blocks]
    kinds = [KINDS.get(type(each).__name__) for each in own]
    if None in kinds or any(hasattr(each, "_hf_hook") for each in own):
        return []
    try:
        return [kind(block, layer) for layer, (kind, block) in enumerate(zip(kinds, blocks, strict=True)) if kind]
    except AttributeError:  # a version of transformers that names the parts otherwise
        return []


def order_of(block: nn.Module) -> dict[str, int]:
    """The places of a block's arguments, for those that are given without their names."""
    return {name: place for place, name in enumerate(inspect.signature(_inner(block).forward).parameters)}


def _inner(bridged: Any) -> Any:
    """What a part of the bridge wraps."""
    return bridged.original_component if hasattr(bridged, "_original_component") else bridged


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
