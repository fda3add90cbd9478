"""Hook edits at work: what each op does to the tensor at its hook point, one function an op.

The definitions are those of docs/lines.md; every one is tested against plain hooks on the Hugging Face model.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from mechtui.engine.dictionaries.acting import Acting, Given
from mechtui.engine.lengths import direction
from mechtui.session.hook_edits import HookEdit, HookEdits, Parameter

# What hook edits take from elsewhere.
Givens = Mapping[HookEdit, Given]
Rows = slice | list[int]
# (hook, rows, positions) -> what passed there in the run at hand [row, place, ...], positions of the text.
At = Callable[[str, Sequence[int], Sequence[int]], Tensor]

EVERY_ROW = slice(None)


@dataclass(frozen=True)
class Part:
    """What one hook edit acts on: one head, one neuron, the whole width, or activations of features.

    all: the activation there at all positions [batch, pos, width]; at pattern and scores a row is a query and the
    width its keys. old: of it, what is to change [batch, place, width]. positions: which those are [place]. places:
    the same, with what the op knows of each. given: what it takes from elsewhere [place, width] or [d_model]. seen: at
    pattern and scores, which keys each query sees [query, key].
    """

    edit: HookEdit
    all: Tensor
    old: Tensor
    positions: Tensor
    places: Sequence[tuple[int, Parameter]]
    given: Tensor | None
    seen: Tensor | None


# By the op's name, the new value [batch, place, width], or what can be expanded to it, in any number format.
VALUES: dict[str, Callable[[Part], Tensor]] = {}


def op(function: Callable[[Part], Tensor]) -> Callable[[Part], Tensor]:
    """The function is what the op of its name does; a _ is a - in an op's name."""
    VALUES[function.__name__.replace("_", "-")] = function
    return function


@op
def zero(part: Part) -> Tensor:
    return torch.zeros_like(part.old)


@op
def mean(part: Part) -> Tensor:
    if part.seen is not None:
        seen = part.seen[part.positions]
        return torch.where(seen, part.old, 0).sum(-1, keepdim=True) / seen.sum(-1, keepdim=True)
    return part.all.mean(dim=1, keepdim=True) if part.given is None else part.given


def taken(part: Part) -> Tensor:
    """What was given for each place."""
    assert part.given is not None
    if part.seen is None:
        return part.given
    # A text that was continued has more keys than the run it takes from; no query here sees those.
    new = part.old.clone()
    new[..., : part.given.shape[-1]] = part.given[..., : part.old.shape[-1]].to(part.old.dtype)
    return new


# What an op on a path acts on is the sender's write, as one receiver reads it.
VALUES |= dict.fromkeys(("resample", "patch", "freeze", "patch-path"), taken) | {"cut-path": zero}


@op
def scale(part: Part) -> Tensor:
    return part.old * part.edit.factor


@op
def clamp(part: Part) -> Tensor:
    return torch.full_like(part.old, part.edit.factor)


@op
def noise(part: Part) -> Tensor:
    everything, seen = part.all, part.seen
    # numpy's generator, because its draws for a longer prompt begin with those for a shorter one.
    drawn = np.random.default_rng(part.edit.seed).standard_normal(tuple(everything.shape[1:])).astype(np.float32)
    each = torch.from_numpy(drawn).to(everything.device, everything.dtype)
    counted = everything.flatten(1) if seen is None else everything[:, seen]
    sd = counted.std(dim=1, correction=0)
    return part.old + part.edit.sd * sd[:, None, None] * each[part.positions]


@op
def add(part: Part) -> Tensor:
    if part.edit.features is not None:
        return part.old + part.edit.factor
    assert part.given is not None
    return part.old + part.edit.factor * part.given.to(part.old.dtype)


@op
def project(part: Part) -> Tensor:
    assert part.given is not None
    unit = direction(part.given).to(part.old.dtype)
    return part.old - (part.old @ unit)[..., None] * unit


@op
def cut(part: Part) -> Tensor:
    new = part.old.clone()
    for at, (_, keys) in enumerate(part.places):
        assert isinstance(keys, tuple)
        new[:, at, list(keys)] = 0
    if part.edit.raw:
        return new
    rest = new.sum(-1, keepdim=True)
    return torch.where(rest != 0, new / torch.where(rest != 0, rest, 1), new)


def rows_of(batch: Iterable[HookEdits]) -> list[tuple[HookEdit, list[int]]]:
    """Every edit, with the rows of the batch on which it acts: row i has the i-th edits. At each hook point those of a
    row stand in the row's own order, and what it has twice stands there twice."""
    found: dict[tuple[int, HookEdit], list[int]] = {}
    for row, edits in enumerate(batch):
        before = Counter[str]()
        for edit in edits:
            found.setdefault((before[edit.hook], edit), []).append(row)
            before[edit.hook] += 1
    return [(edit, rows) for (_, edit), rows in sorted(found.items(), key=lambda each: each[0][0])]


