"""L2 norms of the residual stream, and of what attention and the MLP wrote to it."""

from __future__ import annotations

from mechtui.views.residual import Residual, ResidualAnswer
from mechtui.views.tables import Around, Block, Curve, Matrix, numbered


def tables(question: Residual, answer: ResidualAnswer, around: Around) -> list[Block]:
    layers, count = answer.attn.shape
    columns, rows = around.positions(count), numbered("L", layers)
    here = min(around.here, count - 1)
    blocks: list[Block] = [
        Matrix("residual stream", "L2 norm", ("site", "token"), answer.sites, columns, answer.norm, low=0.0, places=1)
    ]
    if count:
        writes = {"attention": answer.attn[:, here], "MLP": answer.mlp[:, here]}
        title = f"what each layer wrote at {around.at(here)}"
        blocks.append(Curve(title, "L2 norm", "layer", rows, writes, low=0.0, places=1))
    for title, values in (("what attention wrote", answer.attn), ("what the MLP wrote", answer.mlp)):
        blocks.append(
            Matrix(title, "L2 norm", ("layer", "token"), rows, columns, values, low=0.0, places=1, extra=True)
        )
    return blocks
