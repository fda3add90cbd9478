"""One run for each site, with the sweep's hook behind those of the edits."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from mechtui.session import sites
from mechtui.session.grammar.edits import format_edit
from mechtui.session.hook_edits import HookEdit
from mechtui.session.ops import ops
from mechtui.views.script import Around, NoHookError, ScriptError, quoted
from mechtui.views.sweep import Sweep


class _Name(int):
    """A position that is written as a name: the same line is for all of them."""

    name: str

    def __repr__(self) -> str:
        return self.name


def looser(question: Sweep, around: Around, answer: Mapping[str, Any]) -> float:
    return share_of(answer["metric"], answer["baseline"], answer["source_baseline"])


def share_of(metric: str, baseline: float | None, source_baseline: float | None) -> float:
    """How much less exact than a difference in logits the values are: shares of a small difference are."""
    if metric != "normalised" or baseline is None or source_baseline is None:
        return 1.0
    return max(1.0, 1 / abs(source_baseline - baseline))


def lines(question: Sweep, around: Around) -> list[str]:
    if question.plan:
        raise ScriptError("what a sweep would take on another machine is no number of the model's")
    letter = "H" if question.edit.site.kind == "head" else "@"
    from_source = question.edit.op == "patch"
    return [
        *swept(question, around),
        "return {",
        '    "rows": [f"L{layer}" for layer in layers],',
        f'    "columns": [f"{letter}{{column}}" for column in columns],',
        '    "metric": metric,' if from_source else '    "metric": "logit_diff",',
        '    "values": values,',
        '    "baseline": float(baseline),',
        f'    "source_baseline": {"float(source_baseline)" if from_source else None},',
        "}",
    ]


def swept(question: Sweep, around: Around) -> list[str]:
    """Lines after which `values` is [row, column] of `layers` and `columns`. Raises ScriptError."""
    edit, session = question.edit, around.session
    if bool(session.answer) != bool(session.foil):
        raise ScriptError("a sweep measures a logit difference: give the session an answer and a foil")
    heads = edit.site.kind == "head"
    layers = list(edit.site.layers.within(around.shape.n_layers))
    columns = list(
        edit.site.index.within(sites.head_count(edit.site, around.shape)) if heads else range(len(around.tokens))
    )
    found = _resolved(question, around, layers, columns)
    one = next(iter(found.values()))
    every = len(found) == len(layers) * len(columns)
    cells = "np.ndindex(*values.shape)" if every else repr(list(found))
    partners: list[str] = []
    if not heads:
        of = {column: edit.places[0][1] for (_, column), edit in found.items()}
        if one.places[0][1] is not None:
            partners = [f"partners = {of}"]
        one = _at_any_position(one)
    at_head = "[:, head]" if one.is_pattern else "[:, :, head]"
    pick = at_head if heads else ""
    name = "head" if heads else "position"
    op = ops()[edit.op]
    change = list(op.script(one, pick, around.vector(edit.vector) if one.vector is not None else ""))
    from_source = edit.op == "patch"
    source = [f"source_logits, source = bridge.run_with_cache(encode({session.source!r}))"]
    references = [f"references = [bridge.run_with_cache(encode(text))[1] for text in {list(session.references)!r}]"]
    hook = one.hook.replace(f".{one.layer}.", ".{layer}.", 1)
    if edit.site.part == "mid":
        # What goes around the second norm comes before edits of resid_post.
        cell = ["    hook, beyond = at_mid(layer, at(columns[column]))", "    hooks = [beyond, *fwd_hooks, hook]"]
    else:
        cell = [f"    hooks = [*fwd_hooks, (f{quoted(hook)}, at(columns[column]))]"]
    shares = [
        "source_baseline = source_logits[0, -1, answer] - source_logits[0, -1, foil]",
        'metric = "logit_diff" if source_baseline == baseline else "normalised"',
        'if metric == "normalised":',
        "    values = values / (source_baseline - baseline)",
    ]
    return [
        *around.target(-1),
        "baseline = logits[-1, answer] - logits[-1, foil]",
        *(source if op.takes == "source" else []),
        *partners,
        *(references if one.references else []),
        "",
        f"def at({name}):",
        "    def change(x, hook):",
        f"        {'x, before = x.clone(), x' if one.is_pattern else 'x = x.clone()'}",
        f"        part = x{pick}",
        *textwrap.indent("\n".join(change), " " * 8).split("\n"),
        f"        return {'torch.where(seen(hook), x, before)' if one.is_pattern else 'x'}",
        "",
        "    return change",
        "",
        f"layers, columns = {layers}, {columns}",
        "values = torch.full((len(layers), len(columns)), torch.nan)",
        f"for row, column in {cells}:",
        "    layer = layers[row]",
        *cell,
        "    changed = bridge.run_with_hooks(tokens, fwd_hooks=hooks)[0, -1]",
        "    values[row, column] = changed[answer] - changed[foil] - baseline",
        *(shares if from_source else []),
    ]


def _resolved(
    question: Sweep, around: Around, layers: list[int], columns: list[int]
) -> dict[tuple[int, int], HookEdit]:
    """(row, column) -> what the edit does there, of the cells at which it can be made. Raises ScriptError."""
    found: dict[tuple[int, int], HookEdit] = {}
    why = ""
    for row, layer in enumerate(layers):
        for number, column in enumerate(columns):
            try:
                for each in around.hook_edits(question.cell(layer, column)):
                    found[row, number] = each
            except NoHookError:
                raise
            except ScriptError as error:
                why = str(error)
    if not found:
        raise ScriptError(f"{format_edit(question.edit)}: {why or 'it has no position in this prompt'}")
    return found


def _at_any_position(edit: HookEdit) -> HookEdit:
    """The same with names in place of its position and its partner."""
    position, partner = _Name(0), _Name(0)
    position.name, partner.name = "position", "partners[position]"
    [(_, of)] = edit.places
    return replace(edit, places=((position, None if of is None else partner),))
