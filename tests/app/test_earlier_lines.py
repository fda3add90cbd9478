"""`up` and `down` in the command line: the lines of this kind that were typed before, also in earlier programs."""

from __future__ import annotations

import multiprocessing
import stat
from pathlib import Path

import pytest

from mechtui.app.app import Mechtui
from mechtui.app.recent import LINES, MODELS, Recent
from tests.app.answering import app, idle, session
from tests.app.test_app import edits, screen

SIZE = (120, 40)


@pytest.fixture(autouse=True)
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    return tmp_path / "mechtui"


async def line(it: Mechtui, pilot, *keys: str) -> str:
    await pilot.press(*keys)
    await idle(pilot)
    return it.line.field.value


async def written(it: Mechtui) -> None:
    await it.workers.wait_for_complete()


async def test_up_and_down_go_through_lines_of_the_same_kind_and_back_to_what_was_typed() -> None:
    it, _, _ = app()
    async with it.run_test(size=SIZE) as pilot:
        await idle(pilot)
        for text in ("zero L1H1", "mean L2H2", "zero L3H3"):
            await line(it, pilot, "e", *text, "enter")
        await line(it, pilot, "v", *'w = token " Paris"', "enter")
        assert await line(it, pilot, "e", "up") == "zero L3H3"
        assert await line(it, pilot, "up") == "mean L2H2"
        assert await line(it, pilot, "up", "up", "up") == "zero L1H1", "the oldest stays"
        assert await line(it, pilot, "down") == "mean L2H2"
        assert await line(it, pilot, "down", "down") == ""
        assert await line(it, pilot, *"zer", "up", "up") == "zero L1H1", "those that begin with what was typed"
        assert await line(it, pilot, "down", "down") == "zer"
        assert await line(it, pilot, "escape", "v", "up") == 'w = token " Paris"'
        assert await line(it, pilot, "escape", "slash", "up") == ""
        await line(it, pilot, "escape", "e", "up", "up", "enter")
        assert edits(it)[-1] == "mean L2H2", "an earlier line is taken by enter at once"
        assert "↑ earlier lines" in (await line(it, pilot, "e"), screen(it))[1]


async def test_an_edit_that_is_changed_can_become_an_earlier_line() -> None:
    it, _, _ = app()
    async with it.run_test(size=SIZE) as pilot:
        await idle(pilot)
        for text in ("zero L1H1", "mean L2H2"):
            await line(it, pilot, "e", *text, "enter")
        await pilot.press("g", "e")
        assert await line(it, pilot, "enter") == "mean L2H2"
        assert await line(it, pilot, "up") == "zero L1H1"
        assert await line(it, pilot, "down") == "mean L2H2"


async def test_suggestions_are_chosen_from_above_and_up_leads_back_to_the_text() -> None:
    it, _, _ = app()
    async with it.run_test(size=SIZE) as pilot:
        await idle(pilot)
        await line(it, pilot, "e", *"mean L2H2", "enter")
        await line(it, pilot, "e", *"m", "down")
        assert it.line._chosen == 0
        assert await line(it, pilot, "up") == "m"
        assert it.line._chosen == -1
        assert await line(it, pilot, "up") == "mean L2H2"


async def test_the_command_s_earlier_lines_are_actions_too() -> None:
    it, _, _ = app(session("zero L1H1"))
    async with it.run_test(size=SIZE) as pilot:
        await idle(pilot)
        await line(it, pilot, "colon", *"mean L2H2", "enter")
        await line(it, pilot, "colon", *"undo", "enter")
        assert edits(it) == ["zero L1H1"]
        assert await line(it, pilot, "colon", "up", "up") == "mean L2H2"
        # The keys come together: what is done is what stands there.
        await line(it, pilot, "down", "up", "enter")
        assert edits(it) == ["zero L1H1", "mean L2H2"]
        assert await line(it, pilot, "colon", "up", "up") == "undo"


async def test_the_next_program_knows_them_and_a_line_stands_there_once(state: Path) -> None:
    for texts in (("zero L1H1", "mean L2H2", "zero L1H1"), ("mean L5H5",)):
        it, _, _ = app()
        async with it.run_test(size=SIZE) as pilot:
            await idle(pilot)
            await written(it)
            for text in texts:
                await line(it, pilot, "e", *text, "enter")
            await written(it)
    assert LINES["edit"].read() == ("mean L5H5", "zero L1H1", "mean L2H2")
    assert stat.S_IMODE((state / "lines-edit").stat().st_mode) == 0o600


async def test_where_nothing_can_be_kept_the_program_goes_on(state: Path) -> None:
    state.write_text("no folder")
    it, _, _ = app()
    async with it.run_test(size=SIZE) as pilot:
        await idle(pilot, lambda: "The session is not being kept: the state folder cannot be used" in screen(it))
        await line(it, pilot, "e", *"zero L1H1", "enter")
        await written(it)
        assert await line(it, pilot, "e", "up") == "zero L1H1"
        assert it.is_running


@pytest.mark.parametrize("entry", ["plain", '"quoted"', "two\nlines", "a\x1b[2Jb\u202e", "\\", " edges "])
def test_what_is_kept_comes_back_exactly_and_is_harmless_to_read(entry: str, state: Path) -> None:
    some = Recent("some", 3)
    some.add(entry)
    assert some.read() == (entry,)
    assert (state / "some").read_text().isprintable() or (state / "some").read_text()[:-1].isprintable()


def test_there_are_never_more_than_most() -> None:
    some = Recent("some", 3)
    for number in range(5):
        some.add(str(number))
    assert some.read() == ("4", "3", "2")


def test_models_that_an_older_program_kept_are_known(state: Path) -> None:
    state.mkdir(mode=0o700)
    (state / "recent-models").write_text("gpt2\n/a/model\n\n")
    assert MODELS.read() == ("gpt2", "/a/model")


def _add(first: int) -> None:
    for number in range(first, first + 20):
        LINES["edit"].add(f"zero L0H{number}")


def test_two_programs_at_once_keep_each_other_s_lines() -> None:
    context = multiprocessing.get_context("spawn")
    both = [context.Process(target=_add, args=(first,)) for first in (0, 20)]
    for process in both:
        process.start()
    for process in both:
        process.join(60)
    assert sorted(LINES["edit"].read()) == sorted(f"zero L0H{number}" for number in range(40))
