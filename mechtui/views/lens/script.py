"""The final norm and the unembedding applied to the cached residual stream."""

from __future__ import annotations

from mechtui.views.lens import Lens
from mechtui.views.script import Around, quoted

OMITS = ("translator",)
# Lines after which `translated(layer, x)` is what a lens makes of what leaves a layer.
TRANSLATED = (
    "",
    "def translated(layer, x):",
    '    if f"J.{layer}" in held:  # a Jacobian lens',
    '        return x @ held[f"J.{layer}"].T + held.get(f"b.{layer}", 0)',
    '    for name in (f"layer_translators.{layer + 1}", f"{layer + 1}"):  # a tuned lens, by the block that x enters',
    '        if f"{name}.weight" in held:',
    '            return x + x @ held[f"{name}.weight"].T + held.get(f"{name}.bias", 0)',
    "    return x",
    "",
)


def lines(question: Lens, around: Around) -> list[str]:
    edits = around.session.edits
    into_mlp = any(edit.on and edit.sender is not None and edit.site.part == "mlp" for edit in edits)
    texts = {"answer": around.session.answer, "foil": around.session.foil}
    auto = not any(texts.values())
    if auto:
        targets = ["answer, foil = clean_logits[0].topk(2).indices.T"]
    else:
        named = [f"{name} = torch.full((len(logits),), {name})" for name, text in texts.items() if text]
        targets = [*around.target(-1), *named]
    stream = 'cache[f"blocks.{layer}.hook_resid_{part}"][0]'
    lens: list[str] = []
    again: list[str] = []
    if question.mid and into_mlp and not around.session.linear:
        again = [
            "# Where a path ends in an MLP, resid_mid of TransformerLens is what the MLP reads.",
            "for layer in range(bridge.cfg.n_layers):",
            '    gave.pop(("mid", layer), None)',
            "bridge.run_with_hooks(tokens, fwd_hooks=fwd_hooks)",
            "",
            "def of_stream(layer, part):",
            '    x = cache[f"blocks.{layer}.hook_resid_{part}"]',
            '    return (gave.get(("mid", layer), x) if part == "mid" else x)[0]',
            "",
        ]
        stream = "of_stream(layer, part)"
    if question.file:
        file = f"pathlib.Path({quoted(question.file)}).expanduser()"
        lens = [f"held = {{name: each.float() for name, each in load_file({file}).items()}}", *TRANSLATED]
        stream = f"translated(layer, {stream})"
    return [
        *again,
        *lens,
        f"parts = {('mid', 'post') if question.mid else ('post',)!r}",
        f"layers = [(layer, part) for layer in range({around.shape.n_layers}) for part in parts]",
        f"stream = torch.stack([{stream} for layer, part in layers])",
        "at = bridge.unembed(bridge.ln_final(stream))  # [row, pos, d_vocab]",
        "# What a model does to its logits behind the unembedding, a cap or a factor.",
        'behind = getattr(getattr(bridge, "adapter", None), "apply_output_logits_transform", None)',
        "at = (at if behind is None else behind(at)).float()",
        "log_probs = at.log_softmax(-1)",
        "top = at.argmax(-1)",
        "final = log_probs[-1]",
        *targets,
        "",
        "def of(ids, table):",
        "    return None if ids is None else table.gather(-1, ids.expand(len(layers), -1)[..., None])[..., 0]",
        "",
        "def texts(ids):",
        "    return None if ids is None else [text(i) for i in ids.tolist()]",
        "",
        f"stays = (top == {'answer' if texts['answer'] else 'top[-1]'}).int().flip(0).cumprod(0).sum(0).tolist()",
        'names = [f"L{layer}.{part}" for layer, part in layers]',
        "probs = log_probs.exp()",
        "return {",
        '    "layers": names,',
        '    "top": [',
        '        [{"token": text(i), "prob": p[i].item()} for i, p in zip(row, rest)]',
        "        for row, rest in zip(top.tolist(), probs)",
        "    ],",
        '    "entropy": -(probs * log_probs).sum(-1),',
        '    "kl": (final.exp() * (final - log_probs)).sum(-1),',
        f'    "auto": {auto},',
        '    "answer": texts(answer),',
        '    "answer_logit": of(answer, at),',
        '    "answer_prob": of(answer, probs),',
        '    "answer_rank": None if answer is None else (at > of(answer, at)[..., None]).sum(-1),',
        '    "foil": texts(foil),',
        '    "foil_logit": of(foil, at),',
        '    "foil_prob": of(foil, probs),',
        '    "decides": [names[len(names) - n] if n else None for n in stays],',
        "}",
    ]
