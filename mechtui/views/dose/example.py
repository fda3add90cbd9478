"""A vector that turns the answer over while what the model writes falls apart at both ends."""

from __future__ import annotations

import numpy as np

from mechtui.session.grammar.edits import parse_edit
from mechtui.views.dose import Dose, DoseAnswer, bare
from mechtui.views.example import NEXT, Example

LINES = (
    "dose",
    "dose add L1.mid @3 t -2..2 step2",
    "dose add L0.pre n 0..1 step1 layers kl",
    "dose add L1.pre n -2..2 step2 layers text tokens2",
    "dose add L1.pre n 0..1 step1 over cases",
)


def example() -> Example:
    question = Dose(edit=bare(parse_edit("add L6.pre @-1 love x1")), text=True, tokens=6)
    return Example(question, _answer(question, 0.0), _answer(question, -0.7))


def _answer(question: Dose, shift: float) -> DoseAnswer:
    assert question.edit is not None
    numbers = question.numbers(question.edit)
    x = np.asarray(numbers, dtype=np.float32)[None]
    diff = (3.3 + shift - 0.6 * x - 0.02 * x**2).astype(np.float32)
    tokens = tuple(tuple(NEXT[(at + place) % 9] for place in range(6)) for at in range(len(numbers)))
    return DoseAnswer(
        edit="add L6.pre @-1 love",
        numbers=numbers,
        layers=(-1,),
        logit_diff=diff,
        kl=(0.05 * x**2).astype(np.float32),
        share=np.abs(0.2 * x).astype(np.float32),
        loss=(1.2 + 0.04 * x**2).astype(np.float32),
        tokens=(tokens,),
        baseline=float(3.3 + shift),
        runs=2 * len(numbers),
        done=2 * len(numbers),
    )
