"""What the bridge's own model computes before its blocks: it is run up to there."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from mechtui.engine.forward.block import Body
from mechtui.engine.forward.bridged_cache import cache_name, is_cache, new_cache
from mechtui.engine.forward.cache import Cache, KeysValues
from mechtui.engine.forward.calls import Call, recorded_call
from mechtui.engine.forward.choice import ChosenBlocks
from mechtui.engine.forward.hook_points import HookPoints
from mechtui.engine.forward.replaced import Reached, replaced
from mechtui.engine.forward.taps import Taps


class BridgedBody(Body):
    """folded: whether the norms' weights lie in what reads them. calls_of: the arguments of each block for a text of so
    many tokens."""

    def __init__(
        self, bridge: Any, device: torch.device, folded: bool, calls_of: Callable[[int], Sequence[Call]]
    ) -> None:
        self.device = device
        self.model = bridge.original_model
        self.points = HookPoints(bridge)
        self.blocks: ChosenBlocks = ChosenBlocks(self.points, int(bridge.cfg.d_head), folded, calls_of)
        self.clips = self.points.clips
        self._cache_name = cache_name(self.model)
        config = getattr(self.model, "config", None)
        windows = getattr(config, "sliding_window", None) and getattr(config, "use_sliding_window", True)
        self.windows = bool(windows) or "local" in getattr(config, "attention_layers", ())
        # A window forgets keys, so what it keeps of a longer run is not what a shorter one needs.
        self.caches = isinstance(self.model, PreTrainedModel) and not windows

    def new_cache(self, before: Sequence[KeysValues | None]) -> Cache:
        cache: Cache = new_cache(before)
        return cache

    def before_blocks(
        self, texts: Sequence[Sequence[int]], taps: Taps, past: Cache | None
    ) -> tuple[Tensor, list[Call]]:
        calls: list[Call] = []
        first: list[Tensor] = []
        in_tuples = self._in_tuples

        def skip(number: int) -> Callable[..., Any]:
            def forward(*args: Any, **kwargs: Any) -> Any:
                residual, call = recorded_call(args, kwargs, is_cache)
                calls.append(call)
                if number == 0:
                    first.append(residual)
                if number == len(self.points.blocks) - 1:
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
