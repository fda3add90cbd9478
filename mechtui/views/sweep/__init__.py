"""`sweep OP SITES [@POSITIONS] [ARGUMENT]`: the same edit at every site in turn, one run each; before them estimates of
all, from one pass back.

`sweep zero L*H*`: layers by heads. `sweep patch L*.pre`: layers by positions; over cases by those that the cases name.
`sweep zero res2F*`: the features of a dictionary that are on.
Words behind the edit: `list`, `clean`,
`difference`, `earlier` say what the pane shows; `estimate` asks only the estimates, `ig8` those by integrated gradients
over 8 steps; `plan` asks only what it takes, with the estimates; `over cases` makes it of every case of the session,
for the means.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, ClassVar, Literal, Self

import msgspec
import numpy as np
from msgspec.structs import replace

from mechtui.session.document import ALL, Edit, Place, Positions, Range, Role, Session, Site, Span, Swept
from mechtui.session.grammar.edits import format_edit, parse_edit
from mechtui.session.grammar.places import format_site, parse_positions
from mechtui.session.grammar.words import LineError
from mechtui.session.roles import named, same_everywhere
from mechtui.session.sweeps import made_of, of_now, of_texts
from mechtui.views.over import WORDS as OVER_CASES
from mechtui.views.over import Over, cells_of, numbers
from mechtui.views.question import RUNS, Answer, Question, Run, after, plain
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
    rf"(?:^|\s+)(?:(?P<run>{'|'.join(RUNS)})|(?P<list>list)|(?P<earlier>earlier(?P<which>[1-9][0-9]?)?)|"
    r"ig(?P<ig>[1-9][0-9]?)|(?P<estimate>estimate)|(?P<over>over\s+cases)|plan)$"
)
# An estimate agrees with the exact number if it has its sign and is off by no more than half of it. Where both are less
# than this share of the largest of all, there is nothing to agree about.
HALF, LITTLE = 0.5, 0.01


class Sweep(Question, frozen=True, tag="sweep"):
    """What `edit` does to the logit difference at each of its sites alone. Heads: a column each, at the
    positions that the edit names. Layers (attn, mlp, pre, mid, post): a column for every position. Features: a column
    for each that the edit changes somewhere, at all positions that it names.

    estimate: only the estimates are asked: no run for each. ig: they are integrated gradients over so many steps
    between this prompt's input and the source's; 0: the gradient at this prompt. plan: only what it takes is asked, the
    estimates, and what is known already. over: it is made of every case of the session. run, listed, earlier: what the
    pane shows; a list instead of the map; the newest of those that were made of something else (2: the one before).
    """

    SHOWN: ClassVar[frozenset[str]] = frozenset({"run", "listed", "earlier"})

    edit: Edit = ZERO_HEADS
    estimate: bool = False
    ig: int = 0
    plan: bool = False
    over: bool = False
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
            elif word["ig"]:
                said["ig"] = int(word["ig"])
            elif word["estimate"]:
                said["estimate"] = True
            elif word["over"]:
                said["over"] = True
            else:
                said["listed" if word["list"] else "plan"] = True
            edit, error = _parsed(rest) if rest else (ZERO_HEADS, None)
        if edit is None:
            assert error is not None
            raise LineError(line, column + error.column, error.problem) from None
        if edit.sender is not None:
            receiver = format_site(edit.site)
            raise LineError(line, column, f"a sweep goes over sites, not over paths: path {receiver} ranks its senders")
        if edit.site.kind not in ("head", "layer", "feature"):
            raise LineError(
                line,
                column,
                "a sweep goes over heads, layers or features, as in sweep zero L*H*, sweep patch L*.pre or sweep zero "
                "res2F*",
            )
        if "over" in said and edit.site.kind == "feature":
            raise LineError(
                line, column, f"each case has other features on: leave {OVER_CASES} out, and this prompt's are swept"
            )
        if "over" in said and (why := same_everywhere(edit)):
            raise LineError(line, column, why)
        if "over" not in said and (role := named(edit.positions)):
            raise LineError(
                line, line.index(role, column), f"{role} is a position of cases: write {OVER_CASES} behind it"
            )
        if "over" not in said and edit.site.kind == "layer" and edit.positions != ALL:
            raise LineError(line, column, "a sweep over layers has a column for every position: leave the @ out")
        if "ig" in said and edit.op != "patch":
            raise LineError(
                line,
                line.index(f"ig{said['ig']}", column),
                "integrated gradients go from this prompt to the source, which only patch takes: leave ig out, or "
                f"sweep patch {format_edit(edit).split()[1]} ig{said['ig']}",
            )
        return cls(edit, **said)

    def line(self) -> str:
        words = [format_edit(self.edit)] + ["estimate"] * self.estimate + [f"ig{self.ig}"] * (self.ig > 0)
        words += [OVER_CASES] * self.over
        words += [self.run] * (self.run != "edited") + ["list"] * self.listed
        words += [f"earlier{self.earlier if self.earlier > 1 else ''}"] * (self.earlier > 0) + ["plan"] * self.plan
        return f"sweep {' '.join(words)}"

    @property
    def costly(self) -> bool:
        return not self.plan and (self.over or not self.estimate)

    @property
    def saes(self) -> tuple[str, ...]:
        return (self.edit.site.sae,) if self.edit.site.kind == "feature" else ()

    def next(self) -> Self:
        """The next of the useful sweeps."""
        return self.of(after(self.edit, USEFUL))

    def of(self, edit: Edit) -> Self:
        """The same of another edit; integrated gradients are of patches only."""
        return replace(self, edit=edit, ig=self.ig if edit.op == "patch" else 0)

    def remembered(self, session: Session, clean: bool) -> SweepAnswer | None:
        made = None if self.plan or self.estimate or self.over else of_now(session.sweeps, session, self.edit, clean)
        return None if made is None or made.done < made.runs else SweepAnswer.of(made)

    def cell(self, layer: int, column: int | Place) -> Edit:
        """The edit of one cell. column: the head, or key-value group, or position, or the feature, whose layer is its
        dictionary's."""
        if self.edit.site.kind == "feature":
            assert isinstance(column, int)
            return replace(self.edit, site=replace(self.edit.site, index=Span(column, column)))
        site = replace(self.edit.site, layers=Span(layer, layer))
        if site.kind == "head":
            assert isinstance(column, int)
            return replace(self.edit, site=replace(site, index=Span(column, column)))
        place = Range(column, column) if isinstance(column, int) else column
        return replace(self.edit, site=site, positions=Positions((place,)))

    def at_roles(self, roles: Sequence[Role]) -> Self:
        """Over cases: a sweep over layers with its columns named, all of the cases' positions where it names none."""
        if self.edit.site.kind == "head" or self.edit.positions != ALL:
            return self
        return replace(self, edit=replace(self.edit, positions=Positions(tuple(roles))))


