"""A fast part of the grid on every architecture: what came out is what docs/models.md says. `python -m tests.grid`
makes all of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.grid.compare import COLUMNS
from tests.grid.families import FAMILIES
from tests.grid.table import committed, row, written

FAST = ("logits", "residual", "attention", "lens", "attribution", "sweep", "pattern", "scores")


@pytest.mark.parametrize("name", FAMILIES)
def test_an_architecture_is_right_or_refused_as_the_table_says(name: str, tmp_path: Path) -> None:
    found = row(name, tmp_path / "model", FAST)
    assert found == {what: committed()[name][what] for what in FAST}


def test_nothing_in_the_table_is_wrong_and_it_is_as_the_grid_writes_it() -> None:
    rows = committed()
    assert list(rows) == list(FAMILIES)
    for name, found in rows.items():
        assert tuple(found) == COLUMNS, name
        assert not [says for says in found.values() if says.startswith("wrong")], name
    assert committed.__globals__["TABLE"].read_text(encoding="utf-8") == written(rows)
