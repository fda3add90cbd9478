"""Many variants of one run at once: each leaves the run at a layer and at a position, and before both they are one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from mechtui.engine.actions import Action, Actions, common, same_layers, same_positions
from mechtui.engine.apply import Rows
from mechtui.engine.passes import KeysValues, new_cache

if TYPE_CHECKING:
    from transformers.cache_utils import Cache

    from mechtui.engine.engine import Engine, Trace

# Tokens that one batch holds on a CPU; larger batches leave the cache and gain nothing.
BATCH_TOKENS = 1024


@dataclass(frozen=True)
class Variant:
    """actions: what it does instead of the base's. position, layer: the first at which it is not the base."""

    number: int
    actions: Actions
    position: int
    layer: int


def logits_of(
    engine: Engine,
    base: Trace,
    variants: Sequence[Actions],
    position: int,
    cancelled: Callable[[], bool],
    progress: Callable[[float], None],
) -> list[Tensor]:
    """Logits [d_vocab] at `position` of each variant. On out of memory the batch halves. Raises Cancelled."""
    results: dict[int, Tensor] = {}
    to_run: list[Variant] = []
    for number, actions in enumerate(variants):
        layer = same_layers(base.actions, actions, engine.n_layers)
        if layer == engine.n_layers:
            results[number] = engine.logits(base, [position])[0]
        elif (actions, position) in base.variants:
            results[number] = base.variants[actions, position]
        elif (known := engine.known(base.ids, actions)) is not None:
            results[number] = engine.logits(known, [position])[0]
        elif layer < 0:  # the embeddings differ: nothing is shared
            results[number] = engine.logits(engine.run(base.ids, actions, (), cancelled), [position])[0]
        else:
            to_run.append(Variant(number, actions, _leaves_at(base, actions, position), layer))
    to_run.sort(key=lambda variant: (variant.position, variant.layer))
    largest = BATCH_TOKENS
    at = 0
    while at < len(to_run):
        begin = to_run[at].position
        size = max(1, largest // (len(base.ids) - begin))
        part = sorted(to_run[at : at + size], key=lambda variant: variant.layer)
        try:
            logits = _Batch(engine, base, part, begin, cancelled).logits(position)
        except torch.OutOfMemoryError:
            if size == 1:
                raise
            largest //= 2
            continue
        results |= dict(zip((variant.number for variant in part), logits, strict=True))
        at += len(part)
        progress(at / len(to_run))
    return [results[number] for number in range(len(variants))]


def _leaves_at(base: Trace, actions: Actions, limit: int) -> int:
    """The first position, at most `limit`, at which the variant is not the base."""
    if base.kept is None:
        return 0
    if not base.actions and all(action.op == "patch" and not action.is_pattern for action in actions):
        # Where the source begins as the prompt does, it has the values that are there already.
        actions = tuple(_without(action, common(base.ids, action.source_ids)) for action in actions)
    return same_positions(base.actions, actions, limit)


def _without(action: Action, count: int) -> Action:
    """The patch without its first `count` positions, as far as they take from themselves."""
    return replace(action, places=tuple((p, q) for p, q in action.places if p != q or p >= count))


class _Batch:
    """Variants in rising order of their layers, run from position `begin` on. Row i of the batch is variant i; it
    joins where it leaves the base, so that the later blocks run once for all."""

    def __init__(
        self, engine: Engine, base: Trace, variants: Sequence[Variant], begin: int, cancelled: Callable[[], bool]
    ) -> None:
        self.engine, self.base, self.variants = engine, base, variants
        self.begin, self.cancelled = begin, cancelled
        self.rows: dict[Action, list[int]] = {}
        for row, variant in enumerate(variants):
            for action in variant.actions:
                self.rows.setdefault(action, []).append(row)
        self.givens = engine.givens(tuple(self.rows), cancelled)
        self.kept: list[KeysValues] = []
        if begin:
            assert base.kept is not None
            self.kept = [(keys[..., :begin, :], values[..., :begin, :]) for keys, values in base.kept]
            _, self.calls, _ = engine.passes.prelude(base.ids[begin:], (), {}, (), new_cache(self.kept), begin)
        else:
            self.calls = engine.passes.calls_for(base.ids)

    def logits(self, position: int) -> Tensor:
        """[row, d_vocab] at `position`."""
        base, begin, n_layers = self.base, self.begin, self.engine.n_layers
        # Of the last block only what this position needs: every position's keys and values, but one position's output.
        short = self._may_end_short()
        end = n_layers - 1 if short else n_layers
        residual = base.resid[0].whole[:0, begin:]
        joins = sorted({variant.layer for variant in self.variants if variant.layer < end})
        for layer, until in pairwise((*joins, end)):
            joining = sum(variant.layer == layer for variant in self.variants)
            new = base.resid[layer].part(begin).expand(joining, -1, -1)
            if self._join_at_z(layer):
                z = base.z[layer].part(begin)
                own = range(layer, layer + 1)
                new = self._through(new, len(residual), own, z.expand(joining, *z.shape[1:]))
                old = self._through(residual, 0, own) if len(residual) else residual
                left = range(layer + 1, until)
            else:
                old, left = residual, range(layer, until)
            residual = torch.cat([old, new])
            if left:
                residual = self._through(residual, 0, left)
        at = slice(position - begin, position - begin + 1)
        residual = self._last_block(residual, at) if short else residual[:, at]
        return self.engine.passes.logits(residual)[:, 0].float()

    def _join_at_z(self, layer: int) -> bool:
        joining = [variant.actions for variant in self.variants if variant.layer == layer]
        return all(self.engine.begins_at_z(self.base, layer, actions) for actions in joining)

    def _may_end_short(self) -> bool:
        last = self.engine.n_layers - 1
        local = all(action.is_local for action in self.rows if action.layer == last)
        return local and self.engine.may_begin_at_z(self.base, last)

    def _last_block(self, residual: Tensor, at: slice) -> Tensor:
        """What leaves the last block at one position [row, 1, d_model]. residual: of the rows that joined before."""
        last, begin = self.engine.n_layers - 1, self.begin
        joining = len(self.variants) - len(residual)
        new = self.base.resid[last].part(begin).expand(joining, -1, -1)
        z: list[Tensor] = []
        if not self._join_at_z(last):
            residual, new = torch.cat([residual, new]), new[:0]
        if len(residual):
            here, cache = self._here(0, len(residual), range(last, last + 1))
            call = self.calls[last]
            z.append(self.engine.passes.heads(residual, call, last, cache, here, self.givens, begin)[:, at])
        if len(new):
            base_z = self.base.z[last].part(begin + at.start, begin + at.stop)
            z.append(base_z.expand(len(new), *base_z.shape[1:]))
        batch = torch.cat([residual[:, at], new[:, at]])
        return self._through(batch, 0, range(last, last + 1), torch.cat(z), begin + at.start)

    def _here(self, first_row: int, count: int, layers: range) -> tuple[list[tuple[Action, Rows]], Cache | None]:
        """What acts on `count` rows from `first_row` on in these layers, and the keys and values before them."""
        here: list[tuple[Action, Rows]] = [
            (action, own)
            for action, which in self.rows.items()
            if action.layer in layers and (own := [row - first_row for row in which if 0 <= row - first_row < count])
        ]
        if not self.kept:
            return here, None
        pairs = [(k.expand(count, -1, -1, -1), v.expand(count, -1, -1, -1)) for k, v in self.kept]
        return here, new_cache([pair if layer in layers else None for layer, pair in enumerate(pairs)])

    def _through(
        self, batch: Tensor, first_row: int, layers: range, z: Tensor | None = None, offset: int | None = None
    ) -> Tensor:
        """Rows `first_row` and on of the whole batch through these layers. offset: the first position of `batch`,
        where it is not where the run begins."""
        here, cache = self._here(first_row, len(batch), layers)
        begin = self.begin if offset is None else offset
        passed = self.engine.passes.through(
            batch, self.calls, layers, cache, here, self.givens, (), begin, self.cancelled, z
        )
        return passed.stream[-1]
