"""The prompt continued, token by token."""

from __future__ import annotations

from mechtui.session.document import ALL
from mechtui.session.grammar.edits import format_edit
from mechtui.session.ops import ops
from mechtui.views.generate import Generate
from mechtui.views.script import Around, ScriptError

# Whether it ended before its count the tokens say.
OMITS = ("tokens.hex", "done", "why")


def lines(question: Generate, around: Around) -> list[str]:
    for edit in around.session.active_edits():
        line = format_edit(edit)
        if ops()[edit.op].is_table(edit):
            raise ScriptError(f"{line} acts on a table that grows with every token, which no program can do")
        if question.everywhere and edit.positions == ALL:
            raise ScriptError(
                f"{line} acts on generated tokens too, which no program can do: add prompt to {question.line()}"
            )
    most = min(len(around.tokens) + question.count, around.shape.n_ctx)
    return [
        "ids = tokens",
        *([f"draw = np.random.default_rng({question.seed})"] if question.temperature else []),
        f"while len(ids) < {most}:",
        "    at = bridge.run_with_hooks(ids, fwd_hooks=fwd_hooks)[0, -1]",
        *(f"    {line}" for line in _choice(question)),
        "    if token == tokenizer.eos_token_id:",
        "        break",
        "    ids = torch.cat([ids, torch.tensor([token])])",
        'return {"tokens": [{"id": id, "text": text(id)} for id in ids[len(tokens) :].tolist()]}',
    ]


def _choice(question: Generate) -> list[str]:
    """`token` from the logits `at`."""
    if not question.temperature:
        return ["token = at.argmax().item()"]
    return [
        f"probs, best = (at.double() / {question.temperature!r}).softmax(-1).sort(descending=True)",
        f"probs = torch.where(probs.cumsum(-1) - probs < {question.top_p!r}, probs, 0)",
        'drawn = np.searchsorted(probs.cumsum(-1), draw.random() * probs.sum().item(), side="right")',
        "token = best[min(int(drawn), len(best) - 1)].item()",
    ]
