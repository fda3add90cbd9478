"""`residual`: how long the residual stream is at every layer and position, and what wrote to it."""

from __future__ import annotations

import numpy as np

from mechtui.views.question import Answer, Question


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


QUESTION = Residual
ANSWER = ResidualAnswer
