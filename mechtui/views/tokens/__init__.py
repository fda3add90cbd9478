"""`tokens [ids]`: the prompt as the model reads it, and how much each token surprised it."""

from __future__ import annotations

from typing import ClassVar, Self

import numpy as np
from msgspec.structs import replace

from mechtui.session.document import Token
from mechtui.session.grammar.words import LineError, cut, short
from mechtui.views.question import Answer, Question
from mechtui.views.spec import Action, Follows, View


class Tokens(Question, frozen=True, tag="tokens"):
    """The tokens of the prompt and of the source, their alignment, the surprise of each. ids: whether token ids are
    shown."""

    SHOWN: ClassVar[frozenset[str]] = frozenset({"ids"})

    ids: bool = False

    @classmethod
    def parse(cls, line: str, rest: str) -> Self:
        for word, at in cut(line)[1:]:
            if word != "ids":
                raise LineError(line, at, f"{short(word)} should be ids, or nothing")
        return cls(bool(rest))

    def line(self) -> str:
        return "tokens ids" if self.ids else "tokens"

    def next(self) -> Self:
        return replace(self, ids=not self.ids)


class TokensAnswer(Answer, frozen=True, tag="tokens", eq=False):
    """tokens: the prompt's, with BOS first when `bos` is 1.

    surprise [pos]: -ln p(token | those before), in nats; NaN for the first. source: the second prompt's
    tokens, empty without one. alignment [pos]: position in the source, -1 where a token has no partner.
    """

    tokens: tuple[Token, ...]
    bos: int
    surprise: np.ndarray
    source: tuple[Token, ...] = ()
    alignment: tuple[int, ...] = ()

    def same(self, other: TokensAnswer) -> bool:
        """Whether the two say the same."""
        mine, its = ((a.tokens, a.bos, a.source, a.alignment) for a in (self, other))
        return mine == its and np.array_equal(self.surprise, other.surprise, equal_nan=True)


SPEC = View(
    question=Tokens,
    answer=TokensAnswer,
    title="Tokens",
    go="t",
    shows="The prompt as the model reads it: position and token, · a space, ⏎ a newline.",
    read=(
        "The background is the surprise, -ln p of the token given those before it, in nats, up to that of an even "
        "guess."
    ),
    trap="The first token has no surprise: nothing stands before it. A token is seldom a word.",
    words=("surprise", "nat", "BOS", "source"),
    follows=Follows.TEXTS,
    line_words=(("ids", "the tokens' numbers"),),
    footer=("prompt", "source", "target", "search", "undo", "ids", "maximise"),
    actions=(Action("ids", ("t",), "ids", "Show token ids.", "Look"),),
)
