"""Estimates of what edits do to a logit difference: one pass back through the blocks instead of a run for each edit.

Attribution patching (Nanda 2023; Syed et al. 2023): an edit that makes x' of an activation x changes the difference by
about its gradient at x times (x' - x). With integrated gradients (Hanna et al. 2024) the gradient is the mean over
several runs whose inputs lie between this prompt's and the source's.

The pass goes block by block, from the last: each runs once more from the residual that entered it, which the trace
holds, its gradients are read, and nothing of it is kept. So the memory is that of one block.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mechtui.engine.apply import EVERY_ROW, hook_function, seen_in
from mechtui.engine.dictionaries.acting import normal, normal_given
from mechtui.engine.errors import Cancelled, SessionError
from mechtui.engine.forward.calls import Call
from mechtui.engine.forward.taps import SCORES, Taps, taps_of
from mechtui.engine.memory import ran_out
from mechtui.engine.needs import Need
from mechtui.engine.runner import Runner
from mechtui.engine.trace import Trace
from mechtui.session.hook_edits import HookEdit, HookEdits, Ids
from mechtui.session.sites import TABLES

# What torch says where an operation cannot be gone back through.
WITHOUT_GRADIENT = (
    "derivative",
    "does not require grad",
    "Inference tensors cannot be saved",
    "modified by an inplace operation",
    "not implemented for",
)
TRANSCODED = "nothing is estimated while a transcoder's features are edited: it reads elsewhere"
# Positions times runs whose blocks are gone back through at once.
MOST_POSITIONS = 1024


class NoGradientError(SessionError):
    """A model that cannot be gone back through: one sentence that says why."""


@dataclass(frozen=True)
class Towards:
    """Where the path of integrated gradients ends. ids: the source's tokens. partners: of each position its partner
    there, -1 without one, which stays as it is. steps: runs on the way, at the middles of as many equal parts."""

    ids: Ids
    partners: tuple[int, ...]
    steps: int


@dataclass(frozen=True)
class Metric:
    """logit(answer) - logit(foil) at a position."""

    answer: int
    foil: int
    position: int


# What is done with an activation of the base [1, pos, ...], as its edits left it, with the metric's gradient there
# [pos, ...] float32, of one pass and by the weight of its runs, and with what is seen of its block's scores.
Reader = Callable[[Tensor, Tensor, list[Tensor]], None]
# Layer -> hook point -> its reader.
Readers = Mapping[int, Mapping[str, Reader]]


def estimates(
    runner: Runner,
    base: Trace,
    cells: Sequence[HookEdits],
    metric: Metric,
    towards: Towards | None,
    cancelled: Callable[[], bool],
) -> np.ndarray:
    """[cell] float32: about by how much the metric of a run changes if to its edits those of the cell are added. cells
    at one hook point lie apart: no two have a head, or without heads a position, in common. Raises NoGradientError and
    Cancelled."""
    _check_base(base)
    if any(edit.sender is not None for cell in cells for edit in cell):
        raise NoGradientError("no path is estimated: what it changes passes no hook of its own")
    if any(edit.reads != edit.hook for cell in cells for edit in cell):
        raise NoGradientError(TRANSCODED)
    if any(edit.layer < 0 for cell in cells for edit in cell):
        raise NoGradientError("nothing is estimated at the embeddings: the way back ends before block 0")
    shares = np.zeros(len(cells), dtype=np.float64)
    # Layer -> hook point -> (number of the cell, what it does there).
    at: dict[int, dict[str, list[tuple[int, HookEdit]]]] = {}
    for number, edits in enumerate(cells):
        for edit in edits:
            at.setdefault(edit.layer, {}).setdefault(edit.hook, []).append((number, edit))

    def reader(here: list[tuple[int, HookEdit]]) -> Reader:
        return lambda value, gradient, seen: _read(runner, here, value, gradient, seen, shares, cancelled)

    readers = {layer: {hook: reader(here) for hook, here in hooks.items()} for layer, hooks in at.items()}
    _go_back(runner, base, metric, towards, readers, cancelled)
    _check_finite(runner, shares)
    return shares.astype(np.float32)


def gradient_at(
    runner: Runner,
    base: Trace,
    hook: str,
    layer: int,
    metric: Metric,
    towards: Towards | None,
    cancelled: Callable[[], bool],
) -> Tensor:
    """[pos, ...] float32: the metric's gradient at what passes a hook point of a block, behind the edits there. Raises
    NoGradientError and Cancelled."""
    _check_base(base)
    found: list[Tensor] = []
    readers = {layer: {hook: lambda _value, gradient, _seen: found.append(gradient)}}
    _go_back(runner, base, metric, towards, readers, cancelled)
    total = torch.stack(found).sum(0)
    _check_finite(runner, total.cpu().numpy())
    return total


def _check_base(base: Trace) -> None:
    """Raises NoGradientError where the run has edits that gradients do not go through."""
    if any(edit.sender is not None for edit in base.edits):
        raise NoGradientError("nothing is estimated while a path is cut or patched: gradients do not go around it")
    if any(edit.reads != edit.hook for edit in base.edits):
        raise NoGradientError(TRANSCODED)


def _check_finite(runner: Runner, numbers: np.ndarray) -> None:
    if not np.isfinite(numbers).all():
        precision = str(runner.model.dtype).removeprefix("torch.")
        raise NoGradientError(
            f"nothing is estimated of {runner.model.ready.name}: its gradients in {precision} are not finite"
        )


def _go_back(
    runner: Runner,
    base: Trace,
    metric: Metric,
    towards: Towards | None,
    readers: Readers,
    cancelled: Callable[[], bool],
) -> None:
    """Show the gradients to their readers. Raises NoGradientError and Cancelled."""
    if not readers:
        return
    try:
        for rows in _rows_of(runner, base, towards, cancelled):
            _Back(runner, base, metric, rows, readers, cancelled).go()
    except (RuntimeError, MemoryError) as error:
        name = runner.model.ready.name
        if ran_out(error):
            raise NoGradientError(f"memory is too short for gradients of {len(base.ids)} tokens of {name}") from error
        if any(said in str(error) for said in WITHOUT_GRADIENT):
            raise NoGradientError(f"nothing is estimated of {name}: its blocks cannot be gone back through") from error
        raise


@dataclass(frozen=True, eq=False)
class _Rows:
    """Runs beside the base that are gone back through together. stream: the residual [row, pos, d_model] that enters
    each block and leaves the last; None: the base alone. weight: of each row's gradient."""

    stream: list[Tensor] | None
    weight: float


