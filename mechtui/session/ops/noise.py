"""`noise SITE [@POSITIONS] sd3 [seed7]`: plus Gaussian noise, in units of the site's own standard deviation."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from mechtui.session.document import Edit, Site
from mechtui.session.grammar.places import format_site
from mechtui.session.grammar.words import Words, format_number
from mechtui.session.hook_edits import HookEdit
from mechtui.session.op import Of, Op
from mechtui.session.prompt import Prompt, Surroundings


class Noise(Op):
    name = "noise"
    order = 7
    note = "plus Gaussian noise: sd3 seed7"
    examples = (("sd1", "one standard deviation"), ("sd3", "three standard deviations"))
    number, step, least = "sd", 0.5, 0.0

    def refuses(self, site: Site) -> str:
        if site.kind != "feature":
            return ""
        return f"most of the time a feature is 0, and noise would turn {format_site(site)} on: add or clamp it"

    def parse(self, words: Words) -> dict[str, Any]:
        sd = words.number("sd", "sd3", least=0)
        return {"sd": sd, "seed": words.seed()} if words.peek() is not None else {"sd": sd}

    def format(self, edit: Edit) -> tuple[str, ...]:
        return f"sd{format_number(edit.sd)}", f"seed{edit.seed}"

    def resolve(self, edit: Edit, prompt: Prompt, around: Surroundings) -> dict[str, Any]:
        # The standard deviation is taken over all positions.
        return super().resolve(edit, prompt, around) | {"sd": edit.sd, "seed": edit.seed, "is_local": False}

    def script(self, edit: HookEdit, of: Of, vector: str) -> Iterator[str]:
        where = edit.positions
        yield f"n = np.random.default_rng({edit.seed}).standard_normal(part.shape[1:]).astype(np.float32)"
        spread = "part[:, seen(hook)]" if edit.is_pattern else "part"
        yield f"sd = {edit.sd!r} * {spread}.std(correction=0)"
        yield f"part[:, {where}] += sd * torch.from_numpy(n)[{where}]"


OP = Noise()
