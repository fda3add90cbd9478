"""What each write to the residual stream adds to the target's logits, from the cache and the weights."""

from __future__ import annotations

from mechtui.session.script import ScriptError
from mechtui.views.attribution import Attribution
from mechtui.views.script import Around


def lines(question: Attribution, around: Around) -> list[str]:
    position, session = around.position(question.position), around.session
    named = bool(session.answer or session.foil)
    if named and not (session.answer and (session.foil or question.answer)):
        lacks = "a foil" if session.answer else "an answer"
        raise ScriptError(f"{question.line()} explains a logit difference: give the session {lacks}, or leave it out")
    site = question.site
    if site is None:
        parts = _components(position, around)
    elif site.kind == "head":
        parts = _sources(site.layers.first, site.index.first, position, around)
    else:
        parts = _neurons(site.layers.first, position, question.top)
    return [
        *around.target(position),
        *(["foil = None"] if question.answer else []),
        f'final = cache["blocks.{around.shape.n_layers - 1}.hook_resid_post"][0, {position}]',
        "W_U, b_U, norm = bridge.W_U, bridge.b_U, bridge.ln_final",
        "column = W_U[:, answer] - (0 if foil is None else W_U[:, foil])",
        "constant = (b_U[answer] - (0 if foil is None else b_U[foil])).item()",
        "# The final norm with its scale held is linear: what a write adds to the logits is its product with `reads`.",
        'centres = bridge.cfg.normalization_type.startswith("LN")',
        "scale = ((final - final.mean() if centres else final).pow(2).mean() + bridge.cfg.eps).sqrt()",
        "reads = column * norm.weight / scale",
        "if centres:",
        "    reads = reads - reads.mean()",
        "    constant += (norm.bias @ column).item()",
        *parts,
        "",
        "return {",
        f'    "position": {position},',
        '    "answer": tokenizer.decode([answer]),',
        '    "foil": None if foil is None else tokenizer.decode([foil]),',
        f'    "auto": {not named},',
        "    **parts,",
        '    "total": total,',
        '    "rounding": 0.001,',
        "}",
    ]


def _components(position: int, around: Around) -> list[str]:
    shape = around.shape
    every, at = f"for layer in range({shape.n_layers})", f"[0, {position}]"
    pos = f'(cache["hook_pos_embed"]{at} @ reads).item()' if shape.has_pos else "0.0"
    mlps = f'torch.stack([cache[f"blocks.{{layer}}.hook_mlp_out"]{at} {every}]) @ reads'
    return [
        "W_O = torch.stack([block.attn.W_O for block in bridge.blocks])",
        f'z = torch.stack([cache[f"blocks.{{layer}}.attn.hook_z"]{at} {every}])',
        'heads = torch.einsum("lhd,lhdm,m->lh", z, W_O, reads)',
        f"mlps = {mlps if shape.d_mlp else f'torch.full(({shape.n_layers},), torch.nan)'}",
        f'embed = (cache["hook_embed"]{at} @ reads).item()',
        f"pos = {pos}",
        "biases = [block.attn.b_O for block in bridge.blocks if block.attn.b_O is not None]",
        "bias = constant + sum((b_O @ reads).item() for b_O in biases)",
        "total = (final @ reads).item() + constant",
        "# What edits added to the stream itself, no component wrote.",
        "edits = total - (heads.sum() + mlps.nansum()).item() - embed - pos - bias if fwd_hooks else 0.0",
        'parts = {"heads": heads, "mlps": mlps, "embed": embed, "pos": pos, "bias": bias, "edits": edits}',
    ]


def _sources(layer: int, head: int, position: int, around: Around) -> list[str]:
    group = head * around.shape.n_kv_heads // around.shape.n_heads
    return [
        f"attn = bridge.blocks[{layer}].attn",
        f"through = attn.W_O[{head}] @ reads",
        f'attention = cache["blocks.{layer}.attn.hook_pattern"][0, {head}, {position}]',
        f'values = cache["blocks.{layer}.attn.hook_v"][0, :, {group}]',
        f"b_V = 0 * values[0] if attn.b_V is None else attn.b_V.view(-1, values.shape[-1])[{group}]",
        "by_token = attention * ((values - b_V) @ through)",
        "bias = (attention.sum() * (b_V @ through)).item()",
        f'total = (cache["blocks.{layer}.attn.hook_z"][0, {position}, {head}] @ through).item()',
        "edits = total - by_token.sum().item() - bias if fwd_hooks else 0.0",
        'parts = {"tokens": by_token, "attention": attention, "bias": bias, "edits": edits}',
    ]


def _neurons(layer: int, position: int, top: int) -> list[str]:
    return [
        f"mlp = bridge.blocks[{layer}].mlp",
        f'active = cache["blocks.{layer}.mlp.hook_post"][0, {position}]',
        "by_neuron = active * (mlp.W_out @ reads)",
        "# The strongest of this run alone.",
        f"best = by_neuron.abs().topk(min({top}, len(by_neuron))).indices",
        "values = by_neuron[best]",
        "bias = 0.0 if mlp.b_out is None else (mlp.b_out @ reads).item()",
        f'total = (cache["blocks.{layer}.hook_mlp_out"][0, {position}] @ reads).item()',
        "edits = total - by_neuron.sum().item() - bias if fwd_hooks else 0.0",
        "rest = by_neuron.sum().item() - values.sum().item()",
        'parts = {"neurons": best.tolist(), "values": values, "activations": active[best], "rest": rest}',
        'parts |= {"bias": bias, "edits": edits}',
    ]
