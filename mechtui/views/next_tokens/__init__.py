"""`next_tokens [@POS] [top20]`: the distribution over the next token at a position."""

from __future__ import annotations

from typing import Any, Self

from msgspec.structs import replace

from mechtui.session.document import Struct, Token
from mechtui.session.grammar.loose import count, fields, position
from mechtui.views.question import Answer, Question, plain
from mechtui.views.spec import View

# How many candidates `s` goes through.
TOPS = (10, 20, 50)
MOST = 99_999


class NextTokens(Question, frozen=True, tag="next_tokens"):
    """The `top` most probable tokens after `position` (negative: from the end)."""

    position: int = -1
    top: int = 10

    @classmethod
    def parse(cls, line: str, rest: str) -> Self:
        wanted = "a position, as in @-1, or a count, as in top20"
        return cls(**fields(line, wanted, position(), count("top", MOST)))

    def line(self) -> str:
        words = ["next_tokens"]
        if self.position != -1:
            words.append(f"@{self.position}")
        if self.top != 10:
            words.append(f"top{self.top}")
        return " ".join(words)

    def next(self) -> Self:
        return replace(self, top=next((top for top in TOPS if top > self.top), TOPS[0]))


class Candidate(Struct, frozen=True):
    """A token, its logit, its probability (0..1) and its rank (0 is the most probable)."""

    token: Token
    logit: float
    prob: float
    rank: int


class NextTokensAnswer(Answer, frozen=True, tag="next_tokens", eq=False):
    """top: most probable first. answer, foil: the target's two tokens; when the session names none,
    the two most probable tokens of the clean run, and `auto` says so. logit_diff: logit(answer) - logit(foil).
    `also`: the candidates of the other run's top, so that clean and edited can stand side by side.
    """

    position: int
    top: tuple[Candidate, ...]
    also: tuple[Candidate, ...]
    answer: Candidate | None
    foil: Candidate | None
    auto: bool
    logit_diff: float | None
    entropy: float

    def measured(self) -> float | None:
        return self.logit_diff

    def json(self) -> dict[str, Any]:
        def flat(candidate: Candidate | None) -> dict[str, Any] | None:
            if candidate is None:
                return None
            return {
                "token": candidate.token.text,
                "id": candidate.token.id,
                "logit": candidate.logit,
                "prob": candidate.prob,
                "rank": candidate.rank,
            }

        said = {
            "position": self.position,
            "top": [flat(candidate) for candidate in self.top],
            "answer": flat(self.answer),
            "foil": flat(self.foil),
            "auto": self.auto,
            "logit_diff": self.logit_diff,
            "entropy": self.entropy,
        }
        return {key: plain(value) for key, value in said.items()}


SPEC = View(
    question=NextTokens,
    answer=NextTokensAnswer,
    title="Next token",
    go="n",
    shows=(
        "The likeliest next tokens after the selected one, probability clean and edited, entropy in nats, and logit, "
        "probability and rank (0 is first) of answer and foil."
    ),
    read="▲ ▼ mark changes of .005 or more.",
    trap=(
        "A probability near 1 hides what the logits do. Where no answer is named, the two likeliest tokens of the "
        "clean run stand for answer and foil."
    ),
    words=("logit", "logit difference", "rank", "clean, edited"),
    line_words=(("top20", "the 20 likeliest"), ("top50", "the 50 likeliest")),
    footer=("prompt", "target", "token_back", "token_next", "summary"),
)
