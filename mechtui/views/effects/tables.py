"""What each edit does alone."""

from __future__ import annotations

from msgspec.structs import replace

from mechtui.session.grammar.edits import format_edit
from mechtui.views.effects import Effects, EffectsAnswer
from mechtui.views.tables import Around, Block, Column, Listing, fact


def tables(question: Effects, answer: EffectsAnswer, around: Around) -> list[Block]:
    edits = around.session.edits[: len(answer.effect)]
    lines = [format_edit(replace(edit, on=True)) for edit in edits]
    rows = tuple(f"{at} {line}" for at, line in enumerate(lines, 1))
    columns = [
        Column("on", tuple("on" if edit.on else "off" for edit in edits)),
        Column("effect", answer.effect, "logits", signs=True),
    ]
    if any(share is not None for share in answer.share):
        columns.append(Column("length", answer.share, "of the activation's"))
    facts = (
        []
        if answer.together is None
        else [fact("all that are on together: change of the logit difference", answer.together, "logits", signs=True)]
    )
    return [
        fact(f"clean logit difference at {around.at(answer.position)}", answer.baseline, "logits", signs=True),
        Listing("each edit alone: change of the logit difference", "edit", rows, columns),
        *facts,
    ]
