"""GPT-2's weights, as transformers keeps them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor
from torch.nn import functional

from mechtui.engine.forward import direct
from mechtui.engine.forward.fast_blocks.gpt2 import gelu_new
from mechtui.worker.models.direct.files import Tensors, UnknownError, given, number, plain

ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "gelu_new": gelu_new,
    "gelu_pytorch_tanh": gelu_new,
    "gelu": functional.gelu,
    "relu": functional.relu,
    "silu": functional.silu,
    "swish": functional.silu,
}


def activation(name: object) -> Callable[[Tensor], Tensor]:
    """Raises UnknownError."""
    if not isinstance(name, str) or name not in ACTIVATIONS:
        raise UnknownError(f"activation {name!r}")
    return ACTIVATIONS[name]


def read(config: dict[str, Any], tensors: Tensors) -> direct.DirectModel:
    """Raises UnknownError."""
    plain(config, model_type="gpt2", scale_attn_weights=True, reorder_and_upcast_attn=False, add_cross_attention=False)
    d_model, n_heads = number(config, "n_embd", "hidden_size"), number(config, "n_head", "num_attention_heads")
    d_mlp = number(config, "n_inner", default=4 * d_model)
    if d_model % n_heads:
        raise UnknownError("heads of uneven width")
    cfg = direct.Config(
        architecture="GPT2LMHeadModel",
        n_layers=number(config, "n_layer", "num_hidden_layers"),
        n_heads=n_heads,
        n_key_value_heads=n_heads,
        d_model=d_model,
        d_head=d_model // n_heads,
        d_mlp=d_mlp,
        d_vocab=number(config, "vocab_size"),
        n_ctx=number(config, "n_positions", "max_position_embeddings"),
        eps=given(config, "layer_norm_epsilon", float, 1e-5),
        told=config,
        scale_by_layer=given(config, "scale_attn_by_inverse_layer_idx", bool, False),
    )
    act = activation(config.get("activation_function", "gelu_new"))
    begin = "transformer." if "transformer.wte.weight" in tensors else ""
    W_E = tensors.take(f"{begin}wte.weight", cfg.d_vocab, d_model)
    blocks = [_block(cfg, tensors, f"{begin}h.{layer}.", act) for layer in range(cfg.n_layers)]
    if given(config, "tie_word_embeddings", bool, True):
        tensors.leave("lm_head.weight")
        W_U = W_E
    else:
        W_U = tensors.take("lm_head.weight", cfg.d_vocab, d_model)
    return direct.DirectModel(
        cfg,
        direct.Embedding(W_E),
        direct.Embedding(tensors.take(f"{begin}wpe.weight", cfg.n_ctx, d_model)),
        blocks,
        _norm(cfg, tensors, f"{begin}ln_f"),
        direct.Unembedding(direct.linear(W_U)),
    )


def _block(cfg: direct.Config, tensors: Tensors, name: str, act: Callable[[Tensor], Tensor]) -> direct.DirectBlock:
    d, m = cfg.d_model, cfg.d_mlp
    joint = tensors.take(f"{name}attn.c_attn.weight", d, 3 * d), tensors.take(f"{name}attn.c_attn.bias", 3 * d)
    weights, biases = (each.chunk(3, dim=-1) for each in joint)
    # GPT-2 keeps its tables [d_in, d_out].
    q, k, v = (direct.linear(W.T.contiguous(), b.contiguous()) for W, b in zip(weights, biases, strict=True))

    def linear(part: str, d_in: int, d_out: int) -> Any:
        weight = tensors.take(f"{name}{part}.weight", d_in, d_out)
        return direct.linear(weight.T.contiguous(), tensors.take(f"{name}{part}.bias", d_out))

    return direct.DirectBlock(
        _norm(cfg, tensors, f"{name}ln_1"),
        direct.Attention(q, k, v, linear("attn.c_proj", d, d), cfg.d_head),
        _norm(cfg, tensors, f"{name}ln_2"),
        direct.MLP(linear("mlp.c_fc", d, m), linear("mlp.c_proj", m, d), act),
    )


def _norm(cfg: direct.Config, tensors: Tensors, name: str) -> Any:
    weight, bias = (tensors.take(f"{name}.{part}", cfg.d_model) for part in ("weight", "bias"))
    return direct.layer_norm(weight, bias, cfg.eps)
