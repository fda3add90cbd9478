"""`resample SITE [@POSITIONS] [seed7]`: the value at random positions of the source's clean run."""

from __future__ import annotations

from typing import Any

from mechtui.session.document import Edit, Site
from mechtui.session.grammar.places import format_site
from mechtui.session.grammar.words import MOST, Words
from mechtui.session.hook_edits import EditError
from mechtui.session.op import TakingOp
from mechtui.session.prompt import Prompt, Surroundings


class Resample(TakingOp):
    name = "resample"
    order = 2
    note = "its value at random positions of the source"
    examples = (("seed1", "which random positions"),)
    number, least, most = "seed", 0, MOST
    takes = "source"

    def refuses(self, site: Site) -> str:
        if site.part not in ("pattern", "scores"):
            return ""
        where = format_site(site)
        return f"rows of {where} differ in length, so one cannot stand in for another; resample .q, .k, .v or z"

    def parse(self, words: Words) -> dict[str, Any]:
        return {"seed": words.seed()} if words.peek() is not None else {}

    def format(self, edit: Edit) -> tuple[str, ...]:
        return (f"seed{edit.seed}",)

    def resolve(self, edit: Edit, prompt: Prompt, around: Surroundings) -> dict[str, Any]:
        import numpy as np  # late: no other line needs it

        positions = prompt.positions(edit.positions)
        if not around.source:
            raise EditError("resample takes its values from a source prompt, and the session has none")
        drawn = np.random.default_rng(edit.seed).integers(0, len(around.source), size=len(prompt.ids)).tolist()
        return {"places": tuple((p, drawn[p]) for p in positions), "source_ids": around.source}


OP = Resample()
