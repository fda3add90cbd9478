"""What each write to the residual stream adds to the target's logits, from the cache and the weights."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

from msgspec import structs

from mechtui.session.changes import head_site
from mechtui.session.document import ALL, Edit, Positions, Range, Site, Span
from mechtui.session.grammar.places import format_site
from mechtui.views import over_script
from mechtui.views.attribution import REST, Attribution
from mechtui.views.edit_script import change
from mechtui.views.script import Around, ScriptError, quoted, seen_values


def omits(question: Attribution) -> Sequence[str]:
    # How far its parts may be off is no number of the model's.
    return ("rounding", *over_script.OMITS) if question.over else ("rounding",)


def each_run(question: Attribution) -> bool:
    """Edits are of each case's own positions, which no program has."""
    return not question.over


def lines_of(question: Attribution, around: Around, answers: tuple[Mapping[str, Any] | None, Any]) -> list[str]:
    if not question.over or answers[0] is None:
        return lines(question, around)
    alone = structs.replace(question, over=False)
    layers, heads = around.shape.n_layers, around.shape.n_heads
    end = layers * heads
    return [
        *over_script.of_cases(answers[0], around, lambda case: _flat(lines(alone, case)), "writes"),
        *over_script.summed(),
        *over_script.returned(
            "mean",
            [
                ("position", repr(question.position)),
                ("writes", repr(answers[0]["writes"])),
                ("heads", f"mean[:{end}].reshape({layers}, {heads}).tolist()"),
                ("mlps", f"mean[{end} : {end + layers}].tolist()"),
                *((name, f"mean[{end + layers + at}].item()") for at, name in enumerate(REST)),
            ],
        ),
    ]


def _flat(lines: list[str]) -> list[str]:
    """The lines of one case, which return its writes one after the other."""
    at = lines.index("return {")
    each = ", ".join(f'parts["{name}"]' for name in REST[:-1])
    row = f'[*np.asarray(parts["heads"]).ravel(), *np.asarray(parts["mlps"]), {each}, total]'
    return [*lines[:at], f'return {{"writes": {row}}}']


def lines(question: Attribution, around: Around) -> list[str]:
    if question.over:
        raise ScriptError(over_script.NOT_KNOWN)
    position = around.position(question.position)
    site = question.site
    if question.measured and site is not None:
        return [*reads_of(position, around, question.answer), *_repair(question, site, position, around)]
    measured: list[str] = []
    if site is None:
        parts = _components(position, around)
        if question.measured:
            parts += _measured(question, position, around)
            measured = ["    **ablated,"]
    elif site.kind == "head":
        parts = _sources(site.layers.first, site.index.first, position, around)
    else:
        parts = _neurons(site.layers.first, position, question.top, around)
    return [
        *reads_of(position, around, question.answer),
        *parts,
        "",
        "return {",
        f'    "position": {position},',
        '    "answer": text(answer),',
        '    "foil": None if foil is None else text(foil),',
        f'    "auto": {not (around.session.answer or around.session.foil)},',
        "    **parts,",
        '    "total": total,',
        *measured,
        "}",
    ]


def heads_of(position: int, around: Around) -> list[str]:
    """Lines after which `heads` is [layer, head]: what each head adds to the logit difference. Raises ScriptError."""
    return [*reads_of(position, around, False), *_heads(position, around)]


