"""Words as points, their names beside them, an axis as a vector, and the line."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace
from rich.cells import cell_len

from mechtui.paint.palette import of_terminal
from mechtui.paint.scatter import HOLLOW, WAS, scatter
from mechtui.session.changes import CannotError
from mechtui.session.document import Session
from mechtui.session.grammar.vectors import format_vector
from mechtui.session.grammar.words import LineError
from mechtui.views import parse_question, put
from mechtui.views.geometry import KINDS, Geometry, GeometryAnswer
from mechtui.views.geometry.example import example
from mechtui.views.geometry.pane import GeometryPane
from mechtui.views.question import RUNS
from tests.panes.pictures import Holder, pictured, ready, resized, shown


class Desk:
    """What the pane's actions use of the app."""

    def __init__(self, session: Session) -> None:
        self.session, self.said, self.ready, self.focus = session, "", ready(), pictured(example()).focus

    def put(self, question: Any) -> None:
        self.session = put(self.session, question)

    def change(self, session: Session, what: str = "") -> None:
        self.session = session

    def look(self, focus: Any) -> None:
        self.focus = focus

    def say(self, sentence: str) -> None:
        self.said = sentence


async def test_every_word_has_its_name_and_the_run_is_said() -> None:
    clean, edited = example().clean, example().edited
    assert isinstance(clean, GeometryAnswer)
    assert isinstance(edited, GeometryAnswer)
    app = Holder(GeometryPane())
    async with app.run_test(size=(100, 34)) as pilot:
        pane, picture = app.pane, pictured(example())
        assert isinstance(pane, GeometryPane)
        pane.show(picture)
        await pilot.pause()
        text = "\n".join(shown(pane))
        assert all(word in text for word in clean.words)
        assert "by pc1 and pc2, 7 words" in str(pane.border_title)
        assert "left out: zero L9H9 @-1" in text
        assert f"pc1 {edited.explained[0]:.0%}" in text
        assert pane.value() == f"{float(edited.coordinates[0, 0]):.6g}"
        # The name of a word stands beside its point, which lies where its components say.
        assert pane._plot is not None
        cells = {point: cell for cell, points in pane._plot.at.items() for point in points}
        assert len(cells) == 7
        for axis, place in ((0, 1), (1, 0)):
            order = sorted(cells, key=lambda point: cells[point][place], reverse=axis == 1)
            values = [edited.coordinates[point, axis] for point in order]
            step = np.ptp(values) / 20
            assert all(later >= earlier - step for earlier, later in pairwise(values))
        for point, (row, _) in cells.items():
            assert any(clean.words[point] in line for line in shown(pane)[max(row - 1, 0) : row + 2])
        pane.move(0, 2)
        assert pane.value() == f"{float(edited.coordinates[2, 0]):.6g}"
        assert pane.search("sun")
        assert pane.row().split("\t")[0] == "Sunday"
        for run, said, points in (("clean", "L6.post clean ─", 7), ("difference", "clean ○ to edited ●", 14)):
            pane.show(replace(picture, session=put(picture.session, Geometry(run=run))))  # type: ignore[arg-type]
            await pilot.pause()
            assert said in str(pane.border_title)
            assert pane._plot is not None
            assert sum(map(len, pane._plot.at.values())) == points
        # Where the word of the cursor was is marked, too.
        text = "\n".join(shown(pane))
        assert (text.count(HOLLOW), text.count(WAS)) == (6, 1)
        # Without room for a plot: a list.
        await resized(pilot, 22, 8)
        assert "Sunday       +7.57" in "\n".join(shown(pane))


