"""This session beside the one before its last edit."""

from __future__ import annotations

from mechtui.views.compare import Compare, CompareAnswer, Compared
from mechtui.views.example import COUNT, Example

CHANGES = ("added add L6.pre @-1 love x5",)

LINES = ('compare "other.toml"',)
REFUSED = LINES
FILES = {
    "other.toml": """mechtui = 1
prompt = "When Mary and John went to the store, Mary gave a drink to"
answer = " Mary"
edits = ["scale L0H2 x0.5"]
"""
}


def example() -> Example:
    return Example(Compare(step=1), _answer((), 3.12, 3.12, 0.0), _answer(CHANGES, -0.61, 0.44, 1.0))


def _answer(changes: tuple[str, ...], this: float, other: float, far: float) -> CompareAnswer:
    numbers = (
        Compared("next_tokens", "logit difference", "", this, other, "logits"),
        Compared("next_tokens", " Mary", "", 0.31 - 0.2 * far, 0.31, "probability"),
        Compared("next_tokens", " John", "", 0.02 + 0.3 * far, 0.02, "probability"),
        Compared("attention L9H9", "weight", "@14>@2", 0.62 - 0.4 * far, 0.62, "as shown"),
        Compared("attribution", "heads", "L9H6", 1.74 - far, 1.74, "logits"),
        Compared("attribution", "heads", "L10H0", 0.91 - 0.7 * far, 0.91, "logits"),
        Compared("attribution", "heads", "L7H9", -0.38 + 0.2 * far, -0.38, "logits"),
        Compared("lens", "KL to the final", "L10.post @14", 0.9 + 2 * far, 0.9, "nats"),
        Compared("loss", "loss", "", 2.5, 2.5, "nats"),
        Compared("residual", "norm", "L7.pre @14", 88.0 + 30 * far, 88.0, "L2"),
    )
    return CompareAnswer("step 1", changes, numbers, COUNT, ("heads: it has no answer",))
