"""What is said of many cases, at any width; and the histogram below them."""

from __future__ import annotations

import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from mechtui.evidence import Summary, summary
from mechtui.paint.evidence import said
from mechtui.paint.histogram import histogram
from mechtui.paint.palette import of_terminal
from mechtui.paint.spark import BLOCKS
from mechtui.session.grammar.words import LineError
from mechtui.views import parse_question
from mechtui.views.cases import ORDERS, Cases
from mechtui.views.faithfulness import Faithfulness, Part

numbers = st.lists(st.floats(-50, 50), min_size=1, max_size=40)


@given(numbers, st.integers(14, 60))
def test_no_mean_stands_without_its_count(values: list[float], room: int) -> None:
    over = summary(np.array(values))
    text = said(over, room)
    assert re.search(rf"n ?{over.n}$", text)
    assert float(text.split()[0].strip("[]")) == pytest.approx(over.mean, abs=0.006)
    assert cell_len(text) <= room or text == f"{text.split()[0]} n{over.n}"


def test_what_is_said_of_none_and_of_all() -> None:
    assert said(Summary(0), 40).endswith("n 0")
    wide = said(Summary(64, -1.5, -1.75, -1.25, 0.5, 0.98), 60)
    assert wide == "-1.50 [-1.75, -1.25] sd 0.50 98% − n 64"


@given(numbers, st.integers(24, 100), st.integers(1, 5))
def test_every_number_is_in_a_column_of_its_sign(values: list[float], width: int, rows: int) -> None:
    known = np.array(values)
    lines = histogram(known, width, rows, of_terminal())
    if not lines:
        assert len(known) == 0
        return
    assert len(lines) == rows + 1
    assert all(sum(cell_len(text) for text, _ in line) <= width for line in lines)
    bottom = [text for text, _ in lines[rows - 1][1:]]
    filled = [column for column, text in enumerate(bottom) if set(text) & set(BLOCKS)]
    assert filled, "numbers, and no column"
    low, high = (float(each) for each in (lines[-1][0][0].split()[0], lines[-1][0][0].split()[-1]))
    assert low - 0.006 <= known.min() <= known.max() <= high + 0.006


def test_a_column_of_one_height_says_how_many() -> None:
    lines = histogram(np.array([-1.0, -1.0, -1.0, 2.0]), 60, 2, of_terminal())
    assert lines[0][0][0] == "3┤"
    assert "0" in lines[-1][0][0].split()


@pytest.mark.parametrize("by", ORDERS)
@pytest.mark.parametrize("up", [False, True])
def test_the_line_says_it(by: str, up: bool) -> None:
    question = Cases(by, up)  # type: ignore[arg-type]
    assert parse_question(question.line()) == question
    assert question.asked() == Cases()


@given(st.lists(st.tuples(st.integers(0, 20), st.integers(-1, 15)), max_size=6), st.booleans())
def test_a_circuits_line_says_it(pairs: list[tuple[int, int]], mlps: bool) -> None:
    kept = tuple(dict.fromkeys(Part(*pair) for pair in pairs))
    question = Faithfulness(kept, mlps or any(part.head < 0 for part in kept))
    assert parse_question(question.line()) == question
    for part in (*kept, Part(3, 3)):
        assert parse_question(question.toggled(part).line()).kept == question.toggled(part).kept  # type: ignore[attr-defined]
    assert parse_question("faithfulness L1-2H0-1").kept == (Part(1, 0), Part(1, 1), Part(2, 0), Part(2, 1))  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("faithfulness L9H9.q", "L9H9.q is no component of a circuit"),
        ("faithfulness L*H*", "names too many"),
        ("faithfulness 9.9", "should be a head or an MLP"),
        ("faithfulness L0-99H0-99", "a circuit of more than 400"),
    ],
)
def test_what_is_no_circuit_is_said(line: str, said: str) -> None:
    with pytest.raises(LineError, match=re.escape(said)):
        parse_question(line)
