"""`effects`: what each edit does to the logit difference when it is the only one, on or off."""

from __future__ import annotations

from mechtui.views.question import Answer, Question


class Effects(Question, frozen=True, tag="effects"):
    """One run per edit, batched."""


class EffectsAnswer(Answer, frozen=True, tag="effects", eq=False):
    """baseline: the clean logit difference. effect: per edit of the session, in order, the logit difference
    with this edit alone minus the baseline; None where the edit cannot be applied. share: for `add` edits the
    length of what is added over the mean length of the site's activation in the clean run."""

    baseline: float | None
    effect: tuple[float | None, ...]
    share: tuple[float | None, ...] = ()


QUESTION = Effects
ANSWER = EffectsAnswer
