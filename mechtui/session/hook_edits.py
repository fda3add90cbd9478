"""Hook edits: edits with everything that the model and the prompt decide already filled in.

A hook edit names one hook point and lists, position by position, what happens there. The engine makes tensor functions
of them, the exported program is written from them, and two that are equal do the same, so that comparing them tells
which part of an earlier run can be kept.
"""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass, fields
from functools import cached_property

from mechtui.session.document import Sae, Vector
from mechtui.session.sites import TABLES

Ids = tuple[int, ...]

# What an op needs to know at one position: nothing, a source position, or the keys that a query loses.
Parameter = int | tuple[int, ...] | None


class EditError(ValueError):
    """An edit that means nothing for this model or this prompt: one sentence that says why."""


@dataclass(frozen=True)
class Steering:
    """A steering vector and all that decides its numbers. bos: whether its texts begin with BOS; False where it has
    none. file: what tells that its file was written again, empty without one. sae: the dictionary of a feature's."""

    vector: Vector
    bos: bool = False
    file: tuple[int, ...] = ()
    sae: Sae | None = None


@dataclass(frozen=True)
class Sender:
    """Whose write to the residual stream a receiver reads otherwise. hook: TransformerLens's name of what it gives.
    layer: its block, -1 for the embeddings. heads: of attention, each with its own write; None: all that passes the
    hook."""

    hook: str
    layer: int
    heads: tuple[int, ...] | None = None


@dataclass(frozen=True)
class Decoder:
    """A dictionary of features, as far as edits of them need to know it. reads, writes: TransformerLens's names of
    where. layer: of where it writes. count: of its features. mark: another for other files."""

    sae: Sae
    reads: str
    writes: str
    layer: int
    count: int
    mark: bytes = b""

    @property
    def transcodes(self) -> bool:
        """Whether it writes elsewhere than it reads."""
        return self.reads != self.writes


@dataclass(frozen=True)
class Features:
    """Features of a dictionary, from `first` to `last`, both included."""

    of: Decoder
    first: int
    last: int


@dataclass(frozen=True)
class HookEdit:
    """One edit at one hook point.

    hook: TransformerLens's name. layer: the block it lies in, -1 for the embeddings. index: heads, key-value
    groups or neurons it touches; None: the whole width. places: ((position, parameter), ...) in rising order.
    source_ids: the tokens of the clean run whose values it takes, at the positions that `places` names. keys: for
    those at pattern and scores, the source position of every position (-1: none). references: the prompts whose mean
    it is. sender: of one that acts on what a receiver reads of the stream (its hook is `hook_q_input`, `hook_k_input`,
    `hook_v_input` or `hook_mlp_in`). features: of one that acts on activations of a dictionary's; its hook, of which
    nothing else changes, is where they are written. is_local: whether what it does at a position depends on that
    position and earlier ones only.
    """

    op: str
    hook: str
    layer: int
    index: tuple[int, ...] | None
    places: tuple[tuple[int, Parameter], ...]
    factor: float = 1.0
    sd: float = 0.0
    seed: int = 0
    raw: bool = False
    vector: Steering | None = None
    source_ids: Ids = ()
    references: tuple[Ids, ...] = ()
    keys: Ids = ()
    sender: Sender | None = None
    features: Features | None = None
    is_local: bool = True

    @property
    def is_pattern(self) -> bool:
        """Acts on [head, query, key] rather than on [pos, ...]."""
        return self.hook.endswith(TABLES)

    @property
    def reads(self) -> str:
        """The hook of what it changes: of features, that which their dictionary reads."""
        return self.hook if self.features is None else self.features.of.reads

    @property
    def positions(self) -> list[int]:
        return [position for position, _ in self.places]

    @cached_property
    def what(self) -> tuple[object, ...]:
        """All of it but where: two hook edits that agree in this do the same at the places that both have."""
        return tuple(getattr(self, field.name) for field in fields(self) if field.name not in ("places", "keys"))

    def same_before(self, other: HookEdit, end: int) -> bool:
        """Whether both do the same at positions 0..end-1."""
        if self is other:
            return True
        return (
            self.what == other.what
            and self.keys[:end] == other.keys[:end]
            and self._places_before(end) == other._places_before(end)
        )

    def _places_before(self, end: int) -> tuple[tuple[int, Parameter], ...]:
        return self.places[: bisect_left(self.places, end, key=lambda place: place[0])]


# Several, in the order in which they act.
HookEdits = tuple[HookEdit, ...]
