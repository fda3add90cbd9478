"""`heads [METRIC] [clean|difference] [@POS] [over cases]`: one number for every head."""

from __future__ import annotations

from typing import Any, ClassVar, Literal, Self, get_args

import numpy as np
from msgspec.structs import replace

from mechtui.none import NONE
from mechtui.session.document import EVERY, Session
from mechtui.session.grammar.loose import choice, fields, position
from mechtui.session.grammar.words import LineError
from mechtui.session.roles import said
from mechtui.session.sweeps import changed
from mechtui.views.over import WORDS as OVER_CASES
from mechtui.views.over import Over, over_cases
from mechtui.views.question import RUNS, Answer, Question, Run, after, plain
from mechtui.views.spec import Numbers, View

Summary = Literal["entropy", "first", "norm", "attribution", "sweep", "induction", "previous", "duplicate", "copying"]
SUMMARIES: tuple[Summary, ...] = get_args(Summary)
NO_SWEEP = "no sweep over all heads was made of this session as it is: the Sweep pane makes one"
# Those that are the model's, whatever the prompt and the edits are.
OF_MODEL: tuple[Summary, ...] = ("induction", "previous", "duplicate", "copying")


class Heads(Question, frozen=True, tag="heads"):
    """entropy: of the pattern row at the position, in nats. first: attention paid to position 0.
    norm: L2 norm of what the head writes to the residual stream (z W_O). attribution: what the head adds to the logit
    difference, see `attribution`. sweep: what the session's last sweep over all heads found. The others are the head's
    scores on random tokens said twice, see `scores`: no position or edit changes them. over: the mean over the
    session's cases, of the first four."""

    SHOWN: ClassVar[frozenset[str]] = frozenset({"run"})

    summary: Summary = "entropy"
    position: int = -1
    run: Run = "edited"
    over: bool = False

    @classmethod
    def parse(cls, line: str, rest: str) -> Self:
        wanted = f"{', '.join(SUMMARIES)}, a position, as in @-1, clean, difference or over cases"
        readers = position(), choice("summary", SUMMARIES), choice("run", RUNS), over_cases()
        found = cls(**fields(line, wanted, *readers))
        if found.over and (why := found._refuses_over()):
            raise LineError(line, line.index("over"), why)
        return found

    def _refuses_over(self) -> str:
        """Why this is not taken over cases, in a sentence; empty where it is."""
        if self.summary == "sweep":
            return "a sweep of the session is of its prompt: sweep zero L*H* over cases makes one over cases"
        if self.summary in OF_MODEL:
            return f"{self.summary} is not taken over cases: it is the model's, whatever the text"
        return said(self.position) if self.position > 0 else ""

    def line(self) -> str:
        words = [f"heads {self.summary}"]
        if self.run != "edited":
            words.append(self.run)
        if self.position != -1:
            words.append(f"@{self.position}")
        return " ".join([*words, *[OVER_CASES] * self.over])

    @property
    def from_end(self) -> bool:
        return self.over

    @property
    def many_runs(self) -> bool:
        return self.over

    def remembered(self, session: Session, clean: bool) -> HeadsAnswer | None:
        if self.summary != "sweep" or not clean:
            return None
        for made in reversed(session.sweeps):
            site = made.edit.site
            if (
                made.over is None
                and site.kind == "head"
                and site.layers == site.index == EVERY
                and not changed(made, session)
            ):
                values = np.array([[NONE if value is None else value for value in row] for row in made.values])
                return HeadsAnswer("sweep", self.position, values) if made.done == made.runs else None
        return None

    def next(self) -> Self:
        choices = [each for each in SUMMARIES if not self.over or each not in (*OF_MODEL, "sweep")]
        return replace(self, summary=after(self.summary, choices))


class HeadsAnswer(Answer, frozen=True, tag="heads", eq=False):
    """values [layer, head], in nats, as a share of 1, as an L2 norm, or in logits; copying is -1..1. over: where they
    are means over the cases, what these say besides; position counts from the end then, as in the question."""

    summary: Summary
    position: int
    values: np.ndarray
    over: Over | None = None

    def json(self) -> dict[str, Any]:
        found = {"summary": self.summary, "position": self.position, "values": plain(self.values)}
        return found if self.over is None else found | self.over.json()


SPEC = View(
    question=Heads,
    answer=HeadsAnswer,
    title="Heads",
    go="h",
    shows=(
        "One cell for every layer and head at the selected token: entropy of its attention in nats, attention to "
        "the first token, L2 norm of what it writes to the residual stream, what that adds to the logit difference "
        "(attribution), or each of these edited minus clean; the last sweep over the heads. Of the model, whatever "
        "the prompt: induction, previous, duplicate and copying, as Heads ranked explains them. `over cases` behind "
        "the line takes the first four as means over the session's cases, with intervals."
    ),
    read="▸ is the cursor, * an edited head.",
    trap="A head that attends sharply need not matter: what it writes may be short, or point where nothing reads.",
    words=("pattern", "entropy", "hook_z", "L2 norm", "nat", "induction head"),
    line_words=(
        ("first", "attention to the first token"),
        ("norm", "L2 norm of what the head writes"),
        ("attribution", "what the head adds to the logit difference"),
        ("sweep", "the last sweep over the heads"),
        ("induction", "attention to what followed this token before"),
        ("previous", "attention to the token before"),
        ("duplicate", "attention to this token's earlier place"),
        ("copying", "whether what it reads is what it raises"),
        (OVER_CASES, "the mean over the session's cases"),
    ),
    footer=("zero", "zero_here", "mean", "patch", "undo", "summary", "maximise"),
    numbers=(Numbers("values", "value", "its own", ("layer", "head")),),
)
