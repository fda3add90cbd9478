"""`residual`: how long the residual stream is at every layer and position, and what wrote to it."""

from __future__ import annotations

import numpy as np

from mechtui.views.question import Answer, Question
from mechtui.views.spec import View


class Residual(Question, frozen=True, tag="residual"):
    """L2 norms of the residual stream, of attention's and of the MLP's outputs, everywhere."""


class ResidualAnswer(Answer, frozen=True, tag="residual", eq=False):
    """sites: L0.pre ... L{n-1}.pre, L{n-1}.post. norm [site, pos]: L2 norms of the residual stream there.
    attn, mlp [layer, pos]: L2 norms of what each wrote (hook_attn_out, hook_mlp_out); NaN without an MLP.
    """

    sites: tuple[str, ...]
    norm: np.ndarray
    attn: np.ndarray
    mlp: np.ndarray


SPEC = View(
    question=Residual,
    answer=ResidualAnswer,
    title="Residual",
    go="r",
    shows=(
        "For every token the L2 norm of the residual stream from L0.pre to the last layer's post, with its least "
        "and greatest value; below, for the selected token, the norm of what attention and the MLP wrote at each "
        "layer."
    ),
    read="All sparklines of a kind have one scale; log says that it is logarithmic.",
    trap="A long write need not move the answer: it may be orthogonal to it, or be taken back by a later layer.",
    words=("residual stream", "L2 norm", "clean, edited"),
    footer=("edit_line", "token_back", "token_next", "summary", "maximise", "generate"),
)
