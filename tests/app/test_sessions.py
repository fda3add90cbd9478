"""Sessions in the app: the picker, going on with another, copies, names, and what comes back of the screen."""

from __future__ import annotations

import asyncio
import errno
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from mechtui.app.app import Mechtui
from mechtui.app.keeping import Keeper, State
from mechtui.app.line import Rows
from mechtui.app.opening import kept, new
from mechtui.app.screens import arrangement_of, screen_of
from mechtui.app.sessions import NEW, Sessions, suggestions
from mechtui.app.state import Arrangement
from mechtui.app.workspaces import built_in, panes
from mechtui.config import Settings
from mechtui.session import keeping
from mechtui.session.document import Focus, Screen, Session
from mechtui.session.grammar.edits import format_edit
from mechtui.session.grammar.looks import parse_screen
from mechtui.session.history import History
from mechtui.session.keeping import About, Kept
from mechtui.session.storage import load
from mechtui.views import specs
from tests.app.answering import FakeLink, Model, idle, session
from tests.app.test_app import edits, screen

SIZE = (120, 40)


@pytest.fixture(autouse=True)
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    return tmp_path / "state" / "mechtui" / "sessions"


def left(session: Session, name: str) -> None:
    """As a program that has ended left it."""
    keeper, history = Keeper(Kept(name)), History(Session(model=session.model))
    history.change(session.work())
    keeper.put(State(session, history.tree))
    assert keeper.close() == ""


def app_of(opened: object = None) -> Mechtui:
    """The app as `mechtui` begins it."""
    first = opened or new(session())
    keeper = Keeper(first.kept, first.waits)  # type: ignore[attr-defined]
    link = FakeLink(Model().respond)
    return Mechtui(first.session, Settings(), link, None, keeper, first.tree, first.told)  # type: ignore[attr-defined]


async def picked(pilot: object, it: Mechtui) -> Sessions:
    """The picker, once it has read what is kept."""
    await idle(pilot, lambda: isinstance(it.screen, Sessions) and it.screen._listed is not None)  # type: ignore[arg-type]
    picker = it.screen
    assert isinstance(picker, Sessions)
    return picker


async def test_enter_goes_on_with_another_session_and_neither_is_lost(state: Path) -> None:
    left(session("mean L2H2", prompt="The other one"), "other")
    it = app_of()
    async with it.run_test(size=SIZE) as pilot:
        await idle(pilot)
        await pilot.press("z")
        await idle(pilot, lambda: bool(it.sitting.keeper.name))
        await pilot.press("R")
        picker = await picked(pilot, it)
        shown = screen(it)
        assert "other" in shown
        assert "1 edit" in shown
        assert "The other one" in shown
        assert "this one" in shown
        here = it.sitting.keeper.name
        assert here
        assert picker.query_one(Rows).rows[picker._chosen].run == "other", "enter does something else than nothing"
        await pilot.press("enter")
        await idle(pilot, lambda: it.session.prompt == "The other one")
        assert edits(it) == ["mean L2H2"]
        assert "other is open" in screen(it)
        assert it.board.prompt.text == "The other one"
        await idle(pilot, lambda: it.sitting.keeper.name == "other")
        assert [format_edit(edit) for edit in keeping.read(here).edits] == ["zero L0H0"]
        await pilot.press("u")
        await idle(pilot)
        assert it.session == Session(model="gpt2"), "its own history"
        await pilot.press("u")
        await idle(pilot)
        assert "nothing to undo" in screen(it)
        await pilot.press("R")
        await picked(pilot, it)
        await pilot.press(*here, "enter")
        await idle(pilot, lambda: it.sitting.keeper.name == here)
        assert edits(it) == ["zero L0H0"]
    it.sitting.keeper.close()
    assert keeping.read("other").work() == Session(model="gpt2")


