"""A map of heads, of which a few write much more than the others."""

from __future__ import annotations

from mechtui.views.example import COUNT, SHAPE, Example, numbers
from mechtui.views.heads import Heads, HeadsAnswer

LINES = (
    *("heads entropy", "heads attribution", "heads copying", "heads first @3", "heads norm", "heads induction"),
    *("heads sweep", "heads norm over cases"),
)


def example() -> Example:
    return Example(Heads(), _answer(0), _answer(1))


def _answer(seed: int) -> HeadsAnswer:
    values = numbers(seed, SHAPE.n_layers, SHAPE.n_heads, high=2.6)
    return HeadsAnswer("entropy", COUNT - 1, values)
