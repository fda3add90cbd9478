"""The loss of a text file, as a whole and window by window."""

from __future__ import annotations

from mechtui.paint.tokens import visible_text
from mechtui.views.perplexity import Perplexity, PerplexityAnswer
from mechtui.views.tables import Around, Block, Column, Listing, fact


def tables(question: Perplexity, answer: PerplexityAnswer, around: Around) -> list[Block]:
    blocks: list[Block] = [
        fact("mean loss", answer.mean, "nats per token"),
        fact("perplexity", answer.perplexity, "exp of the mean"),
        fact("counted", answer.counted, f"of {answer.tokens:,} tokens", places=0),
        fact("all tokens that count", answer.tokens, "tokens", places=0),
        fact("windows", answer.windows, "windows", places=0),
        fact("window", answer.window, "tokens read at once", places=0),
        fact("stride", answer.stride, "tokens", places=0),
        Listing(
            f"loss of each window of {visible_text(question.file)}",
            "window",
            tuple(map(str, range(len(answer.loss)))),
            (
                Column("loss", answer.loss.tolist(), "nats per token"),
                Column("counts", answer.counts.tolist(), "tokens", places=0),
                Column("begins", [visible_text(text) for text in answer.texts]),
            ),
        ),
    ]
    if answer.left_out:
        names = tuple(str(at + 1) for at in range(len(answer.left_out)))
        blocks.append(Listing("edits left out", "edit", names, (Column("edit", list(answer.left_out)),)))
    return blocks