def reads_of(position: int, around: Around, alone: bool) -> list[str]:
    """Lines after which `reads` [d_model] gives what a write adds to the logits as its product with it, `constant` is
    there whatever is written, and `final` is the stream as it ends. alone: of the answer's logit only. Raises
    ScriptError."""
    session = around.session
    if (session.answer or session.foil) and not (session.answer and (session.foil or alone)):
        lacks = "a foil" if session.answer else "an answer"
        raise ScriptError(f"attribution explains a logit difference: give the session {lacks}, or leave it out")
    return [
        *around.target(position),
        *(["foil = None"] if alone else []),
        "W_U, b_U, norm = bridge.W_U.float(), bridge.b_U, bridge.ln_final",
        "# What some models have: a factor on their logits, norms whose weight is what is added to 1.",
        'behind = getattr(getattr(bridge, "adapter", None), "apply_output_logits_transform", None)',
        "times = 1.0 if behind is None else behind(torch.ones(1)).item()",
        "",
        "def weight(norm):",
        '    own = getattr(norm, "weight", None)',
        "    return 1.0 if own is None else own.float() + (1 if bridge.cfg.rmsnorm_uses_offset else 0)",
        "",
        "column = times * (W_U[:, answer] - (0 if foil is None else W_U[:, foil]))",
        "constant = times * (b_U[answer] - (0 if foil is None else b_U[foil])).item()",
        'centres, own_bias = bridge.cfg.normalization_type.startswith("LN"), getattr(norm, "bias", None)',
        "if own_bias is not None:",
        "    constant += (own_bias.float() @ column).item()",
        "",
        "def read(cache):",
        '    """[d_model]: what a write adds is its product with this, the scale of the final norm held."""',
        f'    final = {_scales(around)}["blocks.{around.shape.n_layers - 1}.hook_resid_post"][0, {position}].float()',
        "    scale = ((final - final.mean() if centres else final).pow(2).mean() + bridge.cfg.eps).sqrt()",
        "    reads = column * weight(norm) / scale",
        "    return reads - reads.mean() if centres else reads",
        "",
        "def before(block, part, given, reads):",
        '    """The same of what a part of a block gives, where a factor or a norm comes behind it."""',
        '    factor, own = getattr(block, "residual_contribution_scale", None) or 1.0, getattr(block, part, None)',
        "    if own is None:",
        "        return factor * reads",
        "    return weight(own) * reads / (given.pow(2).mean() + bridge.cfg.eps).sqrt()",
        "",
        "reads = read(cache)",
    ]


def _heads(position: int, around: Around) -> list[str]:
    every = f"for layer in range({around.shape.n_layers})"
    z_of = f'[f"blocks.{{layer}}.attn.hook_z"][0, {position}].float()'
    return [
        "W_O = torch.stack([block.attn.W_O.float() for block in bridge.blocks])",
        f"z = torch.stack([cache{z_of} {every}])",
        "b_O = [0 if block.attn.b_O is None else block.attn.b_O.float() for block in bridge.blocks]",
        f"held = {'z' if not around.session.linear else f'torch.stack([clean{z_of} {every}])'}",
        'given = [torch.einsum("hd,hdm->m", one, weight) + bias for one, weight, bias in zip(held, W_O, b_O)]',
        'throughs = torch.stack([before(*of, reads) for of in zip(bridge.blocks, ["ln1_post"] * len(z), given)])',
        'heads = torch.einsum("lhd,lhdm,lm->lh", z, W_O, throughs)',
    ]


def _components(position: int, around: Around) -> list[str]:
    shape = around.shape
    every, at = f"for layer in range({shape.n_layers})", f"[0, {position}].float()"
    pos = f'(cache["hook_pos_embed"]{at} @ reads).item()' if shape.has_pos else "0.0"
    mlps = f'torch.stack([cache[f"blocks.{{layer}}.hook_mlp_out"]{at} {every}]) @ reads'
    return [
        *_heads(position, around),
        f"mlps = {mlps if shape.d_mlp else f'torch.full(({shape.n_layers},), torch.nan)'}",
        f'embed = (cache["hook_embed"]{at} @ reads).item()',
        f"pos = {pos}",
        "bias = constant + sum((one * through).sum().item() for one, through in zip(b_O, throughs))",
        f'total = (cache["blocks.{shape.n_layers - 1}.hook_resid_post"]{at} @ reads).item() + constant',
        "# What edits added to the stream itself, no component wrote.",
        "edits = total - (heads.sum() + mlps.nansum()).item() - embed - pos - bias if fwd_hooks else 0.0",
        'parts = {"heads": heads, "mlps": mlps, "embed": embed, "pos": pos, "bias": bias, "edits": edits}',
    ]


