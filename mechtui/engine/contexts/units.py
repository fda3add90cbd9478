"""What is looked for in a text: all neurons of a model, or all features of a dictionary."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Protocol

import torch
from torch import Tensor

from mechtui.engine.contexts.strongest import Strongest
from mechtui.engine.dictionaries import Dictionary
from mechtui.engine.errors import Cancelled
from mechtui.engine.neurons import Mlp

# Activations of features that there are at once.
AT_ONCE = 1 << 23


class Units(Protocol):
    """digest: of what decides them beside the model; beside: the file beside which they are kept; empty and None where
    there is nothing. blocks: how many of the model's run for them."""

    @property
    def digest(self) -> str: ...
    @property
    def beside(self) -> Path | None: ...
    @property
    def blocks(self) -> int: ...

    def empty(self) -> list[Strongest]:
        """By the groups in which they are kept: of neurons a layer's."""
        ...

    def hooks(self, block: int) -> tuple[str, ...]:
        """What is looked at while this block runs."""
        ...

    def added(
        self,
        found: Sequence[Strongest],
        block: int,
        seen: Mapping[str, Tensor],
        places: Tensor,
        cancelled: Callable[[], bool],
    ) -> list[Strongest]:
        """With what these hooks gave: by name [token, ...] float32; places [token]. Raises Cancelled."""
        ...


class Neurons:
    """mlps: of all layers."""

    digest, beside = "", None

    def __init__(self, mlps: Sequence[Mlp], d_mlp: int) -> None:
        self._mlps, self._d_mlp = mlps, d_mlp

    @property
    def blocks(self) -> int:
        return len(self._mlps)

    def empty(self) -> list[Strongest]:
        gated = self._mlps[0].gated
        ends, more = (2, ("gate", "into")) if gated else (1, ())
        return [Strongest.empty(self._d_mlp, ends, more=more) for _ in self._mlps]

    def hooks(self, block: int) -> tuple[str, ...]:
        return tuple(f"blocks.{block}.mlp.{name}" for name in ("hook_in", "hook_post"))

    def added(
        self,
        found: Sequence[Strongest],
        block: int,
        seen: Mapping[str, Tensor],
        places: Tensor,
        cancelled: Callable[[], bool],
    ) -> list[Strongest]:
        mlp = self._mlps[block]
        normed, post = (seen[hook] for hook in self.hooks(block))
        if not mlp.gated:
            more = found[block].added(post, (post > 0).sum(0), places)
            return [*found[:block], more, *found[block + 1 :]]
        gate = mlp.pre(normed, range(post.shape[1]), "gate")  # [neuron, token]

        def parts(neurons: Tensor) -> Mapping[str, Tensor]:
            return {"gate": gate[neurons.to(gate.device)], "into": mlp.pre(normed, neurons.tolist(), "in")}

        return [*found[:block], found[block].added(post, (gate > 0).sum(1), places, parts), *found[block + 1 :]]


class Features:
    """digest: of the dictionary."""

    def __init__(self, dictionary: Dictionary, digest: str) -> None:
        self._dictionary, self.digest = dictionary, digest

    @property
    def beside(self) -> Path | None:
        return Path(self._dictionary.file)

    @property
    def blocks(self) -> int:
        return self._dictionary.reads.layer + 1

    def empty(self) -> list[Strongest]:
        return [Strongest.empty(self._dictionary.n_features, floor=0.0)]

    def hooks(self, block: int) -> tuple[str, ...]:
        return self._dictionary.hooks[:1] if block == self._dictionary.reads.layer else ()

    def added(
        self,
        found: Sequence[Strongest],
        block: int,
        seen: Mapping[str, Tensor],
        places: Tensor,
        cancelled: Callable[[], bool],
    ) -> list[Strongest]:
        now, begin = found[0], 0
        for hook in self.hooks(block):
            rows = self._dictionary.rows(seen[hook])
            for part in torch.split(rows, max(1, AT_ONCE // self._dictionary.n_features)):
                if cancelled():
                    raise Cancelled
                acts = self._dictionary.encode(part)
                now = now.added(acts, (acts > 0).sum(0), places[begin : begin + len(part)])
                begin += len(part)
        return [now]
