"""What the heads of earlier layers wrote of what a head reads, on the prompt of one run.

Behind the norm before attention, whose scale is held at the run's, a head reads a sum of all that was written to the
stream. A query is a linear map of it, a key and a value are, too, and an attention score is linear in either, rotary
positions included. So the part that one earlier head's write has in them is told without a run: it is a product of that
write with one direction for each head that reads (Elhage et al. 2021, virtual weights; here with the activations).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from mechtui.engine import weights
from mechtui.engine.apply import EVERY_ROW
from mechtui.engine.circuits import Kind
from mechtui.engine.dictionaries.acting import Given, normal, normal_given, of_places
from mechtui.engine.errors import Cancelled, SessionError
from mechtui.engine.forward.paths import Receiver, Sent
from mechtui.engine.gradients import WITHOUT_GRADIENT, normal_call
from mechtui.engine.needs import Need
from mechtui.engine.path_check import PathCheck
from mechtui.engine.run import Run
from mechtui.engine.runner import Runner
from mechtui.session.hook_edits import HookEdit, Sender

# Numbers of all heads' writes that are held at once: 64 MB.
AT_ONCE = 16_000_000


@dataclass(frozen=True, eq=False)
class Contributions:
    """values [later head, earlier head], heads counted through the layers: of queries and keys the part, in nats, of
    the later head's attention score from the query to its key; of values the part of the value at that key, along
    itself: all that was ever written there is 1. NaN where the earlier head stands in no earlier layer, where an edit
    stands in what the later head reads, and where its query does not see the key. score [later head]: that attention
    score; NaN of values, and of heads of the first layer."""

    values: np.ndarray
    score: np.ndarray


class Reading:
    """One run, read at one query, and for each later head at one key."""

    def __init__(
        self,
        runner: Runner,
        check: PathCheck,
        run: Run,
        kind: Kind,
        query: int,
        keys: Sequence[int],
        cancelled: Callable[[], bool],
    ) -> None:
        """keys: of every head, counted through the layers. In linear mode patterns are the clean run's, and so is all
        that makes them."""
        self.runner, self.check, self.cancelled = runner, check, cancelled
        self.run = run if kind == "V" else run.scales
        self.kind, self.part = kind, kind.lower()
        self.query, self.keys = query, keys
        shape = runner.model.shape
        self.n_layers, self.n_heads = shape.n_layers, shape.n_heads
        self.group = shape.n_heads // shape.n_kv_heads
        self.at = [query] * len(keys) if kind == "Q" else list(keys)

    @torch.inference_mode()
    def contributions(self) -> Contributions:
        """Raises SessionError and EditError for a model of which that cannot be told, and Cancelled."""
        count = self.n_layers * self.n_heads
        first = self.run.scales.resid(0)
        reads = torch.zeros(count, first.shape[-1], device=first.device)
        score = torch.full((count,), torch.nan)
        moved: list[tuple[int, int, Tensor]] = []
        blank: list[int] = []
        for layer in range(1, self.n_layers):
            if self.cancelled():
                raise Cancelled
            self.check.check_sender(Sender(f"blocks.{layer - 1}.attn.hook_z", layer - 1, (0,)), self.cancelled)
            self.check.check_reading(layer, self.part, self.cancelled)
            own = slice(layer * self.n_heads, (layer + 1) * self.n_heads)
            slopes, score[own] = self._slopes(layer)
            reads[own] = self._reads(layer, slopes, moved).to(reads.device)
            blank += [head for head in range(own.start, own.stop) if self._is_set(layer, head)]
        values = self._products(reads)
        for row, column, change in moved:
            values[row, column] += float(reads[row] @ change.to(reads.device))
        values[blank] = torch.nan
        if self.kind != "V":
            values[score.isnan()] = torch.nan
        layers = torch.arange(count) // self.n_heads
        values[layers[None, :] >= layers[:, None]] = torch.nan
        return Contributions(values.numpy(), score.numpy())

    def _index(self, head: int) -> int:
        """The number within its layer of a head's query, or of its group's key or value."""
        own = head % self.n_heads
        return own if self.kind == "Q" else own // self.group

    def _is_set(self, layer: int, head: int) -> bool:
        """Whether an edit makes another of what the head reads."""
        hook, index, at = f"blocks.{layer}.attn.hook_{self.part}", self._index(head), self.at[head]
        return any(
            each.hook == hook and index in (each.index or ()) and at in each.positions for each in self.run.edits
        )

    def _slopes(self, layer: int) -> tuple[Tensor, Tensor]:
        """[head, d_head]: by what each head's query, key or value is multiplied; [head]: its attention score."""
        begin = layer * self.n_heads
        if self.kind == "V":
            hook = self.run.take(Need(f"blocks.{layer}.attn.hook_v")).float()
            values = torch.stack([hook[self.keys[begin + h], h // self.group] for h in range(self.n_heads)])
            return values / values.square().sum(-1, keepdim=True), torch.full((self.n_heads,), torch.nan)
        try:
            slopes, score = self._gradients(layer, self.keys[begin : begin + self.n_heads])
        except RuntimeError as error:
            if any(said in str(error) for said in WITHOUT_GRADIENT):
                name = self.runner.model.ready.name
                raise SessionError(f"{name} cannot be gone back through, so its scores are not taken apart") from error
            raise
        hidden = score <= torch.finfo(self.runner.model.dtype).min / 2
        return slopes, score.float().masked_fill(hidden, torch.nan).cpu()

    def _gradients(self, layer: int, keys: Sequence[int]) -> tuple[Tensor, Tensor]:
        """The same of queries or keys: the gradient of each head's score, which is linear in them."""
        runner, trace = self.runner, self.run.trace
        edits = tuple(each for each in trace.edits if each.layer == layer)
        givens = {edit: normal_given(given) for edit, given in runner.givens.of(edits, self.cancelled).items()}
        sent = runner.sent(edits, self.cancelled, trace, layer)
        probes: list[Tensor] = []
        seen: list[Tensor] = []

        def probe(value: Tensor) -> Tensor:
            probes.append(torch.zeros_like(value, requires_grad=True))
            return value + probes[0]

        def note(scores: Tensor) -> None:
            seen.append(scores[0, range(self.n_heads), self.query, list(keys)])

        begin = f"blocks.{layer}.attn.hook_"
        with torch.inference_mode(False), torch.enable_grad():
            runner.forward.heads(
                normal(trace.resid[layer].whole),
                normal_call(runner.forward.calls_for(trace.ids)[layer]),
                layer,
                None,
                [(edit, EVERY_ROW) for edit in edits],
                givens,
                0,
                sent,
                {f"{begin}{self.part}": [probe], f"{begin}attn_scores": [note]},
            )
            score = seen[0].float()
            if self.kind == "Q":
                [gradient] = torch.autograd.grad(score.sum(), probes)
                return gradient[0, self.query].float(), score.detach()
            slopes = torch.zeros(self.n_heads, probes[0].shape[-1], device=score.device)
            # Heads of one group share their keys: of each group one at a time.
            for one in range(self.group):
                heads = list(range(one, self.n_heads, self.group))
                [gradient] = torch.autograd.grad(score[heads].sum(), probes, retain_graph=one < self.group - 1)
                groups = list(range(len(heads)))
                slopes[heads] = gradient[0, [keys[head] for head in heads], groups].float()
        return slopes, score.detach()

    def _reads(self, layer: int, slopes: Tensor, moved: list[tuple[int, int, Tensor]]) -> Tensor:
        """[head, d_model]: what each head reads a write by. moved: takes (later head, earlier head, by what its write
        is another where the later head reads it) of edits of paths."""
        table = self.runner.forward.weights
        norm, entering = table.norm(layer), self._entering(layer)
        edits = [edit for edit in self.run.edits if edit.hook == f"blocks.{layer}.hook_{self.part}_input"]
        found = []
        for number, slope in enumerate(slopes):
            head = layer * self.n_heads + number
            at, index = self.at[head], self._index(head)
            stream = entering[at].float()
            own = [edit for edit in edits if index in (edit.index or ()) and at in edit.positions]
            if own:
                changed = self._moved(head, own, at, moved)
                if self.run.scales is self.run:
                    stream = stream + changed
            direction = table.reads(layer, self.part, index) @ slope
            found.append(norm.transposed(direction) / norm.scale(stream))
        return torch.stack(found)

    def _entering(self, layer: int) -> Tensor:
        """[pos, d_model]: the stream that the layer reads, edits of it done."""
        return self.run.scales.take(Need(f"blocks.{layer}.hook_resid_pre"))

    def _moved(self, head: int, edits: Sequence[HookEdit], at: int, moved: list[tuple[int, int, Tensor]]) -> Tensor:
        """[d_model]: by what the stream that a head reads is another where paths end. Raises SessionError."""
        givens = dict(self.runner.givens.of(tuple(edits), self.cancelled))
        each = [alone for edit in edits for alone in self._apart(edit, givens)]
        senders = {edit.sender.hook for edit in (*edits, *each) if edit.sender is not None}
        sent = Sent(self.runner.forward.weights, (), {hook: self.run.take(Need(hook)) for hook in senders})
        entering = self._entering(head // self.n_heads)[None]

        def added(some: Sequence[HookEdit]) -> Tensor:
            receiver = Receiver([(edit, EVERY_ROW) for edit in some], givens, 0, sent)
            return receiver.added(entering, [at])[0, 0]

        for earlier, alone in {self._sends(alone): alone for alone in reversed(each)}.items():
            moved.append((head, earlier, added([alone])))
        return added(edits)

    def _sends(self, alone: HookEdit) -> int:
        """The head that is its sender, counted through the layers."""
        assert alone.sender is not None
        assert alone.sender.heads is not None
        return alone.sender.layer * self.n_heads + alone.sender.heads[0]

    def _apart(self, edit: HookEdit, givens: dict[HookEdit, Given]) -> Iterator[HookEdit]:
        """An edit of a path as one for each head that sends on it. givens: what they take is added. Raises
        SessionError."""
        sender = edit.sender
        assert sender is not None
        if sender.heads is not None:
            for number, head in enumerate(sender.heads):
                alone = replace(edit, sender=replace(sender, heads=(head,)))
                if (given := of_places(givens.get(edit))) is not None:
                    givens[alone] = given[:, [number]]
                yield alone
        elif sender.hook.endswith("hook_attn_out"):
            if edit in givens:
                what = f"what each head of layer {sender.layer} writes is not known to layer {edit.layer}"
                raise SessionError(f"{what} while the path of all of them together is patched: patch them one by one")
            hook = f"blocks.{sender.layer}.attn.hook_z"
            for head in range(self.n_heads):
                yield replace(edit, sender=Sender(hook, sender.layer, (head,)))

    def _products(self, reads: Tensor) -> Tensor:
        """[later head, earlier head]: of each write, at the position where the later head reads it."""
        values = torch.full((len(reads), len(reads)), torch.nan)
        places = sorted(set(self.at[self.n_heads :]))
        size = max(AT_ONCE // reads.numel(), 1)
        for begin in range(0, len(places), size):
            here = places[begin : begin + size]
            wrote = torch.cat([self._wrote(layer, here).to(reads.device) for layer in range(self.n_layers - 1)], dim=1)
            for position, writes in zip(here, wrote, strict=True):
                rows = [head for head, at in enumerate(self.at) if at == position]
                values[rows, : wrote.shape[1]] = (reads[rows] @ writes.T).cpu()
        return values

    def _wrote(self, layer: int, positions: list[int]) -> Tensor:
        """[position, head, d_model]: what a layer's heads write to the stream."""
        if self.cancelled():
            raise Cancelled
        z = self.run.take(Need(f"blocks.{layer}.attn.hook_z"))[positions].float()
        return torch.einsum("phd,hdm->phm", z, weights.W_O(self.runner.model.bridge, layer).float().to(z.device))