def column_of(name: str) -> int | Place:
    """What a column of an answer stands for: the head of H5, the feature of F12, the position of @7, the place of @S2
    or @-1."""
    if re.fullmatch("[HF@][0-9]+", name):
        return int(name[1:])
    [place] = parse_positions(name[1:], name, 1, roles=True).items
    return place


def _parsed(text: str) -> tuple[Edit | None, LineError | None]:
    try:
        return parse_edit(text, roles=True), None
    except LineError as error:
        return None, error


class Left(msgspec.Struct, frozen=True):
    """What of a sweep is still to do. runs: in all; done: of them; seconds: about, for the others, as such runs
    were timed, None where none was; bytes: about, that the largest batch of them needs."""

    runs: int
    done: int
    seconds: float | None
    bytes: int


class Agreement(msgspec.Struct, frozen=True):
    """How far estimates are those of the exact numbers. cells: that have both. agree: of them, see `disagreeing`.
    rank_correlation: Spearman's, over them; None where they are fewer than two or one kind has no order."""

    cells: int
    agree: int
    rank_correlation: float | None


def disagreeing(values: np.ndarray, estimates: np.ndarray) -> np.ndarray:
    """Which cells have an exact number and an estimate that has another sign or is off by more than half of it; not
    where both are less than a hundredth of the largest exact number or estimate there is."""
    both = np.isfinite(values) & np.isfinite(estimates)
    exact, said = np.where(both, values, 0.0), np.where(both, estimates, 0.0)
    most = max(float(np.abs(exact).max(initial=0.0)), float(np.abs(said).max(initial=0.0)))
    off = (exact * said < 0) | (np.abs(said - exact) > HALF * np.abs(exact))
    found: np.ndarray = both & off & (np.maximum(np.abs(exact), np.abs(said)) > LITTLE * most)
    return found


