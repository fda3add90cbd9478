"""`cases [clean|edited|effect|prompt] [up] [scatter]`: logit differences and effects over the session's cases."""

from __future__ import annotations

from typing import Any, ClassVar, Literal, Self, get_args

import numpy as np
from msgspec.structs import replace

from mechtui.evidence import Summary
from mechtui.session.cases import Case
from mechtui.session.document import Struct
from mechtui.session.grammar.loose import choice, fields, flag
from mechtui.views.question import Answer, Question, after, plain
from mechtui.views.spec import Action, Cost, View

Order = Literal["file", "clean", "edited", "effect", "prompt"]
ORDERS: tuple[Order, ...] = get_args(Order)


class Cases(Question, frozen=True, tag="cases"):
    """The session's cases. by: how the list is sorted: as they come, or by a column, the largest first, or with `up`
    the smallest. scatter: they are points instead, the effect over the clean difference."""

    SHOWN: ClassVar[frozenset[str]] = frozenset({"by", "up", "scatter"})

    by: Order = "file"
    up: bool = False
    scatter: bool = False

    @classmethod
    def parse(cls, line: str, rest: str) -> Self:
        wanted = f"{', '.join(ORDERS)}, up or scatter; which cases there are the session says, as in cases = "
        return cls(**fields(line, f'{wanted}"ioi 64"', choice("by", ORDERS), flag("up"), flag("scatter")))

    def line(self) -> str:
        by = [self.by] if self.by != "file" else []
        return " ".join(["cases", *by, *["up"] * self.up, *["scatter"] * self.scatter])

    def next(self) -> Self:
        """In the next order."""
        return replace(self, by=after(self.by, ORDERS), up=False)


class Alone(Struct, frozen=True):
    """What an edit, by its line, changes over the cases as the only one."""

    edit: str
    over: Summary


class CasesAnswer(Answer, frozen=True, tag="cases", eq=False):
    """of: the session's line that names the cases. cases: their texts; None where the session's own stands.
    logit_diff [case]: logit(answer) - logit(foil) after the case's last token in this run; NaN where it was not
    computed (yet). problems: of each case why it has no number; empty where it has one, or will. over: what the
    numbers say together. effect [case], change: in the edited run, edited minus clean of each case that has both, and
    what these say together; empty and None in the clean run. alone: in the clean run, what each edit of
    the session changes as the only one, on or off. left: runs that are still to come, of all together."""

    of: str
    cases: tuple[Case, ...]
    logit_diff: np.ndarray
    problems: tuple[str, ...]
    over: Summary
    effect: np.ndarray
    change: Summary | None = None
    alone: tuple[Alone, ...] = ()
    left: int = 0

    def json(self) -> dict[str, Any]:
        effects = self.effect.tolist() if len(self.effect) else [None] * len(self.cases)
        rows = zip(self.cases, self.logit_diff.tolist(), effects, self.problems, strict=True)
        said = {
            "of": self.of,
            "over": plain(self.over),
            "cases": [
                {
                    "prompt": case.prompt,
                    "source": case.source,
                    "answer": case.answer,
                    "foil": case.foil,
                    "problem": problem,
                }
                for case, _, _, problem in rows
            ],
            "logit_diff": plain(self.logit_diff),
        }
        if self.change is None:
            return {**said, "alone": [{"edit": each.edit, **plain(each.over)} for each in self.alone]}
        return {**said, "effect": plain(self.effect), "change": plain(self.change)}


SPEC = View(
    question=Cases,
    answer=CasesAnswer,
    title="Cases",
    go="b",
    shows=(
        "For every case of the session (:cases ioi 64, or a file) the logit difference between its answer and its foil "
        "after its last token, clean and edited, and the effect: edited minus clean. Below them the distribution of "
        "the effects (without an edit: of the clean differences), and over all cases the mean, its 95 % interval "
        "(bootstrap: 2,000 samples with replacement, percentiles), the standard deviation and the share of cases that "
        "have the mean's sign. t shows the cases as points: the effect over the clean difference; without an edit the "
        "clean difference over their order."
    ),
    read=(
        "An interval that does not hold 0: more cases of this kind would hardly turn the sign. A share near .5 with a "
        "large mean: a few cases make it. enter opens a case as the prompt, with its source, answer and foil."
    ),
    trap=(
        "The interval is about more cases from the same templates, not about other texts. A case to which an edit "
        "cannot be applied, since it has no such place or no source, is left out of the edited numbers: n says how "
        "many are in. @14 is another word in a prompt of another length."
    ),
    paper="Indirect objects over many prompts: Wang et al. 2022; greater-than: Hanna et al. 2023.",
    words=("logit difference", "clean, edited", "source"),
    cost=Cost.JOB,
    line_words=(("up", "the smallest first"), ("scatter", "as points: the effect over the clean difference")),
    footer=("sort_cases", "open_case", "as_scatter", "summary", "maximise"),
    actions=(
        Action(
            "open_case",
            ("enter",),
            "open",
            "Take the case's prompt, source, answer and foil as the session's; u goes back.",
        ),
        Action(
            "sort_cases",
            ("o",),
            "sort here",
            "Sort by the cursor's column, the largest first; once more the smallest first.",
        ),
        Action(
            "as_scatter",
            ("t",),
            "points, list",
            "Show the cases as points, the effect over the clean difference, or as a list.",
        ),
    ),
)
