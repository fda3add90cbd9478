"""One run for each number, and layer, with the dosed edit as its only one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from msgspec import structs

from mechtui.session import sites
from mechtui.session.document import Vector
from mechtui.session.grammar.edits import format_edit
from mechtui.session.hook_edits import HookEdit
from mechtui.views import over_script
from mechtui.views.dose import Dose, called, dosed
from mechtui.views.edit_script import change
from mechtui.views.script import Around, ScriptError, quoted

# Beside the other edits nothing is computed again; nor are texts, which grow tables and edits at every token.
EACH_RUN = False


def omits(question: Dose) -> Sequence[str]:
    return ("loss", *over_script.OMITS) if question.cases else ("loss", "text")


class _Name(float):
    """A number that is written as a name."""

    def __repr__(self) -> str:
        return "number"


def lines_of(question: Dose, around: Around, answers: tuple[Mapping[str, Any] | None, Any]) -> list[str]:
    if not question.cases or answers[0] is None:
        return lines(question, around)
    edit = question.chosen(around.session)
    if edit is None:
        raise ScriptError("there is no edit with a number to be dosed")
    alone = structs.replace(question, edit=edit, cases=False)
    return [
        *over_script.of_cases(answers[0], around, lambda case: lines(alone, case), "logit_diff", edit.positions),
        *over_script.summed(),
        "known = [one for one in found if one is not None]",
        *over_script.returned(
            "logit_diff",
            [
                *((key, f'known[0]["{key}"]') for key in ("edit", "numbers", "layers")),
                *(
                    (key, f'np.mean([np.asarray(one["{key}"]) for one in known], axis=0).tolist()')
                    for key in ("kl", "share")
                ),
                ("baseline", 'np.mean([one["baseline"] for one in known])'),
            ],
            "sign_share",
        ),
    ]


def lines(question: Dose, around: Around) -> list[str]:
    if question.cases:
        raise ScriptError(over_script.NOT_KNOWN)
    session = around.session
    edit = question.chosen(session)
    if edit is None:
        raise ScriptError("there is no edit with a number to be dosed")
    # Without one of both there is no logit difference.
    differs = bool(session.answer) == bool(session.foil)
    baseline = "(clean_logits[0, -1, answer] - clean_logits[0, -1, foil]).item()"
    if question.layers and edit.site.kind != "layer":
        raise ScriptError(f"{called(edit)} acts at no part of a layer")
    numbers = question.numbers(edit)
    layers = list(range(around.shape.n_layers)) if question.layers else [-1]
    made = [around.hook_edits(dosed(edit, 1.0, layer)) for layer in layers]
    if not made[0]:
        raise ScriptError(f"{format_edit(edit)} has no position in this prompt")
    one = made[0][0]
    mid = one.hook == sites.hook(one.layer, "mid")
    hooks = [[each.hook for each in row] for row in made]
    vector = session.vector(edit.vector) if edit.vector else None
    adds = ["vector = None"] if vector is None else _vector(vector, question, around, edit.site.part)
    share = "abs(number - 1)" if edit.op == "scale" else "torch.nan"
    if vector is not None:
        norm = f"clean[hooks[row][0]][0, {one.positions}].float().norm(dim=-1).quantile(0.5)"
        share = f"abs(number) * vector.norm() / {norm}"
    put = [
        "    pairs = [at_mid(int(hook.split('.')[1]), at(number, vector)) for hook in hooks[row]]",
        "    made = [*(beyond for _, beyond in pairs), *(first for first, _ in pairs)]",
    ]
    return [
        *(around.target(-1) if differs else []),
        *_change(one, around),
        f"numbers, layers = {list(numbers)}, {layers}",
        f"hooks = {hooks}",
        "logit_diff, kl, share = torch.full((3, len(layers), len(numbers)), torch.nan)",
        "before = clean_logits[0, -1].log_softmax(-1)",
        "for row, column in np.ndindex(len(layers), len(numbers)):",
        "    number = numbers[column]",
        *(f"    {each}" for each in adds),
        *(put if mid else ["    made = [(hook, at(number, vector)) for hook in hooks[row]]"]),
        "    said = bridge.run_with_hooks(tokens, fwd_hooks=made)[0, -1]",
        *(["    logit_diff[row, column] = said[answer] - said[foil]"] if differs else []),
        "    kl[row, column] = (before.exp() * (before - said.log_softmax(-1))).sum()",
        f"    share[row, column] = {share}",
        "return {",
        f'    "edit": {quoted(called(edit))},',
        '    "numbers": numbers,',
        f'    "layers": {"layers" if question.layers else None},',
        f'    "baseline": {baseline if differs else None},',
        '    "logit_diff": logit_diff,',
        '    "kl": kl,',
        '    "share": share,',
        "}",
    ]


def _change(one: HookEdit, around: Around) -> list[str]:
    """Lines after which `at(number, vector)` makes the edit."""
    vector = "vector" if one.vector is not None else ""
    body = change(replace(one, factor=_Name(1)), around, vector)
    lines = ["    def change(x, hook):", *(f"        {each}" for each in body)]
    return ["", "def at(number, vector):", *lines, "", "    return change", ""]


def _vector(vector: Vector, question: Dose, around: Around, part: str | None) -> list[str]:
    """Lines after which `vector` is what is added in this row."""
    if not question.layers or vector.source not in ("diff", "mean", "pca"):
        return [f"vector = {around.vector(vector.name)}"]
    if vector.files or part is None:
        raise ScriptError(f"{vector.name} is read from files, and no program reads it at every layer")
    hook = sites.hook(0, part).replace(".0.", ".{layers[row]}.", 1)  # type: ignore[arg-type]
    which = ".mean(0)" if vector.position is None else f"[{vector.position}]"
    sides = [list(side) for side in zip(*vector.rows, strict=True)]
    found = [
        f"texts = {sides!r}",
        f'read = [[bridge.run_with_cache(encode(each))[1][f"{hook}"][0].float() for each in side] for side in texts]',
        f"read = [torch.stack([each{which} for each in side]) for side in read]",
    ]
    match vector.source:
        case "diff":
            found.append("vector = (read[0] - read[1]).mean(0)")
        case "mean":
            found.append("vector = read[0].mean(0)")
        case _:
            found += [
                f"vector = torch.linalg.svd(read[0] - read[0].mean(0), full_matrices=False)[2][{vector.component - 1}]",
                "vector = vector * torch.sign(vector[vector.abs().argmax()])",
            ]
    return [*found, *(["vector = vector / vector.norm()"] if vector.unit else [])]
