"""`attribution`: which components wrote the logit difference, directly (Elhage et al. 2021)."""

from __future__ import annotations

import numpy as np

from mechtui.views.question import Answer, Question
from mechtui.views.spec import View


class Attribution(Question, frozen=True, tag="attribution"):
    """Direct logit attribution at the last position, with the final norm's scale held at its value."""


class AttributionAnswer(Answer, frozen=True, tag="attribution", eq=False):
    """Contributions to logit(answer) - logit(foil), in logits; all of them add up to `total`.

    heads [layer, head]; mlps [layer] (NaN without an MLP); embed, pos; bias: attention's output biases, the
    final norm's and the unembedding's; edits: what edits added to or took from the residual stream itself.
    rounding: what the parts may miss of `total`, in float32 0.001; where they miss more there is no answer.
    """

    heads: np.ndarray
    mlps: np.ndarray
    embed: float
    pos: float
    bias: float
    edits: float
    total: float
    rounding: float


SPEC = View(
    question=Attribution,
    answer=AttributionAnswer,
    title="Attribution",
    go="d",
    shows=(
        "What each head, MLP, embedding and bias wrote along the unembedding of answer minus foil at the last "
        "position, in logits, with the final norm's scale held at its value."
    ),
    read="All of them add up to the logit difference.",
    trap="This is the direct way only: a head that works through later heads has no share of its own here.",
    paper="Elhage et al. 2021, A Mathematical Framework for Transformer Circuits",
    words=("logit difference", "unembedding", "residual stream"),
)
