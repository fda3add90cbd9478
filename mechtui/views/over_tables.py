"""Tables of what was taken over the cases: the means, how sure each is, and every case's own numbers."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from mechtui.session.cases import Case
from mechtui.views.over import Over, names
from mechtui.views.tables import Around, Block, Column, Listing, Matrix


def of_cases(
    title: str, unit: str, of: str, rows: Sequence[str], means: np.ndarray, over: Over, around: Around
) -> list[Block]:
    """A list of what the cases say of each cell, and below it their own numbers. of: what cells are. rows: their names;
    means: one for each."""
    tables = (over.low, over.high, over.sd, over.share)
    low, high, sd, share = (table.ravel().astype(float).tolist() for table in tables)
    columns = [
        Column("mean", means.ravel().astype(float).tolist(), unit, signs=True),
        Column("low", low, unit, signs=True),
        Column("high", high, unit, signs=True),
        Column("sd", sd, unit),
        Column("share with its sign", share, "of 1"),
        Column("n", over.n.ravel().astype(float).tolist(), "cases", places=0),
    ]
    blocks: list[Block] = [
        Listing(f"{title}, over the cases {over.of}: mean and its 95 % bootstrap interval", of, rows, columns)
    ]
    cases = names(around.session, over.cases)
    if over.each.size:
        each = over.each.reshape(len(cases), -1)
        blocks.append(Matrix(f"{title}, case by case", unit, ("case", of), cases, rows, each, signs=True, extra=True))
    # Of a sweep that was kept no case is known by itself.
    if any(over.problems) and any(case != Case(case.line) for case in over.cases):
        left = [(name, problem) for name, problem in zip(cases, over.problems, strict=True) if problem]
        blocks.append(
            Listing("cases left out", "case", [name for name, _ in left], [Column("why", [why for _, why in left])])
        )
    return blocks


def crossed(rows: Sequence[str], columns: Sequence[str]) -> list[str]:
    """Names of a table's cells, row by row: L0H0, L0H1, ..."""
    return [f"{row}{column}" for row in rows for column in columns]
