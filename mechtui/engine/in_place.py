"""A run with other values in the place of what passes a hook: how well it still foresees its text."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from mechtui.engine.apply import EVERY_ROW, Rows
from mechtui.engine.errors import Cancelled
from mechtui.engine.needs import Need
from mechtui.engine.reading import SURPRISE_POSITIONS
from mechtui.engine.runner import Runner
from mechtui.engine.trace import Trace
from mechtui.session.hook_edits import HookEdit


@torch.inference_mode()
def surprise(
    runner: Runner,
    base: Trace,
    hook: str,
    values: Sequence[Tensor],
    positions: Sequence[int],
    cancelled: Callable[[], bool],
) -> list[Tensor]:
    """[pos] for each of `values` [position, width]: -ln p(token | those before it) in nats, NaN for the first, were
    these what passes the hook at these positions, behind the base's own edits. Only the blocks from the hook's on run,
    for all of them together. Raises Cancelled."""
    layer, count = Need(hook).layer, len(values)
    heads = range(runner.model.shape.n_heads) if hook.endswith("hook_z") else None
    index = None if heads is None else tuple(heads)
    places = tuple((position, position) for position in positions)
    # Their numbers tell them apart.
    edits = [HookEdit("patch", hook, layer, index, places, seed=number) for number in range(count)]
    own = {
        edit: each.view(len(places), 1 if heads is None else len(heads), -1)
        for edit, each in zip(edits, values, strict=True)
    }
    later: list[tuple[HookEdit, Rows]] = [(edit, EVERY_ROW) for edit in base.edits if edit.layer >= layer]
    passed = runner.forward.through(
        base.resid[layer].whole.repeat(count, 1, 1),
        runner.forward.calls_for(base.ids),
        range(layer, runner.n_layers),
        None,
        [*later, *((edit, [row]) for row, edit in enumerate(edits))],
        runner.givens.of(base.edits, cancelled) | own,
        (),
        0,
        cancelled,
        sent=runner.sent(base.edits, cancelled, base, layer, 0, count),
    )
    return [_surprise(runner, base.ids, residual, cancelled) for residual in passed.stream[-1]]


def _surprise(runner: Runner, ids: Sequence[int], residual: Tensor, cancelled: Callable[[], bool]) -> Tensor:
    parts = [torch.full((1,), torch.nan)]
    for begin in range(1, len(ids), SURPRISE_POSITIONS):
        if cancelled():
            raise Cancelled
        end = min(begin + SURPRISE_POSITIONS, len(ids))
        said = runner.forward.logits(residual[None, begin - 1 : end - 1])[0].float()
        came = torch.tensor(ids[begin:end], device=said.device)[:, None]
        parts.append((said.logsumexp(-1) - said.gather(-1, came)[:, 0]).cpu())
    return torch.cat(parts)
