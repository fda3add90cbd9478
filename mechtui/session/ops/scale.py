"""`scale SITE [@POSITIONS] x0.5`: times a number."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from mechtui.session.document import Edit
from mechtui.session.grammar.words import Words, format_number
from mechtui.session.hook_edits import HookEdit
from mechtui.session.op import Op
from mechtui.session.prompt import Prompt, Surroundings


class Scale(Op):
    name = "scale"
    order = 5
    note = "times a number: x0.5"
    examples = (("x0", "nothing of it"), ("x0.5", "half"), ("x2", "twice"), ("x-1", "turned round"))
    number, step = "factor", 0.1

    def parse(self, words: Words) -> dict[str, Any]:
        return {"factor": words.number("x", "x0.5")}

    def format(self, edit: Edit) -> tuple[str, ...]:
        return (f"x{format_number(edit.factor)}",)

    def resolve(self, edit: Edit, prompt: Prompt, around: Surroundings) -> dict[str, Any]:
        return super().resolve(edit, prompt, around) | {"factor": edit.factor}

    def script(self, edit: HookEdit, pick: str, vector: str) -> Iterator[str]:
        yield f"part[:, {edit.positions}] *= {edit.factor!r}"


OP = Scale()
