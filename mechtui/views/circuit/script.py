"""One word in a head's QK and OV circuit, from the weights."""

from __future__ import annotations

from mechtui.views.circuit import TOP, Circuit
from mechtui.views.script import FACTOR, THROUGH, Around, ScriptError, quoted

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
        *THROUGH,
        "def own(name, head):",
        "    # A head's weight [d_model, d_head] and its bias",
        '    weight, bias = (getattr(block.attn, f"{kind}_{name}", None) for kind in "Wb")',
        "    return weight[head], 0 if bias is None else bias.view(-1, weight.shape[-1])[head]",
        "",
        "# Every token's embedding, as the head reads it: normed, and for the values without the norm's bias",
        'ln1 = getattr(block, "ln1", None) or (lambda x: x)',
        "x, bias = ln1(bridge.W_E.detach()), ln1(torch.zeros(1, bridge.W_E.shape[-1]))",
        f"(W_Q, b_Q), (W_K, _), (W_V, _) = own('Q', {question.head}), own('K', {group}), own('V', {group})",
        "queries, keys, values = x @ W_Q + b_Q, x @ W_K, (x - bias) @ W_V",
        "keys = keys - keys.mean(0)",
        "",
        *_scale(question, around, group),
        "",
        "# What the head writes, as logits before the final norm's scale",
        f'written = through(getattr(block, "ln1_post", None), block.attn.W_O[{question.head}])',
        *FACTOR,
        "out = written @ through(bridge.ln_final, bridge.W_U.T).T * times",
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


def _scale(question: Circuit, around: Around, group: int) -> list[str]:
    """Lines after which `scale` is what the head's scores are multiplied by."""
    if around.native:
        # The bridge does not show the scores.
        return [f"scale = {around.shape.d_head} ** -0.5"]
    return [
        "# What scores are multiplied by, seen where a position attends to itself",
        f'at = "blocks.{question.layer}.attn"',
        f'q, k = clean[at + ".hook_q"][0, :, {question.head}], clean[at + ".hook_k"][0, :, {group}]',
        "products = (q * k).sum(-1)",
        "most = products.abs().argmax()",
        f'scale = clean[at + ".hook_attn_scores"][0, {question.head}].diagonal()[most] / products[most]',
    ]
