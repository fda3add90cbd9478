"""Where neurons or features fire most, a list for each, how often they fire, and how much."""

from __future__ import annotations

from mechtui.paint.tokens import visible, visible_text
from mechtui.views.contexts import BINS, Contexts, ContextsAnswer
from mechtui.views.tables import Around, Block, Column, Listing, Matrix, fact
from mechtui.visible import seen


def tables(question: Contexts, answer: ContextsAnswer, around: Around) -> list[Block]:
    blocks: list[Block] = [
        fact("counted", answer.counted, f"of {answer.tokens:,} tokens of {visible_text(answer.text)}", places=0),
        fact("all tokens that count", answer.tokens, "tokens", places=0),
        fact("window", answer.window, "tokens read at once", places=0),
        Listing(
            "how often they are on",
            "unit",
            answer.names,
            (
                Column("rate", answer.rate.tolist(), "share of tokens", places=4),
                Column("bin", answer.bin.tolist(), "activation, wide", places=4),
                *([Column("label", [seen(each) for each in answer.labels])] if any(answer.labels) else []),
            ),
        ),
        Matrix(
            "how often which activation",
            "tokens",
            ("unit", "bin"),
            answer.names,
            tuple(map(str, range(1, BINS + 1))),
            answer.histogram,
            places=0,
        ),
    ]
    for row, name in enumerate(answer.names):
        found = answer.contexts[row]
        count = len(found)
        columns = [Column("value", answer.value[row, :count].tolist(), "activation", signs=True)]
        if answer.gate is not None and answer.into is not None:
            columns.append(Column("gate", answer.gate[row, :count].tolist(), "before its function", signs=True))
            columns.append(Column("into", answer.into[row, :count].tolist(), "what the gate multiplies", signs=True))
        columns += [
            Column("before", [visible_text(each.before) for each in found]),
            Column("token", [visible(each.token) for each in found]),
            Column("after", [visible_text(each.after) for each in found]),
        ]
        blocks.append(Listing(f"{question.end} of {name}", "context", tuple(map(str, range(1, count + 1))), columns))
    return blocks
