"""No program has the cases yet: they are made and read by mechtui, and each has edits of its own."""

from __future__ import annotations

from mechtui.views.cases import Cases
from mechtui.views.script import Around, ScriptError


def lines(question: Cases, around: Around) -> list[str]:
    raise ScriptError("a program runs one prompt; mechtui run answers the session over its cases")
