"""The linear model around a clean run: what a change of one activation does to later ones, as a linear map.

Attention's patterns, the scales of all norms, and the activations of the MLPs' neurons are held at their values in the
clean run. What is left of the model is linear (Elhage et al. 2021): the residual stream, values and outputs of heads,
what neurons write, the unembedding. An edit changes its activation by as much as it would change it in the clean run,
whatever other edits do, and the change is passed on. So what several edits do at once is the sum of what each does
alone. An edit of a pattern changes what the head reads with its clean values; edits of queries, keys and scores do
nothing, since no pattern follows from them.

Only changes are computed here, in float32; clean values come from the clean run, whichever way its blocks were run.
That the maps are the model's is tried out on the first clean run of every model, and on each other one that its values
and what its heads give are what the maps make of them: a model may clamp them on some prompts only.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any
from weakref import ref

import numpy as np
import torch
from torch import Tensor

from mechtui.engine import reading, weights
from mechtui.engine.apply import EVERY_ROW, Givens, hook_function, seen_in
from mechtui.engine.circuits import norm_of
from mechtui.engine.errors import Cancelled, SessionError
from mechtui.engine.forward.paths import Receiver, Sent
from mechtui.engine.gradients import Metric, Towards
from mechtui.engine.needs import Need
from mechtui.engine.overlap import common, in_order
from mechtui.engine.pieces import Pieces
from mechtui.engine.readout import Norm
from mechtui.engine.run import Run
from mechtui.engine.runner import Runner
from mechtui.engine.trace import Trace
from mechtui.engine.variants import BATCH_TOKENS, Cost, Look, Part
from mechtui.session.hook_edits import HookEdit, HookEdits, Ids

# Linear runs that are kept with their clean run.
MOST_LINEAR = 4
# Patterns follow from these, and activations of neurons; both are held.
WITHOUT_EFFECT = ("attn.hook_q", "attn.hook_k", "attn.hook_attn_scores", "mlp.hook_in")
# What these read, by paths that end in them, makes patterns and activations of neurons, which are held.
HELD_READERS = ("hook_q_input", "hook_k_input", "hook_mlp_in")
# Of a value, what the map of a layer may miss: of float32, and of a half precision as a multiple of its rounding.
CLOSE, ROUNDING = 1e-3, 20

# By hook, what is added there: rows of the batch and [pos, ...], float32.
Shifts = Mapping[str, Sequence[tuple[int, Tensor]]]


@dataclass(frozen=True, eq=False)
class Layer:
    """One block's weights. before: the norm that attention reads through; attn_behind, mlp_behind: those that it and
    the MLP write through, where there are some; attn_times, mlp_times: factors on what they write. W_V [group, d_model,
    d_head], W_O [head, d_head, d_model], float32; W_out [d_mlp, d_model], None where there are no neurons."""

    before: Norm | None
    attn_behind: Norm | None
    mlp_behind: Norm | None
    attn_times: float
    mlp_times: float
    W_V: Tensor
    W_O: Tensor
    W_out: Tensor | None


class LinearModel:
    """A model's linear maps. tried: whether a clean run has shown that they are the model's; what may hold of one
    prompt alone is tried out on each."""

    def __init__(self, runner: Runner) -> None:
        self.runner = runner
        self.bridge: Any = runner.model.bridge
        self.shape, self.name = runner.model.shape, runner.model.ready.name
        self.tried = False
        self.pace: float | None = None  # seconds for one position in one block
        self._layers: dict[int, Layer] = {}
        # Whether what enters block 0 is the sum of the embeddings.
        self.sums_embeddings = True

    def refused(self, why: str) -> SessionError:
        return SessionError(f"{self.name} has no linear mode: {why}; turn it off")

    @cached_property
    def final(self) -> Norm:
        if self.runner.forward.readout.caps:
            raise self.refused("it caps its logits, which is no sum")
        try:
            return self.runner.forward.readout.norm()
        except ValueError as error:
            raise self.refused("its final norm is of an unknown kind") from error

    def layer(self, number: int) -> Layer:
        """Raises SessionError for a block whose parts are not known."""
        if number not in self._layers:
            self._layers[number] = self._read(number)
        return self._layers[number]

    def _read(self, number: int) -> Layer:
        block, like = self.bridge.blocks[number], weights.W_U(self.bridge)[:, 0]
        whole = weights.reading(self.bridge, number, "W_V")
        if whole is None:
            raise self.refused("it does not keep W_V head by head")
        try:
            norms = [norm_of(block, name, like) for name in ("ln1", "ln1_post", "ln2_post")]
        except ValueError as error:
            raise self.refused("a norm of its blocks is of an unknown kind") from error
        times = float(getattr(block, "residual_contribution_scale", None) or 1.0)
        neurons = self.shape.d_mlp > 0 and self.shape.has_neurons
        return Layer(
            norms[0],
            norms[1],
            norms[2],
            times if norms[1] is None else 1.0,
            times if norms[2] is None else 1.0,
            whole[:: self.shape.n_heads // self.shape.n_kv_heads].float(),
            weights.W_O(self.bridge, number).float(),
            weights.W_out(self.bridge, number).detach() if neurons else None,
        )

    def patterns(self) -> list[Need]:
        """What has to be known of a clean run."""
        return [Need(f"blocks.{layer}.attn.hook_pattern") for layer in range(self.shape.n_layers)]

    def let_go(self, ids: Ids, shared: int) -> None:
        """Of the kept runs of other texts, whole patterns go: those of one long text are hundreds of megabytes. They
        are made again where they are asked for. shared: texts that have so many first tokens in common with this one
        keep theirs."""
        for trace in self.runner.store:
            if trace.ids != ids and common(trace.ids, ids) < shared:
                for each in (trace, *trace.linear):
                    for need in [need for need in each.taken if need.is_pattern and need.take == "all"]:
                        del each.taken[need]


class HeldModel:
    """A linear model with one clean run's patterns, scales and activations."""

    def __init__(self, linear: LinearModel, clean: Trace, cancelled: Callable[[], bool]) -> None:
        """Raises SessionError for a model that has no such maps, Cancelled."""
        self.linear, self.runner = linear, linear.runner
        # The linear runs lie with the clean one, and they know this model: did it know the clean one itself, their
        # memory would not be free once that is let go of.
        self.clean, self._owner = replace(clean, linear=[]), ref(clean)
        self.shape, self.n_layers = linear.shape, linear.shape.n_layers
        self.group = self.shape.n_heads // self.shape.n_kv_heads
        _ = linear.final
        self.runner.take_all(self.clean, linear.patterns(), cancelled)
        with torch.inference_mode():
            if not linear.tried:
                _try_out(self, cancelled)
                linear.tried = True
            _try_values(self, cancelled)

    @property
    def runs(self) -> list[Trace]:
        """The linear runs that lie with the clean one; none once that is let go of."""
        owner = self._owner()
        return [] if owner is None else owner.linear

    def grown(self, size: int) -> None:
        """Its linear runs hold so many bytes more than before."""
        owner = self._owner()
        if owner is not None:
            self.runner.store.grown(owner, size)

    def value(self, hook: str) -> Tensor:
        """The clean run's activation, [pos, ...] or [head, query, key]."""
        return self.runner.take(self.clean, Need(hook))

    def final_scale(self, positions: slice | list[int]) -> Tensor:
        return self.linear.final.scale(self.clean.resid[-1].whole[0, positions])

    def entering_scale(self, layer: int) -> Tensor | None:
        """[pos, 1]: of the norm before attention."""
        norm = self.linear.layer(layer).before
        return None if norm is None else norm.scale(self.clean.resid[layer].whole[0])

    # What an edit changes

    def shifts_of(self, edits: Iterable[tuple[HookEdit, int]], cancelled: Callable[[], bool]) -> Shifts:
        """edits: each with its row of the batch. Raises SessionError, Cancelled."""
        found: dict[str, list[tuple[int, Tensor]]] = {}
        known: dict[HookEdit, tuple[str, Tensor] | None] = {}
        for edit, row in edits:
            if edit not in known:
                known[edit] = self._shift(edit, cancelled)
            if (shift := known[edit]) is not None:
                found.setdefault(shift[0], []).append((row, shift[1]))
        return found

    def _shift(self, edit: HookEdit, cancelled: Callable[[], bool]) -> tuple[str, Tensor] | None:
        """Where an edit acts, and by how much it changes the clean run's activation there; None where nothing follows
        from that."""
        if edit.hook.endswith((*WITHOUT_EFFECT, *HELD_READERS)):
            return None
        if edit.layer < 0 and not self.linear.sums_embeddings:
            raise self.linear.refused("its embeddings are not just added, and an edit changes them")
        clean, seen = self.value(edit.hook if edit.sender is None else edit.sender.hook), []
        if edit.is_pattern:
            scores = self.value(edit.hook.replace("hook_pattern", "hook_attn_scores"))
            seen = [seen_in(scores[0], self.runner.model.dtype)]
        givens = self.runner.givens.of((edit,), cancelled)
        if edit.sender is not None:
            return self._path_shift(edit, givens)

        def at(hook: str, _rows: Sequence[int], positions: Sequence[int]) -> Tensor:
            return self.value(hook)[None, list(positions)]

        changed = hook_function([(edit, EVERY_ROW)], givens, 0, seen, at)(clean[None])[0]
        shift = changed.float() - clean.float()
        if not edit.is_pattern:
            return edit.hook, shift
        values = self.value(edit.hook.replace("hook_pattern", "hook_v")).float()
        z = torch.einsum("hqk,khd->qhd", shift, values.repeat_interleave(self.group, dim=1))
        return edit.hook.replace("hook_pattern", "hook_z"), z

    def _path_shift(self, edit: HookEdit, givens: Givens) -> tuple[str, Tensor]:
        """By how much a path changes the values that it ends in, with the norm's scale held."""
        sender, of = edit.sender, self.linear.layer(edit.layer)
        assert sender is not None
        sent = Sent(self.runner.forward.weights, (), {sender.hook: self.value(sender.hook)})
        entering = self.clean.resid[edit.layer].whole
        change = Receiver([(edit, EVERY_ROW)], givens, 0, sent).added(entering, edit.positions)[0]
        scale = self.entering_scale(edit.layer)
        if of.before is not None and scale is not None:
            change = of.before.linear(change) / scale[edit.positions]
        hook = edit.hook.replace("hook_v_input", "attn.hook_v")
        shift = torch.zeros_like(self.value(hook), dtype=torch.float32)
        for group in edit.index or ():
            shift[edit.positions, group] = change @ of.W_V[group]
        return hook, shift

    # How changes are passed on

    def stream(
        self, shifts: Shifts, rows: int, cancelled: Callable[[], bool], keep: bool = True
    ) -> tuple[list[Tensor], int]:
        """The stream's change [row, pos, d_model] entering each block and leaving the last (with keep False: the last
        alone), and the first block that ran. Raises Cancelled."""
        own = [int(hook.split(".")[1]) if hook.startswith("blocks.") else 0 for hook in shifts]
        first = min(own, default=self.n_layers)
        base = self.clean.resid[0].whole
        change = torch.zeros(rows, *base.shape[1:], device=base.device)
        for hook in ("hook_embed", "hook_pos_embed"):
            change = _added(change, shifts.get(hook))
        found = [change] * (first + 1) if keep else []
        for layer in range(first, self.n_layers):
            if cancelled():
                raise Cancelled
            change = self.through(layer, change.to(self.clean.resid[layer].whole.device), shifts)
            if keep:
                found.append(change)
        return found if keep else [change], first

    def through(self, layer: int, change: Tensor, shifts: Shifts, noted: dict[str, Tensor] | None = None) -> Tensor:
        """The stream's change [row, pos, d_model] behind a block, from that before it. noted: takes the change at each
        hook of the block."""
        of, begin = self.linear.layer(layer), f"blocks.{layer}."

        def at(hook: str, value: Tensor) -> Tensor:
            value = _added(value, shifts.get(begin + hook))
            if noted is not None:
                noted[begin + hook] = value
            return value

        change = at("hook_resid_pre", change)
        read = change
        if of.before is not None:
            scale = self.entering_scale(layer)
            assert scale is not None
            read = of.before.linear(change) / scale
        v = at("attn.hook_v", torch.einsum("rpm,gmd->rpgd", read, of.W_V))
        pattern = self.value(f"{begin}attn.hook_pattern").float()
        z = torch.einsum("hqk,rkhd->rqhd", pattern, v.repeat_interleave(self.group, dim=2))
        z = at("attn.hook_z", z)
        wrote = torch.einsum("rqhd,hdm->rqm", z, of.W_O) * of.attn_times
        if of.attn_behind is not None:
            wrote = of.attn_behind.linear(wrote) / of.attn_behind.scale(self._attention_gives(layer))
        change = at("hook_resid_mid", change + at("hook_attn_out", wrote))
        if self.shape.d_mlp:
            change = change + at("hook_mlp_out", self._mlp(layer, change, shifts, noted))
        return at("hook_resid_post", change)

    def _mlp(self, layer: int, like: Tensor, shifts: Shifts, noted: dict[str, Tensor] | None) -> Tensor:
        """What edits of neurons change of what the MLP writes."""
        of, hook = self.linear.layer(layer), f"blocks.{layer}.mlp.hook_post"
        shifted = shifts.get(hook)
        if not shifted or of.W_out is None:
            return torch.zeros_like(like)
        neurons = _added(torch.zeros(*like.shape[:-1], len(of.W_out), device=like.device), shifted)
        if noted is not None:
            noted[hook] = neurons
        wrote = neurons @ of.W_out.float() * of.mlp_times
        if of.mlp_behind is None:
            return wrote
        gives = self.value(hook).float() @ of.W_out.float()
        gives = gives + weights.b_out(self.runner.model.bridge, layer, gives[0])
        return of.mlp_behind.linear(wrote) / of.mlp_behind.scale(gives)

    def _attention_gives(self, layer: int) -> Tensor:
        """[pos, d_model]: what attention gives in the clean run, before a norm behind it."""
        W_O = self.linear.layer(layer).W_O
        gives = torch.einsum("qhd,hdm->qm", self.value(f"blocks.{layer}.attn.hook_z").float(), W_O)
        return gives + weights.b_O(self.runner.model.bridge, layer, gives[0])

    def logits(self, change: Tensor, positions: slice | list[int]) -> Tensor:
        """change [..., pos, d_model], of what leaves the last block at these positions -> logits [..., pos, d_vocab],
        float32."""
        readout = self.runner.forward.readout
        final = self.linear.final
        clean = reading.logits(readout, self.clean, positions)
        moved = readout.reads(final.linear(change) / self.final_scale(positions).to(change.device))
        return clean + moved.to(clean.device)