async def test_typing_narrows_and_esc_leaves(state: Path) -> None:
    left(session(prompt="About cats"), "cats")
    left(session("zero L5H5", prompt="About dogs"), "dogs")
    it = app_of()
    async with it.run_test(size=SIZE) as pilot:
        await idle(pilot)
        before = it.session
        await pilot.press("R")
        picker = await picked(pilot, it)
        await pilot.press(*"about l5h5")
        await idle(pilot)
        assert [row.text for row in picker.query_one(Rows).rows] == ["dogs", "new"]
        await pilot.press("escape")
        await idle(pilot)
        assert it.session == before
        assert it.screen is not picker


async def test_a_list_that_comes_when_its_window_is_being_closed_is_passed_over(state: Path) -> None:
    it = app_of()
    async with it.run_test(size=SIZE) as pilot:
        await idle(pilot)
        await pilot.press("R")
        picker = await picked(pilot, it)
        await picker.query_one(Rows).remove()
        picker.listed((), 0.0)
        assert "0 sessions are kept" in picker.note()


async def test_a_new_session_begins_beside_the_one_that_is_there(state: Path) -> None:
    it = app_of()
    async with it.run_test(size=SIZE) as pilot:
        await idle(pilot)
        await pilot.press("z")
        await idle(pilot)
        await pilot.press("R")
        await picked(pilot, it)
        await pilot.press("up", "enter")
        await idle(pilot, lambda: not it.session.edits)
        assert it.session.prompt.startswith("When Mary")
        await pilot.press("m")
        await idle(pilot)
    it.sitting.keeper.close()
    kept = [keeping.read(path.stem) for path in keeping.paths()]
    assert sorted(format_edit(edit) for each in kept for edit in each.edits) == ["mean L0H0", "zero L0H0"]


async def test_a_session_that_another_program_has_is_copied_and_the_user_is_told(state: Path) -> None:
    left(session(prompt="The other one"), "other")
    theirs = kept("other")
    it = app_of()
    async with it.run_test(size=SIZE) as pilot:
        await idle(pilot)
        await pilot.press("R")
        await picked(pilot, it)
        assert "open in another mechtui" in screen(it)
        await pilot.press(*"other", "enter")
        await idle(pilot, lambda: it.session.prompt == "The other one")
        assert "other is open in another mechtui: this is a copy of it, other-2." in screen(it)
        await pilot.press("z")
        await idle(pilot)
    it.sitting.keeper.close()
    assert keeping.read("other").edits == ()
    assert len(keeping.read("other-2").edits) == 1
    theirs.kept.release()


async def test_a_session_that_cannot_be_read_stands_there_with_the_reason(state: Path) -> None:
    left(session(), "good")
    (state / "bad.toml").write_text("mechtui = 1\npromt = 3\n")
    it = app_of()
    async with it.run_test(size=SIZE) as pilot:
        await idle(pilot)
        await pilot.press("R")
        picker = await picked(pilot, it)
        await pilot.press(*"bad")
        await idle(pilot)
        assert "did you mean prompt?" in screen(it)
        await pilot.press("enter")
        await idle(pilot)
        assert it.screen is picker, "there is nothing to go on with"


async def test_a_session_is_renamed_by_a_line(state: Path) -> None:
    left(session(), "taken")
    it = app_of()
    async with it.run_test(size=SIZE) as pilot:
        await idle(pilot, lambda: bool(it.sitting.keeper.name))
        await pilot.press("colon", *"rename", "enter")
        await idle(pilot)
        assert it.line.field.value == it.sitting.keeper.name
        it.line.field.value = "taken"
        await pilot.press("enter")
        await idle(pilot, lambda: "there is a session taken already" in screen(it))
        it.line.field.value = "IOI"
        await pilot.press("enter")
        await idle(pilot, lambda: "This session is now IOI." in screen(it))
        assert "IOI" in screen(it).splitlines()[1]
    it.sitting.keeper.close()
    assert keeping.exists("IOI")


