"""`effects [@POS]`: what each edit does to the logit difference when it is the only one, on or off."""

from __future__ import annotations

from typing import Self

from mechtui.session.grammar.words import LineError, cut, one_position, short
from mechtui.views.question import Answer, Question
from mechtui.views.spec import Action, Cost, Needs, View


class Effects(Question, frozen=True, tag="effects"):
    """One run per edit, batched; the logit difference is that after `position` (negative: from the end)."""

    position: int = -1

    @classmethod
    def parse(cls, line: str, rest: str) -> Self:
        position = -1
        for word, at in cut(line)[1:]:
            there = one_position(word, line, at)
            if there is None:
                raise LineError(line, at, f"{short(word)} should be a position, as in @-1")
            position = there
        return cls(position)

    def line(self) -> str:
        return "effects" + ("" if self.position == -1 else f" @{self.position}")


class EffectsAnswer(Answer, frozen=True, tag="effects", eq=False):
    """baseline: the clean logit difference. effect: per edit of the session, in order, the logit difference
    with this edit alone minus the baseline; None where the edit cannot be applied or leaves no finite number. share:
    for `add` edits the length of what is added over the median length, over its positions, of the site's activation in
    the clean run. position: after which token the logits are compared, from 0."""

    baseline: float | None
    effect: tuple[float | None, ...]
    share: tuple[float | None, ...] = ()
    position: int = 0


SPEC = View(
    question=Effects,
    answer=EffectsAnswer,
    title="Edits",
    go="e",
    shows=(
        "The edits in the order in which they act; [x] is on. The number is what the edit, as the only one, adds to "
        "the logit difference between answer and foil after the selected token (@). For the edit under the cursor: how "
        "long an added vector is beside the activation, and where it was read if it acts elsewhere."
    ),
    read="✗ says why an edit cannot be applied.",
    trap="Effects do not add up: two edits together may do more or less than the sum of each alone.",
    words=("clean, edited", "hook_z", "logit difference", "edge", "source"),
    cost=Cost.OWN_RUNS,
    footer=("toggle", "more", "less", "edit_line", "change_edit", "delete", "toggle_all", "undo"),
    actions=(Action("change_edit", ("enter",), "change", "Change the edit under the cursor.", needs=Needs.EDITS),),
)
