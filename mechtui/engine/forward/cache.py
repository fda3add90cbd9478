"""Keys and values of the positions before those that run, and of those that ran."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor

# Of one layer, each [batch, kv_head, pos, d_head].
KeysValues = tuple[Tensor, Tensor]


class Cache(Protocol):
    """What a block adds its keys and values to. layers: what it holds of each."""

    @property
    def layers(self) -> Sequence[Any]: ...

    def update(self, key_states: Tensor, value_states: Tensor, layer_idx: int) -> KeysValues:
        """Add to a layer -> all that it holds then."""


@dataclass
class Layer:
    """A layer's; None where nothing lies before the positions that run, and it has not run yet."""

    keys: Tensor | None = None
    values: Tensor | None = None


class DirectCache:
    """The cache of a model whose blocks are written out. With nothing before them, keys and values stay the very
    tensors that came in."""

    def __init__(self, before: Sequence[KeysValues | None]) -> None:
        self.layers = [Layer(*(pair or ())) for pair in before]

    def update(self, key_states: Tensor, value_states: Tensor, layer_idx: int) -> KeysValues:
        layer, new = self.layers[layer_idx], (key_states, value_states)
        if layer.keys is not None and layer.values is not None:
            new = (torch.cat([layer.keys, key_states], -2), torch.cat([layer.values, value_states], -2))
        layer.keys, layer.values = new
        return new


def keys_values(cache: Cache) -> list[KeysValues]:
    """What the cache holds after the pass, per layer."""
    return [(layer.keys, layer.values) for layer in cache.layers]


def before(pairs: Sequence[KeysValues], position: int) -> list[KeysValues]:
    """The keys and values of the positions before this one, per layer."""
    return [(keys[..., :position, :], values[..., :position, :]) for keys, values in pairs]
