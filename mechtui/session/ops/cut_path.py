"""`cut-path SENDER>RECEIVER [@POSITIONS]`: the receiver reads the stream less what the sender writes to it."""

from __future__ import annotations

from mechtui.session.path_op import PathOp


class CutPath(PathOp):
    name = "cut-path"
    order = 11
    note = "what one part reads, less what an earlier one writes: L5H5>L8H6.q"


OP = CutPath()
