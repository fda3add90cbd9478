"""`patch-path SENDER>RECEIVER [@POSITIONS]`: the receiver reads, in place of what the sender writes, what it writes in
the source's clean run at the aligned position.

Path patching: Goldowsky-Dill et al. 2023; Wang et al. 2022 let MLPs on the way run anew.
"""

from __future__ import annotations

from typing import Any

from mechtui.session.document import Edit
from mechtui.session.ops import patch
from mechtui.session.path_op import PathOp
from mechtui.session.prompt import Prompt, Surroundings


class PatchPath(PathOp):
    name = "patch-path"
    order = 12
    note = "what one part reads, with what an earlier one writes in the source: L5H5>L8H6.q"
    takes = "source"
    by_alignment = True

    def resolve(self, edit: Edit, prompt: Prompt, around: Surroundings) -> dict[str, Any]:
        return patch.from_source(self, edit, prompt, around)


OP = PatchPath()
