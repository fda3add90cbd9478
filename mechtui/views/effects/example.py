"""Three edits, of which one turns the answer over."""

from __future__ import annotations

from mechtui.views.effects import Effects, EffectsAnswer
from mechtui.views.example import COUNT, Example

LINES = ("effects", "effects @4")


def example() -> Example:
    return Example(Effects(), EffectsAnswer(3.3, (-1.62, -0.4, 0.07), (None, None, 0.31), COUNT - 1, -1.55))
