"""One word in a head's QK and OV circuit, from the weights."""

from __future__ import annotations

from mechtui.views.circuit import TOP, Circuit
from mechtui.views.script import Around, ScriptError, quoted

# The numbers are the model's: no edit changes them.
EACH_RUN = False


def lines(question: Circuit, around: Around) -> list[str]:
    if question.what != "word":
        raise ScriptError(f"{question.line()} is a long list: mechtui run answers it, and a program that of a word")
    shape = around.shape
    group = question.head * shape.n_kv_heads // shape.n_heads
    position = around.position(question.position)
    word = (
        f"[word] = tokenizer.encode({quoted(question.word)}, add_special_tokens=False)"
        if question.word
        else f"word = tokens[{position}].item()"
    )
    return [
        word,
        f"block = bridge.blocks[{question.layer}]",
        'centres = bridge.cfg.normalization_type.startswith("LN")',
        "",
        "def own(name, head):",
        "    # A head's weight [d_model, d_head] and its bias",
        '    weight, bias = (getattr(block.attn, f"{kind}_{name}", None) for kind in "Wb")',
        "    return weight[head], 0 if bias is None else bias.view(-1, weight.shape[-1])[head]",
        "",
        "# Every token's embedding, as the head reads it",
        "x = bridge.W_E - (bridge.W_E.mean(-1, keepdim=True) if centres else 0)",
        "x = x / (x.pow(2).mean(-1, keepdim=True) + bridge.cfg.eps).sqrt() * block.ln1.weight",
        "bias = block.ln1.bias if centres else 0",
        f"(W_Q, b_Q), (W_K, _), (W_V, _) = own('Q', {question.head}), own('K', {group}), own('V', {group})",
        "queries, keys, values = (x + bias) @ W_Q + b_Q, (x + bias) @ W_K, x @ W_V",
        "keys = keys - keys.mean(0)",
        'scale = getattr(block.attn.original_component, "scaling", None) or W_Q.shape[-1] ** -0.5',
        "",
        "# What the head writes, as logits before the final norm's scale",
        f"written = block.attn.W_O[{question.head}]",
        "written = (written - (written.mean(-1, keepdim=True) if centres else 0)) * bridge.ln_final.weight",
        "out = written @ bridge.W_U",
        "out = out - out.mean(-1, keepdim=True)",
        "raises = values[word] @ out",
        "",
        "def largest(scores, sign=1):",
        f"    ids = (sign * scores).topk({min(TOP, shape.d_vocab)}).indices.tolist()",
        '    return [{"token": text(id), "id": id, "value": scores[id].item()} for id in ids]',
        "",
        "return {",
        '    "token": text(word),',
        '    "attends": largest(keys @ queries[word] * scale),',
        '    "attended": largest(queries @ keys[word] * scale),',
        '    "raises": largest(raises),',
        '    "lowers": largest(raises, -1),',
        '    "raised_by": largest(values @ out[:, word]),',
        '    "own": raises[word].item(),',
        '    "rank": (raises > raises[word]).sum().item(),',
        "}",
    ]