async def test_the_screen_comes_back_as_it_was_left(state: Path) -> None:
    it = app_of()
    async with it.run_test(size=SIZE) as pilot:
        await idle(pilot)
        await pilot.press("z", "2", "g", "l", "left_square_bracket", "j", "j", "u", "z", "m", "f")
        await idle(pilot)
        first, before = screen(it), (it.focus, screen_of(it.arrangement, it.here, it.workspaces))
        it.sitting.keep()
    name = it.sitting.keeper.name
    assert it.sitting.keeper.close() == ""
    again = app_of(kept(name))
    async with again.run_test(size=SIZE) as pilot:
        await idle(pilot, lambda: not again.talk.running and again.talk.ready is not None)
        after = (again.focus, screen_of(again.arrangement, again.here, again.workspaces))
        assert after == before
        assert screen(again) == first
        await pilot.press("u")
        await idle(pilot)
        assert edits(again) == edits(it)[:-1]


async def test_a_panes_own_cursor_and_scroll_come_back(state: Path) -> None:
    it = app_of(new(session(prompt=" ".join(["word"] * 40))))
    async with it.run_test(size=SIZE) as pilot:
        await idle(pilot, lambda: it.talk.ready is not None and not it.talk.running)
        await pilot.press("g", "i", "l", "l", "j", "j", "space", "G", "k", "g", "l", "k", "k", "left_square_bracket")
        await idle(pilot)
        first = screen(it)
        it.sitting.keep()
        places = {each.view: each for each in it.document().screen.places}  # type: ignore[union-attr]
    assert places["scores"].top > 0
    assert places["scores"].cursor
    assert places["lens"].left > 0
    assert places["lens"].cursor
    name = it.sitting.keeper.name
    it.sitting.keeper.close()
    again = app_of(kept(name))
    async with again.run_test(size=SIZE) as pilot:
        await idle(pilot, lambda: again.talk.ready is not None and not again.talk.running)
        assert screen(again) == first


@pytest.mark.parametrize(
    "place", ["lens:9999999,0:L99999.post", "scores:0,9999999:999/head/L9H9", "scores:3,3:!!", "x:1,1"]
)
async def test_places_that_cannot_be_are_passed_over(state: Path, place: str) -> None:
    (said,) = parse_screen(f"Look at {place}").places
    it = app_of(new(replace(session(), screen=Screen("Look", places=(said,)))))
    async with it.run_test(size=SIZE) as pilot:
        await idle(pilot, lambda: it.talk.ready is not None and not it.talk.running)
        assert "could not be drawn" not in screen(it)
        await pilot.press("g", "i", "j", "l", "g", "l", "j")
        await idle(pilot)


async def test_a_file_is_a_session_of_its_own_and_only_saving_writes_to_it(state: Path, tmp_path: Path) -> None:
    path = tmp_path / "ioi.toml"
    path.write_text("# mine\n" + 'mechtui = 1\nmodel = "gpt2"\nprompt = "By hand"  # words\n')
    text = path.read_text()
    it = app_of(new(load(path), str(path)))
    async with it.run_test(size=SIZE) as pilot:
        await idle(pilot)
        assert "ioi.toml " in screen(it).splitlines()[1]
        assert "ioi.toml •" not in screen(it).splitlines()[1]
        await pilot.press("z")
        await idle(pilot)
        assert "ioi.toml •" in screen(it).splitlines()[1]
        it.sitting.keep()
    it.sitting.keeper.close()
    assert path.read_text() == text
    again = app_of(kept("ioi"))
    async with again.run_test(size=SIZE) as pilot:
        await idle(pilot, lambda: again.sitting.in_file is not None)
        assert "ioi.toml •" in screen(again).splitlines()[1]
        await pilot.press("S")
        await idle(pilot)
        again.line.field.value = str(path)
        await pilot.press("enter")
        await idle(pilot)
        assert "is there already" not in screen(again), "it is this session's own"
        assert "ioi.toml •" not in screen(again).splitlines()[1]
    again.sitting.keeper.close()
    assert path.read_text().startswith('# mine\nmechtui = 1\nmodel = "gpt2"\nprompt = "By hand"  # words\nedits')


