"""What keys do to a session: every function makes a new session from an old one, and nothing else.

A function that cannot do its work raises `CannotError` with the reason, in words for the user.
"""

from __future__ import annotations

from collections.abc import Sequence

from msgspec.structs import replace

from mechtui.session.document import (
    ALL,
    OF_TEXTS,
    Bos,
    Edge,
    Edit,
    Positions,
    Range,
    Sae,
    Session,
    Site,
    Span,
    Vector,
)
from mechtui.session.grammar.places import format_site
from mechtui.session.op import VectorOp
from mechtui.session.ops import ops
from mechtui.session.roles import named
from mechtui.session.sites import LAYER_PARTS


class CannotError(ValueError):
    """The reason why an action has nothing to do, one sentence."""


def at(position: int) -> Positions:
    """One position."""
    return Positions((Range(position, position),))


def head_site(layer: int, head: int) -> Site:
    return Site("head", Span(layer, layer), Span(head, head), "z")


def edit_sites(session: Session, op: str, sites: Sequence[Site], position: int | None = None) -> Session:
    """The same edit at each of these sites (at one position, or everywhere). Once more takes them away: the key is a
    toggle. Where some are there and some not, the missing ones come."""
    if op == "patch" and not session.source:
        raise CannotError("Patching takes values from a source prompt, and there is none: I writes one.")
    if not sites:
        raise CannotError(f"There is nothing under the cursor to {op}.")
    edits = [Edit(op, site, ALL if position is None else at(position)) for site in sites]
    there = {replace(edit, on=True): edit.on for edit in session.edits}
    missing = [edit for edit in edits if not there.get(edit, False)]
    for edit in missing or edits:
        session = toggle_edit(session, edit)
    return session


def cut_edge(session: Session, layer: int, head: int, query: int, key: int) -> Session:
    """Remove attention from one query to one key; once more brings it back."""
    if key > query:
        raise CannotError(f"Position {query} cannot see position {key}, which comes later: there is nothing to cut.")
    return toggle_edit(session, Edit("cut", head_site(layer, head), edge=Edge(at(query), at(key))))


def read_elsewhere(session: Session, edit: Edit) -> str:
    """Says where a vector was read that acts at another place; empty where both are one, or none was read."""
    vector = session.vector(edit.vector) if edit.vector else None
    op = ops()[edit.op]
    if vector is None or vector.source not in OF_TEXTS or not isinstance(op, VectorOp):
        return ""
    read = Site("layer", Span(vector.layer, vector.layer), part=vector.part)
    if _place(edit.site) == _place(read):
        return ""
    return f"{vector.name} was read at {format_site(read)} and is {op.done} at {format_site(edit.site)}."


def _place(site: Site) -> tuple[object, ...]:
    """One place of the residual stream has two names: a layer's end is the begin of the next."""
    layers, part = site.layers, site.part
    if site.kind == "layer" and part == "post" and layers.last is not None:
        return "pre", layers.first + 1, layers.last + 1
    return part, layers.first, layers.last


def toggle_edit(session: Session, edit: Edit) -> Session:
    """Add an edit; an equal one that is on is removed, one that is off is switched on."""
    for index, old in enumerate(session.edits):
        if replace(old, on=True) == edit:
            return delete(session, index) if old.on else toggle(session, index)
    return add(session, edit)


def add(session: Session, edit: Edit) -> Session:
    _check_place(edit)
    return replace(session, edits=(*session.edits, edit))


def put(session: Session, index: int, edit: Edit) -> Session:
    """The edit at `index` becomes `edit`."""
    chosen(session, index)
    _check_place(edit)
    return replace(session, edits=(*session.edits[:index], edit, *session.edits[index + 1 :]))


def _check_place(edit: Edit) -> None:
    if role := named(edit.positions):
        raise CannotError(f"{role} is a position of cases; an edit names one of this prompt, as @-1.")


def chosen(session: Session, index: int) -> Edit:
    """The edit under the cursor."""
    if not session.edits:
        raise CannotError("There is no edit yet: z zeroes the head under the cursor, e writes one.")
    if not 0 <= index < len(session.edits):
        raise CannotError(f"There is no edit {index + 1}; there are {len(session.edits)}.")
    return session.edits[index]


