"""`heads [entropy|first|norm] [clean|difference] [@POS]`: one number for every head."""

from __future__ import annotations

import re
from typing import ClassVar, Literal, Self, get_args

import numpy as np
from msgspec.structs import replace

from mechtui.session.lines import LineError, cut, short, whole
from mechtui.views.question import RUNS, Answer, Question, Run
from mechtui.views.spec import View

Summary = Literal["entropy", "first", "norm"]


class Heads(Question, frozen=True, tag="heads"):
    """entropy: of the pattern row at the position, in nats. first: attention paid to position 0.
    norm: L2 norm of what the head writes to the residual stream (z W_O)."""

    SHOWN: ClassVar[frozenset[str]] = frozenset({"run"})

    summary: Summary = "entropy"
    position: int = -1
    run: Run = "edited"

    @classmethod
    def parse(cls, line: str, rest: str) -> Self:
        summary: Summary = "entropy"
        position = -1
        run: Run = "edited"
        for word, at in cut(line)[1:]:
            if re.fullmatch(r"@-?[0-9]+", word):
                position = whole(word[1:], line, at + 1)
            elif word in get_args(Summary):
                summary = next(each for each in get_args(Summary) if each == word)
            elif word in RUNS:
                run = next(each for each in RUNS if each == word)
            else:
                problem = f"{short(word)} should be entropy, first, norm, a position, as in @-1, clean or difference"
                raise LineError(line, at, problem)
        return cls(summary, position, run)

    def line(self) -> str:
        words = [f"heads {self.summary}"]
        if self.run != "edited":
            words.append(self.run)
        if self.position != -1:
            words.append(f"@{self.position}")
        return " ".join(words)

    def next(self) -> Self:
        summaries = get_args(Summary)
        return replace(self, summary=summaries[(summaries.index(self.summary) + 1) % len(summaries)])


class HeadsAnswer(Answer, frozen=True, tag="heads", eq=False):
    """values [layer, head], in nats, as a share of 1, or as an L2 norm."""

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
        "the first token, L2 norm of what it writes to the residual stream, or each of these edited minus clean."
    ),
    read="▸ is the cursor, * an edited head.",
    trap="A head that attends sharply need not matter: what it writes may be short, or point where nothing reads.",
    words=("pattern", "entropy", "hook_z", "L2 norm", "nat"),
    line_words=(("first", "attention to the first token"), ("norm", "L2 norm of what the head writes")),
    footer=("zero", "zero_here", "mean", "patch", "undo", "summary", "maximise"),
)
