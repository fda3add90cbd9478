"""A state whose edit takes most of the logit difference away."""

from __future__ import annotations

from mechtui.views.example import COUNT, Example
from mechtui.views.history import History, HistoryAnswer


def example() -> Example:
    return Example(History(), HistoryAnswer(COUNT - 1, 3.12), HistoryAnswer(COUNT - 1, 0.44))