@dataclass(frozen=True, eq=False)
class HeldRun:
    """What a linear run is held to, and what was changed. stream: its change entering each block and leaving the last
    [1, pos, d_model]."""

    model: HeldModel
    shifts: Shifts
    stream: list[Tensor]

    def tensors(self) -> list[Tensor]:
        """What it holds besides the run that it is of."""
        return [*self.stream, *(shift for each in self.shifts.values() for _, shift in each)]

    def logits(self, positions: slice | list[int]) -> Tensor:
        if not self.shifts:
            return reading.logits(self.model.runner.forward.readout, self.model.clean, positions)
        with torch.inference_mode():
            return self.model.logits(self.stream[-1][0, positions], positions)

    @torch.inference_mode()
    def take(self, need: Need) -> Tensor:
        """What a need names. Raises SessionError for what the linear model does not have."""
        model, hook = self.model, need.hook
        if need.layer < 0:
            change = _added(torch.zeros(1, *model.value(hook).shape, device=model.value(hook).device), self._at(hook))
        else:
            noted: dict[str, Tensor] = {}
            model.through(need.layer, self.stream[need.layer], self.shifts, noted)
            known = hook in noted or hook.endswith((*WITHOUT_EFFECT, "hook_pattern")) or ".mlp." in hook
            if not known:
                raise SessionError(f"linear mode says nothing of {hook}: turn it off")
            if hook not in noted:
                return model.runner.take(model.clean, need)
            change = noted[hook]
        clean = model.value(hook)
        found = need.reduce((clean.float() + change[0].to(clean.device)).to(clean.dtype), 0)
        assert found is not None
        return found

    def _at(self, hook: str) -> Sequence[tuple[int, Tensor]] | None:
        return self.shifts.get(hook)


