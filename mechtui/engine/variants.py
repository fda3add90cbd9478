"""Many variants of one run at once: each leaves the run at a layer and at a position, and before both they are one."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import NamedTuple

import torch
from torch import Tensor

from mechtui.engine import reading
from mechtui.engine.apply import Rows, rows_of
from mechtui.engine.forward.cache import Cache, KeysValues, before
from mechtui.engine.forward.taps import Taps
from mechtui.engine.memory import ran_out
from mechtui.engine.overlap import common, in_order, same_layers, same_positions
from mechtui.engine.runner import Runner
from mechtui.engine.trace import Trace
from mechtui.session.hook_edits import HookEdit, HookEdits

# Tokens that one batch holds; larger batches leave a CPU's cache and gain nothing.
BATCH_TOKENS = 1024
# Of a large model a batch holds fewer, so that it takes a second or two on a CPU and results come one after the other:
# the product of its tokens and of the blocks' weights. Below the least, a block's weights are read for too few tokens.
BATCH_WORK = 1.5e11
LEAST_TOKENS = 64
# Variants whose batch is timed, to say what all of them will take.
SAMPLE = 4


@dataclass(frozen=True)
class Variant:
    """edits: what it does instead of the base's. position, layer: the first at which it is not the base."""

    number: int
    edits: HookEdits
    position: int
    layer: int


class Look(NamedTuple):
    """One number that is read of each variant as it passes a hook. layer: of the hook. read: (what passes there [row,
    ...], the first position that runs) -> [row] float32; None where what is read did not run."""

    hook: str
    layer: int
    read: Callable[[Tensor, int], Tensor | None]


class Part(NamedTuple):
    """Some variants' results. numbers: which; logits [variant, d_vocab]; seconds: about how long the others
    take. looked [variant]: what was looked at, NaN where nothing ran anew there: it is the base's; None without a
    look."""

    numbers: list[int]
    logits: Tensor
    seconds: float
    looked: Tensor | None = None


class Cost(NamedTuple):
    """What many variants take. runs: those that nothing is known of; seconds: about, as batches were timed, None
    where none was; bytes: about, of the largest batch."""

    runs: int
    seconds: float | None
    bytes: int


