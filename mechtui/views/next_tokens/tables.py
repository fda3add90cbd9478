"""The likeliest next tokens, answer and foil."""

from __future__ import annotations

from collections.abc import Sequence

from mechtui.views.next_tokens import Candidate, NextTokens, NextTokensAnswer
from mechtui.views.tables import Around, Block, Column, Listing, named


def tables(question: NextTokens, answer: NextTokensAnswer, around: Around) -> list[Block]:
    where = f"after {around.at(answer.position)}"
    shown = {each.token.id: each for each in (*answer.top, *answer.also)}
    listed = sorted(shown.values(), key=lambda each: each.rank)
    blocks: list[Block] = [_listing(f"next token {where}", "token", named(each.token for each in listed), listed)]
    target = [(name, each) for name, each in (("answer", answer.answer), ("foil", answer.foil)) if each is not None]
    if target:
        rows = [
            f"{name} {text}" for (name, _), text in zip(target, named(each.token for _, each in target), strict=True)
        ]
        auto = " (the clean run's two likeliest stand in)" if answer.auto else ""
        blocks.append(_listing(f"answer and foil{auto}", "", rows, [each for _, each in target]))
    facts = [("entropy", answer.entropy, "nats", False)]
    if answer.logit_diff is not None:
        facts.insert(0, ("logit difference", answer.logit_diff, "logits", True))
    for name, value, unit, signs in facts:
        blocks.append(Listing("", "", (name,), (Column("", (value,), unit, signs),)))
    return blocks


def _listing(title: str, of: str, rows: Sequence[str], found: Sequence[Candidate]) -> Listing:
    columns = (
        Column("probability", [each.prob for each in found], "of 1", places=3),
        Column("logit", [each.logit for each in found], "logits"),
        Column("rank", [each.rank for each in found], "0 is first", places=0),
    )
    return Listing(title, of, tuple(rows), columns)
