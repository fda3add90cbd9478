"""Where edits act, as far as they themselves can say: heads, layers and positions to mark."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from mechtui.session.document import Edit, ModelShape, Positions, Range, Token, TokenPlaces

Head = tuple[int, int]


def heads(edits: Iterable[Edit], shape: ModelShape) -> frozenset[Head]:
    """(layer, head) of every head that one of the edits acts on. With grouped queries an edit of a k or v
    marks every head that reads it."""
    found: set[Head] = set()
    group = max(shape.n_heads // max(shape.n_kv_heads, 1), 1)
    for edit in edits:
        site = edit.site
        if site.kind != "head":
            continue
        shared = site.part in ("k", "v") and group > 1
        for layer in site.layers.within(shape.n_layers):
            if shared:
                members = {g * group + i for g in site.index.within(shape.n_kv_heads) for i in range(group)}
            else:
                members = set(site.index.within(shape.n_heads))
            found |= {(layer, head) for head in members if head < shape.n_heads}
    return frozenset(found)


def layers(edits: Iterable[Edit], shape: ModelShape) -> dict[int, str]:
    """Layer -> what of it is edited apart from heads, as `mlp`, `pre`, `N`."""
    found: dict[int, str] = {}
    for edit in edits:
        name = edit.site.part if edit.site.kind == "layer" else "N" if edit.site.kind == "neuron" else None
        if name is None:
            continue
        for layer in edit.site.layers.within(shape.n_layers):
            found.setdefault(layer, name)
    return found


def places(positions: Positions, tokens: Sequence[Token]) -> frozenset[int]:
    """The positions that exist among these tokens."""
    count = len(tokens)
    if not positions.items:
        return frozenset(range(count))
    found: set[int] = set()
    for item in positions.items:
        if isinstance(item, Range):
            first = item.first + count if item.first < 0 else item.first
            last = item.last + count if item.last < 0 else item.last
            found |= set(range(max(first, 0), min(last, count - 1) + 1))
        elif isinstance(item, TokenPlaces):
            where = [i for i, token in enumerate(tokens) if token.text == item.text]
            found |= set(where if item.nth is None else where[item.nth - 1 : item.nth])
    return frozenset(found)


def edited_positions(edits: Iterable[Edit], tokens: Sequence[Token]) -> frozenset[int]:
    """Positions that an edit names: one that acts everywhere marks none, since it would mark all."""
    found: set[int] = set()
    for edit in edits:
        found |= _named(edit, tokens)
    return frozenset(found)


def _named(edit: Edit, tokens: Sequence[Token]) -> frozenset[int]:
    if edit.edge is not None:
        return places(edit.edge.queries, tokens) if edit.edge.queries.items else frozenset()
    return places(edit.positions, tokens) if edit.positions.items else frozenset()
