"""What actions take from elsewhere: from the source's run, from the references' runs, from a steering vector."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from mechtui.engine.actions import Action, Actions
from mechtui.engine.needs import Need
from mechtui.engine.vectors import Read, Vectors


class Givens:
    """read: what takes an activation from a clean run."""

    def __init__(self, vectors: Vectors, read: Read) -> None:
        self.vectors = vectors
        self._read = read

    def of(self, actions: Actions, cancelled: Callable[[], bool]) -> dict[Action, Tensor]:
        """[place, head, width] for values from another run, [d_model] for vectors; of the actions that take any."""
        return {action: given for action in actions if (given := self._of(action, cancelled)) is not None}

    def _of(self, action: Action, cancelled: Callable[[], bool]) -> Tensor | None:
        if action.vector is not None:
            return self.vectors.value(action.vector, cancelled)
        need = Need(action.hook)
        if action.op == "mean" and action.references and not action.is_pattern:
            every = torch.cat([_heads(self._read(ids, need, cancelled), action) for ids in action.references])
            return every.mean(0, keepdim=True).expand(len(action.places), -1, -1)
        if not action.source_ids:
            return None
        value = self._read(action.source_ids, need, cancelled)
        at = [int(q) for _, q in action.places]  # type: ignore[arg-type]
        if not action.is_pattern:
            return _heads(value, action)[at]
        assert action.index is not None
        keys = torch.tensor([max(0, key) for key in action.keys], device=value.device)
        return value[list(action.index)][:, at][:, :, keys].transpose(0, 1)


def _heads(value: Tensor, action: Action) -> Tensor:
    """[pos, ...] -> [pos, head, width] of the action's heads, neurons (width 1) or whole width (one head)."""
    if action.index is None:
        return value[:, None]
    if value.dim() == 2:
        return value[:, list(action.index), None]
    return value[:, list(action.index)]
