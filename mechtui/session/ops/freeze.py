"""`freeze SITE [@POSITIONS]`: the value in the clean run of this prompt."""

from __future__ import annotations

from typing import Any

from mechtui.session.document import Edit
from mechtui.session.op import TakingOp
from mechtui.session.prompt import Prompt, Surroundings


class Freeze(TakingOp):
    name = "freeze"
    order = 4
    note = "its value in the clean run"
    takes = "clean"

    def resolve(self, edit: Edit, prompt: Prompt, around: Surroundings) -> dict[str, Any]:
        # Generated tokens are in no clean run.
        positions = [position for position in prompt.positions(edit.positions) if position < prompt.end]
        return {
            "places": tuple((position, position) for position in positions),
            "source_ids": prompt.ids[: prompt.end],
            "keys": tuple(range(prompt.end)) if self.is_table(edit) else (),
        }


OP = Freeze()
