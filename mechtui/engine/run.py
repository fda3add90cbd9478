"""One run, as whoever answers a question sees it."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor

from mechtui.engine import gradients, in_place, reading
from mechtui.engine.apply import EVERY_ROW, hook_function
from mechtui.engine.dictionaries import Dictionary
from mechtui.engine.errors import SessionError
from mechtui.engine.memory import ran_out
from mechtui.engine.needs import Need
from mechtui.engine.overlap import in_order
from mechtui.engine.runner import Runner
from mechtui.engine.trace import Trace
from mechtui.engine.variants import Cost, Look, Part, cost_of, parts_of
from mechtui.session.document import Sae
from mechtui.session.hook_edits import HookEdit, HookEdits, Ids

# Variants of a run whose logits are kept; a sweep has more and is not asked for twice.
MOST_VARIANTS = 32

Made = TypeVar("Made")


class Run:
    """One forward pass. Tensors have no batch axis and lie on the model's device."""

    def __init__(self, runner: Runner, trace: Trace, cancelled: Callable[[], bool]) -> None:
        self.trace = trace
        self._runner = runner
        self._readout = runner.forward.readout
        self.cancelled = cancelled

    @property
    def ids(self) -> Ids:
        return self.trace.ids

    @property
    def edits(self) -> HookEdits:
        """What acted on it; empty in the clean run."""
        return self.trace.edits

    @property
    def scales(self) -> Run:
        """The run whose norms' scales this one is read with: itself; of the linear model, the clean run."""
        return self

    def take(self, need: Need) -> Tensor:
        """What a need names. If it was not kept while the run passed, its block runs once more."""
        return self._runner.take(self.trace, need, self.cancelled)

    def activation(self, hook: str) -> Tensor:
        """All of one activation: [pos, ...], or [head, query, key] for patterns and scores."""
        return self.take(Need(hook))

    @torch.inference_mode()
    def change_by(self, edit: HookEdit, position: int) -> Tensor:
        """[...] float32: by how much one more edit, behind those of the run, would change its activation at a
        position."""
        before = self.take(Need(edit.hook))
        givens = self._runner.givens.of((edit,), self.cancelled)

        def at(hook: str, _rows: Sequence[int], positions: Sequence[int]) -> Tensor:
            return self.take(Need(hook))[None, list(positions)]

        after = hook_function([(edit, EVERY_ROW)], givens, at=at)(before[None])[0]
        return after[position].float() - before[position].float()

    def resid(self, layer: int) -> Tensor:
        """[pos, d_model]: the residual stream that enters block `layer`, before any edit there; n_layers: that leaves
        the last block. It is always kept: no block runs."""
        return self.trace.resid[layer].whole[0]

    def resid_at(self, layer: int, position: int) -> Tensor:
        """[d_model]: the same at one position, counted from 0."""
        return self.trace.resid[layer].part(position, position + 1)[0, 0]

    def residual_norms(self) -> list[Tensor]:
        """Per site (L0.pre ... L{n-1}.pre, L{n-1}.post) the L2 norms [pos]."""
        edited = {edit.hook for edit in self.trace.edits}
        norms = []
        for layer in range(len(self.trace.resid)):
            hook = f"blocks.{layer}.hook_resid_pre"
            norms.append(self.take(Need(hook, "norm")) if hook in edited else reading.norm(self.trace, layer))
        return norms

    def logits(self, positions: slice | list[int] = slice(None)) -> Tensor:
        """[pos, d_vocab] float32."""
        return reading.logits(self._readout, self.trace, positions)

    @torch.inference_mode()
    def logits_with(self, change: Tensor, position: int) -> Tensor:
        """[row, d_vocab] float32: the logits at a position, were `change` [row, d_model] added to what leaves the last
        block there."""
        final = self.trace.resid[-1].part(position, position + 1)[0]
        return self._readout.logits((final.float() + change.to(final.device)).to(final.dtype)[None])[0].float()

    def surprise(self) -> Tensor:
        """[pos]: -ln p(token | the tokens before it) in nats; NaN for the first."""
        return reading.surprise(self._readout, self.trace)

    def surprise_with(self, hook: str, values: Sequence[Tensor], positions: Sequence[int]) -> list[Tensor]:
        """[pos] for each of several: the same, were these values [position, width] what passes a hook at these
        positions, behind the run's own edits there. Heads stand side by side. Raises Cancelled."""
        return in_place.surprise(self._runner, self.trace, hook, values, positions, self.cancelled)

    def best(self, position: int, count: int) -> list[int]:
        """The ids of the `count` largest logits at a position, the largest first; a small vocabulary has fewer."""
        return reading.best(self._readout, self.trace, position, count)

    @torch.inference_mode()
    def variants(self, variants: Sequence[HookEdits], position: int) -> list[Tensor]:
        """Logits [d_vocab] at `position` of many runs of these tokens, each with its own edits in place of this
        run's. They run in batches, from where each leaves this run."""
        variants = [in_order(edits) for edits in variants]
        found: dict[int, Tensor] = {}
        for part in self.parts(variants, position):
            found |= dict(zip(part.numbers, part.logits, strict=True))
        results = [found[number] for number in range(len(variants))]
        if len(variants) <= MOST_VARIANTS:
            # Of a list of edits one changes, and the others are asked for again.
            self.trace.variants = {(each, position): logits for each, logits in zip(variants, results, strict=True)}
        return results

    def parts(
        self,
        variants: Sequence[HookEdits],
        position: int,
        first: Collection[int] = (),
        look: Look | None = None,
    ) -> Iterator[Part]:
        """The same, batch by batch as they come, with what is looked at on the way. first: numbers of those that come
        before the others. Raises SessionError where memory is too short for a single one."""
        try:
            yield from parts_of(self._runner, self.trace, variants, position, self.cancelled, first, look)
        except (RuntimeError, MemoryError) as error:
            if not ran_out(error):
                raise
            raise SessionError(
                f"memory is too short for a single run of {len(self.ids)} tokens beside what is kept: take a shorter "
                "prompt, a smaller model or float16"
            ) from error

    def cost(self, variants: Sequence[HookEdits], position: int, timed: bool = True) -> Cost:
        """How many of them would have to run, about how long and in how much memory. timed: a few of them are run and
        timed, where no batch of a text so long was."""
        return cost_of(self._runner, self.trace, variants, position, self.cancelled, timed)

    def estimates(
        self, cells: Sequence[HookEdits], metric: gradients.Metric, towards: gradients.Towards | None = None
    ) -> np.ndarray:
        """[cell] float32: about by how much the metric changes if a cell's edits are added to this run's, see
        `mechtui.engine.gradients`. The last ones stay with the run. Raises NoGradientError."""
        key = (tuple(cells), metric, towards)
        if self.trace.estimates is None or self.trace.estimates[0] != key:
            made = gradients.estimates(self._runner, self.trace, cells, metric, towards, self.cancelled)
            self.trace.estimates = (key, made)
        return self.trace.estimates[1]

    def gradient(
        self, hook: str, layer: int, metric: gradients.Metric, towards: gradients.Towards | None = None
    ) -> Tensor:
        """[pos, ...] float32: the metric's gradient at what passes a hook point of a block. Raises NoGradientError."""
        return gradients.gradient_at(self._runner, self.trace, hook, layer, metric, towards, self.cancelled)

    def dictionary(self, sae: Sae) -> Dictionary:
        """The dictionary of features that a line names. Raises DictionaryError."""
        return self._runner.dictionaries.value(sae)

    def read_clean(self, ids: Ids, need: Need) -> Tensor:
        """What a need names of the clean run of other tokens. Raises Cancelled."""
        return self._runner.read(ids, need, self.cancelled)

    def continued(self, id: int, edits: HookEdits) -> Run:
        """The run of these tokens and one more, with these edits. Only what is new runs; nothing else keeps it."""
        trace = self._runner.run((*self.ids, id), edits, (), self.cancelled, after=self.trace)
        return Run(self._runner, trace, self.cancelled)

    def remembered(self, kind: type, key: object, answer: Callable[[], Made]) -> Made:
        """The run's last answer of a kind, if the key is the same, else a new one. kind: a question's, or what of its
        answer is kept apart. key: all besides the run that decides the answer. While edits change, the clean run's
        answers stay."""
        last = self.trace.answers.get(kind)
        if last is None or last[0] != key:
            self.trace.answers[kind] = last = (key, answer())
        found: Made = last[1]
        return found
