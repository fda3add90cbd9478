"""`sweep OP SITES [@POSITIONS] [ARGUMENT]`: the same edit at every site in turn, one run each.

`sweep zero L*H*`: layers by heads. `sweep patch L*.pre`: layers by positions.
"""

from __future__ import annotations

from typing import Self

import numpy as np

from mechtui.session.document import ALL, Edit
from mechtui.session.lines import LineError, format_edit, parse_edit
from mechtui.views.question import Answer, Question
from mechtui.views.spec import Cost, View


class Sweep(Question, frozen=True, tag="sweep"):
    """What `edit` does to the logit difference at each of its sites alone. Heads: a column each, at the
    positions that the edit names. Layers (attn, mlp, pre, mid, post): a column for every position."""

    edit: Edit = parse_edit("zero L*H*")

    @classmethod
    def parse(cls, line: str, rest: str) -> Self:
        column = line.index(rest) if rest else len(line)
        try:
            edit = parse_edit(rest)
        except LineError as error:
            raise LineError(line, column + error.column, error.problem) from None
        if edit.site.kind not in ("head", "layer"):
            raise LineError(
                line, column, "a sweep goes over heads or layers, as in sweep zero L*H* or sweep patch L*.pre"
            )
        if edit.site.kind == "layer" and edit.positions != ALL:
            raise LineError(line, column, "a sweep over layers has a column for every position: leave the @ out")
        return cls(edit)

    @property
    def costly(self) -> bool:
        return True

    def line(self) -> str:
        return f"sweep {format_edit(self.edit)}"


class SweepAnswer(Answer, frozen=True, tag="sweep", eq=False):
    """rows: layers; columns: heads, key-value groups or positions. values [row, column]: NaN where the edit
    cannot be applied.

    metric "logit_diff": the change of logit(answer) - logit(foil) at the last position. metric "normalised"
    (patch): (patched - corrupted) / (clean - corrupted), where corrupted is this prompt and clean is the
    source; 1 restores the source's logit difference, 0 changes nothing. baseline: this prompt's logit
    difference; source_baseline: the source's, for patch.
    """

    rows: tuple[str, ...]
    columns: tuple[str, ...]
    metric: str
    values: np.ndarray
    baseline: float | None
    source_baseline: float | None = None


SPEC = View(
    question=Sweep,
    answer=SweepAnswer,
    title="Sweep",
    go="s",
    shows=(
        "The same edit at every site in turn, one run each, and what it does to the logit difference after the last "
        "token; for patch, as a share of the source's: (patched - corrupted) / (clean - corrupted)."
    ),
    read="1 restores the source's logit difference, 0 changes nothing.",
    trap="A site that shows nothing alone may matter where another stands in for it once it is gone.",
    paper="Meng et al. 2022, Locating and Editing Factual Associations in GPT (causal tracing)",
    words=("logit difference", "source", "clean, edited"),
    cost=Cost.JOB,
)
