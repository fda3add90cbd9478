"""A forward pass in pieces: what comes before the blocks, the blocks from any layer on, what comes after.

Which blocks run, from which residual and on which keys and values, is decided here; how a block runs is the block's
own affair. A whole run made of these pieces is bit-equal to the bridge's own forward, but for blocks with packed
weights, which are equal to rounding.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel
from transformers.cache_utils import Cache

from mechtui.engine.apply import EVERY_ROW, Givens, Rows
from mechtui.engine.errors import Cancelled
from mechtui.engine.forward.cache import cache_name, new_cache
from mechtui.engine.forward.calls import Call, recorded_call
from mechtui.engine.forward.choice import Blocks
from mechtui.engine.forward.hook_points import HookPoints
from mechtui.engine.forward.paths import Sent, Weights
from mechtui.engine.forward.replaced import Reached, replaced
from mechtui.engine.forward.taps import Taps, taps_of
from mechtui.engine.needs import Need
from mechtui.engine.readout import Readout
from mechtui.session.hook_edits import HookEdit

# Lengths of text whose blocks' arguments are kept.
MOST_CALLS = 4


@dataclass(frozen=True)
class Passed:
    """What a pass through blocks leaves.

    stream: the residual [batch, pos, d_model] entering each of them and leaving the last. taken: what was needed.
    z: what the heads of each gave, before any edit [batch, pos, head * d_head]; empty where the model has no such
    point.
    """

    stream: list[Tensor]
    taken: dict[Need, Tensor]
    z: list[Tensor]


class Forward:
    """One model's forward pass."""

    def __init__(self, bridge: Any, device: torch.device, folded: bool = False) -> None:
        """folded: the norms' weights lie in what reads them."""
        self.device = device
        self.model = bridge.original_model
        self.points = HookPoints(bridge)
        self.n_layers = len(self.points.blocks)
        self.blocks = Blocks(self.points, int(bridge.cfg.d_head), folded, self._calls_of)
        self.readout = Readout(bridge)
        self.weights = Weights(bridge)
        self._cache_name = cache_name(self.model)
        self._dtype: torch.dtype = next(self.model.parameters()).dtype
        self._calls: dict[int, list[Call]] = {}  # by the number of tokens, the latest last
        config = getattr(self.model, "config", None)
        windows = getattr(config, "sliding_window", None) and getattr(config, "use_sliding_window", True)
        # Whether a query may not see every key before it.
        self.windows = bool(windows) or "local" in getattr(config, "attention_layers", ())
        # A window forgets keys, so what it keeps of a longer run is not what a shorter one needs.
        self.caches = isinstance(self.model, PreTrainedModel) and not windows

    def empty_cache(self) -> Cache | None:
        """A cache with nothing before its positions; None where the model's runs cannot be resumed by position."""
        return new_cache([None] * self.n_layers) if self.caches else None

    def prelude(
        self,
        ids: Sequence[int],
        edits: Sequence[HookEdit],
        givens: Givens,
        needs: Sequence[Need],
        past: Cache | None,
        offset: int,
        sent: Sent | None = None,
    ) -> tuple[Tensor, list[Call], dict[Need, Tensor]]:
        """Everything before block 0: the residual that enters it [1, pos, d_model], the blocks' arguments, what was
        needed.

        ids: the new tokens; they follow the `offset` positions whose keys and values `past` holds. sent: notes what the
        embeddings send.
        """
        taken: dict[Need, Tensor] = {}
        taps = taps_of([(edit, EVERY_ROW) for edit in edits], givens, needs, offset, taken, self._dtype, sent)
        first, calls = self._before_blocks([ids], taps, past)
        if not offset:
            self._calls.pop(len(ids), None)
            self._calls[len(ids)] = calls
            if len(self._calls) > MOST_CALLS:
                del self._calls[next(iter(self._calls))]
        return first, calls, taken

    def embedded(
        self, texts: Sequence[Sequence[int]], edits: Sequence[tuple[HookEdit, Rows]], givens: Givens, sent: Sent
    ) -> Tensor:
        """The residual that enters block 0, of texts of one length [text, pos, d_model]. sent: notes what these
        send."""
        return self._before_blocks(texts, taps_of(edits, givens, (), 0, {}, self._dtype, sent), self.empty_cache())[0]

    def _before_blocks(
        self, texts: Sequence[Sequence[int]], taps: Taps, past: Cache | None
    ) -> tuple[Tensor, list[Call]]:
        """What block 0 would be given, and the other arguments of every block. texts: of one length."""
        calls: list[Call] = []
        first: list[Tensor] = []
        in_tuples = self._in_tuples

        def skip(number: int) -> Callable[..., Any]:
            def forward(*args: Any, **kwargs: Any) -> Any:
                residual, call = recorded_call(args, kwargs)
                calls.append(call)
                if number == 0:
                    first.append(residual)
                if number == self.n_layers - 1:
                    raise Reached
                return (residual,) if in_tuples else residual

            return forward

        tokens = torch.tensor([list(ids) for ids in texts], device=self.device)
        arguments = {self._cache_name: past, "use_cache": True} if self.caches else {}
        with ExitStack() as stack:
            stack.enter_context(self.points.watched(taps, -1))
            for number, block in enumerate(self.points.blocks):
                stack.enter_context(replaced(block, skip(number)))
            with suppress(Reached):
                self.model(tokens, **arguments)
        return first[0], calls

    @cached_property
    def _in_tuples(self) -> bool:
        """Whether the model's blocks give what they give in a tuple, as whoever calls them expects. Block 0 runs once,
        on one token, to tell."""
        gave: list[Any] = []

        def stop(_module: nn.Module, _inputs: Any, output: Any) -> None:
            gave.append(output)
            raise Reached

        first = self.blocks.bridged[0]
        handle = first.module.register_forward_hook(stop)
        try:
            with first.attending({}), suppress(Reached):
                self.model(torch.tensor([[0]], device=self.device), **({"use_cache": False} if self.caches else {}))
        finally:
            handle.remove()
        first.let_go_of_pattern()
        return isinstance(gave[0], tuple)

    def calls_for(self, ids: Sequence[int]) -> list[Call]:
        """The blocks' arguments (masks, rotations) for a whole run of that length; tokens do not matter."""
        if len(ids) not in self._calls:
            self.prelude(ids, (), {}, (), self.empty_cache(), 0)
        return self._calls[len(ids)]

    def _calls_of(self, count: int) -> list[Call]:
        return self.calls_for([0] * count)

    def through(
        self,
        residual: Tensor,
        calls: Sequence[Call],
        layers: range,
        cache: Cache | None,
        edits: Sequence[tuple[HookEdit, Rows]],
        givens: Givens,
        needs: Sequence[Need],
        offset: int,
        cancelled: Callable[[], bool],
        z: Tensor | None = None,
        looks: Taps | None = None,
        sent: Sent | None = None,
    ) -> Passed:
        """Blocks `layers`, from the residual [batch, pos, d_model] that enters the first of them.

        z: what the heads of the first of them gave; then that block begins behind them. looks: what is shown the
        values at a hook, of the whole batch. sent: what the senders of paths gave so far. Raises
        Cancelled between two blocks.
        """
        stream = [residual]
        taken: dict[Need, Tensor] = {}
        heads: list[Tensor] = []
        taps = taps_of(edits, givens, needs, offset, taken, self._dtype, sent)
        for hook, functions in (looks or {}).items():
            taps.setdefault(hook, []).extend(functions)
        # One z that stands for many variants is laid out for each: linear modules may view what they get.
        z = None if z is None else z.contiguous()
        for layer in layers:
            if cancelled():
                raise Cancelled
            block = self.blocks.at(layer, stream[-1], calls[layer], offset)
            output, gave = block.run(stream[-1], calls[layer], cache, taps, z if layer == layers.start else None)
            stream.append(output)
            if gave is not None:
                heads.append(gave)
        return Passed(stream, taken, heads)

    def heads(
        self,
        residual: Tensor,
        call: Call,
        layer: int,
        cache: Cache | None,
        edits: Sequence[tuple[HookEdit, Rows]],
        givens: Givens,
        offset: int,
        sent: Sent | None = None,
        looks: Taps | None = None,
    ) -> Tensor:
        """What the heads of one block give [batch, pos, head * d_head], before any edit at z. Nothing behind runs."""
        taps = taps_of(edits, givens, (), offset, {}, self._dtype, sent)
        for hook, functions in (looks or {}).items():
            taps.setdefault(hook, []).extend(functions)
        return self.blocks.at(layer, residual, call, offset).heads(residual, call, cache, taps)

    def logits(self, residual: Tensor) -> Tensor:
        """The final norm and the unembedding: [..., pos, d_model] -> [..., pos, d_vocab]."""
        return self.readout.logits(residual)