@torch.inference_mode()
def _rows_of(runner: Runner, base: Trace, towards: Towards | None, cancelled: Callable[[], bool]) -> list[_Rows]:
    if towards is None:
        return [_Rows(None, 1.0)]
    here = base.resid[0].whole
    there = here.clone()
    source = runner.run(towards.ids, (), (), cancelled).resid[0].whole
    at = [position for position, partner in enumerate(towards.partners) if partner >= 0]
    there[:, at] = source[:, [towards.partners[position] for position in at]]
    givens = runner.givens.of(base.edits, cancelled)
    edits = [(edit, EVERY_ROW) for edit in base.edits if edit.layer >= 0]
    calls = runner.forward.calls_for(base.ids)
    size = max(1, MOST_POSITIONS // len(base.ids))
    found = []
    for begin in range(0, towards.steps, size):
        numbers = torch.arange(begin, min(begin + size, towards.steps), device=here.device, dtype=torch.float32)
        far = ((numbers + 0.5) / towards.steps).to(here.dtype)[:, None, None]
        between = here + far * (there - here)
        passed = runner.forward.through(between, calls, range(runner.n_layers), None, edits, givens, (), 0, cancelled)
        found.append(_Rows(passed.stream, 1 / towards.steps))
    return found


class _Back:
    """The way back through the blocks of some runs."""

    def __init__(
        self,
        runner: Runner,
        base: Trace,
        metric: Metric,
        rows: _Rows,
        readers: Readers,
        cancelled: Callable[[], bool],
    ) -> None:
        self.runner, self.base, self.metric, self.rows, self.cancelled = runner, base, metric, rows, cancelled
        self.readers = readers

    def go(self) -> None:
        with torch.inference_mode(False), torch.enable_grad():
            leaving = self._of_the_metric()
            for layer in range(self.runner.n_layers - 1, min(self.readers) - 1, -1):
                if self.cancelled():
                    raise Cancelled
                leaving = self._through(layer, leaving)

    def _entering(self, layer: int) -> Tensor:
        """[row, pos, d_model] what enters a block, the base's first where there are others: there the differences are
        read."""
        base = self.base.resid[layer].whole
        return base.clone() if self.rows.stream is None else torch.cat([base, self.rows.stream[layer]])

    def _of_the_metric(self) -> Tensor:
        """[row, pos, d_model]: the metric's gradient at what leaves the last block."""
        at, metric = self.metric.position, self.metric
        final = normal(self._entering(self.runner.n_layers))
        last = final[:, at : at + 1].clone().requires_grad_()
        logits = self.runner.forward.readout.logits(last)[:, 0].float()
        difference = logits[:, metric.answer] - logits[:, metric.foil]
        [gradient] = torch.autograd.grad(difference.sum(), [last])
        whole = torch.zeros_like(final)
        whole[:, at : at + 1] = gradient
        return whole

    def _through(self, layer: int, leaving: Tensor) -> Tensor:
        """The gradient at what enters the block from that at what leaves it; its readers are shown theirs."""
        runner = self.runner
        entering = normal(self._entering(layer)).requires_grad_()
        edits = [edit for edit in self.base.edits if edit.layer == layer]
        givens = {edit: normal_given(given) for edit, given in runner.givens.of(tuple(edits), self.cancelled).items()}
        taps = taps_of([(edit, EVERY_ROW) for edit in edits], givens, (), 0, {}, runner.model.dtype)
        readers = self.readers.get(layer, {})
        probes = {hook: _Probe() for hook in readers}
        seen: list[Tensor] = []
        self._watch(taps, layer, probes, seen)
        call = normal_call(runner.forward.calls_for(self.base.ids)[layer])
        block = runner.forward.blocks.at(layer, entering, call, 0)
        output, _ = block.run(entering, call, None, taps)
        wanted = [entering, *(probe.added for probe in probes.values())]
        gradient, *others = torch.autograd.grad(output, wanted, leaving)
        with torch.no_grad():
            for (hook, probe), own in zip(probes.items(), others, strict=True):
                of_rows = own if self.rows.stream is None else own[1:]
                readers[hook](probe.value, of_rows.float().sum(0) * self.rows.weight, seen)
        return gradient

    def _watch(self, taps: Taps, layer: int, probes: dict[str, _Probe], seen: list[Tensor]) -> None:
        if any(hook.endswith(TABLES) for hook in probes):

            def note(scores: Tensor) -> None:
                seen[:] = [seen_in(scores[0, 0].detach(), self.runner.model.dtype)]

            taps.setdefault(f"blocks.{layer}.attn.{SCORES}", []).insert(0, note)
        for hook, probe in probes.items():
            taps.setdefault(hook, []).append(probe)


def _read(
    runner: Runner,
    cells: list[tuple[int, HookEdit]],
    value: Tensor,
    mean: Tensor,
    seen: list[Tensor],
    found: np.ndarray,
    cancelled: Callable[[], bool],
) -> None:
    """What the gradient at one hook point says of its cells is added to `found`."""
    together = _together([edit for _, edit in cells])
    givens = runner.givens.of(tuple(together), cancelled)
    _let_go(runner, together)
    changed = hook_function([(edit, EVERY_ROW) for edit in together], givens, 0, seen)(value)
    # What is masked with infinity stays so, and its difference is no number.
    products = mean * torch.where(changed == value, 0, changed - value)[0].float()
    # [pos, head or neuron], [pos] of the whole width.
    first = cells[0][1]
    if first.is_pattern:
        products = products.sum(-1).T
    elif first.index is None or products.dim() == 3:
        products = products.sum(-1)
    told = products.double().cpu().numpy()
    for number, edit in cells:
        at = told[edit.positions]
        found[number] += at.sum() if edit.index is None else at[:, list(edit.index)].sum()


def _let_go(runner: Runner, edits: Sequence[HookEdit]) -> None:
    """Of the source's attention only the block at hand is held: all of it is hundreds of megabytes."""
    for edit in edits:
        source = runner.store.known(edit.source_ids, ()) if edit.is_pattern else None
        if source is not None:
            source.taken.pop(Need(edit.hook), None)


class _Probe:
    """Looks at what passes a hook point, and adds nothing to it, of which the gradient is asked."""

    value: Tensor
    added: Tensor

    def __call__(self, value: Tensor) -> Tensor:
        self.value = value.detach()[:1]
        self.added = torch.zeros_like(value, requires_grad=True)
        return value + self.added


def _together(edits: Sequence[HookEdit]) -> list[HookEdit]:
    """One edit in place of those that differ only in their heads, or only in their positions; else they as they are."""
    first = edits[0]
    if all(replace(edit, index=first.index) == first for edit in edits) and first.index is not None:
        return [replace(first, index=tuple(sorted(i for edit in edits for i in edit.index or ())))]
    if all(edit.what == first.what and edit.keys == first.keys for edit in edits):
        return [replace(first, places=tuple(sorted(place for edit in edits for place in edit.places)))]
    return list(edits)


def normal_call(call: Call) -> Call:
    def each(value: Any) -> Any:
        if isinstance(value, Tensor):
            return normal(value)
        return tuple(map(each, value)) if type(value) in (tuple, list) else value

    return Call(tuple(map(each, call.args)), {name: each(value) for name, value in call.kwargs.items()})
