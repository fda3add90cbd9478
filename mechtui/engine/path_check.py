"""Whether a model's heads write and read as paths between them take it: tried out on a few tokens, not believed."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from mechtui.engine.needs import Need
from mechtui.engine.runner import Runner
from mechtui.engine.trace import Trace
from mechtui.session.hook_edits import EditError, HookEdit, Sender

# Tokens on which it is tried out.
TRIAL = 8


class PathCheck:
    """Of one model. What was found is kept by layer."""

    def __init__(self, runner: Runner) -> None:
        self._runner = runner
        self._found: dict[tuple[str, int], bool] = {}

    def check(self, edit: HookEdit, cancelled: Callable[[], bool]) -> None:
        """Raises EditError where the edit acts on a path that this model has not, or none that can be told; and
        Cancelled."""
        if edit.sender is None:
            return
        self.check_sender(edit.sender, cancelled)
        if edit.hook.endswith("_input"):
            self.check_reading(edit.layer, edit.hook.removesuffix("_input")[-1], cancelled)

    def check_reading(self, layer: int, part: str, cancelled: Callable[[], bool]) -> None:
        """Raises EditError where a layer's heads do more to what they read by `part`, one of q, k and v, than take a
        norm and a product; and Cancelled."""
        if not self._holds(f"blocks.{layer}.hook_{part}_input", layer, cancelled):
            name = self._runner.model.ready.name
            raise EditError(
                f"{name} does more to what the heads of layer {layer} read by their {part} than a norm and a "
                "product with a matrix, so no path ends there"
            )

    def check_sender(self, sender: Sender, cancelled: Callable[[], bool]) -> None:
        """Raises EditError where what it writes cannot be told; and Cancelled."""
        name = self._runner.model.ready.name
        if sender.heads is not None and not self._holds(sender.hook, sender.layer, cancelled):
            raise EditError(
                f"what single heads of layer {sender.layer} write in {name} cannot be told apart: take "
                f"L{sender.layer}.attn as the sender"
            )

    def _holds(self, hook: str, layer: int, cancelled: Callable[[], bool]) -> bool:
        if (hook, layer) not in self._found:
            try:
                self._found[hook, layer] = self._try(hook, layer, cancelled)
            except (ValueError, AttributeError):  # weights or norms of another kind
                self._found[hook, layer] = False
        return self._found[hook, layer]

    @torch.inference_mode()
    def _try(self, hook: str, layer: int, cancelled: Callable[[], bool]) -> bool:
        runner = self._runner
        shape = runner.model.shape
        trace = runner.run(tuple(range(min(TRIAL, shape.d_vocab, shape.n_ctx))), (), (), cancelled)
        made, seen = (self._written if hook.endswith("hook_z") else self._read)(hook, layer, trace, cancelled)
        # Biases are the same at all positions.
        made, seen = (each.float().flatten(1) - each.float().flatten(1)[:1] for each in (made, seen))
        rounding = 2 * torch.finfo(runner.model.dtype).eps ** 0.5
        return bool((made - seen).norm() <= rounding * seen.norm())

    def _written(self, hook: str, layer: int, trace: Trace, cancelled: Callable[[], bool]) -> tuple[Tensor, Tensor]:
        """The sum of what the layer's heads write, and what its attention does."""
        z, out = (self._runner.take(trace, Need(each), cancelled) for each in (hook, f"blocks.{layer}.hook_attn_out"))
        sender, weights = Sender(hook, layer), self._runner.forward.weights
        heads = range(z.shape[1])
        return torch.stack([weights.written(sender, head, z).to(out.device) for head in heads]).sum(0), out

    def _read(self, hook: str, layer: int, trace: Trace, cancelled: Callable[[], bool]) -> tuple[Tensor, Tensor]:
        """What norm and weights make of the stream, and what the layer does."""
        part = hook.removesuffix("_input")[-1]
        value = self._runner.take(trace, Need(f"blocks.{layer}.attn.hook_{part}"), cancelled)
        if self._runner.forward.clips:
            raise ValueError("it clips what it projects")
        weights = self._runner.forward.weights
        normed = weights.norm(layer).of(trace.resid[layer].whole[0])
        heads = range(value.shape[1])
        return torch.stack([normed @ weights.reads(layer, part, head) for head in heads], dim=1), value
