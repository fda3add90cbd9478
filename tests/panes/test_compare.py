"""Two sessions side by side: what the pane asks, and what it says."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from mechtui.session.grammar.words import LineError
from mechtui.views import parse_question, put
from mechtui.views.attention import Attention
from mechtui.views.compare import Compare
from mechtui.views.compare.example import example
from mechtui.views.compare.pane import ComparePane
from tests.panes.pictures import Holder, pictured, shown


async def test_the_words_of_what_differs_then_the_numbers() -> None:
    app = Holder(ComparePane())
    async with app.run_test(size=(110, 20)) as pilot:
        app.pane.show(pictured(example()))
        await pilot.pause()
        text = shown(app.pane)
        assert text[0].strip() == "added add L6.pre @-1 love x5"
        assert "left out: heads: it has no answer" in text[1]
        row = next(line for line in text if "logit difference" in line)
        assert row.split()[2:] == ["-.610", ".440", "-1.050", "logits"]
        assert any("Attention L9H9 weight" in line and "@14>@2" in line for line in text)
        app.pane.move(0, 3)
        assert app.pane.value() == "-0.4"
        assert app.pane.picture is not None
        into = app.pane.into(app.pane.picture)
        assert isinstance(into, Attention)
        assert (into.layer, into.head) == (9, 9)
        assert app.pane.search("residual")
        assert app.pane.row().startswith("residual\tnorm")


@pytest.mark.parametrize(("height", "places"), [(20, ["L9H6", "L10H0", "L7H9"]), (12, ["L9H6"])])
async def test_a_table_has_as_many_places_as_there_is_room_for(height: int, places: list[str]) -> None:
    app = Holder(ComparePane())
    async with app.run_test(size=(110, height)) as pilot:
        app.pane.show(pictured(example()))
        await pilot.pause()
        rows = [line.split() for line in shown(app.pane) if "Attribution heads" in line]
        assert [row[-2] for row in rows] == places
        app.pane.move(0, 99)
        assert app.pane.row().startswith("residual\tnorm")


async def test_the_question_carries_the_state_and_every_views_line() -> None:
    app = Holder(ComparePane())
    async with app.run_test(size=(110, 20)):
        picture = pictured(example())
        tree = picture.tree
        assert tree is not None
        (question,) = app.pane.questions(picture)
        assert isinstance(question, Compare)
        assert question.other == tree.steps[1].session
        assert "attention L9H9" not in question.views  # what the screen looks at, L0H0
        assert {"attention L0H0", "lens", "residual"} <= set(question.views)
        by_mark = put(picture.session, Compare(mark="no name mover"))
        (marked,) = app.pane.questions(replace(picture, session=by_mark))
        assert isinstance(marked, Compare)
        assert marked.other == question.other
        # Without a word it is the state before that is another in more than what is shown.
        (before,) = app.pane.questions(replace(picture, session=put(picture.session, Compare())))
        assert isinstance(before, Compare)
        assert before.other == tree.steps[3].session


@pytest.mark.parametrize(
    ("question", "why"),
    [
        (Compare(step=99), "the history has no state 99"),
        (Compare(mark="none"), "no state of the history is called none"),
    ],
)
async def test_a_state_that_is_not_there_is_said(question: Compare, why: str) -> None:
    app = Holder(ComparePane())
    async with app.run_test(size=(110, 20)) as pilot:
        picture = pictured(example())
        app.pane.show(replace(picture, session=put(picture.session, question), answered=()))
        await pilot.pause()
        assert why in " ".join(shown(app.pane))
        assert app.pane.questions(replace(picture, session=put(picture.session, question))) == ()


questions = st.builds(
    Compare,
    position=st.integers(-20, 20),
    run=st.sampled_from(["edited", "clean"]),
)
names = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=20)


@given(
    questions,
    st.one_of(
        st.just({}),
        st.fixed_dictionaries({"file": names}),
        st.fixed_dictionaries({"mark": names}),
        st.fixed_dictionaries({"model": names}),
        st.fixed_dictionaries({"step": st.integers(0, 9999)}),
    ),
)
def test_the_line_says_it(question: Compare, other: dict[str, str]) -> None:
    question = replace(question, **other)
    assert parse_question(question.line()) == question


@pytest.mark.parametrize(
    "line", ["compare other.toml", "compare mark", "compare step x", 'compare "a" step 3', 'compare "a" "b" top3']
)
def test_what_the_line_does_not_take_is_said(line: str) -> None:
    with pytest.raises(LineError):
        parse_question(line)


async def test_in_a_narrow_pane_names_give_way_to_both_numbers() -> None:
    app = Holder(ComparePane())
    async with app.run_test(size=(38, 20)) as pilot:
        app.pane.show(pictured(example()))
        await pilot.pause()
        text = shown(app.pane)
        assert any(line.split()[:1] == ["number"] and line.split()[-2:] == ["this", "other"] for line in text)
        assert any("-.610" in line and ".440" in line for line in text)