def hook_function(
    edits: Sequence[tuple[HookEdit, Rows]],
    givens: Givens,
    offset: int = 0,
    seen: Sequence[Tensor] = (),
    at: At | None = None,
) -> Callable[[Tensor], Tensor]:
    """A function that makes the edits, in order, in an activation.

    The activation is [batch, pos, ...] or [batch, head, query, key]; its positions begin at `offset`. Each
    edit acts on its rows of the batch only. The tensor that comes in is never changed. seen: for scores and
    patterns, last in it, which keys each query sees [query, key]; where it is empty, those at or before it. at: what
    passed elsewhere, for features whose dictionary writes elsewhere than it reads.
    """

    def apply(activation: Tensor) -> Tensor:
        changed = activation.clone()
        keys = None
        if edits[0][0].is_pattern:
            keys = seen[-1] if seen else _at_or_before(activation, offset)
        for edit, rows in edits:
            given = givens.get(edit)
            if isinstance(given, Acting):
                _change_features(edit, changed, rows, given, offset, at)
            else:
                _apply_one(edit, changed, rows, given, offset, keys)
        return changed

    return apply


def _at_or_before(table: Tensor, offset: int) -> Tensor:
    """[query, key]: whether the key lies at or before the query; the first query lies at `offset`."""
    return torch.ones(table.shape[-2:], dtype=torch.bool, device=table.device).tril(offset)


def seen_in(scores: Tensor, dtype: torch.dtype) -> Tensor:
    """[..., query, key]: which keys each query sees, from scores as the model masks them. Keys ahead, and those that
    lie outside a window, are masked the same way. dtype: the model's, whose least number masks also the scores that
    are computed in float32."""
    least = max(torch.finfo(each).min for each in (scores.dtype, dtype))
    return scores > least / 2


def _apply_one(
    edit: HookEdit, activation: Tensor, rows: Rows, given: Tensor | None, offset: int, seen: Tensor | None
) -> None:
    count = activation.shape[2] if edit.is_pattern else activation.shape[1]
    # Places before the offset are done already.
    here = [number for number, (p, _) in enumerate(edit.places) if 0 <= p - offset < count]
    if not here:
        return
    places = [(edit.places[number][0] - offset, edit.places[number][1]) for number in here]
    positions = torch.tensor([p for p, _ in places], device=activation.device)
    for at, index in enumerate(edit.index if edit.index is not None else (None,)):
        view = _view(edit, activation[rows], index)
        old = view[:, positions]
        own = given if given is None or given.dim() == 1 else given[here, at]
        new = VALUES[edit.op](Part(edit, view, old, positions, places, own, seen)).to(old.dtype)
        if seen is not None:
            # What a query does not see stays hidden: a score of 0 there would let it look ahead.
            new = torch.where(seen[positions], new, old)
        if isinstance(rows, slice):
            _view(edit, activation, index)[:, positions] = new
        else:
            which = torch.tensor(rows, device=activation.device)
            _view(edit, activation, index)[which[:, None], positions[None, :]] = new


def _change_features(edit: HookEdit, activation: Tensor, rows: Rows, given: Acting, offset: int, at: At | None) -> None:
    """Add by how much what features write changes. All else that passes stays, and with it what the dictionary does not
    have."""
    count = activation.shape[1]
    here = [number for number, (p, _) in enumerate(edit.places) if 0 <= p - offset < count]
    if not here:
        return
    places = [(edit.places[number][0] - offset, edit.places[number][1]) for number in here]
    changed = [p for p, _ in places]
    # Of what is local no other position is looked at.
    looked = changed if edit.is_local else list(range(count))
    which = torch.tensor([looked.index(p) for p in changed] if not edit.is_local else range(len(changed)))
    values = None if given.values is None else given.values[here]
    # Row by row: a row's numbers are the same, however many there are.
    for row in range(len(activation)) if isinstance(rows, slice) else rows:
        if edit.reads == edit.hook:
            read = activation[row, looked]
        else:
            assert at is not None
            read = at(edit.reads, [row], [position + offset for position in looked])[0]
        acts = given.acts(read)[None]
        which = which.to(acts.device)
        old = acts[:, which]
        new = VALUES[edit.op](Part(edit, acts, old, which, places, values, None)).expand_as(old)
        added = given.added((new - old)[0], read[which.to(read.device)]).to(activation.device)
        was = activation[row, changed]
        activation[row, changed] = (was.float() + added.view(was.shape)).to(was.dtype)


def _view(edit: HookEdit, activation: Tensor, index: int | None) -> Tensor:
    """The edit's own part as [batch, pos, width], sharing memory with the activation."""
    if index is None:
        return activation
    if edit.is_pattern:
        return activation[:, index]
    if activation.dim() == 4:
        return activation[:, :, index]
    return activation[:, :, index : index + 1]  # a neuron
