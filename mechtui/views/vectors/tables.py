"""The session's steering vectors."""

from __future__ import annotations

from mechtui.views.tables import Around, Block, Column, Listing, named
from mechtui.views.vectors import Vectors, VectorsAnswer

STEP = "logits per unit of length"


def tables(question: Vectors, answer: VectorsAnswer, around: Around) -> list[Block]:
    there = [each for each in answer.vectors if not each.problem]
    columns: tuple[Column, ...] = (
        Column("length", [each.norm for each in there], "L2 norm"),
        Column("layer", [each.layer for each in there], "layer", places=0),
        Column("residual stream there", [each.residual_norm for each in there], "L2 norm, median"),
    )
    if any(each.pairs for each in there):
        columns += (
            Column("pairs", [each.pairs or None for each in there], "pairs of texts", places=0),
            Column("held out, right", [each.right for each in there], "share of pairs", places=3),
            Column("held out, AUC", [each.auc for each in there], "probability", places=3),
        )
    blocks: list[Block] = []
    if there:
        blocks.append(Listing("steering vectors", "vector", tuple(each.name for each in there), columns))
    for each in there:
        for verb, found in (("raises", each.raises), ("lowers", each.lowers)):
            rows = named(token for token, _ in found)
            column = Column("change", [change for _, change in found], STEP, signs=True, places=3)
            blocks.append(Listing(f"what {each.name} {verb}", "token", rows, (column,)))
    if broken := [each for each in answer.vectors if each.problem]:
        names = tuple(each.name for each in broken)
        blocks.append(Listing("not there", "vector", names, (Column("why", [each.problem for each in broken]),)))
    return blocks
