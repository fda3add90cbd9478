"""Where a run begins: at the trace that leaves least to run.

A run may leave an earlier one in a block: what lies below is the same. It may begin behind that block's heads, where
z is the same, too. Or it may leave it at a position: then the keys and values before that are the same.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from mechtui.engine.forward.from_z import is_late
from mechtui.engine.needs import Need
from mechtui.engine.overlap import common, same_layers, same_positions
from mechtui.engine.trace import Trace
from mechtui.session.hook_edits import HookEdits, Ids

# What a block has done, of all that it does, when its heads have given their outputs.
Z_SHARE = 0.4


@dataclass(frozen=True)
class Start:
    """Where a run begins: with no parent at the beginning; in a block of the parent (behind its heads: at_z); or, with
    layer -1, at a position, on the parent's keys and values."""

    parent: Trace | None = None
    layer: int = -1
    at_z: bool = False
    position: int = 0


def plan(
    ids: Ids,
    edits: HookEdits,
    needs: Sequence[Need],
    traces: Sequence[Trace],
    n_layers: int,
    may_begin_at_z: Callable[[Trace, int], bool],
) -> Start:
    """Where least is left to run. traces: the latest last. may_begin_at_z: whether a block of such a run can."""
    best, least = Start(), 1.0
    same = [(trace, same_layers(trace.edits, edits, n_layers)) for trace in traces if trace.ids == ids]
    deepest = max((layer for _, layer in same), default=-1)
    if deepest >= 0:
        # Of those that leave as much to run, the latest is the one just looked at.
        parents = [trace for trace, layer in reversed(same) if layer == deepest]
        at_z = next(
            (
                trace
                for trace in parents
                if leaves_behind_z(trace, deepest, edits, needs) and may_begin_at_z(trace, deepest)
            ),
            None,
        )
        # At least the last block runs: an edit there is never free.
        least = 1 - (deepest + (at_z is not None) * Z_SHARE) / n_layers
        best = Start(at_z or parents[0], deepest, at_z is not None)
    for trace in traces:
        if trace.keys_values is not None:
            # The last position always runs: its logits are what is looked at.
            most = min(common(trace.ids, ids), len(ids) - 1)
            # Only what leaves less to run than the best so far is of use.
            enough = int(len(ids) * (1 - least)) + 1
            position = same_positions(trace.edits, edits, most, enough)
            if position and 1 - position / len(ids) < least:
                best, least = Start(trace, position=position), 1 - position / len(ids)
    return best


def leaves_behind_z(base: Trace, layer: int, edits: HookEdits, needs: Sequence[Need] = ()) -> bool:
    """Whether a run that leaves the base in this block leaves it at z or behind, and what is needed of before z is
    there."""
    before = [[a for a in each if a.layer == layer and not is_late(a.hook)] for each in (base.edits, edits)]
    if before[0] != before[1]:
        return False
    return not any(need.layer == layer and need not in base.taken and not is_late(need.hook) for need in needs)
