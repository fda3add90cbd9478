"""The keys and values as transformers' models want them."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn
from transformers.cache_utils import Cache, DynamicLayer

from mechtui.engine.forward.cache import KeysValues

# What the bridge calls a block's keys and values. transformers calls them `cache` from 5.24 on.
BRIDGES_CACHE = "past_key_values"


def cache_name(model: nn.Module) -> str:
    """What this model's forward calls the keys and values of earlier positions."""
    return "cache" if "cache" in inspect.signature(model.forward).parameters else BRIDGES_CACHE


class _KeepLayer(DynamicLayer):  # type: ignore[misc]
    """Keys and values of one layer. With nothing before them they stay the very tensors that came in, so that
    a run that is recorded is bit-equal to one that is not."""

    def update(self, key_states: Tensor, value_states: Tensor, *args: Any, **kwargs: Any) -> KeysValues:
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
            self.keys, self.values = key_states, value_states
            return key_states, value_states
        updated: KeysValues = super().update(key_states, value_states, *args, **kwargs)
        return updated


def new_cache(before: Sequence[KeysValues | None]) -> Cache:
    """A cache for one pass, holding what lies before its positions, per layer."""
    layers = []
    for pair in before:
        layer = _KeepLayer()
        if pair is not None:
            layer.lazy_initialization(*pair)
            layer.keys, layer.values = pair
        layers.append(layer)
    return Cache(layers=layers)


def is_cache(value: object) -> bool:
    return isinstance(value, Cache)
