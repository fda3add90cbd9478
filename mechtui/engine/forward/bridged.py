"""A model's own block, run by the bridge around it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext, suppress
from typing import Any

from torch import Tensor, nn

from mechtui.engine.forward.block import Block, SomeRun
from mechtui.engine.forward.cache import Cache
from mechtui.engine.forward.calls import Call
from mechtui.engine.forward.from_z import beginning_at, recorded
from mechtui.engine.forward.hook_points import HookPoints
from mechtui.engine.forward.own_attention import OwnAttention
from mechtui.engine.forward.replaced import Reached
from mechtui.engine.forward.taps import Taps, tap_in


class BridgedBlock(Block):
    """attention: the model's own, where it may run; without it the bridge computes the attention itself. z_point: where
    z passes, if it does. exact_from_z: whether blocks of this model give the same from a z."""

    def __init__(
        self,
        points: HookPoints,
        layer: int,
        attention: OwnAttention | None,
        z_point: nn.Module | None,
        exact_from_z: Callable[[SomeRun], bool],
    ) -> None:
        self.points, self.layer = points, layer
        self.module: Any = points.blocks[layer]
        self.attention = attention
        self._z_point = z_point
        self._exact_from_z = exact_from_z

    @property
    def has_z(self) -> bool:
        return self._z_point is not None

    def run(
        self, residual: Tensor, call: Call, cache: Cache | None, taps: Taps, z: Tensor | None = None
    ) -> tuple[Tensor, Tensor | None]:
        gave: list[Tensor] = []
        noted = nullcontext() if self._z_point is None else recorded(self._z_point, gave)
        with noted, self.attending(taps, z):
            output = call(self.module, residual, cache)
        self.let_go_of_pattern()
        return output, gave[0] if len(gave) == 1 else None

    def heads(self, residual: Tensor, call: Call, cache: Cache | None, taps: Taps) -> Tensor:
        assert self._z_point is not None
        gave: list[Tensor] = []

        def stop(_module: nn.Module, _inputs: Any, output: Tensor) -> None:
            gave.append(output)
            raise Reached

        handle = self._z_point.register_forward_hook(stop)
        try:
            with self.attending(taps), suppress(Reached):
                call(self.module, residual, cache)
        finally:
            handle.remove()
        self.let_go_of_pattern()
        return gave[0]

    def begins_at_z(self, some_run: SomeRun) -> bool:
        return self._exact_from_z(some_run)

    @contextmanager
    def attending(self, taps: Taps, z: Tensor | None = None) -> Iterator[None]:
        """Within, the block's attention is the one it has here, or gives what follows from a z; and what passes in the
        block passes the taps."""
        if z is not None:
            with self.points.watched(taps, self.layer), beginning_at(self.module, z):
                yield
        elif self.attention is not None:
            with (
                self.points.watched(taps, self.layer, self.attention.hooks),
                self.attention.open(tap_in(self.layer, taps)),
            ):
                yield
        else:
            with self.points.watched(taps, self.layer):
                yield

    def let_go_of_pattern(self) -> None:
        """The bridge's attention holds on to the pattern of its last run, which nobody asks it for: 600 MB in GPT-2
        small at 1,024 tokens."""
        attn: Any = getattr(self.module, "attn", None)
        if getattr(attn, "_pattern", None) is not None:
            attn._pattern = None
