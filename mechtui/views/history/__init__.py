"""`history [@POS] [marks] ["TEXT"]`: the logit difference of this state, and on the screen the tree of all states."""

from __future__ import annotations

from typing import ClassVar, Self

from msgspec.structs import replace

from mechtui.session.grammar.loose import fields, flag, position, text
from mechtui.session.grammar.words import quote
from mechtui.views.question import Answer, Question
from mechtui.views.spec import Action, View


class History(Question, frozen=True, tag="history"):
    """The logit difference after `position` (negative: from the end). How the tree is shown: marks: only states with a
    mark, where branches part and end, and the present one. only: words that a row must have."""

    SHOWN: ClassVar[frozenset[str]] = frozenset({"marks", "only"})

    position: int = -1
    marks: bool = False
    only: str = ""

    @classmethod
    def parse(cls, line: str, rest: str) -> Self:
        wanted = 'a position, as in @-1, marks or a text, as in "L3H"'
        return cls(**fields(line, wanted, position(), flag("marks"), text("only")))

    def line(self) -> str:
        words = ["history"]
        words += [f"@{self.position}"] if self.position != -1 else []
        words += ["marks"] if self.marks else []
        words += [quote(self.only)] if self.only else []
        return " ".join(words)

    def next(self) -> Self:
        """All states, or only those that one may look for."""
        return replace(self, marks=not self.marks)


class HistoryAnswer(Answer, frozen=True, tag="history", eq=False):
    """logit_diff: logit(answer) - logit(foil) after the token at `position`, counted from 0; None where only one of the
    two is named. Where none is, the clean run's two likeliest tokens stand in."""

    position: int
    logit_diff: float | None

    def measured(self) -> float | None:
        return self.logit_diff


SPEC = View(
    question=History,
    answer=HistoryAnswer,
    title="History",
    go="u",
    shows=(
        "Every state of the session, each below the one that it was made from: what was changed, the logit difference "
        "logit(answer) - logit(foil) that the model gave it, clean and edited, its mark, and when it was last changed. "
        "A change after an undo is a branch; nothing is lost."
    ),
    read=(
        "● is the present state. u goes to the state it was made from, ctrl+r to the one below where you stood last, "
        "enter to the one under the cursor. Blank: the model had not answered before the state changed."
    ),
    trap=(
        "Each number is as it was noted then: after the last token, or after the one that was selected (@), of that "
        "state's prompt and target. Two of them can be compared only where those are the same."
    ),
    words=("logit difference", "clean, edited"),
    line_words=(("marks", "marked states, and where branches part and end"),),
    footer=("jump", "mark_state", "compare_state", "only_states", "undo", "redo", "summary"),
    actions=(
        Action("jump", ("enter",), "go there", "Make the state under the cursor the present one."),
        Action("mark_state", ("m",), "mark", "Give the state under the cursor a name; an empty one takes it away."),
        Action("compare_state", ("x",), "compare", "Set the state under the cursor beside the present one."),
        Action("only_states", ("w",), "narrow", "List only states that have certain words."),
    ),
)