async def test_the_default_model_is_named_once_it_is_there(state: Path) -> None:
    it = app_of(new(session(model="")))
    async with it.run_test(size=SIZE) as pilot:
        await idle(pilot, lambda: it.talk.ready is not None and not it.talk.running)
        assert it.session.model == it.ready.name  # type: ignore[union-attr]
        await pilot.press("z", "u", "u")
        await idle(pilot)
        assert "nothing to undo" in screen(it)
        assert not it.talk.loading
    it.sitting.keeper.close()
    assert {each.session.model for each in keeping.listed()} == {it.session.model}


def about(name: str, session: Session, **more: object) -> About:
    fields = {"path": Path(f"{name}.toml"), "when": 100.0, "problem": "", "running": False} | more
    return About(name=name, session=session, **fields)  # type: ignore[arg-type]


def test_the_rows_say_time_model_prompt_and_edits() -> None:
    listed = (
        about("a", session("zero L1H1", "# mean L0H0", model="org/gpt2", prompt="One\ntwo")),
        about("b", session(), running=True),
        about("c", session(), running=True),
    )
    rows = suggestions(listed, "", 160.0, "b")
    assert (rows[0].text, rows[0].note, rows[0].key) == ("a", "gpt2  2 edits, 1 off  One two", "1 min")
    assert rows[1].note.startswith("this one")
    assert rows[2].note.startswith("open in another mechtui")
    assert [row.run for row in rows] == ["a", "b", "c", NEW]
    assert [row.run for row in suggestions(listed, "ONE gpt2", 0, "")] == ["a", NEW]


views = st.sampled_from(panes())
jobs = st.just("") | st.sampled_from([name for name in panes() if specs()[name].renews])


@given(
    st.integers(0, len(built_in()) - 1), st.lists(views, unique=True), views, st.booleans(), st.integers(-40, 40), jobs
)
def test_an_arrangement_is_said_and_found_again(
    workspace: int, recent: list[str], here: str, whole: bool, wider: int, job: str
) -> None:
    recent = [here, *(view for view in recent if view != here)]
    made = Arrangement(workspace, tuple(recent), maximised=here if whole else "", wider=wider, job=job)
    assert arrangement_of(screen_of(made, here, built_in()), built_in()) == (made, here)


def test_what_this_program_has_not_is_left_out() -> None:
    said = Screen("Another", ("nothing", "lens"), guest="nothing", job="nothing")
    assert arrangement_of(said, built_in()) == (Arrangement(recent=("lens",)), "lens")
    assert arrangement_of(Screen("Explain"), built_in())[1] == built_in()[1].main
    assert arrangement_of(None, built_in()) == (Arrangement(), built_in()[0].main)


async def test_a_view_that_has_no_room_any_more_is_brought_to_the_front(state: Path) -> None:
    left(replace(session(), screen=Screen("Look", ("residual",)), focus=Focus(layer=1)), "x")
    it = app_of(kept("x"))
    async with it.run_test(size=(80, 24)) as pilot:
        await idle(pilot)
        assert it.here == "residual"
        assert "residual" in it.board.seen()
        assert it.focus.layer == 1


async def test_as_long_as_the_disk_is_full_typing_goes_on_and_the_sentence_stays(
    state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    it = app_of()
    async with it.run_test(size=SIZE) as pilot:
        await idle(pilot)
        told = asyncio.Event()
        problem = it.sitting.keeper.problem
        it.sitting.keeper.problem = lambda sentence: (problem(sentence), it.in_time(told.set))[1]
        with monkeypatch.context() as patch:

            def full(handle: int) -> None:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

            patch.setattr(os, "fsync", full)
            await pilot.press("i", "x")
            await asyncio.wait_for(told.wait(), 60)
            await pilot.press("y", "z")
            await idle(pilot)
            assert it.session.prompt.endswith("xyz")
            assert "no space left on device" in screen(it)
        assert it.sitting.keeper.now() == ""
        await pilot.press("w")
        await idle(pilot)
        assert "no space left on device" not in screen(it)
    assert "xyz" in load(state / f"{it.sitting.keeper.name}.toml").prompt
