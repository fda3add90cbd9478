"""An edit that the model refuses is told of where one looks, whichever panes are on the screen."""

from __future__ import annotations

import pytest
from textual.pilot import Pilot

from mechtui.app.app import Mechtui
from mechtui.link.messages import Ask, EditProblem, Reply, Started
from mechtui.session.grammar.edits import format_edit
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
