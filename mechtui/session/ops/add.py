"""`add SITE [@POSITIONS] NAME [x5]`: plus a steering vector times a number; `add FEATURES [@POSITIONS] x5`: plus the
number.

Activation addition: Turner et al. 2023.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from mechtui.session.document import Edit, Site
from mechtui.session.grammar.words import Words, format_number
from mechtui.session.hook_edits import HookEdit
from mechtui.session.op import Of, Op, VectorOp
from mechtui.session.prompt import Prompt, Surroundings


class Add(VectorOp):
    name = "add"
    order = 8
    note = "plus a steering vector times a coefficient: NAME x5"
    examples = (("x1", "coefficient"), ("x5", "coefficient"), ("x-5", "against it"))
    number, step = "factor", 0.5
    done = "added"

    def refuses(self, site: Site) -> str:
        return "" if site.kind == "feature" else super().refuses(site)

    def parse_at(self, site: Site, words: Words) -> dict[str, Any]:
        return {"factor": words.number("x", "x5")} if site.kind == "feature" else self.parse(words)

    def parse(self, words: Words) -> dict[str, Any]:
        found = super().parse(words)
        return found if words.peek() is None else found | {"factor": words.number("x", "x5")}

    def format(self, edit: Edit) -> tuple[str, ...]:
        vector = () if edit.site.kind == "feature" else super().format(edit)
        return (*vector, f"x{format_number(edit.factor)}")

    def said_of(self, site: Site) -> str:
        return "plus a number" if site.kind == "feature" else super().said_of(site)

    def resolve(self, edit: Edit, prompt: Prompt, around: Surroundings) -> dict[str, Any]:
        of = Op if edit.site.kind == "feature" else VectorOp
        return of.resolve(self, edit, prompt, around) | {"factor": edit.factor}

    def script(self, edit: HookEdit, of: Of, vector: str) -> Iterator[str]:
        # Of features each is more by the number.
        yield f"part[:, {edit.positions}] += {edit.factor!r}{f' * {vector}' if vector else ''}"


OP = Add()