async def test_an_axis_becomes_a_vector_and_layers_and_axes_turn() -> None:
    app = Holder(GeometryPane())
    async with app.run_test(size=(100, 34)) as pilot:
        pane, picture = app.pane, pictured(example())
        assert isinstance(pane, GeometryPane)
        pane.show(picture)
        await pilot.pause()
        desk: Any = Desk(picture.session)
        pane.do_axis_vector(desk)
        vector = desk.session.vectors[-1]
        texts = " | ".join(f'"Today is {day}"' for day in Geometry().shown_words)
        assert format_vector(vector) == f"days-L6-pc1 = pca L6.post {texts}"
        assert desk.focus.vector == len(desk.session.vectors) - 1
        assert "days-L6-pc1 is vector 3" in desk.said
        again = desk.session
        pane.do_axis_vector(desk)
        assert desk.session == again, "the same axis is there already"
        pane.do_next_axes(desk)
        assert desk.session.views[-1] == "geometry axes2,3"
        pane.do_deeper(desk)
        assert desk.session.views[-1] == "geometry L7.post"
        pane.do_shallower(desk)
        assert desk.session.views[-1] == "geometry L5.post"
        pane.show(replace(picture, session=put(picture.session, Geometry(at=11))))
        with pytest.raises(CannotError, match="L11 is the last layer"):
            pane.do_deeper(desk)
        pane.show(replace(picture, session=put(picture.session, Geometry(of="months"))))
        with pytest.raises(CannotError, match="the words are being read"):
            pane.do_axis_vector(desk)


names = st.lists(st.text(st.characters(codec="utf-8", exclude_categories=["Cs"]), min_size=1), max_size=5, unique=True)


@given(
    st.integers(-1, 90),
    st.sampled_from(["pre", "mid", "post", "attn", "mlp"]),
    st.sampled_from(KINDS),
    names.filter(lambda words: len(words) not in (1, 2)),
    st.sampled_from(["", "It {}", 'a "b" {}']),
    st.sampled_from([(1, 2), (3, 1), (5, 6)]),
    st.sampled_from(RUNS),
)
def test_the_line_says_it(at: int, part: Any, of: Any, words: list[str], text: str, axes: Any, run: Any) -> None:
    question = Geometry(at, part if at >= 0 else "post", "days" if words else of, tuple(words), text, axes, run)
    assert parse_question(question.line()) == question
    assert question.asked() == replace(question, axes=(1, 2), run="edited")
    assert len(question.texts) == len(question.shown_words)
    assert all(each.endswith(word) for each, word in zip(question.texts, question.shown_words, strict=True))


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        ("geometry weeks", r"weeks should be a place \(L6.post\), days, months"),
        ("geometry L6H1", "L6H1 is not one place of the stream"),
        ("geometry L1-2.post", "is not one place of the stream"),
        ('geometry "a" "b"', "3 different words are the least"),
        ('geometry "a" "b" "a"', "3 different words are the least"),
        ("geometry in", "a text should stand behind in"),
        ('geometry in "It"', r"should be a text in double quotes that ends in \{\}"),
        ('geometry in "{} is"', r"should be a text in double quotes that ends in \{\}"),
        ("geometry axes1,1", "axes1,1 should be axes and two of the numbers 1 to 6"),
        ("geometry axes1,7", "axes1,7 should be axes and two of the numbers 1 to 6"),
    ],
)
def test_what_the_line_does_not_take_is_said(line: str, sentence: str) -> None:
    with pytest.raises(LineError, match=sentence):
        parse_question(line)


values = st.floats(-50, 50, width=32)
words = st.text(st.sampled_from("ab中é"), min_size=1, max_size=6)


@given(st.lists(st.tuples(values, values, words), min_size=1, max_size=12), st.integers(24, 70), st.integers(5, 20))
def test_labels_stand_beside_their_points_and_on_nothing(
    points: list[tuple[float, float, str]], width: int, height: int
) -> None:
    xs, ys = (np.array([point[axis] for point in points]) for axis in (0, 1))
    labels = [point[2] for point in points]
    bare = scatter(xs, ys, ("a", "b"), width, height, of_terminal(), 0)
    plot = scatter(xs, ys, ("a", "b"), width, height, of_terminal(), 0, labels=labels)
    rows = ["".join(text for text, _ in line) for line in plot.lines]
    plain = ["".join(text for text, _ in line) for line in bare.lines]
    assert [cell_len(row) for row in rows] == [cell_len(row) for row in plain]
    assert plot.at == bare.at
    for row, column in plot.at:
        # No name covers a mark: up to it stand as many cells as before.
        pieces, at = plot.lines[row], 0
        for text, _ in pieces:
            if at == column:
                break
            at += cell_len(text)
        assert at == column
        assert text == bare.lines[row][_piece(bare.lines[row], column)][0]


def _piece(line: list[Any], column: int) -> int:
    """Which piece of a line begins at this cell."""
    at = 0
    for number, (text, _) in enumerate(line):
        if at == column and text:
            return number
        at += cell_len(text)
    raise AssertionError(column)
