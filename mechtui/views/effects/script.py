"""Each edit as the only one: the logit difference then, less that of the clean run."""

from __future__ import annotations

from mechtui.session.grammar.edits import format_edit
from mechtui.views.effects import Effects
from mechtui.views.script import Around, NoHookError, ScriptError
from mechtui.visible import seen

EACH_RUN = False


def lines(question: Effects, around: Around) -> list[str]:
    position = around.position(question.position)
    session = around.session
    if bool(session.answer) != bool(session.foil):
        nothing = [None] * len(session.edits)
        rest = f'"position": {position}, "together": None'
        return [f'return {{"baseline": None, "effect": {nothing}, "share": {nothing}, {rest}}}']
    each = []
    for made in around.made:
        if isinstance(made, NoHookError):
            raise made
    for number, (edit, made) in enumerate(zip(session.edits, around.made, strict=True), 1):
        hooks = f"difference(bridge.run_with_hooks(tokens, fwd_hooks=around + hooks_{number})) - baseline"
        each.append(f"    {'None' if isinstance(made, ScriptError) else hooks},  # {seen(format_edit(edit))}")
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
        "# Of what is added, its length as a share of the length of what it is added to.",
        "share = [",
        *(f"    {share}," for share in _shares(around)),
        "]",
        "together = difference(runs[1][0][None]) - baseline if len(runs) > 1 else None",
        "return {",
        '    "baseline": baseline,',
        '    "effect": effect,',
        '    "share": share,',
        f'    "position": {position},',
        '    "together": together,',
        "}",
    ]


def _shares(around: Around) -> list[str]:
    """Of each edit that adds a vector."""
    found = []
    for edit, made in zip(around.session.edits, around.made, strict=True):
        if edit.op != "add" or not edit.vector or isinstance(made, ScriptError) or not made:
            found.append("None")
            continue
        norm = f"clean[{made[0].hook!r}][0, {made[0].positions}].float().norm(dim=-1).quantile(0.5)"
        found.append(f"({abs(edit.factor)!r} * {around.vector(edit.vector)}.norm() / {norm}).item()")
    return found
