"""The same edit at every site in turn."""

from __future__ import annotations

import numpy as np

from mechtui.session.grammar.edits import format_edit
from mechtui.views.over import Over
from mechtui.views.over_tables import crossed, of_cases
from mechtui.views.sweep import OfFeatures, Sweep, SweepAnswer
from mechtui.views.tables import Around, Block, Column, Listing, Matrix, fact

UNITS = {"logit_diff": "logits", "normalised": "share of the source's"}
TITLES = {
    "logit_diff": "change of the logit difference",
    "normalised": "(patched - corrupted) / (clean - corrupted)",
}


def tables(question: Sweep, answer: SweepAnswer, around: Around) -> list[Block]:
    columns = answer.columns
    of, rows_of = "head", "layer"
    if columns and columns[0].startswith("@"):
        of, columns = "token", tuple(around.at(int(name[1:])) for name in columns)
    if question.edit.site.kind == "feature":  # one that was kept
        of, rows_of = "feature", "dictionary"
    name, unit = format_edit(question.edit), UNITS[answer.metric]
    blocks: list[Block] = []
    if answer.over is not None:
        return _over_cases(name, answer, answer.over, around)
    if answer.features is not None:
        return [_of_features(question, answer, answer.features, around), *_facts(answer)]
    if not (question.estimate or (question.plan and not np.isfinite(answer.values).any())):
        title = f"{name} at every site alone: {TITLES[answer.metric]}"
        blocks.append(Matrix(title, unit, (rows_of, of), answer.rows, columns, answer.values, signs=True))
    if answer.estimates is not None:
        title = f"estimated, not measured ({answer.estimated_by}): {name} at every site alone: {TITLES[answer.metric]}"
        blocks.append(Matrix(title, unit, (rows_of, of), answer.rows, columns, answer.estimates, signs=True))
    return blocks + _facts(answer)


def _of_features(question: Sweep, answer: SweepAnswer, of: OfFeatures, around: Around) -> Listing:
    unit = UNITS[answer.metric]
    columns = [
        Column("label", of.labels),
        Column("at", [around.at(int(position)) for position in of.at]),
        Column("value", of.value.tolist(), "activation"),
        Column("becomes", of.becomes.tolist(), "activation"),
    ]
    if np.isfinite(answer.values).any():
        columns.append(Column("effect", answer.values[0].tolist(), unit, signs=True))
    if answer.estimates is not None:
        columns.append(Column("estimate", answer.estimates[0].tolist(), unit, signs=True))
    others = f"{of.off:,} others it leaves as they are"
    title = f"{format_edit(question.edit)}, each feature alone: {TITLES[answer.metric]}; {others}"
    return Listing(title, "feature", answer.columns, columns)


def _facts(answer: SweepAnswer) -> list[Block]:
    blocks: list[Block] = []
    if (agreement := answer.agreement) is not None:
        blocks.append(fact("cells that have an estimate and an exact number", agreement.cells, "cells"))
        blocks.append(fact("of them, estimates that agree", agreement.agree, "cells"))
        if agreement.rank_correlation is not None:
            title = "rank correlation of the estimates with the exact numbers"
            blocks.append(fact(title, agreement.rank_correlation, "Spearman's"))
    blocks.append(fact("logit difference without it", answer.baseline, "logits", signs=True))
    if answer.source_baseline is not None:
        blocks.append(fact("logit difference of the source", answer.source_baseline, "logits", signs=True))
    return blocks


def _over_cases(name: str, answer: SweepAnswer, over: Over, around: Around) -> list[Block]:
    measured = answer.estimates is None
    means = answer.values if answer.estimates is None else answer.estimates
    what = "change of the logit difference" if measured else "estimated, not measured, change of the logit difference"
    heads = not answer.columns or not answer.columns[0].startswith("@")
    of, cell, between = ("head", "head", "") if heads else ("position", "site", " ")
    named = f"{name} at every {of} alone: {what}"
    rows = crossed(answer.rows, [between + column for column in answer.columns])
    title = f"{named}, mean over the cases"
    return [
        Matrix(title, "logits", ("layer", of), answer.rows, answer.columns, means, signs=True),
        *of_cases(named, "logits", cell, rows, means, over, around),
        fact("mean logit difference without it", answer.baseline, "logits", signs=True),
    ]
