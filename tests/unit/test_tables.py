"""Every view's answer as labelled tables: no number is missing, each has its unit, and no two have one name."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator
from importlib.util import find_spec
from typing import Any

import numpy as np
import pytest
from msgspec.structs import replace

from mechtui.session.cases import Case
from mechtui.session.document import Token
from mechtui.views import Answer, example_of, specs
from mechtui.views.cases import CasesAnswer
from mechtui.views.example import Example
from mechtui.views.question import Question
from mechtui.views.tables import Around, Listing, Matrix, named, numbered, plain_tables, tables

VIEWS = tuple(specs())
# Views that say what their rows, columns and units are; others have numbers for names.
LABELLED = tuple(name for name in VIEWS if find_spec(f"mechtui.views.{name}.tables"))
# What names a row or a token, or says how a number was come by, stands in names and titles.
BESIDE = {"position", "id", "neurons", "alignment", "bos", "rounding", "lengths", "count", "left"}
# Of one view alone: its rows' names.
BESIDE_OF = {"dose": {"layers"}}


def around(example: Example) -> Around:
    return Around(example.session, example.shape, example.tokens)


def numbers(said: Any, beside: set[str] = BESIDE) -> Iterator[float]:
    """Every number of an answer's JSON."""
    if isinstance(said, dict):
        for key, value in said.items():
            if key not in beside:
                yield from numbers(value, beside)
    elif isinstance(said, list):
        for value in said:
            yield from numbers(value, beside)
    elif isinstance(said, (int, float)) and not isinstance(said, bool):
        yield float(said)


def answers(name: str) -> list[tuple[Example, Answer]]:
    example = example_of(name)
    return [(example, answer) for answer in (example.clean, example.edited) if answer is not None]


@pytest.mark.parametrize("name", VIEWS)
def test_no_number_is_missing(name: str) -> None:
    for example, answer in answers(name):
        cells = [cell for block in tables(example.question, answer, around(example)) for cell in block.cells()]
        there = Counter(np.float32(cell.value) for cell in cells if not math.isnan(cell.value))
        assert there
        beside = BESIDE | BESIDE_OF.get(name, set())
        assert {np.float32(value) for value in numbers(answer.json(), beside)} <= set(there) | {np.float32(0)}


@pytest.mark.parametrize("name", LABELLED)
def test_every_number_has_a_unit_and_a_place_of_its_own(name: str) -> None:
    for example, answer in answers(name):
        blocks = tables(example.question, answer, around(example))
        assert blocks
        for block in blocks:
            places = Counter((cell.row, cell.column) for cell in block.cells())
            assert not [place for place, count in places.items() if count > 1]
            assert all(cell.unit for cell in block.cells() if not math.isnan(cell.value)), block.title


def test_a_matrix_says_what_its_array_says() -> None:
    example = example_of("attention")
    [block] = tables(example.question, example.clean, around(example))
    assert isinstance(block, Matrix)
    found = {(cell.row, cell.column): cell.value for cell in block.cells()}
    assert len(found) == block.values.size
    for row, query in enumerate(block.rows):
        for column, key in enumerate(block.columns):
            np.testing.assert_equal(found[query, key], float(block.values[row, column]))


class Odd(Question, frozen=True, tag="odd"):
    pass


class OddAnswer(Answer, frozen=True, tag="odd", eq=False):
    most: np.ndarray
    table: np.ndarray
    parts: tuple[dict[str, float], ...]
    total: float
    name: str = "text"


def test_a_view_without_tables_has_numbered_ones() -> None:
    answer = OddAnswer(
        np.array([0.5, np.nan, 0.25]), np.array([[1.0, -2.0], [3.0, 4.0]]), ({"a": 1.5}, {"a": 2.5}), 7.0
    )
    tokens = [Token(1, "a"), Token(2, " b"), Token(3, "c")]
    facts, most, table, parts = plain_tables(Odd(), answer, Around(example_of("heads").session, None, tokens))
    assert [cell[:3] for cell in facts.cells()] == [("total", "value", 7.0)]
    assert isinstance(most, Listing)
    assert most.rows == ("0 a", "1 ·b", "2 c")
    assert isinstance(table, Matrix)
    assert table.signs
    assert [cell.value for cell in table.cells()] == [1, -2, 3, 4]
    assert (parts.title, [cell.value for cell in parts.cells()]) == ("parts.a", [1.5, 2.5])


def test_tokens_that_look_alike_have_their_ids() -> None:
    assert named([Token(1, "a"), Token(2, "b"), Token(3, "a")]) == ("a #1", "b", "a #3")
    assert numbered("L", 2) == ("L0", "L1")


def test_pairs_of_heads_that_cannot_read_each_other_are_no_cells() -> None:
    example = example_of("composition")
    values = example.clean.values  # type: ignore[attr-defined]
    block = tables(example.question, example.clean, around(example))[0]
    cells = {(cell.row, cell.column): cell.value for cell in block.cells()}
    assert len(cells) == int((~np.isnan(values)).sum()) < values.size
    assert all(not math.isnan(value) for value in cells.values())


def test_a_case_has_the_texts_that_it_was_run_with() -> None:
    example = example_of("cases")
    assert isinstance(example.clean, CasesAnswer)
    of_session = replace(example.session, prompt="Own", source="Its source", answer=" a", foil=" b")
    cases = (Case(1), Case(2, prompt="Other"), Case(3, prompt="", answer=" c"))
    clean = replace(example.clean, cases=cases, logit_diff=example.clean.logit_diff[:3], problems=("", "", ""))
    listing = tables(example.question, clean, Around(of_session, example.shape, example.tokens))[-1]
    assert isinstance(listing, Listing)
    assert listing.rows == ("1 Own", "2 Other", "3 ")
    said = {column.name: list(column.values) for column in listing.columns}
    assert said["source"] == ["Its source", "", ""]
    assert said["answer"] == [" a", " a", " c"]
