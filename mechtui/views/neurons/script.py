"""The neurons that matter at a token: activations from the cache, words from the weights."""

from __future__ import annotations

from mechtui.views.attribution.script import reads_of
from mechtui.views.neurons import WORDS, Neurons
from mechtui.views.script import FACTOR, THROUGH, Around, ScriptError

OMITS = ("why",)


def lines(question: Neurons, around: Around) -> list[str]:
    position, shape = around.position(question.position), around.shape
    words = min(WORDS, shape.d_vocab)
    try:
        reads = reads_of(position, around, False)
    except ScriptError:
        if question.by == "attribution":
            raise
        reads = ["answer = foil = None"]
    attributes = len(reads) > 1
    layers = f"range({shape.n_layers})" if question.of < 0 else f"[{question.of}]"
    strength = "added" if question.by == "attribution" else "active"
    return [
        *reads,
        f"layers = {layers}",
        "mlps = [block.mlp for block in bridge.blocks]",
        "W_out = [(m.W_out if m.W_out.shape[1] == bridge.cfg.d_model else m.W_out.T).float() for m in mlps]",
        "",
        "def active(cache):",
        f'    return torch.cat([cache[f"blocks.{{layer}}.mlp.hook_post"][0, {position}].float() for layer in layers])',
        "",
        *(_added(position) if attributes else []),
        f"by_run = [{strength}(run) for _, run, _ in runs]",
        "# Those that are strongest in any run, or differ most between the runs.",
        "strength = torch.stack([*by_run, by_run[-1] - by_run[0]]).abs().amax(0)",
        f"best = strength.topk(min({question.top}, len(strength))).indices.tolist()",
        f"picks = [(layers[0] + at // {shape.d_mlp}, at % {shape.d_mlp}) for at in best]",
        "",
        "def over(hook):",
        "    # [neuron, pos]",
        '    return torch.stack([cache[f"blocks.{layer}.mlp.{hook}"][0, :, n].float() for layer, n in picks])',
        "",
        *THROUGH,
        *FACTOR,
        "# Capped logits are no sum of parts: then there is nothing to attribute.",
        "if abs(large - 1e4 * small) > 1e-3 * abs(large):",
        "    answer = foil = None",
        'gated = getattr(mlps[0], "W_gate", None) is not None',
        "",
        "def opening(layer, n):",
        "    # [d_vocab], of every embedding alone, as the layer reads it; what opens a gated neuron is its gate",
        '    name, block = "gate" if gated else "in", bridge.blocks[layer]',
        '    norm = getattr(block, "ln2", None) or getattr(block, "ln1", None) or (lambda x: x)',
        '    weight, bias = getattr(block.mlp, f"W_{name}"), getattr(block.mlp, f"b_{name}", None)',
        "    return norm(bridge.W_E.detach()) @ weight[:, n] + (0 if bias is None else bias[n])",
        "",
        "reader = through(bridge.ln_final, bridge.W_U.T).T * times",
        "",
        "def written(layer, n):",
        "    # [d_vocab]: logits per unit of activation, before the final norm's scale",
        '    row = through(getattr(bridge.blocks[layer], "ln2_post", None), W_out[layer][n])',
        "    out = row @ reader",
        "    return out - out.mean()",
        "",
        "def largest(scores, sign=1):",
        f"    ids = (sign * scores).topk({words}).indices.tolist()",
        '    return [{"token": text(id), "id": id, "value": scores[id].item()} for id in ids]',
        "",
        "return {",
        f'    "position": {position},',
        '    "answer": None if answer is None else text(answer),',
        '    "foil": None if foil is None else text(foil),',
        f'    "auto": {not (around.session.answer or around.session.foil)},',
        '    "neurons": [f"L{layer}N{n}" for layer, n in picks],',
        f'    "attribution": {"None if answer is None else added(cache)[best]" if attributes else None},',
        '    "post": over("hook_post"),',
        '    "pre": over("hook_pre"),',
        '    "into": over("hook_pre_linear") if gated else None,',
        '    "norm": torch.stack([W_out[layer][n].norm() for layer, n in picks]),',
        '    "reads": [largest(opening(*pick)) for pick in picks],',
        '    "raises": [largest(written(*pick)) for pick in picks],',
        '    "lowers": [largest(written(*pick), -1) for pick in picks],',
        "}",
    ]


def _added(position: int) -> list[str]:
    """Lines after which `added(cache)` is what each neuron of `layers` adds to the logit difference."""
    return [
        "def added(cache):",
        "    parts = []",
        "    for layer in layers:",
        f'        post = cache[f"blocks.{{layer}}.mlp.hook_post"][0, {position}].float()',
        "        b_out = 0 if mlps[layer].b_out is None else mlps[layer].b_out.float()",
        '        reads = before(bridge.blocks[layer], "ln2_post", post @ W_out[layer] + b_out, read(cache))',
        "        parts.append(post * (W_out[layer] @ reads))",
        "    return torch.cat(parts)",
        "",
    ]
