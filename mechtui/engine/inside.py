"""Into the middle of a block: from its heads' outputs (z) on, with queries, keys, values and patterns left out.

An edit at z or behind it leaves everything before z as it was, so a run that resumes in its block may begin with
the z of the run before it. Whether a model's attention ends as is assumed here, the output projection and then
`hook_out`, is tried out once for every model: where the block's output is not the same to the last bit, blocks
of that model run whole.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

# Hook points behind z or at it; every other one counts as before it.
LATE = ("attn.hook_z", "hook_attn_out", "hook_resid_mid", "mlp.hook_post", "hook_mlp_out", "hook_resid_post")


def is_late(hook: str) -> bool:
    """Whether what happens at this hook point leaves z as it is."""
    return hook.endswith(LATE)


@contextmanager
def replaced(module: nn.Module, forward: Callable[..., Any]) -> Iterator[None]:
    """Within, the module's forward is another."""
    own = module.__dict__.get("forward")  # besides its class's
    object.__setattr__(module, "forward", forward)
    try:
        yield
    finally:
        if own is None:
            object.__delattr__(module, "forward")
        else:
            object.__setattr__(module, "forward", own)


@contextmanager
def recorded(points: Sequence[nn.Module], outputs: list[Tensor]) -> Iterator[None]:
    """Within, what passes these hook points is noted as it comes in, before any action acts on it."""

    def note(_module: nn.Module, _inputs: Any, output: Tensor) -> None:
        outputs.append(output)

    handles = [point.register_forward_hook(note) for point in points]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


class Inside:
    """How blocks of one model begin at z [batch, pos, head * d_head]. point(layer): the hook point of its z, None
    where there is none."""

    def __init__(self, blocks: Sequence[nn.Module], point: Callable[[int], nn.Module | None]) -> None:
        self.blocks = blocks
        points = [point(layer) for layer in range(len(blocks))]
        self.points = [each for each in points if each is not None] if None not in points else []
        self._exact: bool | None = None

    @contextmanager
    def given(self, layer: int, z: Tensor) -> Iterator[None]:
        """Within, this layer's attention gives what follows from z; its arguments do not matter."""
        attn: Any = self.blocks[layer].attn

        def attend(*_args: Any, **_kwargs: Any) -> tuple[Tensor, None]:
            return attn.hook_out(attn.o(z)), None

        with replaced(attn, attend), replaced(self.blocks[layer].ln1, lambda residual: residual):  # type: ignore[arg-type]
            yield

    def exact(self, run: Callable[[Tensor | None], tuple[Tensor, list[Tensor]]]) -> bool:
        """Whether a block that begins at z gives the same to the last bit. run: block 0 without actions, whole or
        from a z -> its output, and the z that passed; it is called twice, once for a model."""
        if self._exact is None:
            self._exact = bool(self.points) and self._same(run)
        return self._exact

    def _same(self, run: Callable[[Tensor | None], tuple[Tensor, list[Tensor]]]) -> bool:
        block: Any = self.blocks[0]
        if not all(hasattr(block, name) for name in ("attn", "ln1")):
            return False
        gave: list[Any] = []
        left: list[Tensor] = []
        handle = block.attn.register_forward_hook(lambda _module, _inputs, output: gave.append(output))
        try:
            with recorded([block.attn.hook_out], left):
                output, z = run(None)
                if not (len(z) == len(left) == 1 and isinstance(gave[0], tuple) and len(gave[0]) == 2):
                    return False
                again, late = run(z[0])
        finally:
            handle.remove()
        return len(late) == 1 and len(left) == 2 and torch.equal(output, again)
