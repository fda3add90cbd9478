"""`heads [METRIC] [clean|difference] [@POS]`: one number for every head."""

from __future__ import annotations

from typing import ClassVar, Literal, Self, get_args

import numpy as np
from msgspec.structs import replace

from mechtui.session.document import EVERY, Session
from mechtui.session.grammar.loose import choice, fields, position
from mechtui.session.sweeps import changed
from mechtui.views.question import RUNS, Answer, Question, Run, after
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
    scores on random tokens said twice, see `scores`: no position or edit changes them."""

    SHOWN: ClassVar[frozenset[str]] = frozenset({"run"})

    summary: Summary = "entropy"
    position: int = -1
    run: Run = "edited"

    @classmethod
    def parse(cls, line: str, rest: str) -> Self:
        wanted = f"{', '.join(SUMMARIES)}, a position, as in @-1, clean or difference"
        return cls(**fields(line, wanted, position(), choice("summary", SUMMARIES), choice("run", RUNS)))

    def line(self) -> str:
        words = [f"heads {self.summary}"]
        if self.run != "edited":
            words.append(self.run)
        if self.position != -1:
            words.append(f"@{self.position}")
        return " ".join(words)

    def remembered(self, session: Session, clean: bool) -> HeadsAnswer | None:
        if self.summary != "sweep" or not clean:
            return None
        for made in reversed(session.sweeps):
            site = made.edit.site
            if site.kind == "head" and site.layers == site.index == EVERY and not changed(made, session):
                values = np.array([[np.nan if value is None else value for value in row] for row in made.values])
                return HeadsAnswer("sweep", self.position, values) if made.done == made.runs else None
        return None

    def next(self) -> Self:
        return replace(self, summary=after(self.summary, SUMMARIES))


class HeadsAnswer(Answer, frozen=True, tag="heads", eq=False):
    """values [layer, head], in nats, as a share of 1, as an L2 norm, or in logits; copying is -1..1."""

    summary: Summary
    position: int
    values: np.ndarray


SPEC = View(
    question=Heads,
    answer=HeadsAnswer,
    title="Heads",
    go="h",
    shows=(
        "One cell for every layer and head at the selected token: entropy of its attention in nats, attention to "
        "the first token, L2 norm of what it writes to the residual stream, what that adds to the logit difference "
        "(attribution), or each of these edited minus clean; the last sweep over the heads. Of the model, whatever "
        "the prompt: induction, previous, duplicate and copying, as Heads ranked explains them."
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
    ),
    footer=("zero", "zero_here", "mean", "patch", "undo", "summary", "maximise"),
    numbers=(Numbers("values", "value", "its own", ("layer", "head")),),
)
