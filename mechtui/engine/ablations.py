"""What ablating one part of a run really does: every head and every MLP alone, each in a run of its own, beside what
goes of its own line in the ledger; and, of one part, what all others do about it.

measured = direct + others. direct is what goes of the part's own write, read through the final norm with its scale
held. others is the rest: later parts write something else, and the final norm has another scale. Read once more with
that scale held, the same run says which share is the norm's; all that comes before the final norm is anew in either
reading, the norms before each part among it.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Literal, NamedTuple

import numpy as np
import torch
from torch import Tensor

from mechtui.engine.api import HookEdits, Look, Need, OpenSession, Run, together
from mechtui.engine.ledger import Direction, Ledger, mlp_need, z_need
from mechtui.none import NONE
from mechtui.session.changes import head_site
from mechtui.session.document import ALL, Edit, Positions, Range, Site, Span

# One part in so many runs first, as its direct effect promises most, but at least so many.
FIRST, LEAST_FIRST = 8, 8

How = Literal["zero", "mean"]


class Ablation(NamedTuple):
    """How a part is ablated. at: the position; None for all."""

    op: How
    at: int | None

    def hook_edits(self, opened: OpenSession, site: Site) -> HookEdits:
        """Raises EditError."""
        positions = ALL if self.at is None else Positions((Range(self.at, self.at),))
        return opened.hook_edits_of(Edit(self.op, site, positions), opened.ids, True)


class Table(NamedTuple):
    """[layer, head, and behind the heads the MLP where the model has some], float32. measured, frozen: NaN where there
    was no run yet, infinite where one left no finite number."""

    direct: np.ndarray
    measured: np.ndarray
    frozen: np.ndarray


def needs(ablation: Ablation | None, opened: OpenSession, position: int) -> list[Need]:
    """What is read of a run itself. ablation: None where its parts are not ablated but one of them is elsewhere."""
    shape = opened.shape
    found = [z_need(layer, position) for layer in range(shape.n_layers)]
    if not shape.d_mlp:
        return found
    found += [mlp_need(layer, position) for layer in range(shape.n_layers)]
    if ablation is not None and ablation.op == "mean":
        found += [Need(f"blocks.{layer}.hook_mlp_out") for layer in range(shape.n_layers)]
    return found


class Ablations:
    """All parts of one run. What is measured stays with the run, so that what was interrupted goes on."""

    def __init__(self, run: Run, opened: OpenSession, position: int, direction: Direction, ablation: Ablation) -> None:
        """Raises EditError, SessionError, Cancelled."""
        self.run, self.opened, self.position, self.ablation = run, opened, position, ablation
        self.ledger = Ledger(run, opened, position, direction)
        shape = opened.shape
        self.columns = shape.n_heads + (shape.d_mlp > 0)
        self.cells = [(layer, column) for layer in range(shape.n_layers) for column in range(self.columns)]
        edits = (ablation.hook_edits(opened, self._site(*cell)) for cell in self.cells)
        self.variants = [(*run.edits, *each) for each in edits]
        key = (tuple(self.variants), position, direction.answer, direction.foil)
        self.table = run.remembered(Table, key, self._begin)

    def _site(self, layer: int, column: int) -> Site:
        if column < self.opened.shape.n_heads:
            return head_site(layer, column)
        return _mlp(layer)

    def _begin(self) -> Table:
        layers = range(self.opened.shape.n_layers)
        direct = together([_direct(self.ledger, self.ablation, layer) for layer in layers]).numpy()
        return Table(direct, np.full_like(direct, NONE), np.full_like(direct, NONE))

    @property
    def runs(self) -> int:
        return len(self.cells)

    @property
    def missing(self) -> list[int]:
        """Numbers of the cells that have no value yet."""
        return [number for number, cell in enumerate(self.cells) if math.isnan(self.table.measured[cell])]

    @property
    def done(self) -> int:
        return self.runs - len(self.missing)

    def fill(self) -> Iterator[None]:
        """Measure the missing ones, those first whose own line is largest; after each batch there are more."""
        missing, table, ledger = self.missing, self.table, self.ledger
        sizes = -np.abs([table.direct[self.cells[number]] for number in missing])
        count = max(len(missing) // FIRST, min(len(missing), LEAST_FIRST))
        first = [int(number) for number in np.argsort(sizes, kind="stable")[:count]]
        before = ledger.shown
        parts = self.run.parts([self.variants[number] for number in missing], self.position, first, self._look())
        for part in parts:
            looked = [NONE] * len(part.numbers) if part.looked is None else part.looked.tolist()
            for logits, read, number in zip(part.logits, looked, part.numbers, strict=True):
                cell = self.cells[missing[number]]
                measured = ledger.direction.of(logits) - before
                # Of the linear model nothing is looked at: all its norms' scales are held.
                frozen = measured if part.looked is None else read + ledger.fixed - ledger.total
                finite = math.isfinite(measured) and math.isfinite(frozen)
                table.measured[cell], table.frozen[cell] = (measured, frozen) if finite else (math.inf, math.inf)
            yield

    def _look(self) -> Look:
        """What leaves the last block at the position, read with the final norm's scale of this run."""
        last, position, reads = self.opened.shape.n_layers - 1, self.position, self.ledger.reads

        def read(value: Tensor, begin: int) -> Tensor | None:
            at = position - begin
            if not 0 <= at < value.shape[1]:
                return None
            found: Tensor = value[:, at].float() @ reads.to(value.device)
            return found

        return Look(f"blocks.{last}.hook_resid_post", last, read)


