"""Each case's numbers, and what all of them say together."""

from __future__ import annotations

from mechtui.evidence import Summary
from mechtui.views.cases import Cases, CasesAnswer
from mechtui.views.tables import Around, Block, Column, Listing


def tables(question: Cases, answer: CasesAnswer, around: Around) -> list[Block]:
    rows = tuple(f"{at} {case.prompt or around.session.prompt}" for at, case in enumerate(answer.cases, 1))
    columns = [Column("logit difference", [float(value) for value in answer.logit_diff], "logits", signs=True)]
    over = [("logit difference", answer.over)]
    if answer.change is not None:
        columns.append(Column("effect", [float(value) for value in answer.effect], "logits", signs=True))
        over.append(("effect", answer.change))
    columns += [
        Column(name, [getattr(case, name) or getattr(around.session, name) for case in answer.cases])
        for name in ("source", "answer", "foil")
    ]
    if any(answer.problems):
        columns.append(Column("left out", answer.problems))
    return [_together(answer.of, over), Listing(f"cases {answer.of}", "case", rows, columns)]


def _together(of: str, over: list[tuple[str, Summary]]) -> Listing:
    every = [each for _, each in over]
    return Listing(
        f"over the cases {of}: mean, 95 % bootstrap interval, standard deviation, share with the mean's sign",
        "",
        tuple(name for name, _ in over),
        (
            Column("n", [each.n for each in every], "cases", places=0),
            Column("mean", [each.mean for each in every], "logits", signs=True),
            Column("low", [each.low for each in every], "logits", signs=True),
            Column("high", [each.high for each in every], "logits", signs=True),
            Column("sd", [each.sd for each in every], "logits"),
            Column("share", [each.share for each in every], "of 1"),
        ),
    )
