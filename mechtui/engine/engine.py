"""The engine: runs, kept as traces so that the next one runs only what changed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import torch
from safetensors.torch import save
from torch import Tensor

from mechtui.engine.actions import (
    Action,
    Actions,
    Ids,
    Steering,
    common,
    in_order,
    same_layers,
    same_positions,
)
from mechtui.engine.apply import EVERY_ROW
from mechtui.engine.batches import logits_of
from mechtui.engine.grown import Grown
from mechtui.engine.inside import is_late
from mechtui.engine.memory import budget
from mechtui.engine.needs import Need
from mechtui.engine.passes import Cancelled, KeysValues, Passes, new_cache
from mechtui.engine.resolve import EditError, steering
from mechtui.engine.vectors import direction, vector_value
from mechtui.session.document import Session
from mechtui.session.lines import format_vector
from mechtui.session.paths import PathError, reason, to_write, write_private
from mechtui.views import Answer, Question
from mechtui.worker.model import Model

if TYPE_CHECKING:
    from mechtui.engine.api import OpenSession

# Traces are compared one by one before a run; more of them than this are never worth the comparison.
MOST_TRACES = 32
# Variants of a run whose logits are kept; a sweep has more and is not asked for twice.
MOST_VARIANTS = 32
# Positions unembedded at once: 64 rows of a 50,000-token vocabulary are 13 MB.
SURPRISE_POSITIONS = 64
# What a block has done, of all that it does, when its heads have given their outputs.
Z_SHARE = 0.4


def never() -> bool:
    return False


def ignore(fraction: float) -> None:
    """Nobody wants to know how much is done."""


@dataclass(eq=False)
class Trace:
    """One run, as far as it is kept.

    resid: n_layers + 1 of [1, pos, d_model]: entering each block, leaving the last (no edit of the block that it
    enters has acted yet). z: what the heads of each block gave, before any edit. norms: those of resid by layer, as
    far as they were asked for and for the first positions.
    kept: keys and values per layer, None where the model cannot be resumed by position. taken: what views needed.
    surprise [n]: of the first n tokens, in nats. last: logits [d_vocab] of the few positions that were asked for
    one by one; best: ids of the largest of them. variants: logits of small variants of this run, by actions and
    position. answers: of some views the last one, behind what decided it. start: (first block that ran, first
    position that ran). finite: whether all numbers that leave the last block are, once that was asked.
    """

    ids: Ids
    actions: Actions
    resid: list[Grown]
    z: list[Grown]
    kept: list[KeysValues] | None
    taken: dict[Need, Tensor] = field(default_factory=dict)
    norms: dict[int, Tensor] = field(default_factory=dict)
    surprise: Tensor | None = None
    last: dict[int, Tensor] = field(default_factory=dict)
    variants: dict[tuple[Actions, int], Tensor] = field(default_factory=dict)
    best: dict[int, list[int]] = field(default_factory=dict)
    answers: dict[type[Question], tuple[object, Answer]] = field(default_factory=dict)
    start: tuple[int, int] = (0, 0)
    finite: bool | None = None

    def tensors(self) -> list[Tensor]:
        pairs = [t for pair in self.kept or () for t in pair]
        grown = [piece for each in (*self.resid, *self.z) for piece in each.pieces]
        return [*grown, *pairs, *self.taken.values(), *self.last.values(), *self.variants.values()]


@dataclass(frozen=True)
class Start:
    """Where a run begins: with no parent at the beginning; in a block of the parent (behind its heads: at_z); or, with
    layer -1, at a position, on the parent's keys and values."""

    parent: Trace | None = None
    layer: int = -1
    at_z: bool = False
    position: int = 0


