"""Many runs that differ in one site, batched on what they share."""

from __future__ import annotations

import math

import numpy as np
from msgspec.structs import replace

from mechtui.engine.api import Answers, EditError, Need, OpenSession, Run, SessionError, each
from mechtui.session.document import Edit, Positions, Range, Span
from mechtui.session.lines import format_edit
from mechtui.views.sweep import Sweep, SweepAnswer


def needs(question: Sweep, opened: OpenSession) -> list[Need]:
    return []


def answers(question: Sweep, opened: OpenSession) -> Answers:
    opened.check_site(question.edit.site)
    layers = list(question.edit.site.layers.within(opened.shape.n_layers))
    columns = _columns(question.edit, opened)
    grid = [[opened.possible_actions(_one(question.edit, layer, column)) for column in columns] for layer in layers]
    if not any(actions is not None for row in grid for actions in row):
        raise SessionError(f"{format_edit(question.edit)} can be applied nowhere: {_why(question.edit, opened)}")
    position = len(opened.ids) - 1
    answer_id, foil_id = opened.targets_at(position)
    if answer_id is None or foil_id is None:
        raise SessionError("a sweep measures a logit difference: give the session an answer and a foil")

    def answer(run: Run) -> SweepAnswer:
        def difference(logits: object) -> float:
            return float(logits[answer_id] - logits[foil_id])  # type: ignore[index]

        baseline = difference(run.logits([position])[0])
        places = [(r, c) for r, row in enumerate(grid) for c, actions in enumerate(row) if actions is not None]
        variants = [(*run.actions, *(grid[r][c] or ())) for r, c in places]
        results = run.variants(variants, position, opened.progress)
        values = np.full((len(layers), len(columns)), np.nan, dtype=np.float32)
        for (row, column), logits in zip(places, results, strict=True):
            change = difference(logits) - baseline
            values[row, column] = change if math.isfinite(change) else np.nan
        metric, source = "logit_diff", None
        if question.edit.op == "patch" and opened.source is not None:
            source = difference(opened.source.logits([-1])[0])
            if source != baseline:
                metric, values = "normalised", values / np.float32(source - baseline)
        what = "H" if question.edit.site.kind == "head" else "@"
        return SweepAnswer(
            tuple(f"L{layer}" for layer in layers),
            tuple(f"{what}{column}" for column in columns),
            metric,
            values,
            baseline,
            source,
        )

    return each(opened, answer)


def _columns(edit: Edit, opened: OpenSession) -> list[int]:
    if edit.site.kind == "layer":
        return list(range(len(opened.ids)))
    return list(edit.site.index.within(opened.head_count(edit.site)))


def _one(edit: Edit, layer: int, column: int) -> Edit:
    if edit.site.kind == "head":
        return replace(edit, site=replace(edit.site, layers=Span(layer, layer), index=Span(column, column)))
    site = replace(edit.site, layers=Span(layer, layer))
    return replace(edit, site=site, positions=Positions((Range(column, column),)))


def _why(edit: Edit, opened: OpenSession) -> str:
    try:
        opened.actions_of(edit, opened.ids, True)
    except EditError as error:
        return str(error)
    return f"no site of {opened.ready.name} fits"
