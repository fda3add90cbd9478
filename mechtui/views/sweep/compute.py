"""Many runs that differ in one site, batched on what they share."""

from __future__ import annotations

import math

import numpy as np
from msgspec.structs import replace

from mechtui.engine import Answers, Need, Opened, Run, SessionError, each
from mechtui.engine.actions import Actions
from mechtui.engine.resolve import EditError, check_site, head_count
from mechtui.session.document import Edit, Positions, Range, Span
from mechtui.session.lines import format_edit
from mechtui.views.sweep import Sweep, SweepAnswer


def needs(question: Sweep, opened: Opened) -> list[Need]:
    return []


def answers(question: Sweep, opened: Opened) -> Answers:
    check_site(question.edit.site, opened.model.ready)
    layers = list(question.edit.site.layers.within(opened.model.shape.n_layers))
    columns = _columns(question.edit, opened)
    grid = [[_actions(_one(question.edit, layer, column), opened) for column in columns] for layer in layers]
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
        variants = [(*run.trace.actions, *(grid[r][c] or ())) for r, c in places]
        results = opened.engine.variants(run.trace, variants, position, opened.cancelled, opened.progress)
        values = np.full((len(layers), len(columns)), np.nan, dtype=np.float32)
        for (row, column), logits in zip(places, results, strict=True):
            change = difference(logits) - baseline
            values[row, column] = change if math.isfinite(change) else np.nan
        metric, source = "logit_diff", None
        if question.edit.op == "patch":
            taken = opened.engine.run(opened.source_ids, (), (), opened.cancelled)
            source = difference(opened.engine.logits(taken, [-1])[0])
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


def _columns(edit: Edit, opened: Opened) -> list[int]:
    if edit.site.kind == "layer":
        return list(range(len(opened.ids)))
    return list(edit.site.index.within(head_count(edit.site, opened.model.ready)))


def _one(edit: Edit, layer: int, column: int) -> Edit:
    if edit.site.kind == "head":
        return replace(edit, site=replace(edit.site, layers=Span(layer, layer), index=Span(column, column)))
    site = replace(edit.site, layers=Span(layer, layer))
    return replace(edit, site=site, positions=Positions((Range(column, column),)))


def _actions(edit: Edit, opened: Opened) -> Actions | None:
    """None where it cannot be applied: that cell stays blank."""
    try:
        return opened.actions_of(edit, opened.ids, True)
    except EditError:
        return None


def _why(edit: Edit, opened: Opened) -> str:
    try:
        opened.actions_of(edit, opened.ids, True)
    except EditError as error:
        return str(error)
    return f"no site of {opened.model.ready.name} fits"
