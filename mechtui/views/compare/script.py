"""A program holds one session."""

from __future__ import annotations

from mechtui.views.compare import Compare
from mechtui.views.script import Around, ScriptError


def lines(question: Compare, around: Around) -> list[str]:
    raise ScriptError(f"{question.line()}: a program holds one session; write one of each and compare what they print")
