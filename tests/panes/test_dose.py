"""The pane of doses: what stands where, what its cursor moves over, and what is done at a point."""

from __future__ import annotations

import numpy as np
import pytest
from msgspec.structs import replace

from mechtui.link.messages import Answered
from mechtui.panes.picture import Picture
from mechtui.session.changes import CannotError
from mechtui.session.document import Focus, Session
from mechtui.session.grammar.edits import format_edit, parse_edit
from mechtui.session.grammar.vectors import parse_vector
from mechtui.views import Question, put
from mechtui.views.dose import Dose, DoseAnswer, Point
from mechtui.views.dose.example import example
from mechtui.views.dose.pane import DosePane
from tests.panes.pictures import Holder, pictured, shown

VECTOR = 'love = diff L6.pre "Love" "Hate"'


def by_layer() -> DoseAnswer:
    """12 layers by 3 numbers."""
    table = np.arange(36, dtype=np.float32).reshape(12, 3)
    texts = tuple(tuple(() for _ in range(3)) for _ in range(12))
    return DoseAnswer(
        "add L6.pre love", (-2.0, 0.0, 2.0), tuple(range(12)), table, table, table, table, texts, 1.0, 36, 36
    )


def picture(question: Dose | None = None, answer: DoseAnswer | None = None, *edits: str) -> Picture:
    found = pictured(example())
    lines = edits or ("zero L9H9 @-1", "add L6.pre @-1 love x5")
    session = replace(found.session, edits=tuple(map(parse_edit, lines)), vectors=(parse_vector(VECTOR),))
    answered = found.answered if answer is None else (Answered(1, Dose(), answer, None, 1.0),)
    return replace(found, session=put(session, question or example().question), answered=answered)


class Desk:
    """What the pane's actions use of the app."""

    def __init__(self, now: Picture) -> None:
        self.picture, self.session, self.focus = now, now.session, now.focus
        self.job, self.here, self.said, self.started = "", "dose", "", ""

    def change(self, session: Session, what: str = "") -> None:
        self.session = session

    def look(self, focus: Focus) -> None:
        self.focus = focus

    def put(self, question: Question) -> None:
        self.session = put(self.session, question)
        self.picture = replace(self.picture, session=self.session)

    def say(self, sentence: str, *, bad: bool = False) -> None:
        self.said = sentence

    def go(self, pane: str) -> None:
        self.here = pane

    def start(self, job: str) -> None:
        self.started = job


async def test_the_curve_the_numbers_and_the_texts_of_an_edit() -> None:
    app = Holder(DosePane())
    async with app.run_test(size=(110, 30)) as pilot:
        app.pane.show(picture())
        await pilot.pause()
        text = "\n".join(shown(app.pane))
        for word in ("with the other edits", "alone", "number", "diff", "kl", "share", "loss", "text", "Mary John"):
            assert word in text
        # It stands at the number next to the edit's own.
        assert "x4 logit difference" in str(app.pane.border_subtitle)
        app.pane.move(1, 0)
        assert app.pane.value() == f"{float(example().edited.logit_diff[0, 7]):.6g}"  # type: ignore[union-attr]
        app.pane.move(0, -1)
        assert app.pane.row().startswith("x4\t")
        app.pane.move(-99, 0)
        assert app.pane.row().startswith("x-8\t")


async def test_a_point_is_taken_as_the_edit() -> None:
    app = Holder(DosePane())
    async with app.run_test(size=(110, 30)) as pilot:
        now = picture()
        app.pane.show(now)
        await pilot.pause()
        app.pane.move(-1, 0)
        desk = Desk(now)
        app.pane.do_take_point(desk)
        assert list(map(format_edit, desk.session.edits)) == ["zero L9H9 @-1", "add L6.pre @-1 love x2"]
        assert desk.focus.edit == 1
        # Where the session has no such edit, it is made.
        app.pane.show(picture(None, None, "zero L9H9"))
        await pilot.pause()
        desk = Desk(picture(None, None, "zero L9H9"))
        app.pane.do_take_point(desk)
        assert list(map(format_edit, desk.session.edits)) == ["zero L9H9", "add L6.pre @-1 love x2"]


async def test_at_another_layer_the_vector_that_is_read_there_goes_along() -> None:
    app = Holder(DosePane())
    async with app.run_test(size=(110, 30)) as pilot:
        now = picture(Dose(layers=True), by_layer(), "add L6.pre love x5")
        app.pane.show(now)
        await pilot.pause()
        app.pane.move(0, 3)
        app.pane.move(9, 0)
        assert "L3 x2" in str(app.pane.border_subtitle)
        desk = Desk(now)
        app.pane.do_take_point(desk)
        assert format_edit(desk.session.edits[0]) == "add L3.pre love-L3 x2"
        assert desk.session.vector("love-L3") == replace(parse_vector(VECTOR), name="love-L3", layer=3)
        # The same one serves again; one of the user's own that has this name stays as it is.
        app.pane.do_take_point(desk)
        assert [vector.name for vector in desk.session.vectors] == ["love", "love-L3"]
        own = parse_vector("love-L3 = neuron L0N5")
        desk.session = replace(now.session, vectors=(*now.session.vectors, own))
        app.pane.do_take_point(desk)
        assert format_edit(desk.session.edits[0]) == "add L3.pre love-L3-2 x2"
        assert desk.session.vector("love-L3") == own


async def test_texts_are_asked_for_at_the_point_or_at_all_and_the_points_come_first() -> None:
    app = Holder(DosePane())
    async with app.run_test(size=(110, 30)) as pilot:
        now = picture(Dose(), by_layer(), "add L6.pre love x5")
        app.pane.show(now)
        await pilot.pause()
        desk = Desk(now)
        app.pane.do_say_point(desk)
        question = desk.picture.question(Dose)
        assert (question.text, question.at, desk.started) == (True, Point(2.0, 0), "dose")
        first, second = app.pane.questions(desk.picture)
        assert isinstance(first, Dose)
        assert isinstance(second, Dose)
        assert (first.text, second.at) == (False, Point(2.0, 0))
        assert first.edit == parse_edit("add L6.pre love x1")
        app.pane.do_say_all(desk)
        assert desk.picture.question(Dose) == Dose(text=True)
        app.pane.do_say_all(desk)
        assert desk.picture.question(Dose) == Dose()
        app.pane.do_by_layer(desk)
        assert desk.picture.question(Dose) == Dose(layers=True)


async def test_without_an_edit_that_has_a_number_it_says_so() -> None:
    app = Holder(DosePane())
    async with app.run_test(size=(110, 30)) as pilot:
        now = picture(Dose(), None, "zero L9H9")
        app.pane.show(now)
        await pilot.pause()
        assert "no edit yet has a number to be dosed" in " ".join(shown(app.pane))
        assert app.pane.questions(now) == ()
        with pytest.raises(CannotError, match="no edit yet"):
            app.pane.do_take_point(Desk(now))
