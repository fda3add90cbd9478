"""`patch SITE [@POSITIONS]`: the value of the source's clean run at the aligned position.

At pattern and scores query and key both go by the alignment.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from mechtui.session.document import Edit
from mechtui.session.hook_edits import EditError, HookEdit
from mechtui.session.op import Of, Op, TakingOp
from mechtui.session.prompt import Prompt, Surroundings


class Patch(TakingOp):
    name = "patch"
    order = 3
    note = "its value in the source run"
    takes = "source"
    by_alignment = True

    def resolve(self, edit: Edit, prompt: Prompt, around: Surroundings) -> dict[str, Any]:
        return from_source(self, edit, prompt, around)

    def script(self, edit: HookEdit, of: Of, vector: str) -> Iterator[str]:
        if not edit.is_pattern:
            yield from super().script(edit, of, vector)
            return
        where = edit.positions
        yield f"partners = {list(edit.keys[: where[-1] + 1])}"
        yield f"for q in {where}:"
        yield f"    part[:, q, : q + 1] = {of('source')}[:, partners[q]][:, partners[: q + 1]]"


def from_source(op: Op, edit: Edit, prompt: Prompt, around: Surroundings) -> dict[str, Any]:
    """What an op that takes from the source decides of a `HookEdit`. Raises EditError."""
    positions = prompt.positions(edit.positions)
    if not around.source:
        raise EditError(f"{op.name} takes its values from a source prompt, and the session has none")
    # Generated tokens have no partner.
    positions = [position for position in positions if position < prompt.end]
    partners, table = around.alignment, op.is_table(edit)
    needed = range(max(positions, default=-1) + 1) if table else positions
    if lonely := [position for position in needed if partners[position] < 0]:
        raise EditError(_without_partner(lonely, prompt, () if table else partners))
    return {
        "places": tuple((position, partners[position]) for position in positions),
        "source_ids": around.source,
        "keys": partners if table else (),
    }


def _without_partner(lonely: Sequence[int], prompt: Prompt, partners: Sequence[int]) -> str:
    """The sentence. partners: where others could be named, those of all positions."""
    named = ", ".join(f'{p} "{prompt.texts[p]}"' for p in lonely[:4]) + (", ..." if len(lonely) > 4 else "")
    have = [position for position, partner in enumerate(partners) if partner >= 0]
    example = f"; name positions that have one, as in @{_runs(have)}" if have else ""
    tokens, have_no = ("tokens", "have") if len(lonely) > 1 else ("token", "has")
    return f"{tokens} {named} {have_no} no partner in the source{example}"


def _runs(positions: Sequence[int]) -> str:
    """0,1,2,5 -> "0-2,5"."""
    runs: list[list[int]] = []
    for position in positions:
        if runs and runs[-1][-1] == position - 1:
            runs[-1].append(position)
        else:
            runs.append([position])
    return ",".join(f"{run[0]}" if len(run) == 1 else f"{run[0]}-{run[-1]}" for run in runs)


OP = Patch()
