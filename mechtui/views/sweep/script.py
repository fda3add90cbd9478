"""One run for each site, with the sweep's hook behind those of the edits."""

from __future__ import annotations

import textwrap
from dataclasses import replace

from mechtui.session import sites
from mechtui.session.grammar.edits import format_edit
from mechtui.session.hook_edits import EditError, HookEdit, Steering
from mechtui.session.ops import ops
from mechtui.session.prompt import Prompt, Surroundings
from mechtui.session.resolve import resolve
from mechtui.session.script import Loaded, ScriptError
from mechtui.views.script import Around
from mechtui.views.sweep import Sweep


class _Name(int):
    """A position that is written as a name: the same line is for all of them."""

    name: str

    def __repr__(self) -> str:
        return self.name


def lines(question: Sweep, around: Around) -> list[str]:
    edit, session = question.edit, around.session
    what = f"sweep {format_edit(edit)}"
    if bool(session.answer) != bool(session.foil):
        raise ScriptError(f"{what}: it measures a logit difference, and the session has no answer and foil")
    if edit.site.part in ("mid", "pattern", "scores") or edit.op == "cut":
        raise ScriptError(f"{what}: a program sweeps z, q, k, v, attn, mlp, pre and post only")
    heads = edit.site.kind == "head"
    layers = list(edit.site.layers.within(around.shape.n_layers))
    count = sites.head_count(edit.site, around.shape)
    columns = list(edit.site.index.within(count)) if heads else list(range(len(around.tokens)))
    found = _resolved(question, around, layers, columns)
    one = next(iter(found.values()))
    every = len(found) == len(layers) * len(columns)
    cells = "np.ndindex(*values.shape)" if every else repr(list(found))
    vector = ""
    if one.vector is not None:
        vector = f"vector_{list(session.vectors).index(one.vector.vector)}"
    partners: list[str] = []
    if not heads:
        of = {column: edit.places[0][1] for (_, column), edit in found.items()}
        if one.places[0][1] is not None:
            partners = [f"partners = {of}"]
        one = _at_any_position(one)
    pick, name = ("[:, :, head]", "head") if heads else ("", "position")
    op = ops()[edit.op]
    change = list(op.script(one, pick, vector))
    from_source = edit.op == "patch"
    source = [f"source_logits, source = bridge.run_with_cache(encode({session.source!r}))"]
    references = [f"references = [bridge.run_with_cache(encode(text))[1] for text in {list(session.references)!r}]"]
    hook = one.hook.replace(f".{one.layer}.", ".{layer}.", 1)
    shares = [
        "source_baseline = source_logits[0, -1, answer] - source_logits[0, -1, foil]",
        'metric = "logit_diff" if source_baseline == baseline else "normalised"',
        'if metric == "normalised":',
        "    values = values / (source_baseline - baseline)",
    ]
    letter = "H" if heads else "@"
    return [
        *around.target(-1),
        "baseline = logits[-1, answer] - logits[-1, foil]",
        *(source if op.takes == "source" else []),
        *partners,
        *(references if one.references else []),
        "",
        f"def at({name}):",
        "    def change(x, hook):",
        "        x = x.clone()",
        f"        part = x{pick}",
        *textwrap.indent("\n".join(change), " " * 8).split("\n"),
        "        return x",
        "",
        "    return change",
        "",
        f"layers, columns = {layers}, {columns}",
        "values = torch.full((len(layers), len(columns)), torch.nan)",
        f"for row, column in {cells}:",
        "    layer = layers[row]",
        f"    hook = f{hook!r}, at(columns[column])",
        "    changed = bridge.run_with_hooks(tokens, fwd_hooks=[*fwd_hooks, hook])[0, -1]",
        "    values[row, column] = changed[answer] - changed[foil] - baseline",
        *(shares if from_source else []),
        "return {",
        '    "rows": [f"L{layer}" for layer in layers],',
        f'    "columns": [f"{letter}{{column}}" for column in columns],',
        '    "metric": metric,' if from_source else '    "metric": "logit_diff",',
        '    "values": values,',
        '    "baseline": float(baseline),',
        *(['    "source_baseline": float(source_baseline),'] if from_source else []),
        "}",
    ]


def _resolved(
    question: Sweep, around: Around, layers: list[int], columns: list[int]
) -> dict[tuple[int, int], HookEdit]:
    """(row, column) -> what the edit does there, of the cells at which it can be made. Raises ScriptError."""
    ids, texts = (tuple(getattr(token, field) for token in around.tokens) for field in ("id", "text"))
    prompt = Prompt(ids, texts, len(ids))
    surroundings = Surroundings(
        Loaded(around.session.model, around.shape),
        tuple(Steering(vector) for vector in around.session.vectors),
        tuple(token.id for token in around.source),
        tuple(around.alignment),
        tuple(() for _ in around.session.references),
    )
    found: dict[tuple[int, int], HookEdit] = {}
    why = ""
    for row, layer in enumerate(layers):
        for number, column in enumerate(columns):
            try:
                for each in resolve(question.cell(layer, column), prompt, surroundings):
                    found[row, number] = each
            except EditError as error:
                why = str(error)
    if not found:
        raise ScriptError(f"sweep {format_edit(question.edit)}: {why or 'it has no position in this prompt'}")
    return found


def _at_any_position(edit: HookEdit) -> HookEdit:
    """The same with names in place of its position and its partner."""
    position, partner = _Name(0), _Name(0)
    position.name, partner.name = "position", "partners[position]"
    [(_, of)] = edit.places
    return replace(edit, places=((position, None if of is None else partner),))
