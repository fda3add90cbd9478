"""What the circuit does over the cases, and what each of its components is worth to it."""

from __future__ import annotations

from mechtui.views.faithfulness import Faithfulness, FaithfulnessAnswer
from mechtui.views.tables import Around, Block, Column, Listing, summaries


def tables(question: Faithfulness, answer: FaithfulnessAnswer, around: Around) -> list[Block]:
    runs = [(name, getattr(answer, name)) for name in ("model", "circuit", "nothing", "without")]
    shares = [("faithfulness", answer.faithfulness), ("completeness", answer.completeness)]
    blocks: list[Block] = [
        summaries(
            f"logit difference over the cases {answer.of}",
            "run",
            [name for name, _ in runs],
            [each for _, each in runs],
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
        blocks.append(
            summaries("what the circuit alone loses without it", "component", answer.components, answer.drops)
        )
    return blocks
