"""Where neurons fire most, a list for each, and how often they fire."""

from __future__ import annotations

from mechtui.paint.tokens import visible, visible_text
from mechtui.views.contexts import Contexts, ContextsAnswer
from mechtui.views.tables import Around, Block, Column, Listing, fact


def tables(question: Contexts, answer: ContextsAnswer, around: Around) -> list[Block]:
    blocks: list[Block] = [
        fact("counted", answer.counted, f"of {answer.tokens:,} tokens of {visible_text(answer.text)}", places=0),
        fact("all tokens that count", answer.tokens, "tokens", places=0),
        fact("window", answer.window, "tokens read at once", places=0),
        Listing(
            "how often they are on", "neuron", answer.names, (Column("rate", answer.rate.tolist(), "share of tokens"),)
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
