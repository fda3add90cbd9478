"""One run for each site, with the sweep's hook behind those of the edits; estimates by torch's own gradients.

Estimates are computed where the line asks for them by a word of its own (`estimate`, `ig8`, `plan`): a sweep that was
kept with its session has none.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from mechtui.session import sites
from mechtui.session.grammar.edits import format_edit
from mechtui.session.hook_edits import HookEdit
from mechtui.session.ops import ops
from mechtui.views import over_script
from mechtui.views.edit_script import change
from mechtui.views.script import Around, NoHookError, ScriptError, quoted
from mechtui.views.sweep import Sweep


class _Name(int):
    """A position that is written as a name: the same line is for all of them."""

    name: str

    def __repr__(self) -> str:
        return self.name


class _Feature(int):
    """A feature that is written as a name."""

    def __repr__(self) -> str:
        return "feature"

    def __add__(self, other: int) -> _FeatureAnd:
        return _FeatureAnd(other)


class _FeatureAnd(int):
    """So many behind it."""

    def __repr__(self) -> str:
        return f"feature + {int(self)}"


def looser(question: Sweep, around: Around, answer: Mapping[str, Any]) -> float:
    return share_of(answer["metric"], answer["baseline"], answer["source_baseline"])


def share_of(metric: str, baseline: float | None, source_baseline: float | None) -> float:
    """How much less exact than a difference in logits the values are: shares of a small difference are."""
    if metric != "normalised" or baseline is None or source_baseline is None:
        return 1.0
    return max(1.0, 1 / abs(source_baseline - baseline))


def omits(question: Sweep) -> Sequence[str]:
    of_this_machine = ["left", "refused", "agreement", "estimated_by"]
    # Labels are in no file of weights; of two places that are as strong either may be named.
    of_this_machine += ["labels", "at"] if question.saes else []
    if question.over:
        return *of_this_machine, *over_script.OMITS
    if question.plan or question.estimate:
        return *of_this_machine, "values"
    return of_this_machine if question.ig else (*of_this_machine, "estimates")


def each_run(question: Sweep) -> bool:
    """Edits are of each case's own positions, which no program has."""
    return not question.over


def lines_of(question: Sweep, around: Around, answers: tuple[Mapping[str, Any] | None, Any]) -> list[str]:
    if question.saes and answers[0] is not None:
        each = [[int(name[1:]) for name in answer["columns"]] for answer in answers if answer is not None]
        # The clean run is the one without edits.
        columns = repr(each[0]) if len(each) == 1 else f"{each[1]} if fwd_hooks else {each[0]}"
        return _of_features(question, around, columns, "feature" in answers[0])
    if not question.over or answers[0] is None:
        return lines(question, around)
    return _over_cases(question, around, answers[0])


def _over_cases(question: Sweep, around: Around, answer: Mapping[str, Any]) -> list[str]:
    edit = question.edit
    op = ops()[edit.op]
    if question.estimate:
        raise ScriptError("the program measures the cases: leave estimate out, or mechtui run answers it")
    if edit.site.kind == "layer":
        raise ScriptError("the program sweeps heads over the cases: of positions that they name mechtui run answers it")
    if op.takes in ("source", "references") or edit.vector or edit.edge is not None:
        raise ScriptError(f"the program has for each case no more than its prompt, which {op.name} is not made of")
    layers = list(edit.site.layers.within(around.shape.n_layers))
    columns = list(edit.site.index.within(sites.head_count(edit.site, around.shape)))
    [one] = around.hook_edits(question.cell(layers[0], columns[0]))
    if one.references:
        raise ScriptError("a mean over reference prompts is in no program over the cases: mechtui run answers it")
    one = over_script.at_here(one)
    hook = one.hook.replace(f".{one.layer}.", ".{layer}.", 1)
    return [
        *over_script.texts(answer, around),
        *over_script.DIFFERENCE,
        *_made("head, here", change(one, around, any_one=True)),
        f"layers, columns = {layers}, {columns}",
        "each = np.full((len(cases), len(layers), len(columns)), np.nan)",
        "before = []",
        "for number, case in enumerate(cases):",
        "    if case is None:",
        "        continue",
        "    ids = encode(case[0])",
        "    n = ids.shape[-1]",
        f"    here = {over_script.places(edit.positions)}",
        "    before.append(difference(ids, *case[1:]))",
        "    for row, column in np.ndindex(*each.shape[1:]):",
        "        layer = layers[row]",
        f"        hooks = [(f{quoted(hook)}, at(columns[column], here))]",
        "        each[number, row, column] = difference(ids, *case[1:], hooks) - before[-1]",
        *over_script.summed(),
        *over_script.returned(
            "values",
            [
                ("rows", '[f"L{layer}" for layer in layers]'),
                ("columns", '[f"H{column}" for column in columns]'),
                ("metric", '"logit_diff"'),
                ("baseline", "np.mean(before)"),
                ("source_baseline", "None"),
            ],
        ),
    ]


