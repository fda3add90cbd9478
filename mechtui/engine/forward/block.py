"""What every way to run a block has in common."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Protocol

from torch import Tensor

from mechtui.engine.forward.cache import Cache, KeysValues
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


class Blocks(Protocol):
    """The blocks of one model."""

    def at(self, layer: int, residual: Tensor, call: Call, offset: int) -> Block:
        """The block that runs there. residual, call: what enters it now, and its arguments. offset: the first
        position."""

    def begins_at_z(self, layer: int, some_run: SomeRun) -> bool:
        """Whether the block of this layer may begin at z, as far as is known which one runs."""


class Body(ABC):
    """What a model computes before its blocks, and the blocks.

    caches: whether its runs can be resumed by position. windows: whether a query may not see every key before it.
    clips: at which size queries, keys and values are cut off; None where they are not.
    """

    blocks: Blocks
    caches: bool
    windows: bool
    clips: float | None

    @abstractmethod
    def new_cache(self, before: Sequence[KeysValues | None]) -> Cache:
        """A cache for one pass, holding what lies before its positions, per layer."""

    @abstractmethod
    def before_blocks(
        self, texts: Sequence[Sequence[int]], taps: Taps, past: Cache | None
    ) -> tuple[Tensor, list[Call]]:
        """What block 0 would be given [text, pos, d_model], and the other arguments of every block. texts: of one
        length; they follow what `past` holds."""
