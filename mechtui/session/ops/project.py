"""`project SITE [@POSITIONS] NAME`: minus its component along a steering vector."""

from __future__ import annotations

from collections.abc import Iterator

from mechtui.session.hook_edits import HookEdit
from mechtui.session.op import Of, VectorOp


class Project(VectorOp):
    name = "project"
    order = 9
    note = "minus its component along a steering vector"
    done = "projected out"

    def script(self, edit: HookEdit, of: Of, vector: str) -> Iterator[str]:
        where = edit.positions
        yield f"unit = ({vector} / {vector}.norm()).to(part.dtype)"
        yield f"part[:, {where}] -= (part[:, {where}] @ unit)[..., None] * unit"


OP = Project()