def _changes(question: Attribution, position: int, around: Around) -> list[str]:
    """Lines after which `of_head(head)` and `of_mlp` are hooks that ablate one head and an MLP, `goes(name, change)` is
    what such a hook changes at the position, `ablated_by(name, change)` the run with it, as logits and cache, and
    `says(logits)` what logits are explained. Raises ScriptError."""
    shape = around.shape
    positions = Positions((Range(position, position),)) if question.here else ALL
    kinds = [("of_head(head)", head_site(0, 0))]
    kinds += [("of_mlp()", Site("layer", Span(0, 0), part="mlp"))] * (shape.d_mlp > 0)
    made: list[str] = []
    for name, site in kinds:
        [one] = around.hook_edits(Edit(question.measured, site, positions))
        if one.references and not made:
            session = around.session
            made.append(
                f"references = [bridge.run_with_cache(encode(text))[1] for text in {list(session.references)!r}]"
            )
        body = _inside(change(one, around, any_one=True), 8)
        made += ["", f"def {name}:", "    def change(x, hook):", *body, "", "    return change"]
    hooks = "[*fwd_hooks, (name, change)]"
    again = [f"with bridge.hooks(fwd_hooks={hooks}):", "    return bridge.run_with_cache(tokens)"]
    if around.traced:
        again = [f"return run(tokens, {hooks})"]
    if around.session.linear:
        again = [f"return linear_run(tokens, {hooks})"]
    return [
        *made,
        "",
        "class Named:",
        '    """What a hook is told of where it acts."""',
        "",
        "    def __init__(self, name):",
        "        self.name = name",
        "",
        "def goes(name, change):",
        f"    before = {_scales(around)}[name]",
        f"    return (change(before, Named(name)) - before)[0, {position}].float()",
        "",
        "def ablated_by(name, change):",
        *_inside(again, 4),
        "",
        "def says(logits):",
        f"    at = logits[{position}].float()",
        "    return (at[answer] - (0 if foil is None else at[foil])).item()",
        "",
        f"final = {quoted(f'blocks.{shape.n_layers - 1}.hook_resid_post')}",
    ]


def _inside(lines: Sequence[str], columns: int) -> list[str]:
    return [*textwrap.indent("\n".join(lines), " " * columns).split("\n")]


def _measured(question: Attribution, position: int, around: Around) -> list[str]:
    """Lines after which `ablated` has what ablating each head and each MLP does."""
    shape = around.shape
    columns = shape.n_heads + (shape.d_mlp > 0)
    frozen = f"((after[final] - cache[final])[0, {position}].float() @ reads).item()"
    return [
        *_changes(question, position, around),
        f"direct = torch.zeros({shape.n_layers}, {columns})",
        "measured, frozen = torch.zeros_like(direct), torch.zeros_like(direct)",
        "for layer, column in np.ndindex(*direct.shape):",
        f'    name, change = f"blocks.{{layer}}.hook_mlp_out", {"of_mlp()" if shape.d_mlp else "None"}',
        f"    if column < {shape.n_heads}:",
        '        name, change = f"blocks.{layer}.attn.hook_z", of_head(column)',
        "        through = W_O[layer, column] @ throughs[layer]",
        "        direct[layer, column] = goes(name, change)[column] @ through",
        "    else:",
        "        direct[layer, column] = goes(name, change) @ reads",
        "    found, after = ablated_by(name, change)",
        "    measured[layer, column] = says(found[0]) - says(logits)",
        "    # The same run, read with the final norm's scale as it is without the ablation.",
        f"    frozen[layer, column] = {'measured[layer, column]' if around.session.linear else frozen}",
        f'ablated = {{"ablation": {question.measured!r}, "here": {question.here}, "direct": direct}}',
        'ablated |= {"measured": measured, "measured_frozen": frozen}',
        'ablated |= {"norm": measured - frozen, "others": measured - direct}',
    ]


def _repair(question: Attribution, site: Site, position: int, around: Around) -> list[str]:
    """Lines that return by how much each line changes when one head or MLP is ablated."""
    shape, layer, head = around.shape, site.layers.first, site.index.first
    if layer >= shape.n_layers or (head >= shape.n_heads if site.kind == "head" else not shape.d_mlp):
        raise ScriptError(f"{around.name} has no {format_site(site)}")
    every = f"for layer in range({shape.n_layers})"
    mlps = f'torch.stack([cache[f"blocks.{{layer}}.hook_mlp_out"][0, {position}].float() {every}]) @ reads'
    hook = f'"blocks.{layer}.attn.hook_z", of_head({head})'
    direct = f"goes(name, change)[{head}] @ W_O[{layer}, {head}] @ throughs[{layer}]"
    if site.kind == "layer":
        hook, direct = f'"blocks.{layer}.hook_mlp_out", of_mlp()', "goes(name, change) @ reads"
    return [
        *_changes(question, position, around),
        "",
        "def writes(cache):",
        *_inside(_heads(position, around), 4),
        f"    mlps = {mlps if shape.d_mlp else f'torch.full(({shape.n_layers},), torch.nan)'}",
        "    fixed = sum((one * through).sum().item() for one, through in zip(b_O, throughs))",
        "    return W_O, throughs, heads, mlps, fixed",
        "",
        f"name, change = {hook}",
        "found, after = ablated_by(name, change)",
        "W_O, throughs, *before_it = writes(cache)",
        "_, _, *behind_it = writes(after)",
        "heads, mlps, bias = (new - old for new, old in zip(behind_it, before_it))",
        f"direct = ({direct}).item()",
        "total = says(found[0]) - says(logits)",
        f"frozen = ((after[final] - cache[final])[0, {position}].float() @ reads).item()",
        "# What edits of the stream itself do otherwise, no part wrote.",
        "edits = frozen - (heads.sum() + mlps.nansum()).item() - bias if fwd_hooks else 0.0",
        "return {",
        f'    "position": {position},',
        '    "answer": text(answer),',
        '    "foil": None if foil is None else text(foil),',
        f'    "auto": {not (around.session.answer or around.session.foil)},',
        f'    "ablation": {question.measured!r},',
        f'    "here": {question.here},',
        '    "heads": heads,',
        '    "mlps": mlps,',
        '    "bias": bias,',
        '    "edits": edits,',
        '    "norm": total - frozen,',
        '    "direct": direct,',
        '    "others": total - direct,',
        '    "total": total,',
        "}",
    ]


