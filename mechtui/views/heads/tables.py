"""One number for every head."""

from __future__ import annotations

from mechtui.views.heads import Heads, HeadsAnswer
from mechtui.views.over_tables import crossed, of_cases
from mechtui.views.tables import Around, Block, Matrix, numbered

UNITS = {
    "entropy": "nats",
    "first": "share of attention to the first token",
    "norm": "L2 norm of what the head writes",
    "attribution": "logits",
    "copying": "-1 to 1",
}
SIGNED = ("attribution", "copying", "sweep")


def tables(question: Heads, answer: HeadsAnswer, around: Around) -> list[Block]:
    layers, heads = answer.values.shape
    unit = UNITS.get(answer.summary, "share of attention")
    if answer.over is not None:
        names = crossed(numbered("L", layers), numbered("H", heads))
        return of_cases(
            f"{answer.summary} at {answer.position}", unit, "head", names, answer.values, answer.over, around
        )
    ends = (0.0, 1.0) if unit.startswith("share") else (None, None)
    return [
        Matrix(
            f"{answer.summary} at {around.at(answer.position)}",
            unit,
            ("layer", "head"),
            numbered("L", layers),
            numbered("H", heads),
            answer.values,
            signs=answer.summary in SIGNED,
            low=ends[0],
            high=ends[1],
        )
    ]
