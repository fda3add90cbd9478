"""A prompt, how much each of its tokens surprises, and a source that differs in one name."""

from __future__ import annotations

import numpy as np

from mechtui.views.example import COUNT, SOURCE, TOKENS, Example, numbers
from mechtui.views.tokens import Tokens, TokensAnswer


def example() -> Example:
    surprise = numbers(0, COUNT, high=9)
    surprise[0] = np.nan
    return Example(Tokens(), TokensAnswer(TOKENS, 0, surprise, SOURCE, tuple(range(COUNT))))
