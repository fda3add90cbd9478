"""From a Hugging Face model to TransformerLens's bridge around it."""

from __future__ import annotations

from typing import Any

from torch import nn
from transformer_lens.model_bridge.generalized_components.attention import AttentionBridge
from transformer_lens.model_bridge.sources._bridge_builder import build_bridge_from_module

from mechtui.engine.forward.bridged_cache import BRIDGES_CACHE


def unknown(model: Any) -> str:
    """Why TransformerLens's bridge cannot take this model apart, though it knows others of its kind; else nothing."""
    config = model.config
    match config.model_type:
        case "falcon" if config.new_decoder_architecture:
            return "TransformerLens splits queries, keys and values as in falcon-7b, and here they lie as in falcon-40b"
        case "gpt_bigcode" if not config.multi_query:
            return "TransformerLens knows GPT-BigCode with one key and value head only (multi_query)"
        case "phi" if config.qk_layernorm:
            return "TransformerLens leaves out the norms of queries and keys that this Phi has (qk_layernorm)"
        case "opt" if not config.do_layer_norm_before or config._remove_final_layer_norm:
            return "TransformerLens knows OPT with norms before its parts and at the end only, unlike opt-350m's"
    return ""


def bridged(model: Any, name: str) -> Any:
    """The bridge around a model; name: the user's. Raises what TransformerLens raises where it cannot build one."""
    for module in model.modules():
        # The bridge of GPT-NeoX expects a bias there. One of zeros changes nothing.
        joint = getattr(module, "query_key_value", None) if model.config.model_type == "gpt_neox" else None
        if joint is not None and joint.bias is None:
            joint.bias = nn.Parameter(joint.weight.new_zeros(joint.out_features), requires_grad=False)
    bridge = build_bridge_from_module(model, type(model).__name__, hf_config=model.config, model_name=name)
    for block in bridge.blocks:
        attn = getattr(block, "attn", None)
        # An attention that leaves its work to Hugging Face's module hands on what it is given; one that computes
        # for itself looks for the bridge's name, and would else run without keys and values.
        if isinstance(attn, AttentionBridge) and type(attn).forward is not AttentionBridge.forward:
            attn.register_forward_pre_hook(_with_the_bridges_name, with_kwargs=True)
    return bridge


def _with_the_bridges_name(
    _module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> tuple[tuple[Any, ...], dict[str, Any]] | None:
    if "cache" not in kwargs:
        return None
    return args, {BRIDGES_CACHE if name == "cache" else name: value for name, value in kwargs.items()}
