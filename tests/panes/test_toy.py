"""The toy model on the screen, and its line."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from mechtui.paint.numbers import fixed
from mechtui.session.document import Session
from mechtui.session.grammar.words import LineError
from mechtui.views import parse_question, put
from mechtui.views.toy import SHOWS, Toy, ToyAnswer
from mechtui.views.toy.example import example
from mechtui.views.toy.pane import ToyPane
from tests.panes.pictures import Holder, pictured, resized, shown


class Desk:
    """What the pane's actions use of the app."""

    def __init__(self, session: Session) -> None:
        self.session, self.started = session, ""

    def put(self, question: Any) -> None:
        self.session = put(self.session, question)

    def go(self, view: str) -> None:
        pass

    def start(self, job: str) -> None:
        self.started = job


async def test_features_their_numbers_and_the_curve() -> None:
    answer = example().clean
    assert isinstance(answer, ToyAnswer)
    app = Holder(ToyPane())
    async with app.run_test(size=(130, 30)) as pilot:
        pane = app.pane
        pane.show(pictured(example()))
        await pilot.pause()
        count = int(answer.represented[answer.at])
        title = str(pane.border_title)
        assert f"sparsity 0.9 ─ {count} of 20 represented" in title
        assert f"loss {answer.loss[answer.at] / answer.nothing[answer.at]:.0%}" in title
        rows = shown(pane)
        for feature in (0, 7, 19):
            row = next(row for row in rows if row.split()[:1] == [f"x{feature}"])
            norm = f"{answer.norms[answer.at, feature]:.2f}".removeprefix("0")
            assert norm in row.split()
        assert "most important apart" in "\n".join(rows)
        # Another sparsity by ←→, another feature by ↑↓.
        pane.move(-1, 2)
        await pilot.pause()
        assert "sparsity 0.8 " in str(pane.border_title)
        assert pane.value() == f"{float(answer.norms[answer.at - 1, 2]):.6g}"
        assert pane.row().split("\t")[:2] == ["x2", fixed(float(answer.gram[answer.at - 1, 2, 0]))]
        kept = pane.cursor()
        pane.move(9, 99)
        assert pane.cursor() != kept
        pane.put_cursor(kept)
        assert pane.cursor() == kept
        # Narrow: Wᵀ W alone, of which nothing is cut.
        await resized(pilot, 46, 16)
        assert "norm" not in shown(pane)[0]
        assert "most important" not in "\n".join(shown(pane))


async def test_features_as_points() -> None:
    answer = example().clean
    assert isinstance(answer, ToyAnswer)
    app = Holder(ToyPane())
    async with app.run_test(size=(100, 30)) as pilot:
        pane, picture = app.pane, pictured(example())
        assert isinstance(pane, ToyPane)
        pane.show(replace(picture, session=put(picture.session, Toy(shows="plane"))))
        await pilot.pause()
        axes = np.linalg.svd(answer.weights[answer.at].astype(np.float64), full_matrices=False)[0][:, :2]
        xs, ys = axes.T @ answer.weights[answer.at]
        there = np.flatnonzero(answer.norms[answer.at] > 0.1)
        assert pane._plot is not None
        cells = {point: cell for cell, points in pane._plot.at.items() for point in points}
        assert sorted(cells) == there.tolist()
        for one in there:
            for other in there:
                assert xs[one] <= xs[other] or cells[one][1] >= cells[other][1]
                assert ys[one] <= ys[other] or cells[one][0] <= cells[other][0]
        # Of two dimensions they lie where they are.
        two = replace(answer, weights=answer.weights[:, :2])
        answered = replace(picture.answered[0], question=Toy(dims=2), clean=two)
        session = put(picture.session, Toy(dims=2, shows="plane"))
        pane.show(replace(picture, session=session, answered=(answered,)))
        await pilot.pause()
        ends = np.abs(two.weights[two.at][:, two.norms[two.at] > 0.1]).max()
        assert f"{ends:.2f}" in "\n".join(shown(pane))
        assert "h0 →" in "\n".join(shown(pane))


