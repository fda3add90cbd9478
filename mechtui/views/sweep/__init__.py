"""`sweep OP SITES [@POSITIONS] [ARGUMENT]`: the same edit at every site in turn, one run each.

`sweep zero L*H*`: layers by heads. `sweep patch L*.pre`: layers by positions. Words behind the edit: `list`, `clean`,
`difference`, `earlier` say what the pane shows; `plan` asks only what it takes.
"""

from __future__ import annotations

import re
from typing import Any, ClassVar, Literal, Self

import msgspec
import numpy as np
from msgspec.structs import replace

from mechtui.session.document import ALL, Edit, Positions, Range, Session, Site, Span, Swept
from mechtui.session.grammar.edits import format_edit, parse_edit
from mechtui.session.grammar.places import format_site
from mechtui.session.grammar.words import LineError
from mechtui.session.sweeps import made_of, of_now
from mechtui.views.question import RUNS, Answer, Question, Run, after
from mechtui.views.spec import Action, Cost, View

ZERO_HEADS = Edit("zero", Site("head", part="z"))
# What `s` leads through. Patching takes from the source.
USEFUL = (
    ZERO_HEADS,
    Edit("mean", Site("head", part="z")),
    Edit("patch", Site("head", part="z")),
    *(Edit("patch", Site("layer", part=part)) for part in ("pre", "attn", "mlp")),
)
_WORD = re.compile(
    rf"(?:^|\s+)(?:(?P<run>{'|'.join(RUNS)})|(?P<list>list)|(?P<earlier>earlier(?P<which>[1-9][0-9]?)?)|plan)$"
)


class Sweep(Question, frozen=True, tag="sweep"):
    """What `edit` does to the logit difference at each of its sites alone. Heads: a column each, at the
    positions that the edit names. Layers (attn, mlp, pre, mid, post): a column for every position.

    plan: only what it takes is asked, and what is known already. run, listed, earlier: what the pane shows; a list
    instead of the map; the newest of those that were made of something else (2: the one before).
    """

    SHOWN: ClassVar[frozenset[str]] = frozenset({"run", "listed", "earlier"})

    edit: Edit = ZERO_HEADS
    plan: bool = False
    run: Run = "edited"
    listed: bool = False
    earlier: int = 0

    @classmethod
    def parse(cls, line: str, rest: str) -> Self:
        if not rest:
            return cls()
        column = line.index(rest)
        said: dict[str, Any] = {}
        edit, error = _parsed(rest)
        # A word may be a steering vector's name too: what reads as an edit is one.
        while edit is None and (word := _WORD.search(rest)) is not None:
            rest = rest[: word.start()]
            if word["run"]:
                said["run"] = word["run"]
            elif word["earlier"]:
                said["earlier"] = int(word["which"] or 1)
            else:
                said["listed" if word["list"] else "plan"] = True
            edit, error = _parsed(rest) if rest else (ZERO_HEADS, None)
        if edit is None:
            assert error is not None
            raise LineError(line, column + error.column, error.problem) from None
        if edit.sender is not None:
            receiver = format_site(edit.site)
            raise LineError(line, column, f"a sweep goes over sites, not over paths: path {receiver} ranks its senders")
        if edit.site.kind not in ("head", "layer"):
            raise LineError(
                line, column, "a sweep goes over heads or layers, as in sweep zero L*H* or sweep patch L*.pre"
            )
        if edit.site.kind == "layer" and edit.positions != ALL:
            raise LineError(line, column, "a sweep over layers has a column for every position: leave the @ out")
        return cls(edit, **said)

    def line(self) -> str:
        words = [format_edit(self.edit)]
        words += [self.run] * (self.run != "edited") + ["list"] * self.listed
        words += [f"earlier{self.earlier if self.earlier > 1 else ''}"] * (self.earlier > 0) + ["plan"] * self.plan
        return f"sweep {' '.join(words)}"

    @property
    def costly(self) -> bool:
        return not self.plan

    def next(self) -> Self:
        """The next of the useful sweeps."""
        return replace(self, edit=after(self.edit, USEFUL))

    def remembered(self, session: Session, clean: bool) -> SweepAnswer | None:
        made = None if self.plan else of_now(session.sweeps, session, self.edit, clean)
        return None if made is None or made.done < made.runs else SweepAnswer.of(made)

    def cell(self, layer: int, column: int) -> Edit:
        """The edit of one cell. column: the head, or key-value group, or position."""
        site = replace(self.edit.site, layers=Span(layer, layer))
        if site.kind == "head":
            return replace(self.edit, site=replace(site, index=Span(column, column)))
        return replace(self.edit, site=site, positions=Positions((Range(column, column),)))


