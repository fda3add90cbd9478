"""An edit that the model refuses is told of where one looks, whichever panes are on the screen."""

from __future__ import annotations

import pytest
from msgspec.structs import replace
from textual.pilot import Pilot

from mechtui.app.app import Mechtui
from mechtui.link.messages import Ask, EditProblem, Failed, Reply, Started
from mechtui.session.grammar.edits import format_edit
from mechtui.views import parse_question
from mechtui.views.circuit import Circuit
from tests.app.answering import Model, app, idle, session
from tests.app.test_app import screen

REASON = "there is no source to take values from"


class Refusing(Model):
    """Refuses every patch."""

    def answers(self, ask: Ask) -> list[Reply]:
        problems = tuple(
            EditProblem(number, format_edit(edit), REASON)
            for number, edit in enumerate(ask.session.edits)
            if edit.op == "patch"
        )
        return [Started(ask.generation, problems), *super().answers(ask)[1:]]


@pytest.fixture(autouse=True)
def _own_state(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))


async def typed(pilot: Pilot[int], key: str, text: str) -> None:
    await pilot.press(key)
    await idle(pilot)
    for letter in text:
        await pilot.press({" ": "space", '"': "quotation_mark", "=": "equals_sign"}.get(letter, letter))
    await pilot.press("enter")
    await idle(pilot)


def words(it: Mechtui) -> str:
    """The screen's words, whatever line they stand on."""
    return " ".join(screen(it).split())


@pytest.mark.parametrize("size", [(80, 24), (100, 30)])
async def test_a_refused_edit_is_told_though_its_pane_is_hidden_and_once(size: tuple[int, int]):
    it, _, _ = app(session(), Refusing())
    async with it.run_test(size=size) as pilot:
        await idle(pilot)
        await pilot.press("g", "h")
        await typed(pilot, "e", "patch L3H6")
        assert it.session.edits
        assert f"patch L3H6: {REASON}" in words(it)
        await pilot.press("right")
        await idle(pilot)
        assert REASON not in words(it), "it is said once"
        await typed(pilot, "e", "zero L0H0")
        assert REASON not in words(it), "another change does not say it again"
        await typed(pilot, "e", "patch L4H4")
        assert f"patch L4H4: {REASON}" in words(it)


async def test_the_same_edit_is_told_of_again_when_it_comes_again():
    it, _, _ = app(session(), Refusing())
    async with it.run_test(size=(80, 24)) as pilot:
        await idle(pilot)
        await typed(pilot, "e", "patch L3H6")
        await pilot.press("u")
        await idle(pilot)
        assert REASON not in words(it)
        await pilot.press("ctrl+r")
        await idle(pilot)
        assert f"patch L3H6: {REASON}" in words(it)


class NoWord(Model):
    """Refuses circuits of a word that is none of its tokens."""

    def answers(self, ask: Ask) -> list[Reply]:
        wrong = [each for each in ask.questions if isinstance(each, Circuit) and each.word]
        said = [Failed("ask", NO_TOKEN, ask.generation, question=each) for each in wrong]
        rest = replace(ask, questions=tuple(each for each in ask.questions if each not in wrong))
        started, *answered = super().answers(rest)
        return [started, *said, *answered]


NO_TOKEN = "the word of a circuit should be one token, and it is · xx | yy"


async def test_a_question_that_is_refused_says_why_in_its_pane_until_it_is_another():
    it, _, _ = app(session(), NoWord())
    async with it.run_test(size=(120, 40)) as pilot:
        await idle(pilot, lambda: it.talk.ready is not None and not it.talk.running)
        it.go("circuit")
        await idle(pilot)

        assert "attends" in words(it)
        it.put(parse_question('circuit L0H0 " xxyy"'))
        await idle(pilot)
        assert NO_TOKEN[:20] in words(it)
        assert "reading" not in words(it)
        assert "attends" not in words(it)
        it.put(parse_question("circuit L0H0"))
        await idle(pilot)
        assert "attends" in words(it)
