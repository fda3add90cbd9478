"""Actions: edits with everything the model and the prompt decide already filled in.

An action names one hook point and lists, position by position, what happens there. Two actions are equal when
they do the same thing, so comparing them tells exactly which part of an earlier run can be kept.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable
from dataclasses import dataclass, fields
from functools import cached_property

from mechtui.session.document import Op, Vector

Ids = tuple[int, ...]

# The position-wise parameter of an action: nothing, a source position, or the keys that a query loses.
Parameter = int | tuple[int, ...] | None

PATTERN_PARTS = ("hook_pattern", "hook_attn_scores")


@dataclass(frozen=True)
class Steering:
    """A steering vector and all that decides its numbers. bos: whether its texts begin with BOS; False where it has
    none. file: what tells that its file was written again (see `file_state`), empty without one."""

    vector: Vector
    bos: bool = False
    file: tuple[int, ...] = ()


@dataclass(frozen=True)
class Action:
    """One edit at one hook point.

    hook: TransformerLens's name. layer: the block it lies in, -1 for the embeddings. index: heads, key-value
    groups or neurons it touches; None: the whole width. places: ((position, parameter), ...) in rising order.
    width: numbers per position (of one head). source_ids: whose run `patch` and `resample` take from.
    keys: for patch at pattern and scores, the source position of every position (-1: none).
    """

    op: Op
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
    keys: tuple[int, ...] = ()

    @property
    def is_pattern(self) -> bool:
        """Acts on [head, query, key] rather than on [pos, ...]."""
        return self.hook.endswith(PATTERN_PARTS)

    @property
    def is_local(self) -> bool:
        """Whether what it does at a position depends on that position and earlier ones only."""
        if self.op == "noise":
            return False  # its standard deviation is taken over all positions
        return self.op != "mean" or self.is_pattern or bool(self.references)

    @property
    def positions(self) -> list[int]:
        return [position for position, _ in self.places]

    @cached_property
    def what(self) -> tuple[object, ...]:
        """All of it but where: two actions that agree in this do the same at the places that both have."""
        return tuple(getattr(self, field.name) for field in fields(self) if field.name not in ("places", "keys"))

    def same_before(self, other: Action, end: int) -> bool:
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


# In the order of `in_order`, so that lists which do the same are equal.
Actions = tuple[Action, ...]


def in_order(actions: Iterable[Action]) -> Actions:
    """By layer and hook point; those at one hook point as they come. Only their order matters: which hook point is
    passed first, the model decides."""
    return tuple(sorted(actions, key=lambda action: (action.layer, action.hook)))


def same_layers(one: Actions, two: Actions, n_layers: int) -> int:
    """How many blocks (0..n_layers) see the same: the first layer at which the two differ, -1 when the
    embeddings already do."""
    for layer in sorted({action.layer for action in (*one, *two)}):
        if [a for a in one if a.layer == layer] != [a for a in two if a.layer == layer]:
            return layer
    return n_layers


def same_positions(one: Actions, two: Actions, limit: int, at_least: int = 1) -> int:
    """The largest p, at_least <= p <= limit, such that both do the same at positions before p; 0 where there is
    none or an action looks ahead."""
    if limit < at_least or not all(action.is_local for action in (*one, *two)):
        return 0
    if one == two:
        return limit

    def same_before(end: int) -> bool:
        # An action that begins later does nothing here yet.
        first, second = ([a for a in actions if a.places and a.places[0][0] < end] for actions in (one, two))
        return len(first) == len(second) and all(a.same_before(b, end) for a, b in zip(first, second, strict=True))

    if not same_before(at_least):  # most traces of other edits end here
        return 0
    low, high = at_least, limit
    while low < high:  # agreement up to p is agreement up to everything below p
        middle = (low + high + 1) // 2
        if same_before(middle):
            low = middle
        else:
            high = middle - 1
    return low


def common(one: Ids, two: Ids) -> int:
    """How many tokens two texts begin with together."""
    if one == two:
        return len(one)
    for at, (a, b) in enumerate(zip(one, two, strict=False)):
        if a != b:
            return at
    return min(len(one), len(two))
