"""How far estimates are those of exact numbers."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mechtui.session.grammar.words import LineError
from mechtui.views import parse_question
from mechtui.views.sweep import Agreement, Sweep, SweepAnswer, agreement, disagreeing

NAN = np.nan


def test_another_sign_or_more_than_half_off_disagrees_unless_both_are_little() -> None:
    exact = np.array([[1.0, 1.0, 1.0, -2.0, 0.005, NAN, 3.0]])
    said = np.array([[1.5, 1.6, -0.1, -0.9, -0.009, 1.0, NAN]])
    assert disagreeing(exact, said).tolist() == [[False, True, True, True, False, False, False]]
    found = agreement(exact, said)
    assert found is not None
    assert (found.cells, found.agree) == (5, 2)
    assert agreement(exact * NAN, said) is None
    assert agreement(np.array([[1.0]]), np.array([[1.0]])) == Agreement(1, 1, None)


@given(st.permutations(range(8)))
def test_without_ties_the_rank_correlation_is_spearmans_formula(order: list[int]) -> None:
    exact, said = np.arange(8.0)[None] - 3.3, np.array(order, dtype=float)[None] ** 3
    squares = sum((a - b) ** 2 for a, b in enumerate(order))
    found = agreement(exact, said)
    assert found is not None
    assert found.rank_correlation == pytest.approx(1 - 6 * squares / (8 * 63))


def test_equal_numbers_share_their_rank() -> None:
    # Ranks 1.5 1.5 3 4 and 1 2.5 2.5 4; the correlation of these by hand.
    one, two = np.array([[1.0, 1, 2, 3]]), np.array([[0.0, 5, 5, 9]])
    found = agreement(one, two)
    assert found is not None
    assert found.rank_correlation == pytest.approx(np.corrcoef([1.5, 1.5, 3, 4], [1, 2.5, 2.5, 4])[0, 1])
    same = agreement(one, np.ones_like(one))
    assert same is not None
    assert same.rank_correlation is None


@pytest.mark.parametrize(
    "line",
    [
        "sweep patch L*H* ig8",
        "sweep zero L*H* estimate",
        "sweep patch L*.pre estimate ig16 list",
        "sweep patch L*.pre ig3 plan",
    ],
)
def test_its_words_are_read_and_written(line: str) -> None:
    question = parse_question(line)
    assert question.line() == line
    assert question.costly == ("estimate" not in line and "plan" not in line)


def test_integrated_gradients_are_of_patches_only() -> None:
    with pytest.raises(LineError, match="which only patch takes") as raised:
        parse_question("sweep zero L*H* ig8")
    assert raised.value.column == len("sweep zero L*H* ")
    question = parse_question("sweep patch L*H* ig8")
    assert isinstance(question, Sweep)
    assert question.of(Sweep().edit).ig == 0


def test_an_answer_never_says_a_number_without_saying_that_it_is_an_estimate() -> None:
    both = SweepAnswer(
        ("L0",), ("H0", "H1"), "logit_diff", np.array([[1.0, NAN]]), 1.0, estimates=np.array([[1.2, 3.0]])
    )
    said = both.json()
    assert said["values"] == [[1.0, None]]
    assert said["estimates"] == [[1.2, 3.0]]
    assert said["estimated_by"] == "gradient times difference"
    assert said["agreement"] == {"cells": 1, "agree": 1, "rank_correlation": None}
