"""A trace: what is kept of a run, so that the next one runs only what changed."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from torch import Tensor

from mechtui.engine.forward.cache import KeysValues
from mechtui.engine.needs import Need
from mechtui.engine.pieces import Pieces
from mechtui.session.hook_edits import HookEdits, Ids


@dataclass(eq=False)
class Trace:
    """One run, as far as it is kept.

    resid: n_layers + 1 of [1, pos, d_model]: entering each block, leaving the last (no edit of the block that it
    enters has acted yet). z: what the heads of each block gave [1, pos, head * d_head], before any edit; empty where
    the model has no such point. keys_values: per layer; None where the model's runs cannot be resumed by position.
    start: (first block that ran, first position that ran).

    What was read of it so far: taken: what views needed. norms: those of resid [pos] by layer, for the first positions.
    surprise [n]: of the first n tokens, in nats. logits_at: [d_vocab] of the few positions that were asked for one by
    one; best_at: ids of the largest of them. variants: logits of small variants of this run, by edits and position.
    answers: of some views the last one, behind what decided it. finite: whether all numbers that leave the last block
    are, once that was asked. estimates: the last ones of what further edits would do, behind what decided them.

    held: of a run of the linear model, what it is held to; None of the model's own runs. linear: those that were made
    of this one, the latest last.
    """

    ids: Ids
    edits: HookEdits
    resid: list[Pieces]
    z: list[Pieces]
    keys_values: list[KeysValues] | None
    taken: dict[Need, Tensor] = field(default_factory=dict)
    norms: dict[int, Tensor] = field(default_factory=dict)
    surprise: Tensor | None = None
    logits_at: dict[int, Tensor] = field(default_factory=dict)
    best_at: dict[int, list[int]] = field(default_factory=dict)
    variants: dict[tuple[HookEdits, int], Tensor] = field(default_factory=dict)
    answers: dict[type, tuple[object, Any]] = field(default_factory=dict)
    start: tuple[int, int] = (0, 0)
    finite: bool | None = None
    estimates: tuple[object, np.ndarray] | None = None
    held: Held | None = None
    linear: list[Trace] = field(default_factory=list)

    def tensors(self) -> list[Tensor]:
        """All that takes memory; some are shared with other traces."""
        pairs = [t for pair in self.keys_values or () for t in pair]
        pieces = [piece for each in (*self.resid, *self.z) for piece in each.pieces]
        read = [*self.taken.values(), *self.logits_at.values(), *self.variants.values()]
        read += [] if self.held is None else self.held.tensors()
        return [*pieces, *pairs, *read, *(tensor for each in self.linear for tensor in each.tensors())]


class Held(Protocol):
    """What stands in for the final norm's own scale, and for blocks, in a run of the linear model."""

    def logits(self, positions: slice | list[int]) -> Tensor:
        """[pos, d_vocab] float32."""

    def tensors(self) -> list[Tensor]:
        """What it holds besides the run that it is of."""
