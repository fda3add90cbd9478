"""The embedded models without MLPs, in TransformerLens's own layout."""

from __future__ import annotations

from typing import Any

from mechtui.engine.forward import direct
from mechtui.worker.models.direct.files import Tensors, UnknownError, given, number, plain


def read(config: dict[str, Any], tensors: Tensors) -> direct.DirectModel:
    """Raises UnknownError."""
    told = config.get("native")
    if not isinstance(told, dict):
        raise UnknownError("native")
    plain(told, attn_only=True, normalization_type="LN")
    d_model, n_heads = number(told, "d_model"), number(told, "n_heads")
    cfg = direct.Config(
        architecture="TransformerLensNative",
        n_layers=number(told, "n_layers"),
        n_heads=n_heads,
        n_key_value_heads=n_heads,
        d_model=d_model,
        d_head=number(told, "d_head"),
        d_mlp=0,
        d_vocab=number(told, "d_vocab"),
        n_ctx=number(told, "n_ctx"),
        eps=given(told, "eps", float, 1e-5),
        told=config,
    )

    def norm(name: str) -> Any:
        weight, bias = (tensors.take(f"{name}.{part}", d_model) for part in ("weight", "bias"))
        return direct.layer_norm(weight, bias, cfg.eps)

    def linear(name: str, d_in: int, d_out: int) -> Any:
        return direct.linear(tensors.take(f"{name}.weight", d_out, d_in), tensors.take(f"{name}.bias", d_out))

    wide = n_heads * cfg.d_head
    blocks = []
    for layer in range(cfg.n_layers):
        name = f"layers.{layer}"
        q, k, v = (linear(f"{name}.attn.{part}", d_model, wide) for part in "qkv")
        attention = direct.Attention(q, k, v, linear(f"{name}.attn.o", wide, d_model), cfg.d_head)
        blocks.append(direct.DirectBlock(norm(f"{name}.ln1"), attention))
    return direct.DirectModel(
        cfg,
        direct.Embedding(tensors.take("tok_embed.weight", cfg.d_vocab, d_model)),
        direct.Embedding(tensors.take("pos.weight", cfg.n_ctx, d_model)),
        blocks,
        norm("ln_out"),
        direct.Unembedding(direct.linear(tensors.take("head.weight", cfg.d_vocab, d_model))),
    )
