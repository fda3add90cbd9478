"""The prompt as the model reads it."""

from __future__ import annotations

from mechtui.paint.tokens import visible
from mechtui.views.tables import Around, Block, Column, Listing
from mechtui.views.tokens import Tokens, TokensAnswer


def tables(question: Tokens, answer: TokensAnswer, around: Around) -> list[Block]:
    rows = tuple(f"{at} {visible(token)}" for at, token in enumerate(answer.tokens))
    columns = [
        Column("id", [token.id for token in answer.tokens], "vocabulary", places=0),
        Column("surprise", [float(value) for value in answer.surprise], "nats"),
    ]
    if answer.source:
        partners = [f"{at} {visible(answer.source[at])}" if at >= 0 else "none" for at in answer.alignment]
        columns.append(Column("in the source", partners))
    return [Listing("the prompt's tokens", "token", rows, columns)]
