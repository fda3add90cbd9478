"""The same edit at every site in turn."""

from __future__ import annotations

from mechtui.session.grammar.edits import format_edit
from mechtui.views.sweep import Sweep, SweepAnswer
from mechtui.views.tables import Around, Block, Matrix, fact

UNITS = {"logit_diff": "logits", "normalised": "share of the source's"}
TITLES = {
    "logit_diff": "change of the logit difference",
    "normalised": "(patched - corrupted) / (clean - corrupted)",
}


def tables(question: Sweep, answer: SweepAnswer, around: Around) -> list[Block]:
    columns = answer.columns
    of = "head"
    if columns and columns[0].startswith("@"):
        of, columns = "token", tuple(around.at(int(name[1:])) for name in columns)
    blocks: list[Block] = [
        Matrix(
            f"{format_edit(question.edit)} at every site alone: {TITLES[answer.metric]}",
            UNITS[answer.metric],
            ("layer", of),
            answer.rows,
            columns,
            answer.values,
            signs=True,
        ),
        fact("logit difference without it", answer.baseline, "logits", signs=True),
    ]
    if answer.source_baseline is not None:
        blocks.append(fact("logit difference of the source", answer.source_baseline, "logits", signs=True))
    return blocks
