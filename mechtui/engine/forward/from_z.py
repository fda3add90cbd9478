"""Blocks that begin in the middle: from their heads' outputs (z) on, with queries, keys, values and patterns left out.

An edit at z or behind it leaves everything before z as it was, so a run that resumes in its block may begin with
the z of the run before it. Whether a model's attention ends as is assumed here, the output projection and then
`hook_out`, is tried out once for every model: where the block's output is not the same to the last bit, blocks
of that model run whole.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from mechtui.engine.forward.replaced import replaced

# Hook points behind z or at it; every other one counts as before it.
LATE = (
    *("attn.hook_z", "hook_attn_out", "hook_resid_mid", "hook_mlp_in", "mlp.hook_in"),
    *("mlp.hook_post", "hook_mlp_out", "hook_resid_post"),
)


def is_late(hook: str) -> bool:
    """Whether what happens at this hook point leaves z as it is."""
    return hook.endswith(LATE)


@contextmanager
def recorded(point: nn.Module, outputs: list[Tensor]) -> Iterator[None]:
    """Within, what passes this hook point is noted as it comes in, before any edit acts on it."""

    def note(_module: nn.Module, _inputs: Any, output: Tensor) -> None:
        outputs.append(output)

    handle = point.register_forward_hook(note)
    try:
        yield
    finally:
        handle.remove()


@contextmanager
def beginning_at(block: Any, z: Tensor) -> Iterator[None]:
    """Within, the block's attention gives what follows from z [batch, pos, head * d_head]; its arguments do not
    matter."""
    attn = block.attn

    def attend(*_args: Any, **_kwargs: Any) -> tuple[Tensor, None]:
        return attn.hook_out(attn.o(z)), None

    with replaced(attn, attend), replaced(block.ln1, lambda residual: residual):
        yield


def same_from_z(block: Any, run: Callable[[Tensor | None], tuple[Tensor, Tensor | None]]) -> bool:
    """Whether a block gives the same to the last bit when it begins at z. block: the bridge's. run: runs it without
    edits, whole or from a z -> (its output, the z that passed); it is called twice."""
    if not all(hasattr(block, name) for name in ("attn", "ln1")):
        return False
    gave: list[Any] = []
    left: list[Tensor] = []
    handle = block.attn.register_forward_hook(lambda _module, _inputs, output: gave.append(output))
    try:
        with recorded(block.attn.hook_out, left):
            output, z = run(None)
            if not (z is not None and len(left) == 1 and isinstance(gave[0], tuple) and len(gave[0]) == 2):
                return False
            again, late = run(z)
    finally:
        handle.remove()
    return late is not None and len(left) == 2 and torch.equal(output, again)
