"""The lists of a head's circuit: what they name, and where a word under the cursor leads."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from mechtui.link.messages import Answered
from mechtui.panes.picture import Picture
from mechtui.session.changes import CannotError
from mechtui.session.document import Token
from mechtui.session.grammar.words import LineError
from mechtui.views import parse_question, put
from mechtui.views.circuit import WHATS, Circuit, CircuitAnswer, Direction, Trigram
from mechtui.views.circuit.example import example
from mechtui.views.circuit.pane import CircuitPane
from mechtui.views.scores import Scores
from mechtui.views.scores.example import example as cards
from tests.panes.pictures import Holder, pictured, shown

TRIGRAMS = CircuitAnswer(
    "trigrams",
    trigrams=(
        Trigram(Token(1, " went"), (Token(2, " store"), Token(3, " zoo")), (Token(4, " the"),), 274.9),
        Trigram(Token(5, " Q"), (Token(6, " Q"),), (Token(7, ":"),), 80.0),
    ),
)
NAMED = (Token(8, " a"),)
DIRECTIONS = CircuitAnswer("directions", directions=(Direction("OV", 0, 81.0, 0.25, NAMED, NAMED, NAMED, NAMED),))


def picture(question: Circuit | None = None, answer: CircuitAnswer | None = None) -> Picture:
    found = pictured(example())
    question = question or Circuit(9, 9, word=" Mary")
    of = answer or example().clean
    answered = (Answered(1, question.asked(), of, None, 1.0), Answered(1, Scores(), cards().clean, None, 1.0))
    return replace(found, session=put(found.session, question), answered=answered)


class Desk:
    """What the pane's actions use of the app."""

    def __init__(self, session: object) -> None:
        self.session = session
        self.said = ""
        self.opened = ("", "")

    def open_line(self, kind: str, text: str = "") -> None:
        self.opened = (kind, text)

    def change(self, session: object, what: str = "") -> None:
        self.session = session

    def say(self, sentence: str, *, bad: bool = False) -> None:
        self.said = sentence


async def test_the_lists_of_a_word_and_whether_the_head_copies() -> None:
    app = Holder(CircuitPane())
    async with app.run_test(size=(120, 16)) as pilot:
        app.pane.show(picture())
        await pilot.pause()
        text = "\n".join(shown(app.pane))
        for name in ("attends", "attended", "raises", "raised by", "lowers"):
            assert name in text
        assert "+24.0 ·Mary" in text
        title = str(app.pane.border_title)
        assert "L9H9 ·Mary: raises itself +24.00, rank 0" in title
        copying = cards().clean.copying
        rank = int((copying > copying[9, 9]).sum()) + 1
        assert f"{rank} of 144" in str(app.pane.border_subtitle)


async def test_enter_goes_on_to_the_word_under_the_cursor() -> None:
    app = Holder(CircuitPane())
    async with app.run_test(size=(120, 16)) as pilot:
        now = picture()
        app.pane.show(now)
        await pilot.pause()
        app.pane.move(2, 0)  # attends, attended, raises
        app.pane.move(0, 1)
        raised = example().clean.raises[1].token
        assert app.pane.into(now) == Circuit(9, 9, word=raised.text)
        assert app.pane.value() == raised.text


@pytest.mark.parametrize(
    ("question", "answer", "opened"),
    [
        (None, None, ("word", " Mary")),
        (Circuit(0, 3, "trigrams", only="Q"), TRIGRAMS, ("narrow", "Q")),
    ],
    ids=["word", "trigrams"],
)
async def test_the_line_is_of_the_word_or_narrows_the_list(
    question: Circuit | None, answer: CircuitAnswer | None, opened: tuple[str, str]
) -> None:
    app = Holder(CircuitPane())
    async with app.run_test(size=(120, 16)) as pilot:
        now = picture(question, answer)
        app.pane.show(now)
        await pilot.pause()
        desk = Desk(now.session)
        app.pane.do_circuit_word(desk)
        assert desk.opened == opened


async def test_trigrams_are_tried_by_a_prompt() -> None:
    app = Holder(CircuitPane())
    async with app.run_test(size=(120, 16)) as pilot:
        now = picture(Circuit(0, 3, "trigrams"), TRIGRAMS)
        app.pane.show(now)
        await pilot.pause()
        assert "·went" in shown(app.pane)[1]
        assert "275" in shown(app.pane)[1]
        desk = Desk(now.session)
        app.pane.do_circuit_try(desk)
        assert (desk.session.prompt, desk.session.answer, desk.session.foil) == (" went store", " the", "")
        app.pane.show(picture(Circuit(0, 3, "trigrams", only="Q"), TRIGRAMS))
        await pilot.pause()
        assert "·Q" in shown(app.pane)[1]
        assert "·went" not in "\n".join(shown(app.pane))
        app.pane.do_circuit_try(desk)
        assert desk.session.prompt == " Q Q"


async def test_a_direction_cannot_be_tried() -> None:
    app = Holder(CircuitPane())
    async with app.run_test(size=(120, 16)) as pilot:
        now = picture(Circuit(0, 3, "directions"), DIRECTIONS)
        app.pane.show(now)
        await pilot.pause()
        assert "OV 0" in shown(app.pane)[1]
        assert app.pane.into(now) is None
        with pytest.raises(CannotError):
            app.pane.do_circuit_try(Desk(now.session))


@pytest.mark.parametrize("what", WHATS)
@pytest.mark.parametrize("word", ["", " Mary", 'a"b'])
@pytest.mark.parametrize("position", [-1, 3])
@pytest.mark.parametrize("only", ["", "L5"])
def test_the_line_says_it(what: str, word: str, position: int, only: str) -> None:
    question = Circuit(9, 9, what, word, position, only if what != "word" else "")  # type: ignore[arg-type]
    assert parse_question(question.line()) == question
    asked = question.asked()
    assert (asked.word, asked.position) == ((word, -1 if word else position) if what == "word" else ("", -1))


@pytest.mark.parametrize(
    ("line", "said"),
    [("circuit", "which head"), ("circuit L9", "not a site"), ("circuit L9H9 Mary", "in double quotes")],
)
def test_what_the_line_does_not_take_is_said(line: str, said: str) -> None:
    with pytest.raises(LineError, match=said):
        parse_question(line)
