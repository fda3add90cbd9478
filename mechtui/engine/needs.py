"""What a view needs of a run, as small as it can be said.

The whole attention of a long prompt is hundreds of megabytes, so a need also says what is kept: all of an
activation, its norms, one position of it, or one query's row.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import torch
from torch import Tensor

from mechtui.session.sites import TABLES


@dataclass(frozen=True)
class Need:
    """hook: TransformerLens's name. take: "all" of it, "norm" (L2 over the last axis), "at" one position,
    "head" one head (`position` is its number then).

    Shapes, with no batch axis: [pos, ...] for most hooks; patterns and scores are [head, query, key], of which
    "at" takes [head, key] of the query at `position` and "head" [query, key].
    """

    hook: str
    take: Literal["all", "norm", "at", "head"] = "all"
    position: int = -1

    @property
    def is_pattern(self) -> bool:
        return self.hook.endswith(TABLES)

    @cached_property
    def layer(self) -> int:
        """The block it lies in; -1 for embeddings."""
        return int(self.hook.split(".")[1]) if self.hook.startswith("blocks.") else -1

    def reduce(self, activation: Tensor, offset: int) -> Tensor | None:
        """The part of `activation` [pos, ...] or [head, query, key] that is wanted, when its positions begin
        at `offset`; None when the wanted position lies before."""
        if self.take == "norm":
            norms: Tensor = torch.linalg.vector_norm(activation.float(), dim=-1)
            return norms
        if self.take == "at":
            if self.position < offset:
                return None
            if self.is_pattern:
                return activation[:, self.position - offset].clone()
            return activation[self.position - offset].clone()
        if self.take == "head":
            return activation[self.position].clone() if self.is_pattern else activation[:, self.position].clone()
        return activation

    def join(self, before: Tensor, after: Tensor | None, offset: int, total: int) -> Tensor:
        """The need of a whole run from those of its first `offset` positions (of a longer or equal run) and
        of the rest."""
        if self.take == "at":
            if after is not None:
                return after
            return _widen(before, offset, total, self.hook) if self.is_pattern else before
        assert after is not None
        if self.is_pattern and self.take == "all":
            return torch.cat([_widen(before[:, :offset], offset, total, self.hook), after], dim=1)
        if self.is_pattern and self.take == "head":
            return torch.cat([_widen(before[:offset], offset, total, self.hook), after])
        axis = 1 if self.is_pattern else 0
        return torch.cat([before[:, :offset] if axis else before[:offset], after], dim=axis)


def _widen(rows: Tensor, offset: int, total: int, hook: str) -> Tensor:
    """Rows of queries before `offset`, with keys up to `total`: later keys are not seen."""
    hidden = 0.0 if hook.endswith("hook_pattern") else torch.finfo(rows.dtype).min
    wide = rows.new_full((*rows.shape[:-1], total), hidden)
    wide[..., :offset] = rows[..., :offset]
    return wide
