"""Questions over the cases: their lines, positions that are the same in every case, what the cases say together."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from mechtui.evidence import spread, summary
from mechtui.session.cases import Case
from mechtui.session.grammar.edits import parse_edit
from mechtui.session.grammar.words import LineError
from mechtui.session.roles import same_everywhere
from mechtui.views import parse_question
from mechtui.views.over import Over
from mechtui.views.sweep import Sweep

numbers = st.floats(-9, 9, width=32) | st.just(math.nan)


@given(arrays(np.float64, st.tuples(st.integers(1, 6), st.integers(1, 3), st.integers(1, 3)), elements=numbers))
def test_every_cell_of_a_table_is_summed_up_as_it_would_be_alone(values: np.ndarray) -> None:
    found = spread(values)
    for cell in np.ndindex(*values.shape[1:]):
        alone, here = summary(values[(slice(None), *cell)]), found.at(cell)
        assert here.n == alone.n
        for name in ("mean", "low", "high", "sd", "share"):
            assert getattr(here, name) == pytest.approx(getattr(alone, name), abs=1e-5, nan_ok=True)


def test_a_large_table_is_taken_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    values = np.random.default_rng(0).normal(size=(7, 11))
    whole = spread(values)
    monkeypatch.setattr("mechtui.evidence.AT_ONCE", 4000)
    for name in ("low", "high"):
        np.testing.assert_array_equal(getattr(spread(values), name), getattr(whole, name))


@pytest.mark.parametrize(
    ("edit", "same"),
    [
        ("zero L0H1", True),
        ("zero L0H1 @-1", True),
        ("zero L0H1 @0", True),
        ("zero L0H1 @-3--1", True),
        ('zero L0H1 @" Mary"#2', True),
        ("zero L0H1 @3", False),
        ("zero L0H1 @-1,2", False),
        ("zero L0H1 @0-4", False),
        ("cut L0H1 -1>0", True),
        ("cut L0H1 14>0", False),
        ("cut L0H1 -1>2-3", False),
        ("zero L0H1 @S2,end", True),
        ("zero L0H1 @S2,3", False),
    ],
)
def test_which_edits_name_the_same_places_in_every_prompt(edit: str, same: bool) -> None:
    assert (same_everywhere(parse_edit(edit, roles=True)) == "") == same


@pytest.mark.parametrize(
    "line",
    [
        "sweep zero L*H* over cases",
        "sweep patch L*H* ig4 over cases",
        "sweep zero L1-2H0 @-1 estimate over cases clean list",
        "sweep noise L*H*.q sd2 seed3 over cases plan",
        "sweep patch L*.pre over cases",
        "sweep patch L*.pre @IO,S2,-1 over cases difference",
        "sweep zero L*H* @S2 over cases",
    ],
)
def test_a_line_over_cases_reads_back(line: str) -> None:
    question = parse_question(line)
    assert isinstance(question, Sweep)
    assert question.over
    assert question.line() == line
    assert question.costly == (not question.plan)


def test_words_may_stand_in_any_order() -> None:
    assert parse_question("sweep patch L*.pre @* over cases") == parse_question("sweep patch L*.pre over cases")
    assert parse_question("sweep over  cases") == parse_question("sweep zero L*H* over cases")
    assert parse_question("sweep zero L*H* over cases estimate") == parse_question(
        "sweep zero L*H* estimate over cases"
    )


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("sweep patch L*.pre @4 over cases", "position 4 is another word in another prompt"),
        ("sweep zero L*H* @S2", "S2 is a position of cases: write over cases behind it"),
        ("sweep zero L*H* @4 over cases", "position 4 is another word in another prompt"),
        ("sweep zero L*H* over", "over"),
        ("dose scale L0H1 @S2", "S2 is a position of cases: write over cases behind it"),
    ],
)
def test_what_is_not_the_same_in_every_case_is_refused_in_a_sentence(line: str, said: str) -> None:
    with pytest.raises(LineError) as error:
        parse_question(line)
    assert said in error.value.problem


def test_a_difference_is_that_of_each_case() -> None:
    cases = (Case(1, "a"), Case(2, "b"), Case(3, "c"))
    before, after = np.array([[1.0], [2.0], [np.nan]]), np.array([[3.0], [2.0], [9.0]])
    _, first = Over.made("ioi 3", cases, ("", "", "why"), before, 3)
    means, second = Over.made("ioi 3", cases, ("", "", ""), after, 3)
    assert means[0] == pytest.approx(14 / 3)
    found = second.changed(first)
    assert found is not None
    assert found[0][0] == 1.0, "the mean over the two that have both, not 14/3 - 3/2"
    assert found[1].n[0] == 2
    assert found[1].problems == ("", "", "why")
    partial = Over.made("ioi 3", cases, ("", "", ""), after, 2)[1]
    assert partial.changed(first) is None
