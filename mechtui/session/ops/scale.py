"""`scale SITE [@POSITIONS] x0.5`: times a number."""

from __future__ import annotations

from collections.abc import Iterator

from mechtui.session.hook_edits import HookEdit
from mechtui.session.op import NumberOp, Of


class Scale(NumberOp):
    name = "scale"
    order = 5
    note = "times a number: x0.5"
    examples = (("x0", "nothing of it"), ("x0.5", "half"), ("x2", "twice"), ("x-1", "turned round"))
    like, step = "x0.5", 0.1

    def script(self, edit: HookEdit, of: Of, vector: str) -> Iterator[str]:
        yield f"part[:, {edit.positions}] *= {edit.factor!r}"


OP = Scale()