async def test_the_losses_of_all_sparsities() -> None:
    answer = example().clean
    assert isinstance(answer, ToyAnswer)
    app = Holder(ToyPane())
    async with app.run_test(size=(90, 30)) as pilot:
        picture = pictured(example())
        app.pane.show(replace(picture, session=put(picture.session, Toy(shows="loss"))))
        await pilot.pause()
        text = "\n".join(shown(app.pane))
        for model, sparsity in enumerate(answer.sparsities):
            row = next(row for row in text.splitlines() if row.split()[:1] == [f"{sparsity:g}"])
            assert f"{answer.loss[model]:.5f}".removeprefix("0") in row.split()
            assert str(int(answer.represented[model])) in row.split()
        app.pane.move(0, -1)
        assert app.pane.value() == f"{float(answer.loss[answer.at - 1]):.6g}"


async def test_it_is_trained_when_one_starts_it_and_not_before() -> None:
    app = Holder(ToyPane())
    async with app.run_test(size=(90, 20)) as pilot:
        pane = app.pane
        assert isinstance(pane, ToyPane)
        picture = pictured(example())
        other = replace(picture, session=put(picture.session, Toy(features=5, dims=2)))
        pane.show(other)
        await pilot.pause()
        assert "5>2, 9 sparsities, 2,000 steps, seed 0: nothing is trained yet" in "\n".join(shown(pane))
        desk = Desk(other.session)
        pane.do_other_seed(desk)  # type: ignore[arg-type]
        assert (desk.started, desk.session.views) == ("toy", ("toy 5>2 seed1",))
        pane.do_without_relu(desk)  # type: ignore[arg-type]
        assert desk.session.views == ("toy 5>2 linear",)
        # On the way: how far it is.
        answer = example().clean
        assert isinstance(answer, ToyAnswer)
        answered = replace(picture.answered[0], clean=replace(answer, step=400))
        pane.show(replace(picture, answered=(answered,), job=True))
        await pilot.pause()
        assert "step 400 of 2,000" in str(pane.border_title)


@given(
    st.builds(
        Toy,
        st.integers(10, 64),
        st.integers(1, 10),
        st.floats(0, 0.999),
        st.floats(0.01, 1),
        st.integers(0, 10**15 - 1),
        st.integers(1, 20_000),
        st.booleans(),
        st.sampled_from(SHOWS),
    )
)
def test_the_line_says_it(question: Toy) -> None:
    assert parse_question(question.line()) == question
    assert question.asked() == replace(question, shows="features")
    assert question.sparsity in question.sparsities
    assert np.all(np.diff(question.sparsities) > 0)


def test_a_line_as_one_writes_it() -> None:
    assert parse_question("toy 20>5 sparsity.9") == Toy()
    assert parse_question("toy loss sparsity.99 8>3").line() == "toy 8>3 sparsity0.99 loss"


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        ("toy 5", "5 should be 20>5, sparsity.9"),
        ("toy 99>5", "99>5 should have 2 to 64 features"),
        ("toy 5>6", "5>6 should have 1 to 5 dimensions"),
        ("toy 5>0", "5>0 should have 1 to 5 dimensions"),
        ("toy sparsity1", "should be sparsity and a number from 0 to 0.999"),
        ("toy sparsity", "should be sparsity and a number from 0 to 0.999"),
        ("toy importance0", "should be importance and a number from 0.01 to 1"),
        ("toy steps0", "steps0 should be steps and a number from 1 to 20,000"),
        ("toy seed-1", "seed-1 should be 20>5"),
    ],
)
def test_what_the_line_does_not_take_is_said(line: str, sentence: str) -> None:
    with pytest.raises(LineError, match=sentence):
        parse_question(line)
