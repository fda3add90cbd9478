"""A circuit over the cases: what a set of components does alone, and what is left without it (Wang et al. 2022).

Everything that is not kept is ablated to its mean over the cases whose prompts are as long, position by position: what
such prompts have in common stays, what tells one from the other goes. Heads are ablated where they give their outputs
(hook_z), MLPs where they write (hook_mlp_out).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence

import numpy as np
from torch import Tensor

from mechtui.engine.batches import means_of
from mechtui.engine.case_runs import CLEAN, CaseRuns, Kept, Key, OpenCase
from mechtui.engine.errors import SessionError
from mechtui.engine.overlap import in_order
from mechtui.session.document import ModelShape
from mechtui.session.hook_edits import HookEdit, HookEdits, Ids

# A head by its layer and number, or with None the layer's MLP.
Component = tuple[int, int | None]
ALONE = "no other case's prompt is as long, so that it has no mean"


class CircuitRuns:
    """Runs over the cases in which some components are ablated.

    every: the components that there are: all heads, and with `mlps` all MLPs, which else run as they are. kept: the
    circuit. problems: of each case why it has no number; empty where it has one.
    """

    def __init__(
        self, cases: CaseRuns, kept: Kept, shape: ModelShape, circuit: Sequence[Component], mlps: bool
    ) -> None:
        """Raises SessionError."""
        layers = range(shape.n_layers)
        if mlps and not shape.d_mlp:
            raise SessionError(f"{kept.runner.model.ready.name} has no MLPs to ablate: leave the word mlps out")
        self.every: frozenset[Component] = frozenset((layer, head) for layer in layers for head in range(shape.n_heads))
        if mlps:
            self.every |= {(layer, None) for layer in layers}
        for layer, head in circuit:
            if (layer, head) not in self.every:
                there = f"its layers are 0 to {shape.n_layers - 1}, its heads 0 to {shape.n_heads - 1}"
                name = f"L{layer}.mlp" if head is None else f"L{layer}H{head}"
                raise SessionError(f"{kept.runner.model.ready.name} has no {name} to keep: {there}")
        self.kept = tuple(dict.fromkeys(circuit))
        self.cases = cases
        self._mlps, self._store = mlps, kept
        self._lengths: dict[int, list[OpenCase]] = {}
        for case in cases.opened:
            if not case.problems[CLEAN]:
                self._lengths.setdefault(len(case.ids), []).append(case)
        lonely = {length for length, found in self._lengths.items() if len({case.ids for case in found}) < 2}
        self.problems = tuple(
            case.problems[CLEAN] or (ALONE if len(case.ids) in lonely else "") for case in cases.opened
        )
        for length in lonely:
            del self._lengths[length]
        self._marks = {length: _mark(found) for length, found in self._lengths.items()}

    def without(self, ablated: frozenset[Component]) -> np.ndarray:
        """[case] logit differences with these components ablated; NaN where they are not known (yet)."""
        values = [
            np.nan if problem else self._store.known.get(self._key(case, ablated), np.nan)
            for case, problem in zip(self.cases.opened, self.problems, strict=True)
        ]
        found = np.array(values)
        found[np.isinf(found)] = np.nan
        return found

    def fill(self, wanted: Sequence[frozenset[Component]]) -> Iterator[tuple[int, int]]:
        """Run what is missing of these sets of ablated components, in their order -> after each batch (how many runs
        are known, of so many). Raises Cancelled."""
        keys = list(
            dict.fromkeys(
                self._key(case, ablated)
                for ablated in wanted
                for length in sorted(self._lengths)
                for case in self._lengths[length]
            )
        )
        missing = [key for key in keys if key not in self._store.known]
        if not missing:
            return
        for length in {len(key[0]) for key in missing}:
            self._means(length)
        edits = {edit for key in missing for edit in key[1]}
        given = {edit: self._value(edit) for edit in edits}
        yield from self._store.run(keys, self.cases.cancelled, given)

    def _key(self, case: OpenCase, ablated: frozenset[Component]) -> Key:
        return (case.ids, self._edits(len(case.ids), ablated), *case.targets)

    def _edits(self, length: int, ablated: frozenset[Component]) -> HookEdits:
        """seed: tells these means from others."""
        layers: dict[int, list[int]] = {}
        found = []
        places = tuple((position, position) for position in range(length))
        mark = self._marks[length]
        for layer, head in ablated:
            if head is None:
                found.append(HookEdit("patch", f"blocks.{layer}.hook_mlp_out", layer, None, places, seed=mark))
            else:
                layers.setdefault(layer, []).append(head)
        for layer, heads in layers.items():
            hook = f"blocks.{layer}.attn.hook_z"
            found.append(HookEdit("patch", hook, layer, tuple(sorted(heads)), places, seed=mark))
        return in_order(found)

    def _means(self, length: int) -> None:
        """Have the means of the prompts of this length."""
        mark = (self._marks[length], self._mlps)
        if mark in self._store.means:
            return
        layers = {layer for layer, _ in self.every}
        hooks = [f"blocks.{layer}.attn.hook_z" for layer in layers]
        hooks += [f"blocks.{layer}.hook_mlp_out" for layer in layers if self._mlps]
        texts: list[Ids] = list(dict.fromkeys(case.ids for case in self._lengths[length]))
        # Of the latest cases only: all of their lengths.
        marks = {(each, self._mlps) for each in self._marks.values()}
        self._store.means = {each: means for each, means in self._store.means.items() if each in marks}
        self._store.means[mark] = means_of(self._store.runner, texts, hooks, self.cases.cancelled)

    def _value(self, edit: HookEdit) -> Tensor:
        """[place, head, width]."""
        mean = self._store.means[edit.seed, self._mlps][edit.hook].to(self._store.runner.model.dtype)
        return mean[:, None] if edit.index is None else mean[:, list(edit.index)]


def _mark(cases: Sequence[OpenCase]) -> int:
    """A number that is another for other prompts."""
    told = repr(sorted({case.ids for case in cases})).encode()
    return int.from_bytes(hashlib.sha256(told).digest()[:6])