def toggle(session: Session, index: int) -> Session:
    edit = chosen(session, index)
    return put(session, index, replace(edit, on=not edit.on))


def toggle_all(session: Session) -> Session:
    """All off when one is on, else all on."""
    chosen(session, 0)
    on = not session.active_edits()
    return replace(session, edits=tuple(replace(edit, on=on) for edit in session.edits))


def delete(session: Session, index: int) -> Session:
    chosen(session, index)
    return replace(session, edits=session.edits[:index] + session.edits[index + 1 :])


def duplicate(session: Session, index: int) -> Session:
    """A copy below; it is off, since most edits twice are the same as once."""
    copy = replace(chosen(session, index), on=False)
    return replace(session, edits=(*session.edits[: index + 1], copy, *session.edits[index + 1 :]))


def shift(session: Session, index: int, by: int) -> Session:
    """Move the edit up (-1) or down (1); edits apply in the order of the list."""
    chosen(session, index)
    to = index + by
    if not 0 <= to < len(session.edits):
        raise CannotError(f"The edit is the {'first' if by < 0 else 'last'} already.")
    edits = list(session.edits)
    edits[index], edits[to] = edits[to], edits[index]
    return replace(session, edits=tuple(edits))


def nudge(session: Session, index: int, sign: int) -> Session:
    """One step more (1) or less (-1) of the edit's number."""
    edit = chosen(session, index)
    op = ops()[edit.op]
    if not op.number:
        *names, last = (name for name, each in ops().items() if each.number)
        raise CannotError(f"{edit.op} has no number; {', '.join(names)} and {last} have one.")
    return put(session, index, op.nudged(edit, sign))


def next_bos(session: Session) -> Session:
    order: tuple[Bos, ...] = ("auto", "yes", "no")
    return replace(session, bos=order[(order.index(session.bos) + 1) % 3])


def turn_linear(session: Session) -> Session:
    return replace(session, linear=not session.linear)


def put_vector(session: Session, vector: Vector) -> Session:
    """Add a vector, or replace the one of its name."""
    names = [old.name for old in session.vectors]
    if vector.name in names:
        at_index = names.index(vector.name)
        return replace(session, vectors=(*session.vectors[:at_index], vector, *session.vectors[at_index + 1 :]))
    return replace(session, vectors=(*session.vectors, vector))


def put_sae(session: Session, sae: Sae) -> Session:
    """Add a dictionary, or replace the one of its name."""
    named = {old.name: old for old in session.saes} | {sae.name: sae}
    return replace(session, saes=tuple(named.values()))


def chosen_vector(session: Session, index: int) -> Vector:
    if not session.vectors:
        raise CannotError("There is no steering vector yet: v writes one.")
    if not 0 <= index < len(session.vectors):
        raise CannotError(f"There is no vector {index + 1}; there are {len(session.vectors)}.")
    return session.vectors[index]


def delete_vector(session: Session, index: int) -> Session:
    """A vector that an edit uses stays: the edit would mean nothing."""
    vector = chosen_vector(session, index)
    users = [i + 1 for i, edit in enumerate(session.edits) if edit.vector == vector.name]
    if users:
        raise CannotError(f"Edit {users[0]} uses {vector.name}; delete that edit first.")
    return replace(session, vectors=session.vectors[:index] + session.vectors[index + 1 :])


def add_vector_edit(session: Session, index: int) -> Session:
    """An `add` edit for the vector under the cursor, where it was read; a neuron's at that layer's output."""
    vector = chosen_vector(session, index)
    if vector.source == "feature":
        sae = session.sae(vector.sae)
        point = None if sae is None else sae.writes or sae.reads
        where = next((each for each in LAYER_PARTS if point is not None and each == point.part), None)
        if point is None or where is None:
            raise CannotError(
                f"Where {vector.name} is to be added, its line does not say: write it, as in add L8.pre {vector.name}."
            )
        there = Site("layer", Span(point.layer, point.layer), part=where)
        return add(session, Edit("add", there, vector=vector.name, factor=1.0))
    part = vector.part if vector.source in OF_TEXTS else "post"
    site = Site("layer", Span(vector.layer, vector.layer), part=part)
    return add(session, Edit("add", site, vector=vector.name, factor=1.0))