def lines(question: Sweep, around: Around) -> list[str]:
    if question.over:
        raise ScriptError(over_script.NOT_KNOWN)
    if question.saes:
        raise ScriptError("which features it goes over is not known before it was answered")
    letter = "H" if question.edit.site.kind == "head" else "@"
    return _said(question, around, '[f"L{layer}" for layer in layers]', letter)


def _of_features(question: Sweep, around: Around, columns: str, told: bool) -> list[str]:
    """columns: an expression, the features. told: whether what is known of each is compared, too, which a sweep that
    was kept with its session has not."""
    edit = question.edit
    [whole] = around.hook_edits(edit)
    assert whole.features is not None
    of, first, last = around.dictionary(edit.site.sae), whole.features.first, whole.features.last
    some, where = f"{first}:{last + 1}", whole.positions

    def acts(cache: str) -> str:
        return f"{of}.encode({of}.rows({cache}[{quoted(whole.reads)}]))[..., {some}]"

    known = [
        f"before = {acts('cache')}",
        "part = before.clone()",
        *"\n".join(ops()[edit.op].script(whole, acts, "")).split("\n"),
        f"own = torch.tensor(columns, dtype=torch.long) - {first}",
        f"before, part = before[0, {where}][:, own], part[0, {where}][:, own]",
        "most = (part - before).abs().argmax(0, keepdim=True)",
    ]
    more = [
        '    "feature": columns,',
        '    "value": before.gather(0, most)[0],',
        '    "becomes": part.gather(0, most)[0],',
        f'    "off": {last - first + 1} - len(columns),',
    ]
    rows = f"[{quoted(edit.site.sae)}]"
    return _said(question, around, rows, "F", columns, known if told else (), more if told else ())


def _said(
    question: Sweep,
    around: Around,
    rows: str,
    letter: str,
    columns: str = "",
    known: Iterable[str] = (),
    more: Iterable[str] = (),
) -> list[str]:
    """columns: an expression, of features. known: lines in front of the last ones; more: of the keys there."""
    from_source = question.edit.op == "patch"
    only = question.plan or question.estimate
    if (only or question.ig) and any(edit.on and edit.sender is not None for edit in around.session.edits):
        raise NoHookError("nothing is estimated while a path is cut or patched")
    return [
        *swept(question, around, exact=not only, estimates=only or question.ig > 0, features=columns),
        *known,
        "return {",
        f'    "rows": {rows},',
        f'    "columns": [f"{letter}{{column}}" for column in columns],',
        *more,
        '    "metric": metric,' if from_source else '    "metric": "logit_diff",',
        *(['    "values": values,'] * (not only)),
        *(['    "estimates": estimates,'] * (only or question.ig > 0)),
        '    "baseline": float(baseline),',
        f'    "source_baseline": {"float(source_baseline)" if from_source else None},',
        "}",
    ]


def swept(
    question: Sweep, around: Around, *, exact: bool = True, estimates: bool = False, features: str = ""
) -> list[str]:
    """Lines after which `values` is [row, column] of `layers` and `columns`, and so is `estimates`. exact, estimates:
    which of them. features: an expression, those of a sweep over features. Raises ScriptError."""
    edit, session = question.edit, around.session
    if bool(session.answer) != bool(session.foil):
        raise ScriptError("a sweep measures a logit difference: give the session an answer and a foil")
    op = ops()[edit.op]
    # Cells at which the edit can be made, what is said before them, their rows and columns.
    partners: list[str] = []
    if features:
        [whole] = around.hook_edits(edit)
        assert whole.features is not None
        one = replace(whole, features=replace(whole.features, first=_Feature(), last=_Feature()))
        name, layers, columns, cells = "feature", [whole.layer], features, EVERY
    else:
        name, layers, columns, cells, partners, one = _cells(question, around)
    changes = change(one, around, around.vector(edit.vector) if one.vector is not None else "", any_one=True)
    from_source = edit.op == "patch"
    source = [f"source_logits, source = bridge.run_with_cache(encode({session.source!r}))"]
    references = [f"references = [bridge.run_with_cache(encode(text))[1] for text in {list(session.references)!r}]"]
    hook = one.hook.replace(f".{one.layer}.", ".{layer}.", 1)
    if one.hook == sites.hook(one.layer, "mid"):
        # What goes around the second norm comes before edits of resid_post.
        cell = ["    hook, beyond = at_mid(layer, at(columns[column]))", "    hooks = [beyond, *fwd_hooks, hook]"]
        probes = ["probes, beyond = map(list, zip(*[at_mid(layer, probe(layer)) for layer in layers]))"]
        probed = "[*beyond, *fwd_hooks, *probes]"
    else:
        cell = [f"    hooks = [*fwd_hooks, (f{quoted(hook)}, at(columns[column]))]"]
        probes = [f"probes = [(f{quoted(hook)}, probe(layer)) for layer in layers]"]
        probed = "[*fwd_hooks, *probes]"
    shares = [
        "source_baseline = source_logits[0, -1, answer] - source_logits[0, -1, foil]",
        'metric = "logit_diff" if source_baseline == baseline else "normalised"',
        'if metric == "normalised":',
        *(["    values = values / (source_baseline - baseline)"] * exact),
        *(["    estimates = estimates / (source_baseline - baseline)"] * estimates),
    ]
    runs = [
        "values = torch.full((len(layers), len(columns)), torch.nan)",
        f"for row, column in {cells}:",
        "    layer = layers[row]",
        *cell,
        "    changed = bridge.run_with_hooks(tokens, fwd_hooks=hooks)[0, -1]",
        "    values[row, column] = changed[answer] - changed[foil] - baseline",
    ]
    return [
        *around.target(-1),
        "baseline = logits[-1, answer] - logits[-1, foil]",
        *(source if op.takes == "source" else []),
        *partners,
        *(references if one.references else []),
        "",
        *_made(name, changes),
        f"layers, columns = {layers}, {columns}",
        *(runs if exact else []),
        *(
            _estimated(question.ig, around, probes, probed, cells.replace("values", "estimates"), one)
            if estimates
            else []
        ),
        *(shares if from_source else []),
    ]


