"""Paths from a sender's write to what one receiver reads of the residual stream.

Between both nothing is another: the receiver alone reads the stream with that write taken away or replaced, then takes
its norm of what is left. q, k and v are linear behind their norm, so that they change by the difference of both norms
times their weights, whichever way the block runs; before an MLP the stream itself is changed.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from mechtui.engine import weights
from mechtui.engine.apply import VALUES, Givens, Part, Rows
from mechtui.engine.dictionaries.acting import of_places
from mechtui.engine.readout import Norm
from mechtui.session.hook_edits import HookEdit, Sender

# Tables of weights that are kept: [d_model, d_head] each.
MOST_TABLES = 256


class Weights:
    """Of one model, what heads read and write by."""

    def __init__(self, bridge: Any) -> None:
        self._bridge = bridge
        self._norms: dict[int, Norm] = {}
        self._tables: dict[tuple[str, int, int], Tensor] = {}

    def norm(self, layer: int) -> Norm:
        """The one before the layer's attention. Raises ValueError for one of an unknown kind, AttributeError where
        there is none."""
        if layer not in self._norms:
            block = self._bridge.blocks[layer]
            like = weights.W_U(self._bridge)[:, 0]
            self._norms[layer] = Norm(block.ln1, like.to(next(block.parameters()).device))
        return self._norms[layer]

    def reads(self, layer: int, part: str, index: int) -> Tensor:
        """[d_model, d_head]: W_Q of a head, W_K or W_V of a key-value group. Raises ValueError where the bridge does
        not have it so."""
        return self._table(f"W_{part.upper()}", layer, index, 1)

    def writes(self, layer: int, head: int) -> Tensor:
        """[d_head, d_model]: W_O of a head. Raises ValueError."""
        return self._table("W_O", layer, head, 2)

    def written(self, sender: Sender, head: int | None, gave: Tensor) -> Tensor:
        """[..., d_model] float32: what the sender writes to the stream, or one of its heads. gave [..., d_model] or
        [..., head, d_head]: what passed its hook."""
        return gave.float() if head is None else gave[..., head, :].float() @ self.writes(sender.layer, head)

    def _table(self, name: str, layer: int, index: int, wide: int) -> Tensor:
        key = (name, layer, index)
        if key not in self._tables:
            whole: Tensor | None = getattr(self._bridge.blocks[layer].attn, name, None)
            if whole is None or whole.dim() != 3 or whole.shape[wide] != self._bridge.cfg.d_model:
                raise ValueError(name)
            if len(self._tables) == MOST_TABLES:
                del self._tables[next(iter(self._tables))]
            self._tables[key] = whole[index].detach().float().clone()
        return self._tables[key]


class Sent:
    """What the senders of a run's paths gave, or of a batch's, and what dictionaries of features read: by hook
    [row, pos, ...], positions from `begin` on.

    hooks: those that are noted. before: of senders whose blocks do not run, or not for all rows, what they gave in the
    run that is resumed [pos, ...], all positions.
    """

    def __init__(
        self,
        weights: Weights,
        hooks: Iterable[str] = (),
        before: Mapping[str, Tensor] | None = None,
        begin: int = 0,
        rows: int = 1,
    ) -> None:
        self.weights, self.begin = weights, begin
        self.hooks = tuple(dict.fromkeys(hooks))
        self.first_row = 0  # of those that run now
        self._given = {
            hook: value[None, begin:].expand(rows, *value[begin:].shape).clone()
            for hook, value in (before or {}).items()
        }

    def note(self, hook: str, offset: int, value: Tensor) -> None:
        """value: what passes the hook [row, pos, ...] in the rows that run now, from position `offset` on."""
        known = self._given.get(hook)
        begin = offset - self.begin
        if known is None or known.shape[:2] == value.shape[:2]:
            self._given[hook] = value.clone()
            return
        known[self.first_row : self.first_row + len(value), begin : begin + value.shape[1]] = value

    def at(self, hook: str, rows: Sequence[int], positions: Sequence[int]) -> Tensor:
        """[row, place, ...], of rows that run now, at positions of the text."""
        given = self._given[hook]
        which = torch.tensor([self.first_row + row for row in rows], device=given.device)
        where = torch.tensor([position - self.begin for position in positions], device=given.device)
        return given[which[:, None], where[None, :]]


class Receiver:
    """What one part of a block reads, changed by the paths that end in it. edits: theirs, with their rows."""

    def __init__(self, edits: Sequence[tuple[HookEdit, Rows]], givens: Givens, offset: int, sent: Sent) -> None:
        # A whole layer's write before those of its heads: a path that two lines name is one path.
        self._edits = sorted(edits, key=lambda each: each[0].sender is not None and each[0].sender.heads is not None)
        self._givens, self._offset, self._sent = givens, offset, sent
        self._entered: Tensor | None = None

    def note(self, residual: Tensor) -> None:
        """residual [row, pos, d_model]: what enters the block."""
        self._entered = residual

    def reads(self, residual: Tensor) -> Tensor:
        """What an MLP reads instead of the stream [row, pos, d_model]."""
        at = self._positions(residual.shape[1])
        new = residual.clone()
        new[:, at] += self.added(residual, at).to(residual.dtype)
        return new

    def projects(self, value: Tensor) -> Tensor:
        """value [row, pos, head, d_head]: queries, keys or values -> what they are of what is read instead."""
        assert self._entered is not None
        at, new = self._positions(value.shape[1]), value.clone()
        if not at:
            return new
        first = self._edits[0][0]
        layer, part = first.layer, first.hook.removesuffix("_input")[-1]
        norm, table = self._sent.weights.norm(layer), self._sent.weights
        residual = self._entered[:, at].float()
        was = norm.of(residual)
        moved: dict[tuple[int, ...], Tensor] = {}
        for head in sorted({head for edit, _ in self._edits for head in edit.index or ()}):
            own = tuple(number for number, (edit, _) in enumerate(self._edits) if head in (edit.index or ()))
            if own not in moved:
                change = self.added(self._entered, at, [self._edits[number] for number in own])
                moved[own] = norm.of(residual + change) - was
            new[:, at, head] += (moved[own] @ table.reads(layer, part, head)).to(value.dtype)
        return new

    def _positions(self, count: int) -> list[int]:
        """Those at which a path ends, of the `count` that run, from 0."""
        places = {place - self._offset for edit, _ in self._edits for place in edit.positions}
        return sorted(place for place in places if 0 <= place < count)

    def added(
        self, residual: Tensor, at: Sequence[int], edits: Sequence[tuple[HookEdit, Rows]] | None = None
    ) -> Tensor:
        """[row, place, d_model] float32: what is added to the stream that is read, at the positions `at`. edits: some
        of its own."""
        total = residual.new_zeros(len(residual), len(at), residual.shape[-1], dtype=torch.float32)
        column = {position: number for number, position in enumerate(at)}
        done: dict[tuple[str, int | None], Tensor] = {}
        for edit, rows in self._edits if edits is None else edits:
            sender = edit.sender
            assert sender is not None
            here = [number for number, (place, _) in enumerate(edit.places) if place - self._offset in column]
            if not here:
                continue
            own = list(range(len(residual))) if isinstance(rows, slice) else rows
            places = [edit.places[number] for number in here]
            columns = [column[place - self._offset] for place, _ in places]
            which, where = (torch.tensor(each, device=total.device) for each in (own, columns))
            gave = self._sent.at(sender.hook, own, [place for place, _ in places])
            given = of_places(self._givens.get(edit))
            free = total.new_ones(len(own), len(here), dtype=torch.bool)
            if sender.heads is not None and (whole := done.get((_whole(sender.hook), None))) is not None:
                free = ~whole[which[:, None], where[None, :]]
            for number, head in enumerate(sender.heads if sender.heads is not None else (None,)):
                write = self._sent.weights.written(sender, head, gave).to(total.device)
                taken = None if given is None else given[here, number].to(total.device)
                new = VALUES[edit.op](Part(edit, write, write, where, places, taken, None))
                mask = done.setdefault((sender.hook, head), total.new_zeros(total.shape[:2], dtype=torch.bool))
                change = torch.where((free & ~mask[which[:, None], where[None, :]])[..., None], new - write, 0)
                total[which[:, None], where[None, :]] += change
                mask[which[:, None], where[None, :]] = True
        return total


def _whole(hook: str) -> str:
    """Where all that attention writes passes. hook: where its heads' outputs do."""
    return hook.replace("attn.hook_z", "hook_attn_out")
