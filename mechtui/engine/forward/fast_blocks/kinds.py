"""Which architecture has which fast block, and where the bridge's blocks have its parts."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from typing import Any

from torch import nn

from mechtui.engine.forward.fast_blocks.fast_block import FastBlock, Parts
from mechtui.engine.forward.fast_blocks.gpt2 import GPT2Block, LayerNorm, gelu_new
from mechtui.engine.forward.fast_blocks.llama import LlamaBlock
from mechtui.engine.weights import inner


def _gpt2(bridged: Any, layer: int) -> GPT2Block:
    ln1, ln2 = (
        LayerNorm(ln.original_component.weight, ln.original_component.bias, ln.config.eps)
        for ln in (bridged.ln1, bridged.ln2)
    )
    d_head = int(inner(bridged.attn).head_dim)
    scale = d_head**-0.5
    if getattr(bridged.attn.config, "scale_attn_by_inverse_layer_idx", False):
        scale /= float(layer + 1)
    mlp = inner(bridged.mlp)
    act = gelu_new if type(mlp.act).__name__ == "NewGELUActivation" else mlp.act
    into, out = inner(mlp.c_fc), inner(mlp.c_proj)
    parts = Parts(ln1, _attention(bridged), d_head, scale, ln2, into, out, act=act, order=_order(bridged))
    return GPT2Block(parts, layer)


def _llama(bridged: Any, layer: int) -> LlamaBlock:
    ln1, ln2, attn, mlp = (inner(each) for each in (bridged.ln1, bridged.ln2, bridged.attn, bridged.mlp))
    gate, into, out = (inner(each) for each in (mlp.gate_proj, mlp.up_proj, mlp.down_proj))
    d_head, scale = int(attn.head_dim), float(attn.scaling)
    parts = Parts(ln1, _attention(bridged), d_head, scale, ln2, into, out, gate, mlp.act_fn, _order(bridged))
    return LlamaBlock(parts, layer)


def _attention(bridged: Any) -> list[Any]:
    return [inner(getattr(bridged.attn, name)) for name in "qkvo"]


def _order(bridged: Any) -> dict[str, int]:
    return {name: at for at, name in enumerate(inspect.signature(inner(bridged).forward).parameters)}


# Name of Hugging Face's class of a block -> what makes its fast block of the bridge's. Raises AttributeError where its
# parts have other names.
KINDS: dict[str, Callable[[Any, int], FastBlock]] = {
    "GPT2Block": _gpt2,
    "LlamaDecoderLayer": _llama,
    "MistralDecoderLayer": _llama,
    "Qwen2DecoderLayer": _llama,
}


def fast_blocks(blocks: Sequence[nn.Module]) -> list[FastBlock]:
    """One for each of the bridge's blocks; none where the architecture is another, or where parts of it lie on several
    devices."""
    own = [inner(block) for block in blocks]
    kinds = [KINDS.get(type(each).__name__) for each in own]
    if None in kinds or any(hasattr(each, "_hf_hook") for each in own):
        return []
    try:
        return [kind(block, layer) for layer, (kind, block) in enumerate(zip(kinds, blocks, strict=True)) if kind]
    except AttributeError:  # a version of transformers that names the parts otherwise
        return []