class LinearRun(Run):
    """A run of the linear model: as any other, but for what it is computed with."""

    def __init__(self, runner: Runner, trace: Trace, cancelled: Callable[[], bool]) -> None:
        super().__init__(runner, trace, cancelled)
        assert isinstance(trace.held, HeldRun)
        self.held = trace.held

    @property
    def scales(self) -> Run:
        return Run(self._runner, self.held.model.clean, self.cancelled)

    def take(self, need: Need) -> Tensor:
        if not self.held.shifts:
            return self._runner.take(self.held.model.clean, need, self.cancelled)
        if need not in self.trace.taken:
            self.trace.taken[need] = found = self.held.take(need)
            self.held.model.grown(found.nbytes)
        return self.trace.taken[need]

    @torch.inference_mode()
    def logits_with(self, change: Tensor, position: int) -> Tensor:
        if self.held.shifts:
            change = change + self.held.stream[-1][0, position].to(change.device)
        return self.held.model.logits(change[:, None], [position])[:, 0]

    def with_edits(self, edits: HookEdits) -> LinearRun:
        """The run of the same tokens with these edits. Raises SessionError, Cancelled."""
        return _of(self.held.model, edits, self.cancelled)

    def parts(
        self,
        variants: Sequence[HookEdits],
        position: int,
        first: Collection[int] = (),
        look: Look | None = None,
    ) -> Iterator[Part]:
        """Nothing is looked at: no hook passes in a linear run."""
        variants = [in_order(edits) for edits in variants]
        known = {
            number: self.trace.variants[edits, position]
            for number, edits in enumerate(variants)
            if (edits, position) in self.trace.variants
        }
        # Those that begin in the same block run together.
        left = sorted(
            (number for number in range(len(variants)) if number not in known),
            key=lambda number: (number not in first, _first_layer(variants[number])),
        )
        if known:
            yield Part(list(known), torch.stack(list(known.values())), self._seconds(variants, left) or 0.0)
        size = max(1, BATCH_TOKENS // len(self.ids))
        while left:
            now, left = left[:size], left[size:]
            began = time.perf_counter()
            logits = self._batch([variants[number] for number in now], position)
            self._timed([variants[number] for number in now], time.perf_counter() - began)
            yield Part(now, logits, self._seconds(variants, left) or 0.0)

    @torch.inference_mode()
    def _batch(self, variants: Sequence[HookEdits], position: int) -> Tensor:
        """[variant, d_vocab] at `position`."""
        model = self.held.model
        edits = ((edit, row) for row, each in enumerate(variants) for edit in each)
        change = model.stream(model.shifts_of(edits, self.cancelled), len(variants), self.cancelled, keep=False)[0][0]
        return model.logits(change[:, [position]], [position])[:, 0]

    def cost(self, variants: Sequence[HookEdits], position: int, timed: bool = True) -> Cost:
        if not variants:
            return Cost(0, 0.0, 0)
        if timed and self.held.model.linear.pace is None:
            began = time.perf_counter()
            self._batch(variants[:1], position)
            self._timed(variants[:1], time.perf_counter() - began)
        shape = self._runner.model.shape
        rows = min(len(variants), max(1, BATCH_TOKENS // len(self.ids)))
        token = 4 * (6 * shape.d_model + 3 * shape.n_heads * shape.d_head)
        size = rows * (len(self.ids) * token + 8 * shape.d_vocab)
        return Cost(len(variants), self._seconds(variants, range(len(variants))), size)

    def _work(self, variants: Iterable[HookEdits]) -> int:
        return sum(self._runner.n_layers + 1 - _first_layer(edits) for edits in variants) * len(self.ids)

    def _timed(self, variants: Sequence[HookEdits], seconds: float) -> None:
        self.held.model.linear.pace = seconds / max(self._work(variants), 1)

    def _seconds(self, variants: Sequence[HookEdits], left: Iterable[int]) -> float | None:
        pace = self.held.model.linear.pace
        return None if pace is None else pace * self._work(variants[number] for number in left)

    def estimates(self, cells: Sequence[HookEdits], metric: Metric, towards: Towards | None = None) -> np.ndarray:
        """[cell] float32: what the metric changes if to the edits those of the cell are added. Of the linear model
        these are no estimates: every cell is computed, and no path towards the source makes a difference."""
        before = self.logits([metric.position])[0]
        found = np.full(len(cells), np.nan, dtype=np.float32)
        for part in self.parts([(*self.edits, *each) for each in cells], metric.position):
            change = part.logits - before
            found[part.numbers] = (change[:, metric.answer] - change[:, metric.foil]).cpu().numpy()
        return found

    def continued(self, id: int, edits: HookEdits) -> Run:
        """The linear model around the clean run of these tokens and one more."""
        runner, clean = self._runner, self.held.model.clean
        needs = self.held.model.linear.patterns()
        longer = runner.run((*self.ids, id), (), needs, self.cancelled, after=clean)
        return linear_run(self.held.model.linear, longer, edits, self.cancelled)


def linear_run(linear: LinearModel, clean: Trace, edits: HookEdits, cancelled: Callable[[], bool]) -> LinearRun:
    """The linear model's run around a clean one, with these edits. Raises SessionError, Cancelled."""
    if not clean.linear:
        model = HeldModel(linear, clean, cancelled)
        held = HeldRun(model, {}, [])
        # The clean run itself; what is remembered of its variants is the linear model's.
        clean.linear.append(replace(clean, held=held, linear=[], answers={}, variants={}, estimates=None))
    first = clean.linear[0]
    assert isinstance(first.held, HeldRun)
    return _of(first.held.model, edits, cancelled)


@torch.inference_mode()
def _of(model: HeldModel, edits: HookEdits, cancelled: Callable[[], bool]) -> LinearRun:
    runner, clean, runs, edits = model.runner, model.clean, model.runs, in_order(edits)
    trace = next((each for each in runs if each.edits == edits), None)
    if trace is None:
        shifts = model.shifts_of(((edit, 0) for edit in edits), cancelled)
        stream, first = model.stream(shifts, 1, cancelled)
        resid = [
            old if number < first or not shifts else Pieces((old.whole.float() + new).to(old.whole.dtype))
            for number, (old, new) in enumerate(zip(clean.resid, stream, strict=True))
        ]
        held = HeldRun(model, shifts, stream)
        trace = Trace(clean.ids, edits, resid, [], None, held=held, start=(first, 0))
        runs.append(trace)
        del runs[1:-MOST_LINEAR]  # the first is the one without edits
        model.grown(sum(tensor.nbytes for tensor in trace.tensors()))
    return LinearRun(runner, trace, cancelled)


def _added(value: Tensor, shifts: Sequence[tuple[int, Tensor]] | None) -> Tensor:
    """value [row, ...] and what is added to some of its rows."""
    if not shifts:
        return value
    value = value.clone()
    for row, shift in shifts:
        value[row] += shift.to(value.device)
    return value


def _first_layer(edits: HookEdits) -> int:
    return max(min((edit.layer for edit in edits), default=0), 0)


def _same(held: HeldModel, ours: Tensor, its: Tensor) -> Tensor:
    """Of each row of the last axis whether the map gives what the model gives, but for rounding."""
    tolerance = max(CLOSE, ROUNDING * torch.finfo(held.runner.model.dtype).eps)
    its = its.float().to(ours.device)
    close: Tensor = (ours - its).norm(dim=-1) <= tolerance * (its.norm(dim=-1) + its.shape[-1] ** 0.5 * 1e-3)
    return close


def _try_values(held: HeldModel, cancelled: Callable[[], bool]) -> None:
    """Compare a clean run's values at every position, and what its heads gave at the last one, with what the maps make
    of the run's stream and patterns. Raises SessionError where they are others, Cancelled."""
    linear, clean, last = held.linear, held.clean, len(held.clean.ids) - 1
    for layer in range(held.n_layers):
        if cancelled():
            raise Cancelled
        of, begin = linear.layer(layer), f"blocks.{layer}.attn."
        read = clean.resid[layer].whole[0].float()
        scale = held.entering_scale(layer)
        if of.before is not None and scale is not None:
            read = of.before.linear(read) / scale + of.before.bias.to(read)
        bias = weights.reading_bias(linear.bridge, layer, "b_V")
        bias = bias[:: held.group] if isinstance(bias, Tensor) else bias
        values = torch.einsum("pm,gmd->pgd", read, of.W_V) + bias
        # What queries read: a model may change the values behind the hook.
        its = values.new_empty(0) if clean.keys_values is None else clean.keys_values[layer][1][0].transpose(0, 1)
        its = its if its.shape == values.shape else held.value(f"{begin}hook_v")
        if not bool(_same(held, values.flatten(1), its.flatten(1)).all()):
            raise linear.refused(
                f"on this prompt values of its layer {layer} are no linear map of what the norm before gives"
            )
        pattern = held.value(f"{begin}hook_pattern")[:, last].float()
        z = torch.einsum("hk,khd->hd", pattern, values.repeat_interleave(held.group, dim=1).to(pattern.device))
        its = clean.z[layer].part(last, last + 1)[0, 0].view_as(z) if clean.z else held.value(f"{begin}hook_z")[last]
        if not bool(_same(held, z.flatten(), its.flatten())):
            raise linear.refused(
                f"on this prompt heads of its layer {layer} give more than their patterns times values"
            )


def _try_out(held: HeldModel, cancelled: Callable[[], bool]) -> None:
    """Compare the maps with what a clean run's parts gave at its last position. Raises SessionError where a part of the
    model is no such map, Cancelled."""
    linear, shape, runner, clean = held.linear, held.shape, held.runner, held.clean
    last = len(clean.ids) - 1

    def same(ours: Tensor, its: Tensor) -> bool:
        return bool(_same(held, ours.flatten(), its.flatten()))

    names = ["attn.hook_v", "hook_attn_out"] + ["hook_mlp_out"] * (shape.d_mlp > 0)
    needs = [Need(f"blocks.{layer}.{name}", "at", last) for layer in range(shape.n_layers) for name in names]
    runner.take_all(clean, needs, cancelled)
    for layer in range(shape.n_layers):
        of, begin = linear.layer(layer), f"blocks.{layer}."
        entering = clean.resid[layer].part(last, last + 1)[0, 0].float()
        read = entering if of.before is None else of.before.linear(entering) / of.before.scale(entering)
        read = read if of.before is None else read + of.before.bias.to(read)
        bias = weights.reading_bias(linear.bridge, layer, "b_V")
        bias = bias[:: held.group] if isinstance(bias, Tensor) else bias
        v = runner.take(clean, Need(f"{begin}attn.hook_v", "at", last))
        if not same(torch.einsum("m,gmd->gd", read, of.W_V) + bias, v.reshape(-1, shape.d_head)):
            raise linear.refused(f"values of its layer {layer} are no linear map of what the norm before gives")
        values = held.value(f"{begin}attn.hook_v").float().repeat_interleave(held.group, dim=1)
        pattern = held.value(f"{begin}attn.hook_pattern")[:, last].float()
        z = torch.einsum("hk,khd->hd", pattern, values)
        if not same(z, runner.take(clean, Need(f"{begin}attn.hook_z", "at", last))):
            raise linear.refused(f"heads of its layer {layer} give more than their patterns times values")
        wrote = torch.einsum("hd,hdm->m", z, of.W_O)
        wrote = wrote + weights.b_O(linear.bridge, layer, wrote)
        if of.attn_behind is not None:
            behind = of.attn_behind
            wrote = behind.linear(wrote) / behind.scale(wrote) + behind.bias.to(wrote)
        attn_out = runner.take(clean, Need(f"{begin}hook_attn_out", "at", last))
        if not same(wrote * of.attn_times, attn_out):
            raise linear.refused(f"attention of its layer {layer} writes otherwise than through W_O")
        leaving = clean.resid[layer + 1].part(last, last + 1)[0, 0].float()
        total = entering + attn_out.float().to(entering)
        if shape.d_mlp:
            total = total + runner.take(clean, Need(f"{begin}hook_mlp_out", "at", last)).float().to(entering)
        if not same(total, leaving):
            raise linear.refused(f"layer {layer} does not just add to the residual stream")
    embedded = sum(
        (held.value(hook)[last].float() for hook in ("hook_embed", *(["hook_pos_embed"] * shape.has_pos))),
        torch.zeros(shape.d_model),
    )
    entering = clean.resid[0].part(last, last + 1)[0, 0].float()
    linear.sums_embeddings = same(embedded.to(entering), entering)
