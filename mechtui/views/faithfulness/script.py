"""No program has it: the means are of prompts that it does not hold."""

from __future__ import annotations

from mechtui.views.faithfulness import Faithfulness
from mechtui.views.script import Around, ScriptError


def lines(question: Faithfulness, around: Around) -> list[str]:
    raise ScriptError("a program runs one prompt, and a circuit is ablated to means over many; mechtui run answers it")
