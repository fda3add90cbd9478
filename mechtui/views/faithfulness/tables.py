"""What the circuit does over the cases, and what each of its components is worth to it."""

from __future__ import annotations

from mechtui.views.faithfulness import Faithfulness, FaithfulnessAnswer
from mechtui.views.tables import Around, Block, Column, Listing


def tables(question: Faithfulness, answer: FaithfulnessAnswer, around: Around) -> list[Block]:
    runs = [(name, getattr(answer, name)) for name in ("model", "circuit", "nothing", "without")]
    shares = [("faithfulness", answer.faithfulness), ("completeness", answer.completeness)]
    blocks: list[Block] = [
        Listing(
            f"over the cases {answer.of}: mean logit difference, 95 % bootstrap interval",
            "run",
            tuple(name for name, _ in runs),
            (
                Column("n", [each.n for _, each in runs], "cases", places=0),
                Column("mean", [each.mean for _, each in runs], "logits", signs=True),
                Column("low", [each.low for _, each in runs], "logits", signs=True),
                Column("high", [each.high for _, each in runs], "logits", signs=True),
            ),
        ),
        Listing(
            "shares of the model less nothing",
            "",
            tuple(name for name, _ in shares),
            (
                Column("n", [each.n for _, each in shares], "cases", places=0),
                Column("share", [each.value for _, each in shares], "of 1"),
                Column("low", [each.low for _, each in shares], "of 1"),
                Column("high", [each.high for _, each in shares], "of 1"),
            ),
        ),
    ]
    if answer.components:
        columns = (
            Column("drop", [each.mean for each in answer.drops], "logits", signs=True),
            Column("low", [each.low for each in answer.drops], "logits", signs=True),
            Column("high", [each.high for each in answer.drops], "logits", signs=True),
        )
        blocks.append(Listing("what the circuit alone loses without it", "component", answer.components, columns))
    return blocks
