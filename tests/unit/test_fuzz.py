"""A few inputs of each kind that nobody meant well; `python -m tests.fuzz 100000` reads more."""

from __future__ import annotations

from random import Random

import pytest

from mechtui.session.grammar.words import LineError
from tests.fuzz import mutate
from tests.fuzz.kinds import kinds
from tests.fuzz.run import FaultError, Kind, each


@pytest.mark.parametrize("name", kinds(models=False))
def test_it_is_read_or_refused_in_a_sentence(name: str) -> None:
    costs = each(kinds(models=False)[name], 150, seed=2)
    assert len(costs) == 150


def test_a_fault_is_told_with_how_to_have_it_again() -> None:
    def take(line: str) -> None:
        raise {"none": LineError("", 0, " "), "long": LineError("", 0, "x" * 5000)}.get(line, KeyError("a key"))

    for line, fault in (("none", "says nothing"), ("long", "says 5000 characters"), ("other", "KeyError: 'a key'")):
        kind = Kind("some", lambda dice, line=line: line, take, (LineError,))  # type: ignore[misc]
        with pytest.raises(FaultError, match=fault) as told:
            each(kind, 1, seed=3, first=7)
        assert "--only some --seed 3 --first 7" in str(told.value)


def test_an_input_is_the_same_for_the_same_number() -> None:
    made = [[mutate.text(Random(f"{number}"), ("zero L0H0", "mean L1.mlp")) for number in range(50)] for _ in range(2)]
    assert made[0] == made[1]
    assert len(set(made[0])) > 20
