"""The same over the session's cases, wherever a pane shows a logit difference: in how many, and how sure."""

from __future__ import annotations

from msgspec.structs import replace

from mechtui.paint.evidence import said
from mechtui.paint.palette import Palette
from mechtui.paint.tokens import cut, pad
from mechtui.panes.pane import OLDER, Line, Picture, line, wrap
from mechtui.session.document import Edit
from mechtui.session.grammar.edits import format_edit
from mechtui.views.cases import CasesAnswer
from mechtui.visible import seen

# Cells of a name before what is said.
NAME = 7
# Cells in which all is said.
LONG = 80


def over_cases(picture: Picture, width: int, palette: Palette) -> list[Line]:
    """Clean, edited and effect over the cases, under a line that names them; nothing where the session has none."""
    if not picture.session.cases:
        return []
    answered = picture.over
    clean, edited = (None, None) if answered is None else (answered.clean, answered.edited)
    if picture.over_refused:
        return [line((text, palette.bad)) for text in wrap(seen(f"✗ {picture.over_refused}"), width)]
    if not isinstance(clean, CasesAnswer):
        return [line((cut(f"over {seen(picture.session.cases)}: no numbers yet", width), palette.dim))]
    state = OLDER if picture.over_stale else f", {clean.left} runs to come" if clean.left else ""
    rows = [("clean", clean.over, palette.bold)]
    if isinstance(edited, CasesAnswer) and edited.change is not None:
        rows += [("edited", edited.over, palette.bold), ("effect", edited.change, palette.edited)]
    return [
        line((cut(f"over the cases {seen(clean.of)}{state}", width), palette.dim)),
        *(line((pad(name, NAME), palette.dim), (said(over, width - NAME), look)) for name, over, look in rows),
    ]


def rows_of(picture: Picture) -> int:
    """How many lines that will be."""
    if not picture.session.cases:
        return 0
    return 4 if picture.session.active_edits() else 2


def over_alone(picture: Picture, edit: Edit) -> list[str]:
    """What this edit does over the cases as the only one; nothing where that is not known."""
    answered = picture.over
    clean = None if answered is None else answered.clean
    if not isinstance(clean, CasesAnswer) or clean.of != picture.session.cases or picture.over_stale:
        return []
    name = format_edit(replace(edit, on=True))
    return [f"over the cases {said(each.over, LONG)}" for each in clean.alone if each.edit == name and each.over.n][:1]
