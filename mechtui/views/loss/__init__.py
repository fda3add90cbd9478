"""`loss [top5] [loss|edited|change|rank] [up]`: how surprising each token is to what stands before it."""

from __future__ import annotations

from typing import Any, ClassVar, Literal, Self, get_args

import numpy as np
from msgspec.structs import replace

from mechtui.session.document import Token
from mechtui.session.grammar.loose import choice, count, fields, flag
from mechtui.views.question import Answer, Question, after, plain
from mechtui.views.spec import Action, Axis, Numbers, Rows, View

Order = Literal["text", "loss", "edited", "change", "rank"]
ORDERS: tuple[Order, ...] = get_args(Order)


class Loss(Question, frozen=True, tag="loss"):
    """The loss of every token of the prompt. top: how many likelier tokens are named in its place. by: how the list is
    sorted: as the text stands, or by a column, the largest first, or with `up` the smallest."""

    SHOWN: ClassVar[frozenset[str]] = frozenset({"by", "up"})

    top: int = 3
    by: Order = "text"
    up: bool = False

    @classmethod
    def parse(cls, line: str, rest: str) -> Self:
        wanted = f"{', '.join(ORDERS)}, up or a count, as in top5"
        return cls(**fields(line, wanted, count("top"), choice("by", ORDERS), flag("up")))

    def line(self) -> str:
        words = ["loss"]
        words += [f"top{self.top}"] if self.top != 3 else []
        words += [self.by] if self.by != "text" else []
        words += ["up"] if self.up else []
        return " ".join(words)

    def next(self) -> Self:
        """In the next order."""
        return replace(self, by=after(self.by, ORDERS), up=False)


class LossAnswer(Answer, frozen=True, tag="loss", eq=False):
    """loss [pos]: -ln p(token | the tokens before it) in nats; NaN for the first, which nothing stands before. rank
    [pos]: how many tokens were likelier there (0: none); NaN for the first. best, probs [pos, top]: the likeliest
    tokens there and their probabilities; none and NaN for the first. sum, mean: of all that have a loss, in nats; NaN
    where none has."""

    loss: np.ndarray
    rank: np.ndarray
    best: tuple[tuple[Token, ...], ...]
    probs: np.ndarray
    sum: float
    mean: float

    def json(self) -> dict[str, Any]:
        best = [
            [
                {"id": token.id, "token": token.text, "prob": plain(float(prob))}
                for token, prob in zip(*row, strict=False)
            ]
            for row in zip(self.best, self.probs, strict=True)
        ]
        said = {name: plain(getattr(self, name)) for name in ("loss", "rank", "sum", "mean")}
        return {**said, "best": best}


SPEC = View(
    question=Loss,
    answer=LossAnswer,
    title="Loss",
    go="o",
    shows=(
        "For every token of the prompt its loss, -ln p(token | the tokens before it) in nats, clean and edited, and "
        "the change; how many tokens were likelier there (rank), and which. Below them the mean and the sum."
    ),
    read=(
        "0: the model was sure of this token. ln 2 = .69: it gave it one half. exp(mean) is the perplexity. A change "
        "above 0: the edit makes this token harder to foresee. A drop in the second half of a repeated text is what "
        "induction heads are for."
    ),
    trap=(
        "The first token has no loss. One prompt's mean is no measure of a model: a few rare words decide it. An edit "
        "at one position changes only the tokens after it."
    ),
    paper="In-context learning as loss along the text: Olsson et al. 2022.",
    words=("clean, edited",),
    line_words=(("top5", "the 5 likeliest tokens"), ("up", "the smallest first")),
    rows=Rows(Axis.TOKENS, 2),
    footer=("sort_loss", "token_back", "token_next", "summary", "maximise", "start"),
    actions=(
        Action(
            "sort_loss",
            ("o",),
            "sort here",
            "Sort by the cursor's column, the largest first; once more the smallest first.",
        ),
    ),
    numbers=(Numbers("loss", "loss", "nats", ("position",)),),
)
