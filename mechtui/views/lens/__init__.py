"""`lens`: what the model would say if it stopped after each layer (nostalgebraist 2020, the logit lens)."""

from __future__ import annotations

from typing import Any

import numpy as np

from mechtui.session.document import Token
from mechtui.views.question import Answer, Question, plain
from mechtui.views.spec import View


class Lens(Question, frozen=True, tag="lens"):
    """The final norm and the unembedding applied to every L*.post."""


class LensAnswer(Answer, frozen=True, tag="lens", eq=False):
    """top [layer, pos]: id of the most probable token; prob [layer, pos] its probability; vocabulary: those
    tokens. answer_rank [layer, pos]: rank of the answer (0 is the most probable), None without an answer."""

    top: np.ndarray
    prob: np.ndarray
    vocabulary: tuple[Token, ...]
    answer_rank: np.ndarray | None

    def json(self) -> dict[str, Any]:
        text = {token.id: token.text for token in self.vocabulary}
        return {
            "top": [
                [{"token": text[int(id)], "prob": float(prob)} for id, prob in zip(ids, probs, strict=True)]
                for ids, probs in zip(self.top, self.prob, strict=True)
            ],
            "answer_rank": plain(self.answer_rank),
        }


SPEC = View(
    question=Lens,
    answer=LensAnswer,
    title="Lens",
    go="l",
    shows=(
        "For every layer and position the token that the model would say if it stopped there, softmax(W_U norm(post)), "
        "its probability, and the answer's rank."
    ),
    read="From the layer on where the answer has rank 0 and keeps it, the model has decided.",
    trap="Early layers do not write in the unembedding's terms: nonsense there is the lens's, not the model's.",
    paper="nostalgebraist 2020, interpreting GPT: the logit lens",
    words=("residual stream", "unembedding", "rank"),
)
