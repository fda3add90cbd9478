"""`effects [@POS]`: what each edit does to the logit difference when it is the only one, on or off."""

from __future__ import annotations

import re
from typing import Self

from mechtui.session.lines import LineError, cut, short, whole
from mechtui.views.question import Answer, Question


class Effects(Question, frozen=True, tag="effects"):
    """One run per edit, batched; the logit difference is that after `position` (negative: from the end)."""

    position: int = -1

    @classmethod
    def parse(cls, line: str, rest: str) -> Self:
        position = -1
        for word, at in cut(line)[1:]:
            if not re.fullmatch(r"@-?[0-9]+", word):
                raise LineError(line, at, f"{short(word)} should be a position, as in @-1")
            position = whole(word[1:], line, at + 1)
        return cls(position)

    def line(self) -> str:
        return "effects" + ("" if self.position == -1 else f" @{self.position}")


class EffectsAnswer(Answer, frozen=True, tag="effects", eq=False):
    """baseline: the clean logit difference. effect: per edit of the session, in order, the logit difference
    with this edit alone minus the baseline; None where the edit cannot be applied or leaves no finite number. share:
    for `add` edits the length of what is added over the mean length of the site's activation in the clean run.
    position: after which token the logits are compared, from 0."""

    baseline: float | None
    effect: tuple[float | None, ...]
    share: tuple[float | None, ...] = ()
    position: int = 0


QUESTION = Effects
ANSWER = EffectsAnswer
