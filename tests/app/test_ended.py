"""The model process ends again and again, or does not answer: the screen says so, and one key starts another."""

from __future__ import annotations

from pathlib import Path

import pytest

from mechtui.link.client import Life
from mechtui.link.messages import Load
from tests.app.answering import Model, app, idle
from tests.app.test_app import SIZE, screen

DIED = "The model process was killed (SIGKILL)."


@pytest.fixture(autouse=True)
def _own_state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))


async def test_what_is_waited_for_is_said_and_a_key_ends_the_wait() -> None:
    it, link, _ = app()
    async with it.run_test(size=SIZE) as pilot:
        await idle(pilot)
        link.reply(Life("waiting", DIED, deaths=4, seconds=2.0))
        await idle(pilot)
        text = screen(it)
        assert f"{DIED} It died 4 times in a row and is started again in 2 s; ctrl+t starts it now." in text
        assert "no model process  the next one starts in 2 s" in text
        assert "✗ down" in text
        assert "·Mary" in text, "the pictures stay"
        await pilot.press("i", "ctrl+t")  # while one types, too
        assert link.restarts == 1
        link.reply(Life("restarting", pid=2, deaths=4))
        await idle(pilot)
        assert "loading" in screen(it)
        link.reply(Model().respond(Load("gpt2"))[0])
        await idle(pilot)
        assert "● live" in screen(it)
        assert "✗" not in screen(it)


async def test_one_that_stays_down_is_started_by_a_key_and_its_model_can_be_chosen_again() -> None:
    it, link, _ = app()
    async with it.run_test(size=SIZE) as pilot:
        await idle(pilot)
        before = it.session
        link.reply(Life("stopped", DIED, deaths=10))
        await idle(pilot)
        text = " ".join(screen(it).split())
        assert "It died 10 times in a row and stays down; ctrl+t starts it again, M with another model." in text
        assert "no model process ctrl+t starts one" in text
        await pilot.press("ctrl+t")
        assert link.restarts == 1
        loads = [each for each in link.sent if isinstance(each, Load)]
        await pilot.press("M")
        await idle(pilot)
        await pilot.press(*"gpt2", "enter")
        await idle(pilot)
        assert [each for each in link.sent if isinstance(each, Load)] == [*loads, Load("gpt2")]
        assert "● live" in screen(it)
        assert it.session.prompt == before.prompt


async def test_one_that_does_not_answer_is_said_and_a_key_replaces_it() -> None:
    it, link, _ = app()
    async with it.run_test(size=SIZE) as pilot:
        await idle(pilot)
        link.reply(Life("silent", pid=1, seconds=6.0))
        await idle(pilot)
        assert "✗ no answer" in screen(it)
        assert "has not answered for 6 s; ctrl+t starts another one in its place." in screen(it)
        await pilot.press("ctrl+t")
        assert link.restarts == 1
        link.reply(Life("heard", pid=1))
        await idle(pilot)
        assert "✗ no answer" not in screen(it)
        assert "The model process answers again." in screen(it)
