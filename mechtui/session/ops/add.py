"""`add SITE [@POSITIONS] NAME [x5]`: plus a steering vector times a number.

Activation addition: Turner et al. 2023.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from mechtui.session.document import Edit
from mechtui.session.grammar.words import Words, format_number
from mechtui.session.hook_edits import HookEdit
from mechtui.session.op import VectorOp
from mechtui.session.prompt import Prompt, Surroundings


class Add(VectorOp):
    name = "add"
    order = 7
    note = "plus a steering vector times a coefficient: NAME x5"
    examples = (("x1", "coefficient"), ("x5", "coefficient"), ("x-5", "against it"))
    number, step = "factor", 0.5
    done = "added"

    def parse(self, words: Words) -> dict[str, Any]:
        found = super().parse(words)
        return found if words.peek() is None else found | {"factor": words.number("x", "x5")}

    def format(self, edit: Edit) -> tuple[str, ...]:
        return (*super().format(edit), f"x{format_number(edit.factor)}")

    def resolve(self, edit: Edit, prompt: Prompt, around: Surroundings) -> dict[str, Any]:
        return super().resolve(edit, prompt, around) | {"factor": edit.factor}

    def script(self, edit: HookEdit, pick: str, vector: str) -> Iterator[str]:
        yield f"part[:, {edit.positions}] += {edit.factor!r} * {vector}"


OP = Add()
