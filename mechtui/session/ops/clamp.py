"""`clamp SITE [@POSITIONS] x5`: the number, whatever it was; of neurons and features."""

from __future__ import annotations

from collections.abc import Iterator

from mechtui.session.document import Site
from mechtui.session.grammar.places import format_site
from mechtui.session.hook_edits import HookEdit
from mechtui.session.op import NumberOp, Of


class Clamp(NumberOp):
    name = "clamp"
    order = 6
    note = "a neuron or a feature is held at a number: x5"
    examples = (("x5", "held at 5"), ("x20", "held at 20"))
    like, step = "x5", 0.5

    def refuses(self, site: Site) -> str:
        if site.kind in ("neuron", "feature"):
            return ""
        return f"clamp holds a neuron or a feature at a number; {format_site(site)} is neither: write L9N123 or res8F7"

    def script(self, edit: HookEdit, of: Of, vector: str) -> Iterator[str]:
        yield f"part[:, {edit.positions}] = {edit.factor!r}"


OP = Clamp()