def agreement(values: np.ndarray, estimates: np.ndarray) -> Agreement | None:
    """Over the cells that have both; None where no cell has."""
    both = np.isfinite(values) & np.isfinite(estimates)
    count = int(both.sum())
    if not count:
        return None
    one, two = (_ranks(each[both].astype(np.float64)) for each in (values, estimates))
    known = count > 1 and one.std() > 0 and two.std() > 0
    correlation = float(np.corrcoef(one, two)[0, 1]) if known else None
    return Agreement(count, count - int(disagreeing(values, estimates).sum()), correlation)


def _ranks(values: np.ndarray) -> np.ndarray:
    """From the smallest; equal ones share the mean of theirs."""
    _, which, counts = np.unique(values, return_inverse=True, return_counts=True)
    ends = np.cumsum(counts)
    ranks: np.ndarray = (ends - (counts - 1) / 2)[which]
    return ranks


class OfFeatures(msgspec.Struct, frozen=True, eq=False):
    """What is known of swept features besides the numbers, by columns. labels: empty where there is none. at: the
    position at which the edit changes a feature most; value: its activation there; becomes: what the edit makes of it.
    off: how many others the line names, which the edit leaves as they are, so that their effect is exactly 0."""

    labels: tuple[str, ...]
    at: np.ndarray
    value: np.ndarray
    becomes: np.ndarray
    off: int


class SweepAnswer(Answer, frozen=True, tag="sweep", eq=False):
    """rows: layers; columns: heads, key-value groups or positions; or one row, a dictionary, whose columns are
    features. values [row, column]: NaN where the edit cannot be applied, and where it was not yet.

    metric "logit_diff": the change of logit(answer) - logit(foil) at the last position. metric "normalised"
    (patch): (patched - corrupted) / (clean - corrupted), where corrupted is this prompt and clean is the
    source; 1 restores the source's logit difference, 0 changes nothing. baseline: this prompt's logit
    difference; source_baseline: the source's, for patch. left: None once all is computed.

    estimates: of every cell, in the unit of the values, none of them measured: the gradient times what the edit
    changes; None in an answer that was kept, and where `refused` says why there are none. ig: the steps of integrated
    gradients, 0 for the gradient at this prompt alone.

    over: of a sweep over the cases, what they say besides the means, which are the values (with `estimate` the
    estimates) and the baselines; changes in logits then, of patches too. None of one prompt.
    """

    rows: tuple[str, ...]
    columns: tuple[str, ...]
    metric: Literal["logit_diff", "normalised"]
    values: np.ndarray
    baseline: float | None
    source_baseline: float | None = None
    left: Left | None = None
    estimates: np.ndarray | None = None
    ig: int = 0
    refused: str = ""
    over: Over | None = None
    features: OfFeatures | None = None

    @classmethod
    def of(cls, swept: Swept) -> Self:
        """What was kept."""
        values = numbers(swept.values).reshape(len(swept.rows), len(swept.columns))
        left = Left(swept.runs, swept.done, None, 0) if swept.done < swept.runs else None
        over = None if swept.over is None else Over.of_kept(swept.of.cases, swept.over)
        named = swept.rows, swept.columns, swept.metric
        return cls(*named, values, swept.baseline, swept.source_baseline, left, over=over)

    def kept(self, question: Question, session: Session, clean: bool) -> Swept | None:
        """Of what is taken over cases only the whole: a part of it is of other cases than the rest."""
        known = np.isfinite(self.values)
        if not isinstance(question, Sweep) or question.plan or not known.any():
            return None
        of = made_of(session, question.edit, clean, question.over)
        if self.over is not None:
            if self.left is not None:
                return None
            of = of_texts(of, self.over.cases)
        return Swept(
            question.edit,
            of,
            self.rows,
            self.columns,
            self.metric,
            cells_of(self.values),
            self.left.runs if self.left else int(known.sum()),
            self.baseline,
            self.source_baseline,
            None if self.over is None else self.over.kept(),
        )

    @property
    def agreement(self) -> Agreement | None:
        """Of the estimates with the exact values, as far as both are there."""
        return None if self.estimates is None else agreement(self.values, self.estimates)

    @property
    def estimated_by(self) -> str:
        """How the estimates were made, in words."""
        return f"integrated gradients over {self.ig} steps" if self.ig else "gradient times difference"

    def json(self) -> dict[str, Any]:
        """Without what there is none of; estimates are under names of their own."""
        said = super().json()
        del said["ig"]
        if self.left is None:
            del said["left"]
        if not self.refused:
            del said["refused"]
        del said["over"]
        if self.over is not None:
            said |= self.over.json()
        del said["features"]
        if self.features is not None:
            said["feature"] = [int(name[1:]) for name in self.columns]
            said |= {name: plain(getattr(self.features, name)) for name in self.features.__struct_fields__}
        if self.estimates is None:
            del said["estimates"]
            return said
        if self.left is None and not np.isfinite(self.values).any():
            del said["values"]
        return said | {"estimated_by": self.estimated_by, "agreement": plain(self.agreement)}


