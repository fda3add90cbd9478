"""Each case's numbers, and what all of them say together."""

from __future__ import annotations

from mechtui.views.cases import Cases, CasesAnswer
from mechtui.views.tables import Around, Block, Column, Listing, summaries


def tables(question: Cases, answer: CasesAnswer, around: Around) -> list[Block]:
    sessions = [case.alone(around.session) for case in answer.cases]
    rows = tuple(f"{at} {each.prompt}" for at, each in enumerate(sessions, 1))
    columns = [Column("logit difference", [float(value) for value in answer.logit_diff], "logits", signs=True)]
    over = [("logit difference", answer.over)]
    if answer.change is not None:
        columns.append(Column("effect", [float(value) for value in answer.effect], "logits", signs=True))
        over.append(("effect", answer.change))
    columns += [Column(name, [getattr(each, name) for each in sessions]) for name in ("source", "answer", "foil")]
    if any(answer.problems):
        columns.append(Column("left out", answer.problems))
    blocks: list[Block] = [
        summaries(f"over the cases {answer.of}", "", [name for name, _ in over], [each for _, each in over])
    ]
    if answer.alone:
        edits = [f"{at} {each.edit}" for at, each in enumerate(answer.alone, 1)]
        blocks.append(summaries("what each edit changes alone", "edit", edits, [each.over for each in answer.alone]))
    return [*blocks, Listing(f"cases {answer.of}", "case", rows, columns)]
