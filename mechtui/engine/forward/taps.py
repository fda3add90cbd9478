"""What acts and what looks at the values that pass a run's hook points."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import torch
from torch import Tensor

from mechtui.engine.apply import Givens, Rows, hook_function, seen_in
from mechtui.engine.forward.paths import Receiver, Sent
from mechtui.engine.needs import Need
from mechtui.session.hook_edits import HookEdit

# One of a hook point's: it gives the new value, or None where it only looks.
Function = Callable[[Tensor], Tensor | None]
# What acts and looks at each hook point, by TransformerLens's name, in order.
Taps = dict[str, list[Function]]
# (hook's name within its block, value) -> the value that goes on. Shapes: [batch, pos, d_model], of q, k, v and z
# [batch, pos, head, d_head], of scores and patterns [batch, head, query, key], of mlp.hook_post [batch, pos, d_mlp].
Tap = Callable[[str, Tensor], Tensor]

SCORES, PATTERN = "hook_attn_scores", "hook_pattern"
QKV = ("hook_q", "hook_k", "hook_v")
# What the MLP reads, before its norm.
MLP_IN = "hook_mlp_in"


def taps_of(
    edits: Sequence[tuple[HookEdit, Rows]],
    givens: Givens,
    needs: Sequence[Need],
    offset: int,
    taken: dict[Need, Tensor],
    dtype: torch.dtype,
    sent: Sent | None = None,
) -> Taps:
    """The edits act, each on its rows of the batch, and then what is needed lands in `taken`.

    givens: what edits take from elsewhere. offset: the first position that runs. dtype: the model's. sent: what senders
    of paths gave so far, and what dictionaries read; those that the taps see are noted there. Without it no edit is one
    of a path, or of a dictionary that writes elsewhere than it reads.
    """
    by_hook: dict[str, list[tuple[HookEdit, Rows]]] = {}
    paths: dict[str, list[tuple[HookEdit, Rows]]] = {}
    for edit, rows in edits:
        (by_hook if edit.sender is None else paths).setdefault(edit.hook, []).append((edit, rows))
    taps: Taps = {}
    for hook, group in by_hook.items():
        attention = hook.rpartition(".")[0]
        scores = f"{attention}.{SCORES}"
        seen: list[Tensor] = []
        if group[0][0].is_pattern:
            # Which keys are seen stands in the scores before any edit of them.
            taps.setdefault(scores, []).insert(0, partial(_note_seen, seen, dtype))
        taps.setdefault(hook, []).append(hook_function(group, givens, offset, seen, None if sent is None else sent.at))
    if sent is not None:
        for hook in sent.hooks:
            taps.setdefault(hook, []).append(partial(sent.note, hook, offset))
        for hook, group in paths.items():
            _receive(taps, hook, Receiver(group, givens, offset, sent))
    for need in needs:
        taps.setdefault(need.hook, []).append(_taker(need, offset, taken))
    return taps


def tap_in(layer: int, taps: Taps) -> Tap:
    """The taps of one block, by the hooks' names within it."""
    if not taps:
        return lambda _hook, value: value

    def tap(hook: str, value: Tensor) -> Tensor:
        for function in taps.get(f"blocks.{layer}.{hook}", ()):
            changed = function(value)
            if changed is not None:
                value = changed
        return value

    return tap


def _receive(taps: Taps, hook: str, receiver: Receiver) -> None:
    """Let a receiver read what the paths make of the stream. hook: of what it reads."""
    if hook.endswith(MLP_IN):
        taps.setdefault(hook, []).append(receiver.reads)
        return
    block, _, what = hook.rpartition(".")
    taps.setdefault(f"{block}.hook_resid_pre", []).append(receiver.note)
    # It comes before edits of what the receiver makes of it.
    taps.setdefault(f"{block}.attn.{what.removesuffix('_input')}", []).insert(0, receiver.projects)


def _note_seen(seen: list[Tensor], dtype: torch.dtype, scores: Tensor) -> None:
    seen[:] = [seen_in(scores[0, 0], dtype)]


def _taker(need: Need, offset: int, taken: dict[Need, Tensor]) -> Callable[[Tensor], None]:
    def take(activation: Tensor) -> None:
        part = need.reduce(activation[0], offset)
        if part is not None and part.data_ptr() == activation.data_ptr() and not need.is_pattern:
            part = part.clone()  # some models add to what they have written
        if part is not None:
            taken[need] = part

    return take
