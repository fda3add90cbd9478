"""What every way to run a block has in common."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence

from torch import Tensor
from transformers.cache_utils import Cache

from mechtui.engine.forward.calls import Call
from mechtui.engine.forward.taps import Taps

# A run of the model without edits: what enters block 0 [1, pos, d_model], and its blocks' arguments.
SomeRun = Callable[[], tuple[Tensor, Sequence[Call]]]


class Block(ABC):
    """One block of a model. layer: its number.

    residual is what enters it [batch, pos, d_model]; z is what its heads give [batch, pos, head * d_head], before any
    edit there. call: the model's arguments for it. cache: keys and values before its positions; those that it
    computes are added. taps: what acts and looks at its hook points.
    """

    layer: int

    @abstractmethod
    def run(
        self, residual: Tensor, call: Call, cache: Cache | None, taps: Taps, z: Tensor | None = None
    ) -> tuple[Tensor, Tensor | None]:
        """(what leaves the block [batch, pos, d_model], z; None where the block has no such point). z: where it is
        given, the block begins there, and nothing before it runs."""

    @abstractmethod
    def heads(self, residual: Tensor, call: Call, cache: Cache | None, taps: Taps) -> Tensor:
        """z. Nothing behind it runs."""

    @abstractmethod
    def begins_at_z(self, some_run: SomeRun) -> bool:
        """Whether it gives the same to the last bit when it begins at a z. some_run: asked for when that must be tried
        out."""
