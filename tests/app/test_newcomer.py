"""What somebody who sees the program for the first time reads and presses."""

from __future__ import annotations

import string
from pathlib import Path

import pytest
from textual.keys import _character_to_key

from mechtui.app.actions import ACTIONS, Registry, keys_document, named, shown
from mechtui.app.conversation import Conversation
from mechtui.app.workspaces import panes
from mechtui.link.messages import Answered, Ask, Finished, Ready
from mechtui.paint.tokens import visible
from mechtui.session.document import Token
from mechtui.views.next_tokens import NextTokens
from mechtui.views.scores import Scores
from tests.app.answering import Model, app, idle, ready, session
from tests.app.test_app import edits, screen
from tests.fakes import FakeLink

SIZE = (120, 40)


@pytest.fixture(autouse=True)
def _own_state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("sign", string.punctuation)
def test_a_key_is_shown_as_the_keyboard_prints_it_and_read_so_from_the_settings(sign: str) -> None:
    assert shown(_character_to_key(sign)) == sign
    assert named(sign) == _character_to_key(sign)


def test_no_key_is_shown_under_its_long_name() -> None:
    keys = {key for action in ACTIONS for key in action.keys}
    assert [shown(key) for key in keys if "_" in shown(key) and shown(key) != "_"] == []
    assert {shown(key) for key in ("delete", "backspace", "home", "enter", "tab")} == {
        "delete", "backspace", "home", "enter", "tab"
    }  # fmt: skip
    assert "parenthesis" not in keys_document()


async def test_while_one_types_the_footer_says_how_one_is_done() -> None:
    it, _, _ = app()
    async with it.run_test(size=SIZE) as pilot:
        await idle(pilot, lambda: it.talk.ready is not None and not it.talk.running)
        before = screen(it).splitlines()[-1]
        await pilot.press("i")
        await idle(pilot)
        footer = screen(it).splitlines()[-1]
        assert footer.split() == ["esc", "done", "enter", "done", "ctrl+j", "new", "line", "ctrl+p", "command"]
        await pilot.press("escape")
        await idle(pilot)
        assert screen(it).splitlines()[-1] == before


async def test_ctrl_c_says_how_one_quits_and_lays_nothing_over_the_panes() -> None:
    it, _, _ = app()
    async with it.run_test(size=SIZE) as pilot:
        await idle(pilot, lambda: it.talk.ready is not None and not it.talk.running)
        await pilot.press("ctrl+c")
        await idle(pilot)
        assert "q quits." in screen(it)
        assert not it._notifications


@pytest.mark.parametrize(("key", "line"), [("e", "zero L40H3"), ("colon", "zero L40H3"), ("e", "zero L1H12")])
async def test_an_edit_that_the_model_has_no_place_for_is_refused_in_the_open_line(key: str, line: str) -> None:
    it, _, _ = app()
    async with it.run_test(size=SIZE) as pilot:
        await idle(pilot, lambda: it.talk.ready is not None and not it.talk.running)
        await pilot.press(key, *line, "enter")
        await idle(pilot)
        assert edits(it) == []
        assert it.line.field.value == line
        assert it.line.kind is not None
        assert f"gpt2 has no {line.split()[1]}" in screen(it)


async def test_a_session_that_is_saved_without_an_ending_gets_one_and_is_offered_again(tmp_path: Path) -> None:
    it, _, _ = app(session("zero L1H1"))
    async with it.run_test(size=SIZE) as pilot:
        await idle(pilot, lambda: it.talk.ready is not None and not it.talk.running)
        await pilot.press("S", "home", *("delete",) * len("session.toml"), *"mine", "enter")
        await idle(pilot)
        assert (tmp_path / "mine.toml").is_file()
        assert "Saved to mine.toml." in screen(it)
        await pilot.press("ctrl+o")
        await idle(pilot)
        assert "mine.toml" in screen(it)
        await pilot.press("escape", "S")
        await idle(pilot)
        assert it.line.field.value == "mine.toml"  # where it is saved, it is saved again


async def test_a_command_that_is_begun_is_gone_on_with():
    it, _, _ = app()
    async with it.run_test(size=SIZE) as pilot:
        await idle(pilot, lambda: it.talk.ready is not None and not it.talk.running)
        await pilot.press("E", "x")
        await idle(pilot)
        assert it.line.field.value.startswith("write ")
        assert it.line.field.value.endswith("x")


async def test_a_workspace_has_its_own_views_in_front_whatever_was_called_elsewhere() -> None:
    it, _, _ = app()
    async with it.run_test(size=SIZE) as pilot:
        await idle(pilot, lambda: it.talk.ready is not None and not it.talk.running)
        await pilot.press("4")
        await idle(pilot)
        first = it.board.seen()
        await pilot.press("1", "g", "l", "2", "g", "l", "4")
        await idle(pilot)
        assert it.board.seen() == first
        await pilot.press("g", "l", "1", "4")
        await idle(pilot)
        assert it.here == "lens", "where one was in the workspace itself"


def test_a_token_that_is_one_space_has_a_sign_of_its_own() -> None:
    assert visible(Token(1, " ")) == "␣"
    assert visible(Token(1, " a")) == "·a"
    assert visible(Token(1, "  ")) == "··"


def test_what_is_measured_once_is_no_live_run_s_time() -> None:
    link, start = FakeLink(), session()
    talk = Conversation(link, start)
    model, made = Model(), ready()
    assert isinstance(made, Ready)
    talk.hear(made)
    for questions, ms in (((NextTokens(), Scores()), None), ((NextTokens(position=3),), 41.0)):
        talk.ask(start, questions)
        ask = link.sent[-1]
        assert isinstance(ask, Ask)
        for question in questions:
            took = 13_000.0 if isinstance(question, Scores) else 20.0
            talk.hear(Answered(ask.generation, question, model.answer(question, start, 0), None, took))
        talk.hear(Finished(ask.generation, 13_041.0 if ms is None else ms))
        assert talk.ms == ms


@pytest.mark.parametrize("width", [80, 120])
async def test_every_footer_says_how_one_types_and_where_else_one_can_go(width: int) -> None:
    it, _, _ = app(session("add L2.pre v x2", vectors=('v = token " Mary"',)))
    async with it.run_test(size=(width, 40)) as pilot:
        await idle(pilot, lambda: it.talk.ready is not None and not it.talk.running)
        for view in panes():
            it.go(view)
            await idle(pilot)
            footer = screen(it).splitlines()[-1]
            assert "i type" in footer, view
            assert "g go to" in footer, view
            assert "? help" in footer, view
            if view in ("effects", "generate"):
                assert "+ more" in footer
                assert "- less" in footer


def test_a_key_that_switches_edits_means_nothing_else_where_heads_are_marked() -> None:
    registry = Registry()
    action = registry.at("space", "scores")
    assert action is not None
    assert action.name == "toggle"