class Engine:
    """Runs one model. Not for several threads."""

    def __init__(self, model: Model) -> None:
        self.model = model
        self.n_layers = model.shape.n_layers
        self.passes = Passes(model.bridge, model.device, model.ready.weights == "folded")
        self.budget = budget(model.device)
        self._traces: list[Trace] = []  # least recently used first
        self._at_most = 0  # bytes that the traces hold, if they share nothing
        self.vectors: dict[Steering, Tensor] = {}
        self.paces: dict[int, float] = {}  # seconds for one position in one block, by the length's bits

    def open(
        self, session: Session, cancelled: Callable[[], bool] = never, questions: Sequence[Question] = ()
    ) -> OpenSession:
        """A session on this model. What the questions need is kept as the runs pass it. Raises SessionError."""
        from mechtui.engine.api import OpenSession

        return OpenSession(self, session, cancelled, questions)

    def save_vectors(self, session: Session, path: str) -> tuple[str, ...]:
        """Write the session's steering vectors to a safetensors file; their names. Raises SessionError."""
        from mechtui.engine.api import SessionError

        if not session.vectors:
            raise SessionError("the session has no steering vector to save: make one first")
        bos = self.model.prepends(session.bos)
        try:
            values = {vector.name: vector_value(self, steering(vector, bos), never).cpu() for vector in session.vectors}
        except EditError as error:
            raise SessionError(str(error)) from error
        lines = {vector.name: format_vector(vector) for vector in session.vectors}
        content = save(values, metadata=lines | {"model": self.model.ready.source})
        try:
            write_private(to_write(path), content)
        except PathError as error:
            raise SessionError(str(error)) from error
        except OSError as error:
            raise SessionError(f"{path} cannot be written: {reason(error)}") from error
        return tuple(values)

    # Traces

    @property
    def trace_bytes(self) -> int:
        """Bytes that the traces hold; tensors that several share count once."""
        storages = {
            tensor.untyped_storage().data_ptr(): tensor.untyped_storage().nbytes()
            for trace in self._traces
            for tensor in trace.tensors()
        }
        return sum(storages.values())

    def forget(self) -> None:
        self._traces.clear()

    def _keep(self, trace: Trace) -> None:
        self._traces.append(trace)
        del self._traces[:-MOST_TRACES]
        # Adding up what is shared once takes a while, so it is done only when the sum could be too much.
        self._at_most += sum(tensor.nbytes for tensor in trace.tensors())
        if self._at_most > self.budget:
            while len(self._traces) > 2 and self.trace_bytes > self.budget:
                del self._traces[0]
            self._at_most = self.trace_bytes

    def known(self, ids: Ids, actions: Actions) -> Trace | None:
        return next((trace for trace in self._traces if trace.ids == ids and trace.actions == actions), None)

    def _touch(self, trace: Trace) -> None:
        self._traces.remove(trace)
        self._traces.append(trace)

    # Runs

    @torch.inference_mode()
    def run(
        self,
        ids: Ids,
        actions: Actions = (),
        needs: Sequence[Need] = (),
        cancelled: Callable[[], bool] = never,
        after: Trace | None = None,
    ) -> Trace:
        """The run of these tokens with these actions; at most what differs from an earlier one is computed.

        after: a trace outside the store to resume from (a generation's last step); then the new one is not
        stored either. Raises Cancelled.
        """
        actions = in_order(actions)
        known = self.known(ids, actions)
        if known is not None:
            self._touch(known)
            known.start = (self.n_layers, len(ids))
            self._take(known, needs, cancelled)
            return known
        start = self._nearest(ids, actions, needs, (*self._traces, after) if after else self._traces)
        givens = self.givens(actions, cancelled)
        if start.layer >= 0:
            trace = self._resume_layer(start, actions, givens, needs, cancelled)
        else:
            trace = self._resume_position(start, ids, actions, givens, needs, cancelled)
        if after is None:
            self._keep(trace)
        self._take(trace, needs, cancelled)
        return trace

    def run_ahead(self, ids: Ids, like: Trace, cancelled: Callable[[], bool]) -> None:
        """Run what may be asked for next, unless an earlier run had to be let go of for it. like: a run that holds as
        much for each token. Raises Cancelled."""
        size = sum(tensor.nbytes for tensor in like.tensors()) * len(ids) // len(like.ids)
        if self.known(ids, ()) is None and self.trace_bytes + size <= self.budget:
            self.run(ids, (), (), cancelled)

    def _nearest(self, ids: Ids, actions: Actions, needs: Sequence[Need], traces: Sequence[Trace]) -> Start:
        """Where least is left to run."""
        best, least = Start(), 1.0
        same = [(trace, same_layers(trace.actions, actions, self.n_layers)) for trace in traces if trace.ids == ids]
        deepest = max((layer for _, layer in same), default=-1)
        if deepest >= 0:
            # Of those that leave as much to run, the latest is the one just looked at.
            parents = [trace for trace, layer in reversed(same) if layer == deepest]
            at_z = next((trace for trace in parents if self.begins_at_z(trace, deepest, actions, needs)), None)
            # At least the last block runs: an action there is never free.
            least = 1 - (deepest + (at_z is not None) * Z_SHARE) / self.n_layers
            best = Start(at_z or parents[0], deepest, at_z is not None)
        for trace in traces:
            if trace.kept is not None:
                # The last position always runs: its logits are what is looked at.
                most = min(common(trace.ids, ids), len(ids) - 1)
                # Only what leaves less to run than the best so far is of use.
                enough = int(len(ids) * (1 - least)) + 1
                position = same_positions(trace.actions, actions, most, enough)
                if position and 1 - position / len(ids) < least:
                    best, least = Start(trace, position=position), 1 - position / len(ids)
        return best

    def _resume_layer(
        self,
        start: Start,
        actions: Actions,
        givens: dict[Action, Tensor],
        needs: Sequence[Need],
        cancelled: Callable[[], bool],
    ) -> Trace:
        parent, layer = start.parent, start.layer
        assert parent is not None
        calls = self.passes.calls_for(parent.ids)
        cache = new_cache([None] * self.n_layers) if parent.kept is not None else None
        z = parent.z[layer].whole if start.at_z else None
        # Of the block that it begins in, what lies before z is the parent's.
        own = layer if z is None else layer + 1
        passed = self.passes.through(
            parent.resid[layer].whole,
            calls,
            range(layer, self.n_layers),
            cache,
            [(action, EVERY_ROW) for action in actions if action.layer >= layer],
            givens,
            [need for need in needs if need.layer >= own or (need.layer == layer and is_late(need.hook))],
            0,
            cancelled,
            z,
        )
        kept = None
        if cache is not None and parent.kept is not None:
            kept = parent.kept[:own] + _keys_values(cache)[own:]
        earlier = {
            need: tensor
            for need, tensor in parent.taken.items()
            if need.layer < layer or (need.layer < own and not is_late(need.hook))
        }
        resid = parent.resid[: layer + 1] + [Grown(each) for each in passed.stream[1:]]
        heads = parent.z[:own] + [Grown(z) for z in passed.z[own - layer :]]
        norms = {which: norm for which, norm in parent.norms.items() if which <= layer}
        return Trace(parent.ids, actions, resid, heads, kept, earlier | passed.taken, norms, start=(layer, 0))

    def begins_at_z(self, base: Trace, layer: int, actions: Actions, needs: Sequence[Need] = ()) -> bool:
        """Whether a run that leaves the base in this block leaves it at z or behind, and z and what is needed of
        before it are there."""
        before = [[a for a in each if a.layer == layer and not is_late(a.hook)] for each in (base.actions, actions)]
        if before[0] != before[1]:
            return False
        if any(need.layer == layer and need not in base.taken and not is_late(need.hook) for need in needs):
            return False
        return self.may_begin_at_z(base, layer)

    def may_begin_at_z(self, base: Trace, layer: int) -> bool:
        """Whether this block of such a run can begin at z at all."""
        return bool(base.z) and self.passes.begins_at_z(
            layer, lambda: (base.resid[0].whole, self.passes.calls_for(base.ids))
        )

    def _resume_position(
        self,
        start: Start,
        ids: Ids,
        actions: Actions,
        givens: dict[Action, Tensor],
        needs: Sequence[Need],
        cancelled: Callable[[], bool],
    ) -> Trace:
        parent, position = start.parent, start.position
        before: list[KeysValues | None] = [None] * self.n_layers
        if parent is not None and position:
            assert parent.kept is not None
            before = [(keys[..., :position, :], values[..., :position, :]) for keys, values in parent.kept]
        cache = new_cache(before) if self.passes.caches else None
        embedding = [need for need in needs if need.layer < 0]
        first, calls, taken = self.passes.prelude(
            ids[position:], [a for a in actions if a.layer < 0], givens, embedding, cache, position
        )
        passed = self.passes.through(
            first,
            calls,
            range(self.n_layers),
            cache,
            [(action, EVERY_ROW) for action in actions if action.layer >= 0],
            givens,
            [need for need in needs if need.layer >= 0],
            position,
            cancelled,
        )
        taken |= passed.taken
        stream, heads = ([Grown(each) for each in part] for part in (passed.stream, passed.z))
        norms: dict[int, Tensor] = {}
        kept = _keys_values(cache) if cache is not None else None
        if parent is not None and position:
            stream = [old.continued(position, new) for old, new in zip(parent.resid, passed.stream, strict=True)]
            heads = [old.continued(position, new) for old, new in zip(parent.z, passed.z, strict=True)]
            norms = {which: norm[:position] for which, norm in parent.norms.items()}
            taken = _joined(parent.taken, taken, position, len(ids))
        trace = Trace(ids, actions, stream, heads, kept, taken, norms, start=(0, position))
        if parent is not None and position and parent.surprise is not None:
            trace.surprise = parent.surprise[:position]
        return trace

    # What is taken of a run

    def take(self, trace: Trace, need: Need, cancelled: Callable[[], bool] = never) -> Tensor:
        """What a need asks of a run; its block runs once more when that was not kept."""
        if need not in trace.taken:
            self._take(trace, [need], cancelled)
        return trace.taken[need]

    @torch.inference_mode()
    def _take(self, trace: Trace, needs: Sequence[Need], cancelled: Callable[[], bool]) -> None:
        missing = [need for need in needs if need not in trace.taken]
        if not missing:
            return
        givens = self.givens(trace.actions, cancelled)
        outside = [need for need in missing if need.layer < 0]
        if outside:
            cache = new_cache([None] * self.n_layers) if self.passes.caches else None
            actions = [a for a in trace.actions if a.layer < 0]
            trace.taken |= self.passes.prelude(trace.ids, actions, givens, outside, cache, 0)[2]
        for layer in sorted({need.layer for need in missing if need.layer >= 0}):
            trace.taken |= self.passes.through(
                trace.resid[layer].whole,
                self.passes.calls_for(trace.ids),
                range(layer, layer + 1),
                None,
                [(action, EVERY_ROW) for action in trace.actions if action.layer == layer],
                givens,
                [need for need in missing if need.layer == layer],
                0,
                cancelled,
            ).taken

    @torch.inference_mode()
    def logits(self, trace: Trace, positions: slice | list[int] = slice(None)) -> Tensor:
        """[pos, d_vocab] float32, of the positions asked for."""
        if isinstance(positions, list) and len(positions) == 1:
            # The unembedding of one position costs as much as a block; several views ask for the same one.
            position = positions[0] % len(trace.ids)
            if position not in trace.last:
                trace.last[position] = self.passes.logits(trace.resid[-1].part(position, position + 1))[0, 0].float()
            return trace.last[position][None]
        return self.passes.logits(trace.resid[-1].whole[:, positions])[0].float()

    @torch.inference_mode()
    def overflows(self, trace: Trace) -> int | None:
        """The first layer that a number leaves which is not finite; None if all that leaves the last block are."""

        def finite(grown: Grown) -> bool:
            return all(bool(piece.isfinite().all()) for piece in grown.pieces)

        if trace.finite is None:
            trace.finite = finite(trace.resid[-1])
        if trace.finite:
            return None
        first = next(number for number, grown in enumerate(trace.resid) if not finite(grown))
        return max(first - 1, 0)

    def norm(self, trace: Trace, layer: int) -> Tensor:
        """[pos]: the L2 norm of what enters a block (layer n_layers: of what leaves the last)."""
        done = trace.norms.get(layer)
        if done is None or len(done) < len(trace.ids):
            with torch.inference_mode():
                norm = trace.resid[layer].part(0 if done is None else len(done))[0].float().norm(dim=-1)
                done = trace.norms[layer] = norm if done is None else torch.cat([done, norm])
        return done

    @torch.inference_mode()
    def surprise(self, trace: Trace) -> Tensor:
        """[pos] -ln p(token | those before it) in nats, NaN for the first."""
        done = trace.surprise if trace.surprise is not None else torch.full((1,), torch.nan)
        parts = [done]
        for begin in range(len(done), len(trace.ids), SURPRISE_POSITIONS):
            end = min(begin + SURPRISE_POSITIONS, len(trace.ids))
            logits = self.logits(trace, slice(begin - 1, end - 1))
            said = torch.tensor(trace.ids[begin:end], device=logits.device)[:, None]
            parts.append((logits.logsumexp(-1) - logits.gather(-1, said)[:, 0]).cpu())
        trace.surprise = torch.cat(parts)
        return trace.surprise

    # Many runs at once

    @torch.inference_mode()
    def variants(
        self,
        base: Trace,
        variants: Sequence[Actions],
        position: int,
        cancelled: Callable[[], bool] = never,
    ) -> list[Tensor]:
        """Logits [d_vocab] at `position`, for the base's tokens with each variant's actions instead of the base's.

        They run in batches that share the base up to where each variant leaves it. On out of memory the batch halves.
        """
        variants = [in_order(actions) for actions in variants]
        results = logits_of(self, base, variants, position, cancelled)
        if len(variants) <= MOST_VARIANTS:
            # Of a list of edits one changes, and the others are asked for again.
            base.variants = {(actions, position): logits for actions, logits in zip(variants, results, strict=True)}
        return results

    # What actions take from elsewhere

    def givens(self, actions: Actions, cancelled: Callable[[], bool]) -> dict[Action, Tensor]:
        return {action: given for action in actions if (given := self._given(action, cancelled)) is not None}

    def _given(self, action: Action, cancelled: Callable[[], bool]) -> Tensor | None:
        """[place, head, width] for values from another run, [d_model] for vectors."""
        if action.vector is not None:
            value = vector_value(self, action.vector, cancelled)
            return direction(value) if action.op == "project" else value
        if action.op == "mean" and action.references and not action.is_pattern:
            runs = [self.run(ids, (), [Need(action.hook)], cancelled) for ids in action.references]
            every = torch.cat([_heads(self.take(run, Need(action.hook)), action) for run in runs])
            return every.mean(0, keepdim=True).expand(len(action.places), -1, -1)
        if not action.source_ids:
            return None
        need = Need(action.hook)
        value = self.take(self.run(action.source_ids, (), [need], cancelled), need)
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


def _keys_values(cache: object) -> list[KeysValues]:
    return [(layer.keys, layer.values) for layer in cache.layers]  # type: ignore[attr-defined]


def _joined(before: dict[Need, Tensor], after: dict[Need, Tensor], offset: int, total: int) -> dict[Need, Tensor]:
    joined = {}
    for need in before.keys() | after.keys():
        new = after.get(need)
        if need.take == "at" and new is not None:
            joined[need] = new
        elif need in before and (new is not None or (need.take == "at" and need.position < offset)):
            joined[need] = need.join(before[need], new, offset, total)
    return joined


__all__ = ["Cancelled", "Engine", "Trace"]
