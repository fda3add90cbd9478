"""Whatever an action, a line, a reply, a timer or a pane raises: a sentence, a traceback in the log, and it goes on."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
from textual.pilot import Pilot

from mechtui.app import kinds
from mechtui.app.app import Mechtui
from mechtui.app.doing import DO
from mechtui.app.keeping import Keeper
from mechtui.app.line import Kind
from mechtui.app.sessions import Sessions
from mechtui.link.messages import Heartbeat
from mechtui.session.keeping import Kept, last, read
from mechtui.views.heads.pane import HeadsPane
from tests.app.answering import app, idle, session
from tests.app.test_app import screen

SIZE = (120, 40)


@pytest.fixture
def log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    return tmp_path / "mechtui" / "worker.log"


def fail(*_: object) -> None:
    raise ZeroDivisionError("a mistake of ours")


def took(it: Mechtui) -> None:
    """The fault that the test made, so that `idle` does not raise it."""
    assert isinstance(it.fault, ZeroDivisionError)
    it.fault = None


async def failed(pilot: Pilot[int], it: Mechtui) -> None:
    """Until something has gone wrong, and all that it led to is done."""
    for _ in range(1000):
        await pilot.pause()
        if it.fault is not None and it.settled:
            await pilot.pause()
            return
    raise AssertionError("nothing went wrong")


def said(it: Mechtui, log: Path) -> None:
    text = screen(it)
    assert "a mistake in mechtui" in text
    assert "ZeroDivisionError" not in text
    assert "a mistake of ours" in log.read_text()
    assert "in fail" in log.read_text()


async def test_an_action_that_raises(log: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(DO, "zero", fail)
    it, _, _ = app(session("zero L1H1"))
    async with it.run_test(size=SIZE) as pilot:
        await idle(pilot)
        await pilot.press("z")
        await pilot.pause()
        said(it, log)
        took(it)
        await pilot.press("c", "u")
        await idle(pilot)
        assert not it.session.edits[1:]
    assert it.return_code != 1


async def test_a_line_that_raises_stays_where_it_is(log: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kinds, "edit", lambda *_: Kind("edit", "", lambda text: [], fail))
    it, _, _ = app()
    async with it.run_test(size=SIZE) as pilot:
        await idle(pilot)
        await pilot.press("e", *"zero", "enter")
        await pilot.pause()
        said(it, log)
        took(it)
        assert it.line.field.value == "zero"
        await pilot.press("escape", "z")
        await idle(pilot)
        assert len(it.session.edits) == 1


async def test_a_reply_that_raises(log: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    it, link, _ = app()
    async with it.run_test(size=SIZE) as pilot:
        await idle(pilot)
        with monkeypatch.context() as patch:
            patch.setattr(it.talk, "hear", fail)
            link.reply(Heartbeat(0, 0, False))
            await pilot.pause()
        said(it, log)
        took(it)
        await pilot.press("z")
        await idle(pilot, lambda: not it.talk.running)
        assert len(it.session.edits) == 1


@pytest.mark.parametrize("way", ["set_timer", "call_later", "call_after_refresh", "call_next"])
async def test_what_was_due_later_and_raises(way: str, log: Path) -> None:
    it, _, _ = app()
    async with it.run_test(size=SIZE) as pilot:
        await idle(pilot)
        getattr(it, way)(*((0.001,) if way == "set_timer" else ()), fail)
        await failed(pilot, it)
        said(it, log)
        took(it)
        await pilot.press("z")
        await idle(pilot)
        assert len(it.session.edits) == 1


async def test_a_pane_that_cannot_be_drawn_says_so_and_the_others_are(log: Path, monkeypatch) -> None:
    it, _, _ = app()
    async with it.run_test(size=SIZE) as pilot:
        await idle(pilot)
        monkeypatch.setattr(HeadsPane, "draw", fail)
        await pilot.press("z")
        await failed(pilot, it)
        said(it, log)
        assert "cannot be drawn" in screen(it)
        assert "zero L0H0" in screen(it)
        took(it)
        monkeypatch.undo()
        await pilot.press("u")
        await idle(pilot)
        assert "cannot be drawn" not in screen(it)


async def test_a_row_that_cannot_be_painted_is_blank(log: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    it, _, _ = app()
    async with it.run_test(size=SIZE) as pilot:
        await idle(pilot)
        pane = it.pane("heads")
        assert pane._page is not None
        pane._page = dataclasses.replace(pane._page, row=fail)
        pane._painted.clear()
        pane.refresh()
        await failed(pilot, it)
        said(it, log)
        took(it)


@pytest.mark.parametrize(("part", "name"), [("mechtui.session.keeping", "listed"), ("mechtui.app.opening", "kept")])
async def test_work_in_the_background_that_raises(
    part: str, name: str, log: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(f"{part}.{name}", fail)
    it, _, _ = app()
    async with it.run_test(size=SIZE) as pilot:
        await idle(pilot)
        before = it.screen
        if name == "listed":
            await pilot.press("R")
            await failed(pilot, it)
            took(it)
            await pilot.press("escape")
        else:
            it.open_sessions()
            await idle(pilot, lambda: isinstance(it.screen, Sessions) and it.screen._listed is not None)
            it.screen.dismiss("another")
            await failed(pilot, it)
            took(it)
        await pilot.pause()
        assert it.screen is before
        said(it, log)
        await pilot.press("z")
        await idle(pilot)
        assert it.session.edits
    assert it.return_code != 1


async def test_the_same_mistake_again_is_not_written_again(log: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(DO, "zero", fail)
    it, _, _ = app()
    async with it.run_test(size=SIZE) as pilot:
        await idle(pilot)
        await pilot.press(*"zzzz")
        await pilot.pause()
        took(it)
    assert log.read_text().count("Traceback") == 1


async def test_what_still_ends_the_program_keeps_the_session(log: Path, capsys: pytest.CaptureFixture[str]) -> None:
    it, _, _ = app(keeper=Keeper(Kept()))

    async def end() -> None:
        async with it.run_test(size=SIZE) as pilot:
            await idle(pilot)
            await pilot.press("z")
            await idle(pilot)
            it._handle_exception(ZeroDivisionError("the end"))

    with pytest.raises(ZeroDivisionError):
        await end()
    assert it.return_code == 1
    assert str(log) in it.last_words
    assert "ZeroDivisionError" not in it.last_words
    assert "the end" in log.read_text()
    assert len(read(last()).edits) == 1
    assert "Traceback" not in capsys.readouterr().err
