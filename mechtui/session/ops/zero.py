"""`zero SITE [@POSITIONS]`: 0."""

from __future__ import annotations

from collections.abc import Iterator

from mechtui.session.hook_edits import HookEdit
from mechtui.session.op import Of, Op


class Zero(Op):
    name = "zero"
    order = 0
    note = "the activation becomes 0"

    def script(self, edit: HookEdit, of: Of, vector: str) -> Iterator[str]:
        yield f"part[:, {edit.positions}] = 0"


OP = Zero()
