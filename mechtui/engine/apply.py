"""Actions at work: what each op does to the tensor at its hook point.

The definitions are those of docs/lines.md; every one is tested against plain hooks on the Hugging Face model.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from mechtui.engine.actions import Action, Parameter

# What an action takes from elsewhere: the value for its places, or a vector [d_model].
Givens = Mapping[Action, Tensor]
Rows = slice | list[int]

EVERY_ROW = slice(None)


def hook_function(
    actions: Sequence[tuple[Action, Rows]], givens: Givens, offset: int = 0, seen: Sequence[Tensor] = ()
) -> Callable[[Tensor], Tensor]:
    """A function that applies the actions, in order, to an activation.

    The activation is [batch, pos, ...] or [batch, head, query, key]; its positions begin at `offset`. Each
    action acts on its rows of the batch only. The tensor that comes in is never changed. seen: for scores and
    patterns, last in it, which keys each query sees [query, key]; where it is empty, those at or before it.
    """

    def apply(activation: Tensor) -> Tensor:
        changed = activation.clone()
        keys = None
        if actions[0][0].is_pattern:
            queries, width = activation.shape[-2:]
            ahead = torch.ones(queries, width, dtype=torch.bool, device=activation.device)
            keys = seen[-1] if seen else ahead.tril(offset)
        for action, rows in actions:
            _apply_one(action, changed, rows, givens, offset, keys)
        return changed

    return apply


def seen_in(scores: Tensor, dtype: torch.dtype) -> Tensor:
    """[..., query, key]: which keys each query sees, from scores as the model masks them. Keys ahead, and those that
    lie outside a window, are masked the same way. dtype: the model's, whose least number masks also the scores that
    are computed in float32."""
    least = max(torch.finfo(each).min for each in (scores.dtype, dtype))
    return scores > least / 2


def _apply_one(
    action: Action, activation: Tensor, rows: Rows, givens: Givens, offset: int, seen: Tensor | None
) -> None:
    count = activation.shape[2] if action.is_pattern else activation.shape[1]
    places = [(p - offset, q) for p, q in action.places if 0 <= p - offset < count]
    if not places:
        return
    positions = torch.tensor([p for p, _ in places], device=activation.device)
    given = givens.get(action)
    for at, index in enumerate(action.index if action.index is not None else (None,)):
        view = _view(action, activation[rows], index)  # [rows, pos, width]
        taken = None
        if given is not None:
            taken = given if given.dim() == 1 else given[:, at]
            if given.dim() > 1:
                # One value per place of the action; those before the offset are done already.
                keep = [i for i, (p, _) in enumerate(action.places) if 0 <= p - offset < count]
                taken = taken[keep]
        new = _value(action, view, positions, places, taken, seen)
        if seen is not None:
            # What a query does not see stays hidden: a score of 0 there would let it look ahead.
            new = torch.where(seen[positions], new, view[:, positions])
        if isinstance(rows, slice):
            _view(action, activation, index)[:, positions] = new
        else:
            which = torch.tensor(rows, device=activation.device)
            _view(action, activation, index)[which[:, None], positions[None, :]] = new


def _view(action: Action, activation: Tensor, index: int | None) -> Tensor:
    """The action's own part as [batch, pos, width], sharing memory with the activation."""
    if index is None:
        return activation
    if action.is_pattern:
        return activation[:, index]
    if activation.dim() == 4:
        return activation[:, :, index]
    return activation[:, :, index : index + 1]  # a neuron


def _value(
    action: Action,
    view: Tensor,
    positions: Tensor,
    places: Sequence[tuple[int, Parameter]],
    taken: Tensor | None,
    seen: Tensor | None,
) -> Tensor:
    """The new value at `positions`: [batch, len(positions), width]."""
    old = view[:, positions]
    match action.op:
        case "zero":
            return torch.zeros_like(old)
        case "scale":
            return old * action.factor
        case "mean":
            if seen is not None:
                return _mean_of_rows(old, seen[positions])
            if taken is not None:
                return taken.to(old.dtype).expand_as(old)
            return view.mean(dim=1, keepdim=True).expand_as(old)
        case "patch" | "freeze" | "resample":
            assert taken is not None
            if action.is_pattern:
                # A text that was continued has more keys than the run it takes from; no query here sees those.
                new = old.clone()
                new[..., : taken.shape[-1]] = taken[..., : old.shape[-1]].to(old.dtype)
                return new
            return taken.to(old.dtype).expand_as(old)
        case "noise":
            return old + _noise(action, view, positions, seen)
        case "add":
            assert taken is not None
            return old + action.factor * taken.to(old.dtype)
        case "project":
            assert taken is not None
            unit = taken.to(old.dtype)
            return old - (old @ unit)[..., None] * unit
        case "cut":
            return _cut(old, places, action.raw)


def _mean_of_rows(old: Tensor, seen: Tensor) -> Tensor:
    """Each row's mean over the keys that its query sees; other keys stay as they are."""
    mean = torch.where(seen, old, 0).sum(-1, keepdim=True) / seen.sum(-1, keepdim=True)
    return torch.where(seen, mean, old)


def _noise(action: Action, view: Tensor, positions: Tensor, seen: Tensor | None) -> Tensor:
    # numpy's generator, because its draws for a longer prompt begin with those for a shorter one.
    count, width = view.shape[1], view.shape[2]
    drawn = np.random.default_rng(action.seed).standard_normal((count, width)).astype(np.float32)
    noise = torch.from_numpy(drawn).to(view.device, view.dtype)
    if seen is not None:
        sd = view[:, seen].std(dim=1, correction=0)
        noise = torch.where(seen, noise, 0)
    else:
        sd = view.flatten(1).std(dim=1, correction=0)
    scaled: Tensor = action.sd * sd[:, None, None] * noise[positions]
    return scaled


def _cut(old: Tensor, places: Sequence[tuple[int, Parameter]], raw: bool) -> Tensor:
    new = old.clone()
    for at, (_, keys) in enumerate(places):
        assert isinstance(keys, tuple)
        new[:, at, list(keys)] = 0
    if raw:
        return new
    rest = new.sum(-1, keepdim=True)
    return torch.where(rest != 0, new / torch.where(rest != 0, rest, 1), new)
