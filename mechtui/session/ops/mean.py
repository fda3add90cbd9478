"""`mean SITE [@POSITIONS]`: the mean over the positions of this prompt, or of the reference prompts.

At pattern and scores: the row's mean over the keys that its query sees.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from mechtui.session.document import Edit
from mechtui.session.hook_edits import HookEdit
from mechtui.session.op import Of, Op
from mechtui.session.prompt import Prompt, Surroundings


class Mean(Op):
    name = "mean"
    order = 1
    note = "its mean over the prompt"
    takes = "references"

    def resolve(self, edit: Edit, prompt: Prompt, around: Surroundings) -> dict[str, Any]:
        found = super().resolve(edit, prompt, around)
        if self.is_table(edit):
            return found
        return found | {"references": around.references, "is_local": bool(around.references)}

    def script(self, edit: HookEdit, of: Of, vector: str) -> Iterator[str]:
        where = edit.positions
        if edit.is_pattern:
            yield f"for q in {where}:"
            yield "    keys = seen(hook)[q]"
            yield "    part[:, q, keys] = part[:, q, keys].mean(-1, keepdim=True)"
        elif edit.references:
            yield f"every = torch.cat([{of('cache')} for cache in references], dim=1)"
            yield f"part[:, {where}] = every.mean(1, keepdim=True)"
        else:
            yield f"part[:, {where}] = part.mean(1, keepdim=True)"


OP = Mean()
