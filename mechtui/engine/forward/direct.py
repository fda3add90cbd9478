"""A model read straight from its files: its parts under TransformerLens's names, its blocks written out.

It needs neither transformers nor TransformerLens, whose import takes longer than a first answer. A DirectModel has
those attributes of a TransformerBridge that the engine reads, and no forward of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from mechtui.engine.forward.block import Block, Body, SomeRun
from mechtui.engine.forward.cache import Cache, DirectCache, KeysValues
from mechtui.engine.forward.calls import Call
from mechtui.engine.forward.fast_blocks.fast_block import FUSED_FROM, FastBlock, Parts
from mechtui.engine.forward.fast_blocks.gpt2 import AttentionOnlyBlock, GPT2Block, LayerNorm
from mechtui.engine.forward.fast_blocks.llama import LlamaBlock
from mechtui.engine.forward.packed_linear import can_be_packed
from mechtui.engine.forward.taps import Taps
from mechtui.session.document import ModelShape


@dataclass(frozen=True)
class Config:
    """Under TransformerLens's names. eps: of the norms. rotary: 1 / (wavelength / 2 pi) of each pair of dimensions
    [d_head / 2], None where positions are learned. told: the whole config.json."""

    architecture: str
    n_layers: int
    n_heads: int
    n_key_value_heads: int
    d_model: int
    d_head: int
    d_mlp: int
    d_vocab: int
    n_ctx: int
    eps: float
    told: dict[str, Any]
    rotary: Tensor | None = None
    scale_by_layer: bool = False

    @property
    def attn_only(self) -> bool:
        return self.d_mlp == 0

    def to_dict(self) -> dict[str, Any]:
        return self.told


class RMSNorm(nn.Module):
    """Zhang and Sennrich 2019, as Llama has it."""

    def __init__(self, weight: Tensor, eps: float) -> None:
        super().__init__()
        self.weight, self.eps = _fixed(weight), eps

    def forward(self, x: Tensor) -> Tensor:
        """[..., d_model] -> the same."""
        wide = x.float()
        normal = wide * torch.rsqrt(wide.pow(2).mean(-1, keepdim=True) + self.eps)
        normed: Tensor = self.weight * normal.to(x.dtype)
        return normed


class Attention(nn.Module):
    """q, k, v: from the stream to heads; o: back. Tables by head or key-value group, [d_model, d_head] each; W_O's are
    [d_head, d_model]."""

    def __init__(self, q: nn.Linear, k: nn.Linear, v: nn.Linear, o: nn.Linear, d_head: int) -> None:
        super().__init__()
        self.q, self.k, self.v, self.o, self.d_head = q, k, v, o, d_head

    W_Q = property(lambda self: self.reads(self.q))
    W_K = property(lambda self: self.reads(self.k))
    W_V = property(lambda self: self.reads(self.v))
    W_O = property(lambda self: self.o.weight.T.view(-1, self.d_head, self.o.out_features))
    b_Q = property(lambda self: self.bias(self.q))  # noqa: N815 - TransformerLens's names
    b_K = property(lambda self: self.bias(self.k))  # noqa: N815
    b_V = property(lambda self: self.bias(self.v))  # noqa: N815

    def reads(self, linear: nn.Linear) -> Tensor:
        return linear.weight.view(-1, self.d_head, linear.in_features).mT

    def bias(self, linear: nn.Linear) -> Tensor | None:
        return None if linear.bias is None else linear.bias.view(-1, self.d_head)


class MLP(nn.Module):
    """into, gate, out: its products, gate only where neurons are gated; act: what neurons do."""

    def __init__(
        self, into: nn.Linear, out: nn.Linear, act: Callable[[Tensor], Tensor], gate: nn.Linear | None = None
    ) -> None:
        super().__init__()
        self.into, self.out, self.gate, self.act = into, out, gate, act

    W_in = property(lambda self: self.into.weight.T)
    W_out = property(lambda self: self.out.weight.T)
    W_gate = property(lambda self: None if self.gate is None else self.gate.weight.T)
    b_in = property(lambda self: self.into.bias)
    b_out = property(lambda self: self.out.bias)
    b_gate = property(lambda self: None if self.gate is None else self.gate.bias)


class DirectBlock(nn.Module):
    """The parts of one block; attention alone has neither ln2 nor mlp."""

    def __init__(self, ln1: nn.Module, attn: Attention, ln2: nn.Module | None = None, mlp: MLP | None = None) -> None:
        super().__init__()
        self.ln1, self.attn = ln1, attn
        if ln2 is not None and mlp is not None:
            self.ln2, self.mlp = ln2, mlp


class Embedding(nn.Module):
    def __init__(self, weight: Tensor) -> None:
        super().__init__()
        self.weight = _fixed(weight)

    W_E = property(lambda self: self.weight)


class Unembedding(nn.Module):
    """W_U [d_model, d_vocab]."""

    def __init__(self, linear: nn.Linear) -> None:
        super().__init__()
        self._original_component = linear

    original_component = property(lambda self: self._original_component)
    W_U = property(lambda self: self._original_component.weight.T)

    def forward(self, normed: Tensor) -> Tensor:
        """[..., d_model] -> [..., d_vocab]."""
        logits: Tensor = self._original_component(normed)
        return logits


class DirectModel(nn.Module):
    def __init__(
        self,
        cfg: Config,
        embed: Embedding,
        pos_embed: Embedding | None,
        blocks: Sequence[DirectBlock],
        ln_final: nn.Module,
        unembed: Unembedding,
    ) -> None:
        super().__init__()
        self.cfg, self.embed, self.pos_embed = cfg, embed, pos_embed
        self.blocks, self.ln_final, self.unembed = nn.ModuleList(blocks), ln_final, unembed

    @property
    def config(self) -> Config:
        return self.cfg

    @property
    def shape(self) -> ModelShape:
        cfg = self.cfg
        return ModelShape(
            n_layers=cfg.n_layers,
            n_heads=cfg.n_heads,
            n_kv_heads=cfg.n_key_value_heads,
            d_model=cfg.d_model,
            d_head=cfg.d_head,
            d_mlp=cfg.d_mlp,
            d_vocab=cfg.d_vocab,
            n_ctx=cfg.n_ctx,
            has_mid=not cfg.attn_only,
            has_pos=self.pos_embed is not None,
            has_neurons=True,
        )

    @property
    def original_model(self) -> DirectModel:
        """Itself: it wraps nothing."""
        return self


def linear(weight: Tensor, bias: Tensor | None = None) -> nn.Linear:
    """weight: [d_out, d_in]."""
    module = nn.Linear(weight.shape[1], weight.shape[0], bias=bias is not None, device="meta")
    module.weight = _fixed(weight)
    if bias is not None:
        module.bias = _fixed(bias)
    return module


def layer_norm(weight: Tensor, bias: Tensor, eps: float) -> nn.LayerNorm:
    module = nn.LayerNorm(len(weight), eps=eps, device="meta")
    module.weight, module.bias = _fixed(weight), _fixed(bias)
    return module


def _fixed(weight: Tensor) -> nn.Parameter:
    return nn.Parameter(weight, requires_grad=False)


class DirectBody(Body):
    caches, windows, clips = True, False, None

    def __init__(self, model: DirectModel, device: torch.device) -> None:
        self.model, self.device = model, device
        self.blocks: DirectBlocks = DirectBlocks(model)

    def new_cache(self, before: Sequence[KeysValues | None]) -> Cache:
        return DirectCache(before)

    def before_blocks(
        self, texts: Sequence[Sequence[int]], taps: Taps, past: Cache | None
    ) -> tuple[Tensor, list[Call]]:
        cfg, count = self.model.cfg, len(texts[0])
        held = None if past is None else past.layers[0].keys
        first = 0 if held is None else held.shape[-2]
        ids = torch.tensor([list(each) for each in texts], device=self.device)
        stream = _tapped("hook_embed", self.model.embed.weight[ids], taps)
        given: dict[str, Any] = {"attention_mask": None}
        if self.model.pos_embed is not None:
            own = self.model.pos_embed.weight[first : first + count]
            stream = stream + _tapped("hook_pos_embed", own.repeat(len(texts), 1, 1), taps)
        elif cfg.rotary is not None:
            positions = torch.arange(first, first + count, dtype=torch.float32, device=self.device)
            angles = (positions[:, None] * cfg.rotary.to(self.device)).repeat(1, 2)[None]
            given["position_embeddings"] = (angles.cos().to(stream.dtype), angles.sin().to(stream.dtype))
        return stream, [Call((), given)] * cfg.n_layers


def _tapped(hook: str, value: Tensor, taps: Taps) -> Tensor:
    for function in taps.get(hook, ()):
        changed = function(value)
        value = value if changed is None else changed
    return value


class DirectBlocks:
    """The blocks of a direct model, each with packed weights from when it first runs, where that can be."""

    def __init__(self, model: DirectModel) -> None:
        self.chosen: dict[int, FastBlock] = {}
        self._blocks = [_block(model.cfg, block, layer) for layer, block in enumerate(model.blocks)]
        self._packs = can_be_packed(each for block in self._blocks for each in block.products.values())

    def at(self, layer: int, residual: Tensor, call: Call, offset: int) -> Block:
        if layer not in self.chosen:
            block = self._blocks[layer]
            self.chosen[layer] = block.packed() if self._packs else block
        return self.chosen[layer]

    def begins_at_z(self, layer: int, some_run: SomeRun) -> bool:
        return True


def _block(cfg: Config, block: Any, layer: int) -> FastBlock:
    attn, rotary = block.attn, cfg.rotary is not None
    norms = [getattr(block, name, None) for name in ("ln1", "ln2")]
    if not rotary:
        norms = [each and LayerNorm(each.weight, each.bias, each.eps) for each in norms]
    attention, scale = (attn.q, attn.k, attn.v, attn.o), cfg.d_head**-0.5 / (layer + 1 if cfg.scale_by_layer else 1)
    if cfg.attn_only:
        found: FastBlock = AttentionOnlyBlock(Parts(norms[0], attention, cfg.d_head, scale), layer)
    else:
        mlp, kind = block.mlp, LlamaBlock if rotary else GPT2Block
        parts = Parts(norms[0], attention, cfg.d_head, scale, norms[1], mlp.into, mlp.out, mlp.gate, mlp.act)
        found = kind(parts, layer)
    found.exact = False  # to rounding as the bridge's
    found.fused_from = FUSED_FROM
    return found
