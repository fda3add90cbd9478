"""The bridge's hook points, and how what passes them is seen and changed as the model's own stream has it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

from torch import Tensor, nn

from mechtui.engine.forward.taps import MLP_IN, QKV, Function, Taps


class HookPoints:
    """Those of one model. blocks: the bridge's."""

    def __init__(self, bridge: Any) -> None:
        self.bridge = bridge
        self.blocks: list[nn.Module] = list(bridge.blocks)
        self.clips: float | None = getattr(getattr(bridge.original_model, "config", None), "clip_qkv", None)
        self._points: dict[str, Any] = {}

    def point(self, name: str) -> Any:
        """The hook point of that name. Raises KeyError."""
        if name not in self._points:
            point = self.bridge.get_hook_point(name)
            if point is None:
                raise KeyError(name)
            self._points[name] = point
        return self._points[name]

    def of_z(self) -> list[nn.Module]:
        """Of each block the point where its heads' outputs pass; none at all where one block has none."""
        try:
            return [self.point(f"blocks.{layer}.attn.hook_z") for layer in range(len(self.blocks))]
        except KeyError:
            return []

    @contextmanager
    def watched(self, taps: Taps, layer: int, but: Sequence[str] = ()) -> Iterator[None]:
        """Within, what passes the hook points of this block (-1: before the blocks) passes the taps. but: names within
        its attention of what passes elsewhere."""
        begin = f"blocks.{layer}." if layer >= 0 else "hook_"
        with ExitStack() as stack:
            # What the MLP reads passes the hook point of the stream before it, and comes after what happens there.
            for hook, functions in sorted(taps.items(), key=lambda each: each[0].endswith(MLP_IN)):
                if not hook.startswith(begin) or hook.removeprefix(f"{begin}attn.") in but:
                    continue
                for function in map(self._clipped, functions) if hook.endswith(QKV) else functions:
                    if hook.endswith("hook_resid_mid"):
                        self._hook_mid(stack, hook, function)
                    elif hook.endswith(MLP_IN):
                        # The bridge's hook_resid_mid is the input of the second norm only: nothing goes around it.
                        stack.enter_context(self._hooked(hook.replace(MLP_IN, "hook_resid_mid"), function))
                    elif (scaled := self._scaled(hook)) is not None:
                        stack.enter_context(_hooked_scaled(*scaled, function))
                    else:
                        stack.enter_context(self._hooked(hook, function))
            yield

    @contextmanager
    def _hooked(self, name: str, function: Function, first: bool = False) -> Iterator[None]:
        # torch's own hooks, not HookPoint.add_hook: a handle that is ours alone cannot be reset by others,
        # nor can we leave one behind.
        point = self.point(name)

        def hook(_module: nn.Module, _inputs: Any, output: Tensor) -> Tensor | None:
            conversion = point.hook_conversion
            changed = function(output if conversion is None else conversion.convert(output))
            if changed is None or conversion is None:
                return changed
            reverted: Tensor = conversion.revert(changed)
            return reverted

        handle = point.register_forward_hook(hook, prepend=first)
        try:
            yield
        finally:
            handle.remove()

    def _clipped(self, function: Function) -> Function:
        """The same, of queries, keys and values as the model clips them behind its projections."""
        most = self.clips
        return function if not most else lambda value: function(value.clamp(-most, most))

    def _scaled(self, hook: str) -> tuple[nn.Module, float] | None:
        """Of what the model multiplies before it adds it to the stream: the module that gives it, and the factor."""
        if hook == "hook_embed":
            times = float(getattr(self.bridge.embed, "_output_contribution_scale", 1.0))
            return (self.bridge.embed, times) if times != 1 else None
        part = {"hook_attn_out": "attn", "hook_mlp_out": "mlp"}.get(hook.rpartition(".")[2])
        if part is None:
            return None
        block: Any = self.blocks[int(hook.split(".")[1])]
        scale: float | None = getattr(block, "residual_contribution_scale", None)
        return None if scale is None else (getattr(block, part), scale)

    def _hook_mid(self, stack: ExitStack, hook: str, function: Function) -> None:
        # The bridge's hook_resid_mid is the input of the second norm only: the residual goes around it. What
        # a change adds is added to that way too, where the block ends.
        added: list[Tensor] = []

        def change_and_note(residual: Tensor) -> Tensor | None:
            changed = function(residual)
            added[:] = [] if changed is None else [changed - residual]
            return changed

        stack.enter_context(self._hooked(hook, change_and_note))
        leaving = hook.replace("hook_resid_mid", "hook_resid_post")
        stack.enter_context(self._hooked(leaving, lambda residual: residual + added[0] if added else None, first=True))


@contextmanager
def _hooked_scaled(module: nn.Module, times: float, function: Function) -> Iterator[None]:
    """Within, what this module gives passes the function as the stream gets it, multiplied."""

    def hook(_module: nn.Module, _inputs: Any, output: Any) -> Any:
        first = output[0] if isinstance(output, tuple) else output
        changed = function(first * times)
        if changed is None:
            return None
        return (changed / times, *output[1:]) if isinstance(output, tuple) else changed / times

    handle = module.register_forward_hook(hook)
    try:
        yield
    finally:
        handle.remove()