def _parsed(text: str) -> tuple[Edit | None, LineError | None]:
    try:
        return parse_edit(text), None
    except LineError as error:
        return None, error


class Left(msgspec.Struct, frozen=True):
    """What of a sweep is still to do. runs: in all; done: of them; seconds: about, for the others, as such runs
    were timed, None where none was; bytes: about, that the largest batch of them needs."""

    runs: int
    done: int
    seconds: float | None
    bytes: int


class SweepAnswer(Answer, frozen=True, tag="sweep", eq=False):
    """rows: layers; columns: heads, key-value groups or positions. values [row, column]: NaN where the edit
    cannot be applied, and where it was not yet.

    metric "logit_diff": the change of logit(answer) - logit(foil) at the last position. metric "normalised"
    (patch): (patched - corrupted) / (clean - corrupted), where corrupted is this prompt and clean is the
    source; 1 restores the source's logit difference, 0 changes nothing. baseline: this prompt's logit
    difference; source_baseline: the source's, for patch. left: None once all is computed.
    """

    rows: tuple[str, ...]
    columns: tuple[str, ...]
    metric: Literal["logit_diff", "normalised"]
    values: np.ndarray
    baseline: float | None
    source_baseline: float | None = None
    left: Left | None = None

    @classmethod
    def of(cls, swept: Swept) -> Self:
        """What was kept."""
        numbers = [[np.nan if value is None else value for value in row] for row in swept.values]
        values = np.asarray(numbers, dtype=np.float32).reshape(len(swept.rows), len(swept.columns))
        left = Left(swept.runs, swept.done, None, 0) if swept.done < swept.runs else None
        return cls(swept.rows, swept.columns, swept.metric, values, swept.baseline, swept.source_baseline, left)

    def kept(self, question: Question, session: Session, clean: bool) -> Swept | None:
        """Five digits are enough to be looked at again."""
        known = np.isfinite(self.values)
        if not isinstance(question, Sweep) or question.plan or not known.any():
            return None
        values = tuple(
            tuple(float(f"{value:.5g}") if there else None for value, there in zip(*row, strict=True))
            for row in zip(self.values.tolist(), known.tolist(), strict=True)
        )
        return Swept(
            question.edit,
            made_of(session, question.edit, clean),
            self.rows,
            self.columns,
            self.metric,
            values,
            self.left.runs if self.left else int(known.sum()),
            self.baseline,
            self.source_baseline,
        )

    def json(self) -> dict[str, Any]:
        said = super().json()
        return said if self.left else {name: value for name, value in said.items() if name != "left"}


SPEC = View(
    question=Sweep,
    answer=SweepAnswer,
    title="Sweep",
    go="s",
    shows=(
        "The same edit at every site in turn, one run each, and what it does to the logit difference after the last "
        "token: as a change in logits; for patch as a share of the source's, (patched - corrupted) / (clean - "
        "corrupted). Beside the map the strongest, by size. What is blank is not computed, or the edit cannot be made "
        "there."
    ),
    read=(
        "Without a head that writes towards the answer the difference falls: it is blue. Of a patch, 1 restores the "
        "source's logit difference, 0 changes nothing. A sweep stays with the session; when the prompt, the target or "
        "an edit is another, it is marked old and says what has changed."
    ),
    trap="A site that shows nothing alone may matter where another stands in for it once it is gone.",
    paper="Meng et al. 2022, Locating and Editing Factual Associations in GPT (causal tracing)",
    words=("logit difference", "source", "clean, edited"),
    cost=Cost.JOB,
    renews=False,
    footer=("start", "summary", "as_edit", "as_list", "earlier"),
    actions=(
        Action("as_edit", ("w",), "as edit", "Make the cell's edit one of the session's; once more takes it away."),
        Action("as_list", ("t",), "list, map", "Show all cells as a list, the strongest first, or as a map again."),
        Action("earlier", ("r",), "earlier", "Show the sweeps of this line that were made before, one by one."),
    ),
)
