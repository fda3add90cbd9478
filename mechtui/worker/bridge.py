"""From a Hugging Face model to TransformerLens's bridge around it."""

from __future__ import annotations

import inspect
from typing import Any

from torch import nn
from transformer_lens.model_bridge.generalized_components.attention import AttentionBridge
from transformer_lens.model_bridge.sources._bridge_builder import build_bridge_from_module

# What the bridge calls a block's keys and values. transformers calls them `cache` from 5.24 on.
BRIDGES_CACHE = "past_key_values"


def cache_name(model: nn.Module) -> str:
    """What this model's forward calls the keys and values of earlier positions."""
    return "cache" if "cache" in inspect.signature(model.forward).parameters else BRIDGES_CACHE


def bridged(model: Any, name: str) -> Any:
    """The bridge around a model; name: the user's. Raises what TransformerLens raises where it cannot build one."""
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
