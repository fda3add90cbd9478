"""`effects [@POS] [ranked]`: what each edit does to the logit difference when it is the only one, on or off."""

from __future__ import annotations

from typing import ClassVar, Self

from msgspec.structs import replace

from mechtui.session.grammar.words import LineError, cut, one_position, short
from mechtui.views.question import Answer, Question
from mechtui.views.spec import Action, Cost, Needs, View


class Effects(Question, frozen=True, tag="effects"):
    """One run per edit, batched; the logit difference is that after `position` (negative: from the end).
    ranked: whether the screen lists the edits by the size of their effects, the largest first."""

    SHOWN: ClassVar[frozenset[str]] = frozenset({"ranked"})

    position: int = -1
    ranked: bool = False

    @classmethod
    def parse(cls, line: str, rest: str) -> Self:
        found = cls()
        for word, at in cut(line)[1:]:
            if word == "ranked":
                found = replace(found, ranked=True)
            elif (there := one_position(word, line, at)) is not None:
                found = replace(found, position=there)
            else:
                raise LineError(line, at, f"{short(word)} should be ranked or a position, as in @-1")
        return found

    def line(self) -> str:
        return "effects" + ("" if self.position == -1 else f" @{self.position}") + (" ranked" if self.ranked else "")

    def next(self) -> Self:
        """In the other order."""
        return replace(self, ranked=not self.ranked)


class EffectsAnswer(Answer, frozen=True, tag="effects", eq=False):
    """baseline: the clean logit difference. effect: per edit of the session, in order, the logit difference
    with this edit alone minus the baseline; None where the edit cannot be applied or leaves no finite number. share:
    for `add` edits the length of what is added over the median length, over its positions, of the site's activation in
    the clean run. position: after which token the logits are compared, from 0. together: what
    the edits that are on do at once; None where none is."""

    baseline: float | None
    effect: tuple[float | None, ...]
    share: tuple[float | None, ...] = ()
    position: int = 0
    together: float | None = None


SPEC = View(
    question=Effects,
    answer=EffectsAnswer,
    title="Edits",
    go="e",
    shows=(
        "The edits in the order in which they act or, ranked, by the size of their effects; [x] is on. The number is "
        "what the edit, as the only one, adds to the logit difference between answer and foil after the selected token "
        "(@); below stands what those that are on add together. For the edit under the cursor: how long an added "
        "vector is beside the activation, and where it was read if it acts elsewhere."
    ),
    read="✗ says why an edit cannot be applied.",
    trap=(
        "Effects do not add up: two edits together may do more or less than the sum of each alone. In linear mode (L) "
        "they do, and the sum stands beside what they do together."
    ),
    words=("linear mode", "clean, edited", "hook_z", "logit difference", "edge", "source"),
    cost=Cost.OWN_RUNS,
    line_words=(("ranked", "the largest effect first"),),
    footer=("toggle", "more", "less", "edit_line", "change_edit", "delete", "summary", "undo"),
    actions=(Action("change_edit", ("enter",), "change", "Change the edit under the cursor.", needs=Needs.EDITS),),
)
