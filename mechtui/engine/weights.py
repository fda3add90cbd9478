"""Weights in the field's own orientation, whatever module holds them."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


def inner(part: Any) -> Any:
    """What a part of the bridge wraps; of what wraps nothing, itself."""
    return part.original_component if hasattr(part, "_original_component") else part


def W_out(bridge: Any, layer: int) -> Tensor:
    """[d_mlp, d_model]: row n is what neuron n writes to the residual stream."""
    weight: Tensor = bridge.blocks[layer].mlp.W_out
    return weight if weight.shape[1] == bridge.cfg.d_model else weight.T


def mlp_reading(bridge: Any, layer: int, name: str) -> Tensor | None:
    """W_in or W_gate, [d_model, d_mlp]; None where the MLP has none, or the bridge not as one table."""
    weight: Tensor | None = getattr(bridge.blocks[layer].mlp, name, None)
    shape = (W_out(bridge, layer).shape[0], int(bridge.cfg.d_model))
    if weight is None or weight.dim() != 2 or tuple(sorted(weight.shape)) != tuple(sorted(shape)):
        return None
    return weight.detach() if weight.shape[0] == bridge.cfg.d_model else weight.detach().T


def mlp_bias(bridge: Any, layer: int, name: str, weight: Tensor) -> Tensor:
    """b_in or b_gate, [d_mlp] float32; zero where the MLP has none. weight: what it belongs to."""
    bias: Tensor | None = getattr(bridge.blocks[layer].mlp, name, None)
    return weight.new_zeros(weight.shape[1], dtype=torch.float32) if bias is None else bias.detach().float()


def write_vector(bridge: Any, layer: int, neuron: int) -> Tensor:
    """[d_model], float32."""
    return W_out(bridge, layer)[neuron].detach().float().clone()


def W_U(bridge: Any) -> Tensor:
    """[d_model, d_vocab]."""
    weight: Tensor = bridge.unembed.W_U
    return weight if weight.shape[0] == bridge.cfg.d_model else weight.T


def W_E(bridge: Any) -> Tensor:
    """[d_vocab, d_model]."""
    weight: Tensor = bridge.embed.W_E
    return weight.detach()


def reading(bridge: Any, layer: int, name: str) -> Tensor | None:
    """W_Q, W_K or W_V, [head, d_model, d_head], each head with the keys and values of its group; None where the bridge
    does not have them so."""
    weight: Tensor | None = getattr(bridge.blocks[layer].attn, name, None)
    n_heads, d_model = bridge.cfg.n_heads, bridge.cfg.d_model
    if weight is None or weight.dim() != 3 or weight.shape[1] != d_model or n_heads % len(weight):
        return None
    return weight.detach().repeat_interleave(n_heads // len(weight), dim=0)


def reading_bias(bridge: Any, layer: int, name: str) -> Tensor | float:
    """b_Q, b_K or b_V, [head, d_head], each head with that of its group; 0 where the model has none."""
    bias: Tensor | None = getattr(bridge.blocks[layer].attn, name, None)
    n_heads = int(bridge.cfg.n_heads)
    if bias is None:
        return 0.0
    own = bias.detach().float().view(-1, int(bridge.cfg.d_head))
    return own.repeat_interleave(n_heads // len(own), dim=0)


def unembedding_column(bridge: Any, token: int) -> Tensor:
    """[d_model], float32: the direction whose dot product with the normed residual is the token's logit."""
    return W_U(bridge)[:, token].detach().float().clone()


def W_O(bridge: Any, layer: int) -> Tensor:
    """[head, d_head, d_model]."""
    weight: Tensor = bridge.blocks[layer].attn.W_O
    return weight.detach()


def b_O(bridge: Any, layer: int, like: Tensor) -> Tensor:
    """[d_model], attention's output bias; zero where the model has none."""
    bias: Tensor | None = getattr(inner(bridge.blocks[layer].attn.o), "bias", None)
    return torch.zeros_like(like) if bias is None else bias.detach().to(like)


def b_V(bridge: Any, layer: int, group: int, like: Tensor) -> Tensor:
    """[d_head], the bias of one key-value group's values; zero where the model has none."""
    bias: Tensor | None = bridge.blocks[layer].attn.b_V
    return torch.zeros_like(like) if bias is None else bias.detach().view(-1, *like.shape)[group].to(like)


def b_out(bridge: Any, layer: int, like: Tensor) -> Tensor:
    """[d_model], the MLP's output bias; zero where the model has none."""
    bias: Tensor | None = getattr(inner(bridge.blocks[layer].mlp.out), "bias", None)
    return torch.zeros_like(like) if bias is None else bias.detach().to(like)


def unembedding_bias(bridge: Any, token: int) -> float:
    """The logit that a token has whatever the residual is."""
    bias: Tensor | None = getattr(inner(bridge.unembed), "bias", None)
    return 0.0 if bias is None else float(bias[token])
