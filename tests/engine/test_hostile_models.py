"""A few folders and files of models that nobody meant well; `python -m tests.fuzz 100000 --only model` reads more."""

from __future__ import annotations

import pytest

from tests.fuzz.kinds import kinds
from tests.fuzz.run import each


@pytest.mark.parametrize("name", ["model", "model-direct", "gguf", "dictionary"])
def test_it_loads_or_is_refused_in_a_sentence(name: str) -> None:
    costs = each(kinds()[name], 15, seed=2)
    assert any(cost.refused for cost in costs)
