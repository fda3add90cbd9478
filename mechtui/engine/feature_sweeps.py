"""What an edit of many features does to each of them, for sweeps, which make it of one feature alone at a time.

Only features that the edit changes are looked at: one that is off wherever it acts, and stays so, does nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from mechtui.engine import gradients
from mechtui.engine.apply import VALUES, Part
from mechtui.engine.dictionaries import Active
from mechtui.engine.dictionaries.dictionary import AT_ONCE
from mechtui.engine.errors import SessionError
from mechtui.engine.needs import Need
from mechtui.engine.overlap import common
from mechtui.engine.run import Run
from mechtui.session.hook_edits import HookEdit, HookEdits, Ids

# Features of one sweep: more than a list that one reads, and than a session keeps.
MOST_FEATURES = 16_384


@dataclass(frozen=True, eq=False)
class SweptFeatures:
    """edit: of many features. features [n]: the numbers of those that it changes somewhere, rising. old, new [place, n]
    float32: their activations at its places, and what it makes of them. off: how many others it names."""

    edit: HookEdit
    features: tuple[int, ...]
    old: Tensor
    new: Tensor
    off: int

    @property
    def edits(self) -> list[HookEdits]:
        """[n]: the same edit of each feature alone."""
        of = self.edit.features
        assert of is not None
        return [(replace(self.edit, features=replace(of, first=each, last=each)),) for each in self.features]

    @property
    def strongest(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """[n] each: the position at which a feature is changed most, its activation there, and what it becomes."""
        if not self.features:
            return np.zeros(0, np.int32), np.zeros(0, np.float32), np.zeros(0, np.float32)
        at = (self.new - self.old).abs().argmax(0)
        old, new = (each.gather(0, at[None])[0].cpu().numpy() for each in (self.old, self.new))
        return np.array(self.edit.positions, dtype=np.int32)[at.cpu().numpy()], old, new


@torch.inference_mode()
def swept(run: Run, edit: HookEdit) -> SweptFeatures:
    """What an edit of features would change in a run, behind its own edits. Raises SessionError where that are too
    many, or the dictionary cannot be read, and Cancelled."""
    of = edit.features
    assert of is not None
    dictionary = run.dictionary(of.of.sae)
    # Of what is local no other position is looked at.
    looked = list(edit.positions) if edit.is_local else list(range(len(run.ids)))
    here = _named(dictionary.active(dictionary.rows(run.take(Need(edit.reads))[looked])), of.first, of.last)
    taken = [
        _named(dictionary.active(dictionary.rows(_elsewhere(run, ids, edit))), of.first, of.last)
        for ids in edit.references or ((edit.source_ids,) if edit.source_ids else ())
    ]
    which = torch.unique(torch.cat([each.features for each in (here, *taken)]))
    if bool(_made(edit, here.values.new_zeros(1, len(looked)), _none(edit, taken, here.values), looked).any()):
        which = torch.arange(of.first, of.last + 1, device=which.device)  # it turns on what is off
    if len(which) > MOST_FEATURES:
        raise SessionError(
            f"{len(which):,} features of {of.of.sae.name} would be changed, and a sweep has {MOST_FEATURES:,} at most: "
            f"name some of them, as in {of.of.sae.name}F{of.first}-{of.first + MOST_FEATURES - 1}"
        )
    acts = _dense(here, len(looked), which)
    given: Tensor | None = None
    if edit.references:
        rows = [_dense(each, len(ids), which) for each, ids in zip(taken, edit.references, strict=True)]
        given = torch.cat(rows).mean(0).expand(len(edit.places), -1)
    elif taken:
        given = _dense(taken[0], len(edit.places), which)
    old = acts[[looked.index(position) for position in edit.positions]]
    if given is not None and edit.source_ids and not run.edits:
        # Where the source begins as the prompt does, it has the values that are there already.
        shared = common(run.ids, edit.source_ids)
        same = [number for number, (p, q) in enumerate(edit.places) if p == q and p < shared]
        given[same] = old[same]
    new = _made(edit, acts.T, given, looked)
    changed = (new != old).any(0)
    count = of.last - of.first + 1
    return SweptFeatures(
        edit, tuple(which[changed].tolist()), old[:, changed], new[:, changed], count - int(changed.sum().item())
    )


@torch.inference_mode()
def estimates(
    run: Run, of: SweptFeatures, metric: gradients.Metric, towards: gradients.Towards | None = None
) -> np.ndarray:
    """[n] float32: about by how much the metric changes by the edit of each feature alone: the gradient at what the
    dictionary writes times what the edit writes more. Raises NoGradientError and Cancelled."""
    edit = of.edit
    assert edit.features is not None
    if not of.features:
        return np.zeros(0, dtype=np.float32)
    dictionary = run.dictionary(edit.features.of.sae)
    gradient = run.gradient(edit.hook, edit.layer, metric, towards).flatten(1)[edit.positions]
    read = dictionary.rows(run.take(Need(edit.reads))[edit.positions]).to(dictionary.W_dec.device)
    gradient = gradient.to(read) * dictionary.scale(read)
    found = []
    step = max(1, AT_ONCE // dictionary.d_out)
    for begin in range(0, len(of.features), step):
        own = slice(begin, begin + step)
        told = gradient @ dictionary.directions(of.features[own]).T
        found.append((told * (of.new - of.old)[:, own]).sum(0))
    numbers: np.ndarray = torch.cat(found).cpu().numpy()
    return numbers


def _elsewhere(run: Run, ids: Ids, edit: HookEdit) -> Tensor:
    """What the dictionary reads in the clean run of these tokens: of references everywhere, of a source at the places
    that are taken from."""
    read = run.read_clean(ids, Need(edit.reads))
    return read if edit.references else read[[int(q) for _, q in edit.places]]  # type: ignore[arg-type]


def _named(active: Active, first: int, last: int) -> Active:
    own = (active.features >= first) & (active.features <= last)
    return Active(*(each[own] for each in active))


def _none(edit: HookEdit, taken: Sequence[Active], like: Tensor) -> Tensor | None:
    """[place, 1]: what is given of a feature that is off wherever values are taken from."""
    return like.new_zeros(len(edit.places), 1) if taken else None


def _dense(active: Active, count: int, which: Tensor) -> Tensor:
    """[count, n]: activations of these features, rising, at each row."""
    found = active.values.new_zeros(count, len(which))
    at = torch.searchsorted(which, active.features).clamp(max=max(len(which) - 1, 0))
    known = which[at] == active.features if len(which) else torch.zeros_like(at, dtype=torch.bool)
    found[active.positions[known], at[known]] = active.values[known]
    return found


def _made(edit: HookEdit, acts: Tensor, given: Tensor | None, looked: Sequence[int]) -> Tensor:
    """[place, n]: what the edit makes of each feature alone. acts [n, position that is looked at]."""
    which = torch.tensor([looked.index(position) for position in edit.positions], device=acts.device)
    places = [(looked.index(position), parameter) for position, parameter in edit.places]
    old = acts[:, which, None]
    taken = None if given is None else given.T[:, :, None]
    part = Part(edit, acts[:, :, None], old, which, places, taken, None)
    return VALUES[edit.op](part).expand_as(old)[..., 0].T.to(torch.float32)
