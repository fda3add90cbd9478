"""How the prompt goes on."""

from __future__ import annotations

from mechtui.views.generate import Generate, GenerateAnswer
from mechtui.views.tables import Around, Block, Passage


def tables(question: Generate, answer: GenerateAnswer, around: Around) -> list[Block]:
    count = len(answer.tokens)
    note = f"{count} token{'' if count == 1 else 's'}, {answer.why or ('done' if answer.done else 'not done yet')}"
    return [Passage("continuation", answer.tokens, note)]