def parts_of(
    runner: Runner,
    base: Trace,
    variants: Sequence[HookEdits],
    position: int,
    cancelled: Callable[[], bool],
    first: Collection[int] = (),
    look: Look | None = None,
) -> Iterator[Part]:
    """Logits [d_vocab] at `position` of each variant, batch by batch as they come; none twice. first: numbers of those
    that come before the others. On out of memory the batch halves; of one variant alone it is raised. With a look every
    variant runs, from the look's layer at the latest. Raises Cancelled."""
    known, to_run = _sorted(runner, base, variants, position, cancelled, look)
    to_run.sort(key=lambda variant: variant.number not in first)  # each part in the order in which it shares most
    ends = sorted({sum(variant.number in first for variant in to_run), len(to_run)})
    work = [_work(runner, base, variant) for variant in to_run]
    left = sum(work)
    if known:
        pace = runner.paces.get(len(base.ids).bit_length(), 0.0)
        yield Part(list(known), torch.stack(list(known.values())), pace * left)
    largest = batch_tokens(runner)
    at, seconds, did = 0, 0.0, 0
    while at < len(to_run):
        begin = to_run[at].position
        size = max(1, largest // (len(base.ids) - begin))
        end = min(at + size, next(each for each in ends if each > at))
        part = sorted(to_run[at:end], key=lambda variant: variant.layer)
        began = time.perf_counter()
        try:
            logits, looked = _batch(runner, base, part, begin, position, cancelled, look)
        except (RuntimeError, MemoryError) as error:
            if size == 1 or not ran_out(error):
                raise
            largest = max(size // 2, 1) * (len(base.ids) - begin)
            continue
        seconds += time.perf_counter() - began
        now = sum(work[at : at + len(part)])
        did, left, at = did + now, left - now, at + len(part)
        runner.paces[len(base.ids).bit_length()] = seconds / did
        yield Part([variant.number for variant in part], logits, seconds / did * left, looked)


def cost_of(
    runner: Runner,
    base: Trace,
    variants: Sequence[HookEdits],
    position: int,
    cancelled: Callable[[], bool],
    timed: bool = True,
) -> Cost:
    """What `parts_of` would take. timed: where no batch of a text so long was timed, a small one is run."""
    _, to_run = _sorted(runner, base, variants, position, cancelled)
    if not to_run:
        return Cost(0, 0.0, 0)
    length = len(base.ids).bit_length()
    if timed and length not in runner.paces:
        middle = len(to_run) // 2
        begin = to_run[middle].position
        sample = [variant for variant in to_run[middle:] if variant.position >= begin][:SAMPLE]
        sample.sort(key=lambda variant: variant.layer)
        began = time.perf_counter()
        _batch(runner, base, sample, begin, position, cancelled)
        work = sum(_work(runner, base, variant) for variant in sample)
        runner.paces[length] = (time.perf_counter() - began) / max(work, 1)
    pace = runner.paces.get(length)
    seconds = None if pace is None else pace * sum(_work(runner, base, variant) for variant in to_run)
    longest = len(base.ids) - min(variant.position for variant in to_run)
    rows = min(max(1, batch_tokens(runner) // longest), len(to_run))
    return Cost(len(to_run), seconds, rows * _bytes(runner, longest))


def _sorted(
    runner: Runner,
    base: Trace,
    variants: Sequence[HookEdits],
    position: int,
    cancelled: Callable[[], bool],
    look: Look | None = None,
) -> tuple[dict[int, Tensor], list[Variant]]:
    """Logits of the variants that are known or share nothing with the base; the others in the order in which they
    run."""
    readout = runner.forward.readout
    known: dict[int, Tensor] = {}
    to_run: list[Variant] = []
    for number, edits in enumerate(map(in_order, variants)):
        layer = same_layers(base.edits, edits, runner.n_layers)
        if look is not None and layer >= 0:
            to_run.append(Variant(number, edits, _leaves_at(base, edits, position), min(layer, look.layer)))
        elif layer == runner.n_layers:
            known[number] = reading.logits(readout, base, [position])[0]
        elif (edits, position) in base.variants:
            known[number] = base.variants[edits, position]
        elif (trace := runner.store.known(base.ids, edits)) is not None:
            known[number] = reading.logits(readout, trace, [position])[0]
        elif layer < 0:  # the embeddings differ: nothing is shared
            known[number] = reading.logits(readout, runner.run(base.ids, edits, (), cancelled), [position])[0]
        else:
            to_run.append(Variant(number, edits, _leaves_at(base, edits, position), layer))
    to_run.sort(key=lambda variant: (variant.position, variant.layer))
    return known, to_run


def _work(runner: Runner, base: Trace, variant: Variant) -> int:
    """Blocks times positions that it runs."""
    return (runner.n_layers - variant.layer) * (len(base.ids) - variant.position)


def batch_tokens(runner: Runner) -> int:
    """Tokens that one batch of this model holds."""
    shape = runner.model.shape
    weights = shape.n_layers * shape.d_model * (4 * shape.d_model + 3 * shape.d_mlp)
    return max(LEAST_TOKENS, min(BATCH_TOKENS, int(BATCH_WORK / max(weights, 1))))


def _bytes(runner: Runner, length: int) -> int:
    """About what one variant needs while it passes a block and is unembedded: stream, queries, keys, values, heads, two
    patterns, the MLP's three, and logits; twice, as measured, since what is freed is not taken up at once."""
    shape = runner.model.shape
    token = 4 * shape.d_model + 5 * shape.n_heads * shape.d_head + 2 * shape.n_heads * length + 3 * shape.d_mlp
    return 2 * (length * token * runner.model.dtype.itemsize + 2 * 4 * shape.d_vocab)


@torch.inference_mode()
def _batch(
    runner: Runner,
    base: Trace,
    part: Sequence[Variant],
    begin: int,
    position: int,
    cancelled: Callable[[], bool],
    look: Look | None = None,
) -> tuple[Tensor, Tensor | None]:
    batch = _Batch(runner, base, part, begin, cancelled, look)
    return batch.logits(position), batch.looked


def _leaves_at(base: Trace, edits: HookEdits, limit: int) -> int:
    """The first position, at most `limit`, at which the variant is not the base."""
    if base.keys_values is None:
        return 0
    if not base.edits and all(edit.source_ids and not edit.is_pattern for edit in edits):
        # Where the source begins as the prompt does, it has the values that are there already.
        edits = tuple(_without(edit, common(base.ids, edit.source_ids)) for edit in edits)
    return same_positions(base.edits, edits, limit)


def _without(edit: HookEdit, count: int) -> HookEdit:
    """The edit without its first `count` positions, as far as they take from themselves."""
    return replace(edit, places=tuple((p, q) for p, q in edit.places if p != q or p >= count))


class _Batch:
    """Variants in rising order of their layers, run from position `begin` on. Row i of the batch is variant i; it
    joins where it leaves the base, so that the later blocks run once for all."""

    def __init__(
        self,
        runner: Runner,
        base: Trace,
        variants: Sequence[Variant],
        begin: int,
        cancelled: Callable[[], bool],
        look: Look | None = None,
    ) -> None:
        self.runner, self.base, self.variants = runner, base, variants
        self.begin, self.cancelled, self.look = begin, cancelled, look
        self.looked = None if look is None else torch.full((len(variants),), torch.nan)
        self.rows = rows_of(variant.edits for variant in variants)
        every = tuple(edit for edit, _ in self.rows)
        self.givens = runner.givens.of(every, cancelled)
        self.sent = runner.sent(every, cancelled, base, runner.n_layers, begin, len(variants))
        self.before: list[KeysValues] = []
        if begin:
            assert base.keys_values is not None
            self.before = before(base.keys_values, begin)
            _, self.calls, _ = runner.forward.prelude(
                base.ids[begin:], (), {}, (), runner.forward.new_cache(self.before), begin
            )
        else:
            self.calls = runner.forward.calls_for(base.ids)

    def logits(self, position: int) -> Tensor:
        """[row, d_vocab] at `position`."""
        base, begin, n_layers = self.base, self.begin, self.runner.n_layers
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
        return self.runner.forward.logits(residual)[:, 0].float()

    def _join_at_z(self, layer: int) -> bool:
        joining = [variant.edits for variant in self.variants if variant.layer == layer]
        return all(self.runner.begins_at_z(self.base, layer, edits) for edits in joining)

    def _may_end_short(self) -> bool:
        last = self.runner.n_layers - 1
        if self.look is not None and self.look.layer == last:
            return False  # what is looked at there may be another position's
        local = all(edit.is_local for edit, _ in self.rows if edit.layer == last)
        return local and self.runner.may_begin_at_z(self.base, last)

    def _last_block(self, residual: Tensor, at: slice) -> Tensor:
        """What leaves the last block at one position [row, 1, d_model]. residual: of the rows that joined before."""
        last, begin = self.runner.n_layers - 1, self.begin
        joining = len(self.variants) - len(residual)
        new = self.base.resid[last].part(begin).expand(joining, -1, -1)
        z: list[Tensor] = []
        if not self._join_at_z(last):
            residual, new = torch.cat([residual, new]), new[:0]
        if len(residual):
            here, cache = self._here(0, len(residual), range(last, last + 1))
            call = self.calls[last]
            heads = self.runner.forward.heads(
                residual, call, last, cache, here, self.givens, begin, self.sent, self._looks(0, begin)
            )
            z.append(heads[:, at])
        if len(new):
            base_z = self.base.z[last].part(begin + at.start, begin + at.stop)
            z.append(base_z.expand(len(new), *base_z.shape[1:]))
        batch = torch.cat([residual[:, at], new[:, at]])
        return self._through(batch, 0, range(last, last + 1), torch.cat(z), begin + at.start)

    def _here(self, first_row: int, count: int, layers: range) -> tuple[list[tuple[HookEdit, Rows]], Cache | None]:
        """What acts on `count` rows from `first_row` on in these layers, and the keys and values before them."""
        self.sent.first_row = first_row
        here: list[tuple[HookEdit, Rows]] = [
            (edit, own)
            for edit, which in self.rows
            if edit.layer in layers and (own := [row - first_row for row in which if 0 <= row - first_row < count])
        ]
        if not self.before:
            return here, None
        pairs = [(k.expand(count, -1, -1, -1), v.expand(count, -1, -1, -1)) for k, v in self.before]
        return here, self.runner.forward.new_cache(
            [pair if layer in layers else None for layer, pair in enumerate(pairs)]
        )

    def _through(
        self, batch: Tensor, first_row: int, layers: range, z: Tensor | None = None, offset: int | None = None
    ) -> Tensor:
        """Rows `first_row` and on of the whole batch through these layers. offset: the first position of `batch`,
        where it is not where the run begins."""
        here, cache = self._here(first_row, len(batch), layers)
        begin = self.begin if offset is None else offset
        passed = self.runner.forward.through(
            batch,
            self.calls,
            layers,
            cache,
            here,
            self.givens,
            (),
            begin,
            self.cancelled,
            z,
            self._looks(first_row, begin),
            self.sent,
            last_alone=True,
        )
        return passed.stream[-1]

    def _looks(self, first_row: int, begin: int) -> Taps:
        """What is shown the rows from `first_row` on. begin: the first position that they run."""
        look, looked = self.look, self.looked
        if look is None or looked is None:
            return {}

        def note(value: Tensor) -> None:
            found = look.read(value, begin)
            if found is not None:
                looked[first_row : first_row + len(value)] = found.float().cpu()

        return {look.hook: [note]}
