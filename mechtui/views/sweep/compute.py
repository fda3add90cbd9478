"""Many runs that differ in one site, batched on what they share; cells that are known are not run again. Before them an
estimate of every cell, from one pass back through the blocks; the cells that it says most of run first."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Literal

import numpy as np
from msgspec.structs import replace

from mechtui.engine.api import (
    CLEAN,
    EDITED,
    Answers,
    Cost,
    EachCase,
    EditError,
    HookEdits,
    Metric,
    Need,
    NoGradientError,
    Numbers,
    OpenSession,
    Run,
    SessionError,
    SweptFeatures,
    Towards,
)
from mechtui.none import NONE
from mechtui.session.document import Edit, Place
from mechtui.session.grammar.edits import format_edit
from mechtui.session.grammar.places import format_place
from mechtui.views.over import Over
from mechtui.views.sweep import Left, OfFeatures, Sweep, SweepAnswer

# One cell of so many runs first, as its estimate promises most, but at least so many cells.
FIRST, LEAST_FIRST = 8, 8


def needs(question: Sweep, opened: OpenSession) -> list[Need]:
    return []


def answers(question: Sweep, opened: OpenSession) -> Answers:
    opened.check_site(question.edit.site)
    if question.over:
        yield from _over_cases(question.at_roles(opened.roles()), opened)
        return
    runs = [run for run in (opened.clean, opened.edited) if run is not None]
    if question.edit.site.kind == "feature":
        each = _features(question, opened, runs)
    else:
        each = [_sites(question, opened)] * len(runs)
    clean, *others = (_Cells(run, question, sites, opened) for run, sites in zip(runs, each, strict=True))
    edited = others[0] if others else None

    def answer(more: bool) -> tuple[SweepAnswer, SweepAnswer | None, bool]:
        return clean.answer(), edited.answer() if edited is not None else None, more

    both = [cells for cells in (edited, clean) if cells is not None]
    # Of the linear model an estimate is the exact cell, and costs as much: they come one after the other, too.
    linear = opened.session.linear
    for cells in both:
        if not question.estimate:
            cells.measure(timed=question.plan)
        if not linear:
            cells.estimate()
    if question.plan or (question.estimate and not linear):
        yield answer(False)
        return
    yield answer(any(cells.missing for cells in both))
    for cells in both:
        for _ in cells.fill():
            total, done = (sum(number) for number in zip(*((one.runs, one.done) for one in both), strict=True))
            opened.progress(done / total)
            yield answer(done < total)


@dataclass(frozen=True)
class _Sites:
    """What is swept. places: (row, column) of the cells at which the edit can be applied, edits: theirs. swept: what is
    known of the features that are the columns, with their labels."""

    layers: list[int]
    columns: list[int | Place]
    places: list[tuple[int, int]]
    edits: list[HookEdits]
    swept: SweptFeatures | None = None
    labels: Mapping[int, str] = field(default_factory=dict)

    def rows(self, edit: Edit) -> tuple[str, ...]:
        return (edit.site.sae,) if self.swept is not None else tuple(f"L{layer}" for layer in self.layers)

    @property
    def features(self) -> OfFeatures | None:
        if self.swept is None:
            return None
        labels = tuple(self.labels.get(feature, "") for feature in self.swept.features)
        return OfFeatures(labels, *self.swept.strongest, self.swept.off)


def _sites(question: Sweep, opened: OpenSession) -> _Sites:
    edit = question.edit
    layers = list(edit.site.layers.within(opened.shape.n_layers))
    columns = _columns(edit, opened)
    places, possible = [], []
    for row, layer in enumerate(layers):
        for number, column in enumerate(columns):
            edits = opened.possible_hook_edits(question.cell(layer, column))
            if edits is not None:
                places.append((row, number))
                possible.append(edits)
    if not places:
        raise SessionError(f"{format_edit(edit)} can be applied nowhere: {_why(edit, opened)}")
    return _Sites(layers, columns, places, possible)


def _features(question: Sweep, opened: OpenSession, runs: Sequence[Run]) -> list[_Sites]:
    """Of each run: in each others may be on."""
    edit = question.edit
    found = []
    labels = opened.labels(edit.site.sae)
    for run in runs:
        each = [opened.swept(run, one) for one in opened.hook_edits_of(edit, opened.ids, True)]
        if not each:
            raise SessionError(f"{format_edit(edit)} can be applied nowhere: it has no position in this prompt")
        [swept] = each
        places = [(0, number) for number in range(len(swept.features))]
        found.append(_Sites([swept.edit.layer], list(swept.features), places, swept.edits, swept, labels))
    if not any(each.places for each in found):
        raise SessionError(f"{format_edit(edit)} changes nothing: each of these features stays as it is where it acts")
    return found


class _Cells:
    """The cells over one run. What is computed stays with the run, so that a sweep which was interrupted goes on."""

    def __init__(self, run: Run, question: Sweep, sites: _Sites, opened: OpenSession) -> None:
        self.run, self.sites, self.question = run, sites, question
        self.position = len(opened.ids) - 1
        self.targets = opened.targets_at(self.position)
        if None in self.targets:
            lacks = "an answer and a foil"
            raise SessionError(f"a sweep measures a logit difference: give the session {lacks}", lacks)
        self.baseline = self._difference(run)
        self.source = None
        if question.edit.op == "patch" and opened.source is not None:
            self.source = self._difference(opened.source)
        self.variants = [(*run.edits, *edits) for edits in sites.edits]
        self.cost: Cost | None = None
        self.opened = opened
        self.estimates: np.ndarray | None = None
        self.refused = ""
        # Infinite where a run left no finite number; NaN where there was none yet.
        kept = run.remembered(Sweep, (tuple(self.variants), self.targets), self._empty)
        assert isinstance(kept, SweepAnswer)
        self.changes = kept.values

    def _difference(self, run: Run) -> float:
        answer, foil = self.targets
        logits = run.logits([-1])[0]
        return float(logits[answer] - logits[foil])

    def _empty(self) -> SweepAnswer:
        shape = (len(self.sites.layers), len(self.sites.columns))
        return SweepAnswer((), (), "logit_diff", np.full(shape, NONE, dtype=np.float32), None)

    @property
    def runs(self) -> int:
        return len(self.sites.places)

    @property
    def missing(self) -> list[int]:
        """Numbers of the places that have no value yet."""
        return [number for number, place in enumerate(self.sites.places) if math.isnan(self.changes[place])]

    @property
    def done(self) -> int:
        return self.runs - len(self.missing)

    def measure(self, timed: bool) -> None:
        """Find out what the missing ones take."""
        self.cost = self.run.cost([self.variants[number] for number in self.missing], self.position, timed)

    def estimate(self) -> None:
        """Estimate all of them, or say why not."""
        answer, foil = self.targets
        assert answer is not None
        assert foil is not None
        towards = None
        if self.question.ig:
            towards = Towards(self.opened.source_ids, self.opened.alignment, self.question.ig)
        try:
            metric = Metric(answer, foil, self.position)
            if self.sites.swept is not None:
                found = self.opened.feature_estimates(self.run, self.sites.swept, metric, towards)
            else:
                found = self.run.estimates(self.sites.edits, metric, towards)
        except NoGradientError as error:
            self.refused = str(error)
            return
        self.estimates = self._empty().values
        for place, estimate in zip(self.sites.places, found.tolist(), strict=True):
            self.estimates[place] = estimate

    def _promising(self, missing: Sequence[int]) -> list[int]:
        """Of these places those that are estimated to matter most, as many as are shown soon without the others coming
        much later."""
        if self.estimates is None:
            return []
        sizes = np.abs([self.estimates[self.sites.places[number]] for number in missing])
        count = max(len(missing) // FIRST, min(len(missing), LEAST_FIRST))
        return [int(number) for number in np.argsort(-sizes, kind="stable")[:count]]

    def fill(self) -> Iterator[None]:
        """Compute the missing ones; after each batch there are more."""
        answer, foil = self.targets
        missing = self.missing
        variants = [self.variants[number] for number in missing]
        for part in self.run.parts(variants, self.position, self._promising(missing)):
            differences = (part.logits[:, answer] - part.logits[:, foil]).tolist()
            for number, difference in zip(part.numbers, differences, strict=True):
                change = difference - self.baseline
                self.changes[self.sites.places[missing[number]]] = change if math.isfinite(change) else math.inf
            if self.cost is not None:
                self.cost = self.cost._replace(seconds=part.seconds)
            yield

    def answer(self) -> SweepAnswer:
        metric: Literal["logit_diff", "normalised"] = "logit_diff"
        values = np.where(np.isinf(self.changes), np.float32(np.nan), self.changes)
        estimates = self.estimates
        if self.question.estimate:
            estimates = values.copy() if estimates is None and not self.refused else estimates
            values = self._empty().values
        if self.source is not None and self.source != self.baseline:
            metric, whole = "normalised", np.float32(self.source - self.baseline)
            values, estimates = values / whole, None if estimates is None else estimates / whole
        left = None
        if self.cost is not None and (self.done < self.runs or self.question.plan):
            left = Left(self.runs, self.done, self.cost.seconds, self.cost.bytes)
        return SweepAnswer(
            self.sites.rows(self.question.edit),
            _named(self.question.edit, self.sites.columns),
            metric,
            values,
            self.baseline,
            self.source,
            left,
            estimates,
            self.question.ig,
            self.refused,
            features=self.sites.features,
        )


# Over the cases


def _numbers(question: Sweep, opened: OpenSession, run: Run) -> Numbers:
    """What one run of a case says: `values` [row, column], exact or estimated, and the logit differences."""
    cells = _Cells(run, question, _sites(question, opened), opened)
    if question.estimate:
        cells.estimate()
        if cells.estimates is None:
            raise SessionError(cells.refused)
        values = cells.estimates
    else:
        for _ in cells.fill():
            opened.progress(cells.done / cells.runs)
        values = np.where(np.isinf(cells.changes), np.float32(np.nan), cells.changes)
    source = NONE if cells.source is None else cells.source
    return {"values": values, "baseline": np.array(cells.baseline), "source_baseline": np.array(source)}


def _over_cases(question: Sweep, opened: OpenSession) -> Answers:
    over = opened.over_each(replace(question, plan=False), partial(_numbers, question))
    answer = partial(_of_cases, question, opened, over)
    each, seconds, size = _of_first(question, over)
    if question.plan:
        missing = len(over.missing())
        seconds = None if seconds is None else seconds * missing
        yield *answer(Left(each * over.runs, each * (over.runs - missing), seconds, size)), False
        return
    began, before = time.monotonic(), over.runs - len(over.missing())
    for done, of in over.parts():
        seconds = (time.monotonic() - began) / (done - before) * (of - done)
        yield *answer(Left(each * of, each * done, seconds, size)), True
    yield *answer(None), False


def _of_first(question: Sweep, over: EachCase[OpenSession]) -> tuple[int, float | None, int]:
    """Of the first case that is still to be asked: how many runs its sweep takes, seconds, bytes; of an estimate one,
    whose time nobody knows."""
    for number, run in over.missing():
        case = over.open(number)
        which = None if isinstance(case, str) else case.clean if run == CLEAN else case.edited
        if isinstance(case, str) or which is None or question.estimate:
            continue
        try:
            cells = _Cells(which, question, _sites(question, case), case)
        except SessionError:  # it will be told of this case
            continue
        cells.measure(timed=True)
        assert cells.cost is not None
        return cells.runs, cells.cost.seconds, cells.cost.bytes
    return 1, None, 0


def _of_cases(
    question: Sweep, opened: OpenSession, over: EachCase[OpenSession], left: Left | None
) -> tuple[SweepAnswer, SweepAnswer | None]:
    layers = list(question.edit.site.layers.within(opened.shape.n_layers))
    columns = _columns(question.edit, opened)

    def of_run(run: int) -> SweepAnswer:
        each = over.table(run, "values", (len(layers), len(columns)))
        means, said = Over.made(over.of, over.cases, over.problems(run), each, over.asked(run))
        none = np.full(means.shape, NONE, dtype=np.float32)
        return SweepAnswer(
            tuple(f"L{layer}" for layer in layers),
            _named(question.edit, columns),
            "logit_diff",
            none if question.estimate else means,
            over.mean(run, "baseline"),
            over.mean(run, "source_baseline"),
            left,
            means if question.estimate else None,
            question.ig,
            over=said,
        )

    return of_run(CLEAN), of_run(EDITED) if over.edited else None


def _columns(edit: Edit, opened: OpenSession) -> list[int | Place]:
    """Of a sweep over layers every position, or of those that an edit over the cases names each."""
    if edit.site.kind == "layer":
        return list(edit.positions.items or range(len(opened.ids)))
    return list(edit.site.index.within(opened.head_count(edit.site)))


def _named(edit: Edit, columns: Sequence[int | Place]) -> tuple[str, ...]:
    what = {"head": "H", "feature": "F"}.get(edit.site.kind, "@")
    return tuple(f"{what}{column if isinstance(column, int) else format_place(column)}" for column in columns)


def _why(edit: Edit, opened: OpenSession) -> str:
    try:
        opened.hook_edits_of(edit, opened.ids, True)
    except EditError as error:
        return str(error)
    return f"no site of {opened.ready.name} fits"
