"""The logit difference of a state."""

from __future__ import annotations

from mechtui.views.history import History
from mechtui.views.script import Around


def lines(question: History, around: Around) -> list[str]:
    position = around.position(question.position)
    if bool(around.session.answer) != bool(around.session.foil):
        return [f'return {{"position": {position}, "logit_diff": None}}']
    return [
        *around.target(position),
        f"difference = logits[{position}, answer] - logits[{position}, foil]",
        f'return {{"position": {position}, "logit_diff": difference.item()}}',
    ]
