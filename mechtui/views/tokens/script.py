"""The prompt's tokens and the surprise of each."""

from __future__ import annotations

from mechtui.views.script import Around
from mechtui.views.tokens import Tokens

# The source is paired with the prompt by its text, which no model computes.
OMITS = ("source", "alignment", "bos", "tokens.hex")
EACH_RUN = False


def lines(question: Tokens, around: Around) -> list[str]:
    return [
        "surprise = -logits[:-1].log_softmax(-1).gather(-1, tokens[1:, None])[:, 0]",
        "return {",
        '    "tokens": [{"id": id, "text": text(id)} for id in tokens.tolist()],',
        '    "surprise": torch.cat([torch.full((1,), torch.nan), surprise]),',
        "}",
    ]
