"""Runs one model: from the nearest trace, only what changed."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from copy import copy
from dataclasses import dataclass

import torch
from torch import Tensor

from mechtui.allocator import hand_back
from mechtui.engine.apply import EVERY_ROW, Rows, rows_of
from mechtui.engine.dictionaries import Dictionaries
from mechtui.engine.dictionaries.acting import Given
from mechtui.engine.forward.cache import KeysValues, before, keys_values
from mechtui.engine.forward.calls import Call
from mechtui.engine.forward.forward import Forward
from mechtui.engine.forward.from_z import is_late
from mechtui.engine.forward.paths import Sent
from mechtui.engine.givens import Givens
from mechtui.engine.memory import budget
from mechtui.engine.model import Model
from mechtui.engine.needs import Need
from mechtui.engine.overlap import common, in_order
from mechtui.engine.pieces import Pieces
from mechtui.engine.resume import Start, leaves_behind_z, plan
from mechtui.engine.trace import Trace
from mechtui.engine.trace_store import MOST_TRACES, TraceStore
from mechtui.engine.vectors import Vectors
from mechtui.session.hook_edits import HookEdit, HookEdits, Ids

# A text's tokens, and what acts on its run.
Text = tuple[Ids, HookEdits]
NOTHING: Mapping[HookEdit, Given] = {}
# Bytes that a generation may have left behind before they are handed back.
MOST_LEFT = 64 * 1024**2
# Texts in one pass: more are no quicker. And their tokens, from which on the weights are no longer what takes time.
MOST_TOGETHER, TOKENS_TOGETHER = 8, 1024


def never() -> bool:
    """Nothing newer is ever wanted."""
    return False


@dataclass(frozen=True, eq=False)
class Batch:
    """Texts of one length before block 0: row i is text i. residual: what enters block 0 [text, pos, d_model]; calls:
    the blocks' arguments. rows: all edits, each with the rows on which it acts; givens: what they take; sent: what the
    senders of paths gave so far."""

    residual: Tensor
    calls: list[Call]
    rows: list[tuple[HookEdit, list[int]]]
    givens: Mapping[HookEdit, Given]
    sent: Sent

    def here(self, layers: range) -> list[tuple[HookEdit, Rows]]:
        """What acts in these layers, and on which rows."""
        return [(edit, rows) for edit, rows in self.rows if edit.layer in layers]


class Runner:
    """Runs one model and keeps traces of it. Not for several threads."""

    def __init__(self, model: Model) -> None:
        self.model = model
        self.n_layers = model.shape.n_layers
        self.forward = Forward(model.bridge, model.device, model.ready.weights == "folded")
        self.store = TraceStore(budget(model.device))
        self.dictionaries = Dictionaries(model, self.forward.readout)
        self.vectors = Vectors(model, self.forward, self.dictionaries)
        self.givens = Givens(self.vectors, self.dictionaries, self.read, self.forward.weights)
        self._left = 0
        self.paces: dict[int, float] = {}  # seconds for one position in one block of a batch, by the length's bits

    def aside(self) -> Runner:
        """One for the same model whose traces take no place of this one's. Steering vectors are shared."""
        other = copy(self)
        other.store = TraceStore(self.store.budget // 4)
        other.givens = Givens(self.vectors, self.dictionaries, other.read, self.forward.weights)
        return other

    @torch.inference_mode()
    def run(
        self,
        ids: Ids,
        edits: HookEdits = (),
        needs: Sequence[Need] = (),
        cancelled: Callable[[], bool] = never,
        after: Trace | None = None,
        keep: bool = True,
    ) -> Trace:
        """The run of these tokens with these edits; at most what differs from an earlier one is computed.

        needs: what is kept of it as it passes. after: a trace outside the store to resume from (a generation's last
        step); then the new one is not stored either. keep: whether it is stored otherwise. Raises Cancelled.
        """
        edits = in_order(edits)
        known = self.store.known(ids, edits)
        if known is not None:
            self.store.touch(known)
            known.start = (self.n_layers, len(ids))
            self.take_all(known, needs, cancelled)
            return known
        traces = [*self.store, after] if after else [*self.store]
        start = plan(ids, edits, needs, traces, self.n_layers, self.may_begin_at_z)
        givens = self.givens.of(edits, cancelled)
        if start.layer >= 0:
            trace = self._resume_layer(start, edits, givens, needs, cancelled)
        else:
            trace = self._resume_position(start, ids, edits, givens, needs, cancelled)
        if after is None and keep:
            self.store.keep(trace)
        if after is not None:
            # Every step of a generation lays out all keys and values anew, and leaves holes that fit no later one.
            self._left += self._bytes(len(ids))
            if self._left > MOST_LEFT:
                self._left = 0
                hand_back()
        self.take_all(trace, needs, cancelled)
        return trace

    def run_ahead(self, ids: Ids, like: Trace, cancelled: Callable[[], bool]) -> None:
        """Run what may be asked for next, unless an earlier run had to be let go of for it. like: a run that holds as
        much for each token. Raises Cancelled."""
        size = sum(tensor.nbytes for tensor in like.tensors()) * len(ids) // len(like.ids)
        if self.store.known(ids, ()) is None and self.store.has_room_for(size):
            self.run(ids, (), (), cancelled)

    @torch.inference_mode()
    def run_together(self, texts: Sequence[Ids], cancelled: Callable[[], bool] = never) -> None:
        """Make the clean runs of these texts in advance, where that is quicker than one by one: those of one length in
        one pass through the weights. Nothing is padded, so that no text knows of another. Raises Cancelled."""
        new = [ids for ids in dict.fromkeys(texts) if self.store.known(ids, ()) is None][: MOST_TRACES // 2]
        known = [trace.ids for trace in self.store if trace.keys_values is not None]
        # One that begins as another does goes on from there, and runs its last tokens only.
        new = [ids for at, ids in enumerate(new) if 2 * self._shared(ids, (*known, *new[:at])) < len(ids)]
        if sum(self._bytes(len(ids)) for ids in new) > self.store.budget // 2:
            return
        for count in sorted({len(ids) for ids in new}):
            same = [ids for ids in new if len(ids) == count]
            size = max(min(MOST_TOGETHER, TOKENS_TOGETHER // count), 1)
            for begin in range(0, len(same), size):
                if len(batch := same[begin : begin + size]) > 1:
                    for trace in self.traces([(ids, ()) for ids in batch], cancelled):
                        self.store.keep(trace)

    def _shared(self, ids: Ids, others: Sequence[Ids]) -> int:
        """How many first tokens it has in common with one of these, as far as a run can begin there."""
        return max((common(ids, each) for each in others), default=0) if self.forward.caches else 0

    def _bytes(self, count: int) -> int:
        """Memory that the trace of so many tokens holds."""
        shape = self.model.shape
        width = (shape.n_layers + 1) * shape.d_model
        width += shape.n_layers * shape.d_head * (shape.n_heads + 2 * shape.n_kv_heads)
        return count * width * self.model.dtype.itemsize

    def batch(
        self, texts: Sequence[Text], cancelled: Callable[[], bool], given: Mapping[HookEdit, Given] = NOTHING
    ) -> Batch:
        """Texts of one length before block 0, each with its own edits. given: what some of them take, where they do not
        say themselves from which run. Raises Cancelled."""
        rows = rows_of(in_order(edits) for _, edits in texts)
        every = tuple(edit for edit, _ in rows)
        givens = {**given, **self.givens.of(every, cancelled)}
        sent = self.sent(every, cancelled)
        ids = [ids for ids, _ in texts]
        before = [(edit, which) for edit, which in rows if edit.layer < 0]
        residual = self.forward.embedded(ids, before, givens, sent)
        return Batch(residual, self.forward.calls_for(ids[0]), rows, givens, sent)

    def traces(self, texts: Sequence[Text], cancelled: Callable[[], bool]) -> Iterator[Trace]:
        """The runs of texts of one length, all in one pass. Nothing keeps them yet. Raises Cancelled."""
        batch = self.batch(texts, cancelled)
        cache, every = self.forward.empty_cache(), range(self.n_layers)
        passed = self.forward.through(
            batch.residual,
            batch.calls,
            every,
            cache,
            batch.here(every),
            batch.givens,
            (),
            0,
            cancelled,
            sent=batch.sent,
        )
        pairs = None if cache is None else keys_values(cache)
        for row, (ids, edits) in enumerate(texts):
            # Copies: a view would hold the whole batch as long as one of its rows is kept.
            own = slice(row, row + 1)
            resid, z = ([Pieces(each[own].clone()) for each in of] for of in (passed.stream, passed.z))
            known = None if pairs is None else [(keys[own].clone(), values[own].clone()) for keys, values in pairs]
            yield Trace(ids, edits, resid, z, known)

    def take(self, trace: Trace, need: Need, cancelled: Callable[[], bool] = never) -> Tensor:
        """What a need asks of a run; its block runs once more when that was not kept."""
        if need not in trace.taken:
            self.take_all(trace, [need], cancelled)
        return trace.taken[need]

    def read(self, ids: Ids, need: Need, cancelled: Callable[[], bool] = never) -> Tensor:
        """What a need asks of the clean run of these tokens."""
        return self.take(self.run(ids, (), [need], cancelled), need)

    def begins_at_z(self, base: Trace, layer: int, edits: HookEdits) -> bool:
        """Whether a run that leaves the base in this block may begin at its z."""
        return leaves_behind_z(base, layer, edits) and self.may_begin_at_z(base, layer)

    def may_begin_at_z(self, base: Trace, layer: int) -> bool:
        """Whether this block of a run that leaves the base there can begin at z at all."""
        return bool(base.z) and self.forward.blocks.begins_at_z(
            layer, lambda: (base.resid[0].whole, self.forward.calls_for(base.ids))
        )

    def sent(
        self,
        edits: Sequence[HookEdit],
        cancelled: Callable[[], bool],
        base: Trace | None = None,
        layer: int = -1,
        begin: int = 0,
        rows: int = 1,
    ) -> Sent:
        """What the senders of these edits' paths gave, and what dictionaries read that write elsewhere. base: the run
        that is resumed in a layer, below which all is the same. begin: the first position that runs. rows: of the
        batch."""
        senders = {edit.sender.hook: edit.sender.layer for edit in edits if edit.sender is not None}
        senders |= {edit.reads: Need(edit.reads).layer for edit in edits if edit.reads != edit.hook}
        known = {
            hook: self.take(base, Need(hook), cancelled)
            for hook, at in senders.items()
            if base is not None and at < layer
        }
        return Sent(self.forward.weights, senders, known, begin, rows)

    # From where the plan says

    def _resume_layer(
        self,
        start: Start,
        edits: HookEdits,
        givens: dict[HookEdit, Given],
        needs: Sequence[Need],
        cancelled: Callable[[], bool],
    ) -> Trace:
        """The parent's tokens with other edits: the blocks from start.layer on."""
        parent, layer = start.parent, start.layer
        assert parent is not None
        cache = self.forward.new_cache([None] * self.n_layers) if parent.keys_values is not None else None
        z = parent.z[layer].whole if start.at_z else None
        # Of the block that it begins in, what lies before z is the parent's.
        own = layer if z is None else layer + 1
        passed = self.forward.through(
            parent.resid[layer].whole,
            self.forward.calls_for(parent.ids),
            range(layer, self.n_layers),
            cache,
            [(edit, EVERY_ROW) for edit in edits if edit.layer >= layer],
            givens,
            [need for need in needs if need.layer >= own or (need.layer == layer and is_late(need.hook))],
            0,
            cancelled,
            z,
            sent=self.sent(edits, cancelled, parent, own),
        )
        pairs = None
        if cache is not None and parent.keys_values is not None:
            pairs = parent.keys_values[:own] + keys_values(cache)[own:]
        earlier = {
            need: tensor
            for need, tensor in parent.taken.items()
            if need.layer < layer or (need.layer < own and not is_late(need.hook))
        }
        resid = parent.resid[: layer + 1] + [Pieces(each) for each in passed.stream[1:]]
        heads = parent.z[:own] + [Pieces(each) for each in passed.z[own - layer :]]
        norms = {which: norm for which, norm in parent.norms.items() if which <= layer}
        return Trace(parent.ids, edits, resid, heads, pairs, earlier | passed.taken, norms, start=(layer, 0))

    def _resume_position(
        self,
        start: Start,
        ids: Ids,
        edits: HookEdits,
        givens: dict[HookEdit, Given],
        needs: Sequence[Need],
        cancelled: Callable[[], bool],
    ) -> Trace:
        """The tokens from start.position on, on the parent's keys and values; all of them without a parent."""
        parent, position = (start.parent, start.position) if start.position else (None, 0)
        cache = self.forward.empty_cache()
        if parent is not None:
            assert parent.keys_values is not None
            cache = self.forward.new_cache(before(parent.keys_values, position))
        sent = self.sent(edits, cancelled, begin=position)
        first, calls, taken = self.forward.prelude(
            ids[position:],
            [edit for edit in edits if edit.layer < 0],
            givens,
            [need for need in needs if need.layer < 0],
            cache,
            position,
            sent,
        )
        passed = self.forward.through(
            first,
            calls,
            range(self.n_layers),
            cache,
            [(edit, EVERY_ROW) for edit in edits if edit.layer >= 0],
            givens,
            [need for need in needs if need.layer >= 0],
            position,
            cancelled,
            sent=sent,
        )
        taken |= passed.taken
        pairs: list[KeysValues] | None = keys_values(cache) if cache is not None else None
        if parent is None:
            resid, heads = ([Pieces(each) for each in part] for part in (passed.stream, passed.z))
            return Trace(ids, edits, resid, heads, pairs, taken)
        return Trace(
            ids,
            edits,
            [old.continued(position, new) for old, new in zip(parent.resid, passed.stream, strict=True)],
            [old.continued(position, new) for old, new in zip(parent.z, passed.z, strict=True)],
            pairs,
            _joined(parent.taken, taken, position, len(ids)),
            {which: norm[:position] for which, norm in parent.norms.items()},
            surprise=None if parent.surprise is None else parent.surprise[:position],
            start=(0, position),
        )

    @torch.inference_mode()
    def take_all(self, trace: Trace, needs: Sequence[Need], cancelled: Callable[[], bool]) -> None:
        """Take what is needed of a run and was not kept; each of these blocks runs once more. Raises Cancelled."""
        missing = [need for need in needs if need not in trace.taken]
        if not missing:
            return
        self._take(trace, missing, cancelled)
        self.store.grown(trace, sum(trace.taken[need].nbytes for need in set(missing)))

    def _take(self, trace: Trace, missing: list[Need], cancelled: Callable[[], bool]) -> None:
        for need in missing:
            held = self._held(trace, need)
            if held is not None:
                trace.taken[need] = held
        missing = [need for need in missing if need not in trace.taken]
        if not missing:
            return
        givens = self.givens.of(trace.edits, cancelled)
        outside = [need for need in missing if need.layer < 0]
        if outside:
            edits = [edit for edit in trace.edits if edit.layer < 0]
            cache = self.forward.empty_cache()
            trace.taken |= self.forward.prelude(trace.ids, edits, givens, outside, cache, 0)[2]
        for layer in sorted({need.layer for need in missing if need.layer >= 0}):
            own = tuple(edit for edit in trace.edits if edit.layer == layer)
            trace.taken |= self.forward.through(
                trace.resid[layer].whole,
                self.forward.calls_for(trace.ids),
                range(layer, layer + 1),
                None,
                [(edit, EVERY_ROW) for edit in own],
                givens,
                [need for need in missing if need.layer == layer],
                0,
                cancelled,
                sent=self.sent(own, cancelled, trace, layer),
            ).taken

    def _held(self, trace: Trace, need: Need) -> Tensor | None:
        """What a need asks of the residual that enters a block, or of its heads' outputs, where no edit acts in it: the
        trace has them, and no block runs. None of all else."""
        if need.take != "all" or need.layer < 0 or any(edit.layer == need.layer for edit in trace.edits):
            return None
        if need.hook.endswith(".hook_resid_pre"):
            return trace.resid[need.layer].whole[0]
        if need.hook.endswith(".attn.hook_z") and trace.z:
            z = trace.z[need.layer].whole[0]
            return z.view(len(z), self.model.shape.n_heads, -1)
        return None


def _joined(old: dict[Need, Tensor], new: dict[Need, Tensor], offset: int, total: int) -> dict[Need, Tensor]:
    """What is known of a run from the needs of its first `offset` positions and those of the rest."""
    joined = {}
    for need in old.keys() | new.keys():
        after = new.get(need)
        if need.take == "at" and after is not None:
            joined[need] = after
        elif need in old and (after is not None or (need.take == "at" and need.position < offset)):
            joined[need] = need.join(old[need], after, offset, total)
    return joined