def _mlp(layer: int) -> Site:
    return Site("layer", Span(layer, layer), part="mlp")


@torch.inference_mode()
def _direct(ledger: Ledger, ablation: Ablation, layer: int) -> Tensor:
    """[head, and the MLP]: what goes of their own lines if each of them is ablated."""
    opened, shape, position = ledger.opened, ledger.opened.shape, ledger.position

    def goes(site: Site, need: Need) -> Tensor:
        # Of the linear model an edit changes an activation by as much as in the clean run.
        of = ledger.run.scales
        if ablation.op == "zero":
            return -of.take(need).float()
        [edit] = ablation.hook_edits(opened, site)
        return of.change_by(edit, position)

    through = ledger.head_reads(layer)[0]
    every = Site("head", Span(layer, layer), Span(0, shape.n_heads - 1), "z")
    z = goes(every, z_need(layer, position)).reshape(shape.n_heads, -1)
    found = (z * through.to(z.device)).sum(-1)
    if not shape.d_mlp:
        return found
    return torch.cat([found, ledger.read(goes(_mlp(layer), mlp_need(layer, position)))[None].to(found.device)])


class Changes(NamedTuple):
    """What one ablated part changes of every direct contribution, the final norm's scale held. heads [layer, head];
    mlps [layer], None without MLPs. norm: what that scale then changes. direct: of the part's own line. total: of the
    logit difference, measured: all of them together."""

    heads: np.ndarray
    mlps: np.ndarray | None
    bias: float
    edits: float
    norm: float
    direct: float
    total: float


def changes(
    run: Run, opened: OpenSession, position: int, direction: Direction, ablation: Ablation, site: Site
) -> Changes:
    """Raises EditError, SessionError, Cancelled."""
    shape = opened.shape
    edits = ablation.hook_edits(opened, site)
    ablated = opened.run(opened.ids, (*run.edits, *edits), needs(None, opened, position))
    before = Ledger(run, opened, position, direction)
    after = Ledger(ablated, opened, position, direction, held=before)
    layers = range(shape.n_layers)
    read = [(before.heads(layer), after.heads(layer)) for layer in layers]
    heads = together([new - old for (old, _), (new, _) in read]).numpy()
    bias = float(together([new - old for (_, old), (_, new) in read]).sum())
    mlps = together([after.mlp(layer) - before.mlp(layer) for layer in layers]).numpy() if shape.d_mlp else None
    total, frozen = after.shown - before.shown, after.total - before.total
    rest = frozen - float(heads.sum()) - bias - (0.0 if mlps is None else float(mlps.sum()))
    if not run.edits:
        # The ablation itself is in the part's own line.
        before.check(rest, f"what ablating a part of {opened.ready.name} changes")
    column = site.index.first if site.kind == "head" else shape.n_heads
    direct = float(_direct(before, ablation, site.layers.first)[column])
    return Changes(heads, mlps, bias, rest if run.edits else 0.0, total - frozen, direct, total)