EVERY = "np.ndindex(*values.shape)"


def _cells(question: Sweep, around: Around) -> tuple[str, list[int], str, str, list[str], HookEdit]:
    """Of heads or layers: what a column is called, the layers, the columns, the cells at which the edit can be made,
    lines in front of them, and what is done at any one. Raises ScriptError."""
    edit = question.edit
    heads = edit.site.kind == "head"
    layers = list(edit.site.layers.within(around.shape.n_layers))
    columns = list(
        edit.site.index.within(sites.head_count(edit.site, around.shape)) if heads else range(len(around.tokens))
    )
    found = _resolved(question, around, layers, columns)
    one = next(iter(found.values()))
    every = len(found) == len(layers) * len(columns)
    cells = EVERY if every else repr(list(found))
    partners: list[str] = []
    if not heads:
        of = {column: edit.places[0][1] for (_, column), edit in found.items()}
        if one.places[0][1] is not None:
            partners = [f"partners = {of}"]
        one = _at_any_position(one)
    return "head" if heads else "position", layers, repr(columns), cells, partners, one


def _made(of: str, body: Iterable[str]) -> list[str]:
    """`at`: makes the function of a hook that changes one cell's part. of: its arguments. body: the function's."""
    return [
        f"def at({of}):",
        "    def change(x, hook):",
        *textwrap.indent("\n".join(body), " " * 8).split("\n"),
        "",
        "    return change",
        "",
    ]


def _estimated(ig: int, around: Around, probes: list[str], probed: str, cells: str, one: HookEdit) -> list[str]:
    """Lines after which `estimates` is [row, column]: the gradient, or the mean of `ig` gradients, times what the edit
    changes. probes: lines after which they are hooks; probed: those of a run with them. one: what is done in a cell."""
    # What a transcoder reads is that of the last run, which is to be the one at hand.
    again = ["bridge.run_with_hooks(tokens, fwd_hooks=fwd_hooks)"] if one.reads != one.hook else []
    steps: list[str] = []
    inputs = ""
    if ig:
        inputs = f"*[between((step + 0.5) / {ig}) for step in range({ig})]"
        steps = [
            "entering = []",
            'note = ("blocks.0.hook_resid_pre", lambda x, hook: entering.append(x.clone()))',
            "bridge.run_with_hooks(tokens, fwd_hooks=[note, *fwd_hooks])",
            "[first] = entering",
            "end = first.clone()",
            f"for position, partner in enumerate({list(around.alignment)}):",
            "    if partner >= 0:",
            '        end[:, position] = source["blocks.0.hook_resid_pre"][:, partner]',
            "",
            "def between(far):",
            "    # An input on the way from this prompt's to the source's.",
            '    return [("blocks.0.hook_resid_pre", lambda x, hook: first + far * (end - first))]',
            "",
        ]
    return [
        "passed, added = {}, {}",
        "",
        "def probe(layer):",
        "    def look(x, hook):",
        "        passed.setdefault(layer, (x.detach(), hook))",
        "        added[layer] = torch.zeros_like(x, requires_grad=True)",
        "        return x + added[layer]",
        "",
        "    return look",
        "",
        *steps,
        *probes,
        "gradients = {}",
        f"for way in [[]{', ' if inputs else ''}{inputs}]:",
        "    with torch.enable_grad():",
        f"        changed = bridge.run_with_hooks(tokens, fwd_hooks=[*way, *{probed}])[0, -1]",
        "        found = torch.autograd.grad(changed[answer] - changed[foil], [added[layer] for layer in layers])",
        f"    for layer, gradient in zip(layers, found{' if way else []' if ig else ''}):",
        f"        gradients[layer] = gradients.get(layer, 0) + gradient{f' / {ig}' if ig else ''}",
        *again,
        "estimates = torch.full((len(layers), len(columns)), torch.nan)",
        f"for row, column in {cells}:",
        "    x, hook = passed[layers[row]]",
        "    difference = at(columns[column])(x.clone(), hook) - x",
        "    estimates[row, column] = (gradients[layers[row]] * difference.nan_to_num(0)).sum()",
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
