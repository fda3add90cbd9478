"""What each write to the residual stream adds to the target's logits, from the cache and the weights."""

from __future__ import annotations

from mechtui.views.attribution import Attribution
from mechtui.views.script import Around, ScriptError, seen_values

# How far its parts may be off, which is no number of the model's.
OMITS = ("rounding",)


def lines(question: Attribution, around: Around) -> list[str]:
    position = around.position(question.position)
    site = question.site
    if site is None:
        parts = _components(position, around)
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
