"""Each edit as the only one: the logit difference then, less that of the clean run."""

from __future__ import annotations

from mechtui.session.grammar.edits import format_edit
from mechtui.views.effects import Effects
from mechtui.views.script import Around

EACH_RUN = False


def lines(question: Effects, around: Around) -> list[str]:
    position = around.position(question.position)
    session = around.session
    if bool(session.answer) != bool(session.foil):
        effect = [None] * len(session.edits)
        return [f'return {{"baseline": None, "effect": {effect}, "position": {position}}}']
    each = [
        f"    difference(bridge.run_with_hooks(tokens, fwd_hooks=around + hooks_{number})) - baseline,  # {line}"
        for number, line in enumerate(map(format_edit, session.edits), 1)
    ]
    return [
        *around.target(position),
        "",
        "def difference(logits):",
        f"    return (logits[0, {position}, answer] - logits[0, {position}, foil]).item()",
        "",
        "baseline = difference(clean_logits)",
        "effect = [",
        *each,
        "]",
        f'return {{"baseline": baseline, "effect": effect, "position": {position}}}',
    ]
