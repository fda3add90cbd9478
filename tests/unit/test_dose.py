"""The lines of a dose."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mechtui.session.document import Session
from mechtui.session.grammar.edits import parse_edit
from mechtui.session.grammar.vectors import parse_vector
from mechtui.session.grammar.words import LineError
from mechtui.views import parse_question
from mechtui.views.dose import SHOWS, Dose, Point, bare, read_at

EDITS = ("scale L3.mlp x1", "scale L3H*.z @-1 x1", "add L6.pre text x1", "add L6.pre @3 layers x1", "add embed kl x1")


@given(
    edit=st.sampled_from(EDITS).map(parse_edit) | st.none(),
    over=st.none() | st.tuples(st.integers(-9, 0), st.integers(1, 9), st.sampled_from((0.5, 1.0, 2.0))),
    text=st.booleans(),
    at=st.none() | st.builds(Point, st.sampled_from((-2.0, 0.0, 0.5, 4.0)), st.integers(-1, 30)),
    tokens=st.integers(1, 200),
    shows=st.sampled_from(SHOWS),
)
def test_a_line_says_all_of_a_dose(edit, over, text, at, tokens, shows) -> None:  # type: ignore[no-untyped-def]
    over = None if over is None else tuple(map(float, over))
    question = Dose(edit, over, False, text, at if text else None, tokens, shows)
    assert parse_question(question.line()) == question


def test_the_ways_of_writing_one() -> None:
    short = parse_question("dose add L12.pre happy -8..8 step 2")
    assert short == parse_question("dose add L12.pre happy x3 -8..8 step2")
    assert isinstance(short, Dose)
    assert short.edit is not None
    assert short.numbers(short.edit) == (-8, -6, -4, -2, 0, 2, 4, 6, 8)
    small = parse_question("dose scale L3.mlp 0..1e-10")
    assert isinstance(small, Dose)
    assert small.numbers(bare(parse_edit("scale L3.mlp x1"))) == pytest.approx(
        [n * 1.25e-11 for n in range(9)], abs=0, rel=1e-9
    )
    layers = parse_question("dose add L6.pre v 0..1 layers text0.5@L3")
    assert isinstance(layers, Dose)
    assert (layers.layers, layers.at, layers.over) == (True, Point(0.5, 3), (0.0, 1.0, 0.125))


@pytest.mark.parametrize(
    ("line", "column", "said"),
    [
        ("dose zero L3H3", 5, "zero has no number to be dosed"),
        ("dose add L3H3 v", 9, "a steering vector has d_model numbers"),
        ("dose scale L3H3 2..0", 17, "2 should be less than 0"),
        ("dose scale L3H3 0..9 step0.1", 17, "more than 65 points"),
        ("dose scale L3H3 step2", 16, "a step needs a range"),
        ("dose scale L3H3 0..2 step0", 21, "a step above 0"),
        ("dose scale L3H3 0..2 layers", 5, "layers go with an edit of a layer's part"),
        ("dose scale L3H3 0..2 bananas", 21, "bananas should be"),
        ("dose scale L3H3 tokens999", 16, "tokens999 should be"),
        ("dose scale L3H3 0..1e999", 16, "1e999 is too large"),
        ("dose scale L3H3 -1e308..1e308", 16, "-1e308 is too large"),
        ("dose scale L3H3 text1e999", 16, "1e999 is too large"),
    ],
)
def test_what_a_line_says_wrong(line: str, column: int, said: str) -> None:
    with pytest.raises(LineError, match=said) as error:
        parse_question(line)
    assert error.value.column == column


def test_a_line_of_any_length_is_read_at_once() -> None:
    with pytest.raises(LineError, match="should be an edit, a range"):
        parse_question("dose add L6.pre love " + "text " * 20_000 + "nix")


def test_the_edit_is_the_one_under_the_cursor_else_the_first_that_has_a_number() -> None:
    edits = tuple(map(parse_edit, ("zero L1H1", "scale L2H2 x3", "# add L3.pre v x2")))
    session = Session(edits=edits)
    assert Dose().chosen(session, 2) == bare(edits[2])
    assert Dose().chosen(session, 0) == Dose().chosen(session) == bare(edits[1])
    assert Dose(edit=bare(edits[2])).chosen(session, 1) == bare(edits[2])
    assert Dose().chosen(Session()) is None


def test_a_vector_of_texts_is_read_where_it_is_added() -> None:
    site = parse_edit("add L6.post v").site
    diff, neuron = parse_vector('v = diff L6.pre "a" "b"'), parse_vector("v = neuron L6N3")
    assert (read_at(diff, site, 2).layer, read_at(diff, site, 2).part) == (2, "post")
    assert read_at(diff, site, -1) == diff
    assert read_at(neuron, site, 2) == neuron
