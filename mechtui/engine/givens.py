"""What edits take from elsewhere: from the source's run, from the references' runs, a steering vector, a dictionary."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor

from mechtui.engine.dictionaries import Dictionaries
from mechtui.engine.dictionaries.acting import Acting, Given
from mechtui.engine.forward.paths import Weights
from mechtui.engine.needs import Need
from mechtui.engine.vectors import Vectors
from mechtui.session.hook_edits import HookEdit, HookEdits, Ids

# (ids, need, cancelled) -> what a need names of the clean run of these tokens. Raises Cancelled.
Read = Callable[[Ids, Need, Callable[[], bool]], Tensor]


class Givens:
    """read: what takes an activation from a clean run. weights: what heads write by."""

    def __init__(self, vectors: Vectors, dictionaries: Dictionaries, read: Read, weights: Weights) -> None:
        self.vectors, self.dictionaries = vectors, dictionaries
        self._read = read
        self._weights = weights

    def of(self, edits: HookEdits, cancelled: Callable[[], bool]) -> dict[HookEdit, Given]:
        """[place, head, width] for values from another run, of a path's sender its writes [place, head, d_model];
        [d_model] for vectors; a dictionary for features; of the edits that take any."""
        return {edit: given for edit in edits if (given := self._of(edit, cancelled)) is not None}

    def _of(self, edit: HookEdit, cancelled: Callable[[], bool]) -> Given | None:
        if edit.features is not None:
            acting = Acting(self.dictionaries.value(edit.features.of.sae), edit.features)
            return replace(acting, values=self._values(edit, acting, cancelled))
        if edit.vector is not None:
            return self.vectors.value(edit.vector, cancelled)
        need = Need(edit.hook if edit.sender is None else edit.sender.hook)
        if edit.references:
            every = torch.cat([_heads(self._read(ids, need, cancelled), edit) for ids in edit.references])
            return every.mean(0, keepdim=True).expand(len(edit.places), -1, -1)
        if not edit.source_ids:
            return None
        value = self._read(edit.source_ids, need, cancelled)
        at = [int(q) for _, q in edit.places]  # type: ignore[arg-type]
        if (sender := edit.sender) is not None:
            heads = (None,) if sender.heads is None else sender.heads
            return torch.stack([self._weights.written(sender, head, value[at]) for head in heads], dim=1)
        if not edit.is_pattern:
            return _heads(value, edit)[at]
        assert edit.index is not None
        keys = torch.tensor([max(0, key) for key in edit.keys], device=value.device)
        return value[list(edit.index)][:, at][:, :, keys].transpose(0, 1)

    def _values(self, edit: HookEdit, acting: Acting, cancelled: Callable[[], bool]) -> Tensor | None:
        """[place, feature]: activations in another run."""
        need = Need(edit.reads)
        if edit.references:
            every = torch.cat([acting.acts(self._read(ids, need, cancelled)) for ids in edit.references])
            return every.mean(0).expand(len(edit.places), -1)
        if not edit.source_ids:
            return None
        value = self._read(edit.source_ids, need, cancelled)
        return acting.acts(value[[int(q) for _, q in edit.places]])  # type: ignore[arg-type]


def _heads(value: Tensor, edit: HookEdit) -> Tensor:
    """[pos, ...] -> [pos, head, width] of the edit's heads, neurons (width 1) or whole width (one head)."""
    if edit.index is None:
        return value[:, None]
    if value.dim() == 2:
        return value[:, list(edit.index), None]
    return value[:, list(edit.index)]