SPEC = View(
    question=Sweep,
    answer=SweepAnswer,
    title="Sweep",
    go="s",
    shows=(
        "The same edit at every site in turn, one run each, and what it does to the logit difference after the last "
        "token: as a change in logits; for patch as a share of the source's, (patched - corrupted) / (clean - "
        "corrupted). Beside the map the strongest, by size. What is blank is not computed, or the edit cannot be made "
        "there. Before a cell has run it is estimated, pale and with a ~: the gradient at its activation times what "
        "the edit changes, all cells from one pass back. o takes the means over the session's cases, with intervals. "
        "Over features (`sweep zero res2F*`) a list of those that the edit changes: it leaves the others as they are, "
        "so that they do exactly nothing. Beside each its label, the token at which it changes most (at), and its "
        "activation there; its estimate is the gradient at what the dictionary writes, along the feature's direction."
    ),
    read=(
        "Without a head that writes towards the answer the difference falls: it is blue. Of a patch, 1 restores the "
        "source's logit difference, 0 changes nothing. A sweep stays with the session; when the prompt, the target or "
        "an edit is another, it is marked old and says what has changed."
    ),
    trap=(
        "A site that shows nothing alone may matter where another stands in for it once it is gone. An estimate is "
        "right for small changes: where attention saturates it may be far off or have the other sign (!); integrated "
        "gradients (ig8) change all of the input on the way, not one site. Over the cases a mean hides two halves that "
        "differ: look at the share; a patch is a change in logits there. Features are not all that passes: the error "
        "stays as it is in every run."
    ),
    paper=(
        "Meng et al. 2022, Locating and Editing Factual Associations in GPT (causal tracing); Nanda 2023, Attribution "
        "Patching; Hanna et al. 2024, Have Faith in Faithfulness (integrated gradients); Marks et al. 2024, Sparse "
        "Feature Circuits (features)"
    ),
    words=("logit difference", "source", "clean, edited", "estimate", "feature"),
    cost=Cost.JOB,
    renews=False,
    footer=("start", "summary", "as_edit", "as_list", "over_cases", "earlier"),
    actions=(
        Action("as_edit", ("w",), "as edit", "Make the cell's edit one of the session's; once more takes it away."),
        Action("as_list", ("t",), "list, map", "Show all cells as a list, the strongest first, or as a map again."),
        Action(
            "over_cases", ("o",), "over cases", "Sweep every case of the session, for means; once more this prompt."
        ),
        Action("earlier", ("r",), "earlier", "Show the sweeps of this line that were made before, one by one."),
    ),
)
