"""How much two runs share, by the hook edits that they make and the tokens that they read."""

from __future__ import annotations

from collections.abc import Iterable

from mechtui.session.hook_edits import HookEdit, HookEdits, Ids


def in_order(edits: Iterable[HookEdit]) -> HookEdits:
    """By layer and hook point; those at one hook point as they come. Only their order matters: which hook point is
    passed first, the model decides."""
    return tuple(sorted(edits, key=lambda edit: (edit.layer, edit.hook)))


def same_layers(one: HookEdits, two: HookEdits, n_layers: int) -> int:
    """How many blocks (0..n_layers) see the same: the first layer at which the two differ, -1 when the
    embeddings already do."""
    for layer in sorted({edit.layer for edit in (*one, *two)}):
        if [a for a in one if a.layer == layer] != [a for a in two if a.layer == layer]:
            return layer
    return n_layers


def same_positions(one: HookEdits, two: HookEdits, limit: int, at_least: int = 1) -> int:
    """The largest p, at_least <= p <= limit, such that both do the same at positions before p; 0 where there is
    none or an edit looks ahead."""
    if limit < at_least or not all(edit.is_local for edit in (*one, *two)):
        return 0
    if one == two:
        return limit

    def same_before(end: int) -> bool:
        # An edit that begins later does nothing here yet.
        first, second = ([a for a in edits if a.places and a.places[0][0] < end] for edits in (one, two))
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