def _sources(layer: int, head: int, position: int, around: Around) -> list[str]:
    if around.folded:
        raise ScriptError(
            "folded weights have the first norm's bias among the values' biases, so that raw ones split a head's write "
            "otherwise: load the model without folding"
        )
    group = head * around.shape.n_kv_heads // around.shape.n_heads
    return [
        f"attn = bridge.blocks[{layer}].attn",
        f'z = cache["blocks.{layer}.attn.hook_z"][0, {position}].float()',
        f'held = {_scales(around)}["blocks.{layer}.attn.hook_z"][0, {position}].float()',
        'given = torch.einsum("hd,hdm->m", held, attn.W_O.float()) + (0 if attn.b_O is None else attn.b_O.float())',
        f'through = attn.W_O[{head}].float() @ before(bridge.blocks[{layer}], "ln1_post", given, reads)',
        f'attention = cache["blocks.{layer}.attn.hook_pattern"][0, {head}, {position}].float()',
        *seen_values(layer, group),
        f"b_V = 0 * values[0] if attn.b_V is None else attn.b_V.view(-1, values.shape[-1])[{group}].float()",
        "by_token = attention * ((values - b_V) @ through)",
        "bias = (attention.sum() * (b_V @ through)).item()",
        f"total = (z[{head}] @ through).item()",
        "edits = total - by_token.sum().item() - bias if fwd_hooks else 0.0",
        'parts = {"tokens": by_token, "attention": attention, "bias": bias, "edits": edits}',
    ]


def _scales(around: Around) -> str:
    """The activations whose norms' scales hold: of the linear model, those of the clean run."""
    return "clean" if around.session.linear else "cache"


def _neurons(layer: int, position: int, top: int, around: Around) -> list[str]:
    hook = f'"blocks.{layer}.mlp.hook_post"'
    return [
        f"mlp = bridge.blocks[{layer}].mlp",
        "W_out = mlp.W_out if mlp.W_out.shape[1] == bridge.cfg.d_model else mlp.W_out.T",
        "b_out = 0 * reads if mlp.b_out is None else mlp.b_out.float()",
        "",
        "def through(cache):",
        f"    given = {_scales(around)}[{hook}][0, {position}].float() @ W_out.float() + b_out",
        f'    return before(bridge.blocks[{layer}], "ln2_post", given, read(cache))',
        "",
        f"by_run = [run[{hook}][0, {position}].float() * (W_out.float() @ through(run)) for _, run, _ in runs]",
        "# Those that are strongest in any run, or differ most between the runs.",
        "strength = torch.stack([*by_run, by_run[-1] - by_run[0]]).abs().amax(0)",
        f"best = strength.topk(min({top}, len(strength))).indices",
        f"active = cache[{hook}][0, {position}].float()",
        "by_neuron = active * (W_out.float() @ through(cache))",
        "values = by_neuron[best]",
        "bias = (b_out @ through(cache)).item()",
        f'total = (cache["blocks.{layer}.hook_mlp_out"][0, {position}].float() @ reads).item()',
        "edits = total - by_neuron.sum().item() - bias if fwd_hooks else 0.0",
        "rest = by_neuron.sum().item() - values.sum().item()",
        'parts = {"neurons": best.tolist(), "values": values, "activations": active[best], "rest": rest}',
        'parts |= {"bias": bias, "edits": edits}',
    ]
