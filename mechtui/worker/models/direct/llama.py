"""Llama's weights, as transformers keeps them, and those of Mistral and Qwen2."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn

from mechtui.engine.forward import direct
from mechtui.worker.models.direct.files import Tensors, UnknownError, given, number, plain
from mechtui.worker.models.direct.gpt2 import activation

ARCHITECTURES = {"llama": "LlamaForCausalLM", "mistral": "MistralForCausalLM", "qwen2": "Qwen2ForCausalLM"}
# Of a head: a table is made of it before its weights are looked at.
WIDEST = 1 << 14
# What transformers takes where a configuration is silent.
EPS = {"llama": 1e-6, "mistral": 1e-6, "qwen2": 1e-6}


def read(config: dict[str, Any], tensors: Tensors) -> direct.DirectModel:
    """Raises UnknownError."""
    kind = config.get("model_type")
    if kind not in ARCHITECTURES or config.get("architectures") != [ARCHITECTURES[kind]]:
        raise UnknownError(f"model_type {kind!r}")
    if (kind == "mistral" and config.get("sliding_window", 4096) is not None) or config.get("use_sliding_window"):
        raise UnknownError("windows")
    plain(config, partial_rotary_factor=1.0)
    d_model, n_heads = number(config, "hidden_size"), number(config, "num_attention_heads")
    d_head = number(config, "head_dim", default=d_model // n_heads)
    if d_head > WIDEST:
        raise UnknownError(f"heads of width {d_head}")
    cfg = direct.Config(
        architecture=ARCHITECTURES[kind],
        n_layers=number(config, "num_hidden_layers"),
        n_heads=n_heads,
        n_key_value_heads=number(config, "num_key_value_heads", default=n_heads),
        d_model=d_model,
        d_head=d_head,
        d_mlp=number(config, "intermediate_size"),
        d_vocab=number(config, "vocab_size"),
        n_ctx=number(config, "max_position_embeddings"),
        eps=given(config, "rms_norm_eps", float, EPS[kind]),
        told=config,
        rotary=rotary(config, d_head),
    )
    if n_heads % cfg.n_key_value_heads or d_head % 2:
        raise UnknownError("heads of uneven width")
    W_E = tensors.take("model.embed_tokens.weight", cfg.d_vocab, d_model)
    blocks = [_block(cfg, config, kind, tensors, f"model.layers.{layer}.") for layer in range(cfg.n_layers)]
    if given(config, "tie_word_embeddings", bool, False):
        tensors.leave("lm_head.weight")
        W_U = W_E
    else:
        W_U = tensors.take("lm_head.weight", cfg.d_vocab, d_model)
    final = direct.RMSNorm(tensors.take("model.norm.weight", d_model), cfg.eps)
    return direct.DirectModel(cfg, direct.Embedding(W_E), None, blocks, final, direct.Unembedding(direct.linear(W_U)))


def _block(cfg: direct.Config, config: dict[str, Any], kind: str, tensors: Tensors, name: str) -> direct.DirectBlock:
    biased = given(config, "attention_bias", bool, False) if kind == "llama" else False
    reads = biased or kind == "qwen2"

    def linear(part: str, d_in: int, d_out: int, bias: bool) -> nn.Linear:
        weight = tensors.take(f"{name}{part}.weight", d_out, d_in)
        return direct.linear(weight, tensors.take(f"{name}{part}.bias", d_out) if bias else None)

    def norm(part: str) -> nn.Module:
        return direct.RMSNorm(tensors.take(f"{name}{part}.weight", cfg.d_model), cfg.eps)

    d, m, own = cfg.d_model, cfg.d_mlp, given(config, "mlp_bias", bool, False) if kind == "llama" else False
    queries, groups = cfg.n_heads * cfg.d_head, cfg.n_key_value_heads * cfg.d_head
    attention = direct.Attention(
        linear("self_attn.q_proj", d, queries, reads),
        linear("self_attn.k_proj", d, groups, reads),
        linear("self_attn.v_proj", d, groups, reads),
        linear("self_attn.o_proj", queries, d, biased),
        cfg.d_head,
    )
    mlp = direct.MLP(
        linear("mlp.up_proj", d, m, own),
        linear("mlp.down_proj", m, d, own),
        activation(config.get("hidden_act", "silu")),
        linear("mlp.gate_proj", d, m, own),
    )
    return direct.DirectBlock(norm("input_layernorm"), attention, norm("post_attention_layernorm"), mlp)


def rotary(config: dict[str, Any], d_head: int) -> Tensor:
    """[d_head / 2]: by how much each pair turns at a position (Su et al. 2021). Raises UnknownError for ways to stretch
    them other than Llama 3's."""
    # transformers 5 writes them together; before, the base stood alone.
    told = config.get("rope_parameters") or {**(config.get("rope_scaling") or {})}
    if not isinstance(told, dict):
        raise UnknownError("rope_parameters")
    plain(told, partial_rotary_factor=1.0)
    base = given(told if "rope_theta" in told else config, "rope_theta", float, 10000.0)
    turns = 1.0 / (base ** (torch.arange(0, d_head, 2, dtype=torch.int64).float() / d_head))
    kind = told.get("rope_type", told.get("type", "default"))
    if kind == "default":
        return turns
    if kind != "llama3":
        raise UnknownError(f"rope_type {kind!r}")
    names = ("factor", "low_freq_factor", "high_freq_factor", "original_max_position_embeddings")
    if not all(isinstance(told.get(name), int | float) for name in names):
        raise UnknownError("rope_parameters")
    factor, low, high, length = (float(told[name]) for name in names)
    if high == low:
        raise UnknownError("rope_parameters")
    # Waves longer than the text it was trained on are stretched, short ones stay, between them it is in between.
    waves = 2 * math.pi / turns
    share = ((length / waves - low) / (high - low)).clamp(0, 1)
    mixed = (1 - share) * turns / factor + share * turns
    return torch.where(waves > length / low, turns / factor, torch.where(waves < length / high, turns, mixed))
