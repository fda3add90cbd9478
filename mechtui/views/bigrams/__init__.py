"""`bigrams [mlps] [top5] [bigrams|model|gain] [up] [clean|difference]`: the model as if it had no layers."""

from __future__ import annotations

from typing import Any, ClassVar, Literal, Self, get_args

import numpy as np
from msgspec.structs import replace

from mechtui.none import NONE
from mechtui.session.document import Token
from mechtui.session.grammar.loose import choice, count, fields, flag
from mechtui.views.question import RUNS, Answer, Question, Run, after, plain
from mechtui.views.spec import Action, Axis, Cost, Rows, View

Order = Literal["text", "bigrams", "model", "gain"]
ORDERS: tuple[Order, ...] = get_args(Order)


class Bigrams(Question, frozen=True, tag="bigrams"):
    """What follows each token of the prompt by its embedding alone, beside what the model says. mlps: MLPs write too,
    attention never does. top: how many likely tokens are named. by: how the list is sorted: as the text stands, or by a
    column, the largest first, or with `up` the smallest."""

    SHOWN: ClassVar[frozenset[str]] = frozenset({"by", "up", "run"})

    mlps: bool = False
    top: int = 3
    by: Order = "text"
    up: bool = False
    run: Run = "edited"

    @classmethod
    def parse(cls, line: str, rest: str) -> Self:
        wanted = f"mlps, {', '.join(ORDERS)}, up, clean, difference or a count, as in top5"
        readers = (flag("mlps"), count("top"), choice("by", ORDERS), flag("up"), choice("run", RUNS))
        return cls(**fields(line, wanted, *readers))

    def line(self) -> str:
        words = ["bigrams"]
        words += ["mlps"] if self.mlps else []
        words += [f"top{self.top}"] if self.top != 3 else []
        words += [self.by] if self.by != "text" else []
        words += ["up"] if self.up else []
        words += [self.run] if self.run != "edited" else []
        return " ".join(words)

    def next(self) -> Self:
        """In the next order."""
        return replace(self, by=after(self.by, ORDERS), up=False)


class BigramsAnswer(Answer, frozen=True, tag="bigrams", eq=False):
    """bigrams, model [pos]: -ln p(the token that comes next) in nats, by the token alone and by the whole model; NaN
    for the last, which nothing follows. best, probs [pos, top]: the likeliest next tokens by the token alone, and their
    probabilities; model_best, model_probs: the model's. uniform: the loss of a guess that holds all tokens for equally
    likely. mean_bigrams, mean_model: over all positions that have a loss; NaN where none has."""

    bigrams: np.ndarray
    model: np.ndarray
    best: tuple[tuple[Token, ...], ...]
    probs: np.ndarray
    model_best: tuple[tuple[Token, ...], ...]
    model_probs: np.ndarray
    uniform: float
    mean_bigrams: float
    mean_model: float

    @property
    def explained(self) -> float:
        """The share of what the model knows more than a uniform guess that bigrams know, too: 1 is all of it, below 0
        they know less than the guess. NaN where there is no loss, or the model knows no more than the guess."""
        known = self.uniform - self.mean_model
        return (self.uniform - self.mean_bigrams) / known if known > 0 else NONE

    def json(self) -> dict[str, Any]:
        def named(best: tuple[tuple[Token, ...], ...], probs: np.ndarray) -> list[list[dict[str, Any]]]:
            return [
                [
                    {"id": token.id, "token": token.text, "prob": plain(float(prob))}
                    for token, prob in zip(*row, strict=True)
                ]
                for row in zip(best, probs, strict=True)
            ]

        names = ("bigrams", "model", "uniform", "mean_bigrams", "mean_model", "explained")
        return {
            **{name: plain(getattr(self, name)) for name in names},
            "best": named(self.best, self.probs),
            "model_best": named(self.model_best, self.model_probs),
        }


SPEC = View(
    question=Bigrams,
    answer=BigramsAnswer,
    title="Bigrams",
    go="z",
    shows=(
        "The model as if it had no layers: softmax(W_U norm(W_E[token])), the final norm applied to the token's "
        "embedding alone, without its position, with the norm's own weight, bias and scale. For every token which "
        "tokens come next by it and by the whole model, and the loss -ln p(next token) of both in nats; gain is what "
        "the layers save. Below: the mean losses, and that of a uniform guess, ln(vocabulary). With mlps every MLP "
        "writes, too, and attention never does."
    ),
    read=(
        "A gain near 0: the token before says all that the model knows. A model whose unembedding is its embedding "
        "(tied, as GPT-2's) says the token itself here, and what bigrams it has are in its MLPs: r."
    ),
    trap=(
        "The norm makes a bare embedding as long as a whole stream, so this path may be far too sure; its loss may be "
        "worse than a uniform guess. What it says is what the weights would say, not what the direct path adds in a "
        "run: see Attribution, embed. Edits act where they can: at embed, and with mlps at MLPs and the stream."
    ),
    paper="Elhage et al. 2021, A Mathematical Framework for Transformer Circuits: zero-layer transformers.",
    words=("bigram", "unembedding", "nat", "clean, edited"),
    cost=Cost.OWN_RUNS,
    line_words=(
        ("mlps", "MLPs write too, attention never does"),
        ("top5", "the 5 likeliest tokens"),
        ("up", "the smallest first"),
    ),
    rows=Rows(Axis.TOKENS, 2),
    footer=("through_mlps", "sort_bigrams", "next_run", "token_back", "token_next", "summary", "maximise"),
    actions=(
        Action("through_mlps", ("r",), "MLPs", "Let every MLP write, too, with attention still silent; and back."),
        Action(
            "sort_bigrams",
            ("o",),
            "sort here",
            "Sort by the cursor's column, the largest first; once more the smallest first.",
        ),
    ),
)
