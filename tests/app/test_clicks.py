"""What a click does where it is not only a look: boxes of edits, rows above the command line, models."""

from __future__ import annotations

from pathlib import Path

import pytest
from textual.pilot import Pilot

from mechtui.app.app import Mechtui
from mechtui.app.help import Help
from mechtui.app.line import Rows
from mechtui.app.models import Models
from mechtui.views import specs
from tests.app.answering import app, idle, session
from tests.app.test_app import edits, screen

SIZE = (120, 40)


@pytest.fixture(autouse=True)
def _own_state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))


async def click(it: Mechtui, pilot: Pilot[int], text: str, at: int = 0) -> None:
    """Click on the lowest place of a text on the screen, `at` cells further."""
    rows = screen(it).splitlines()
    y = max(y for y, row in enumerate(rows) if text in row)
    await pilot.click(offset=(rows[y].index(text) + at, y))
    await idle(pilot)


async def test_a_click_on_an_edit_s_box_toggles_it_and_one_beside_it_chooses_it() -> None:
    it, _, _ = app(session("zero L1H1", "zero L2H2", "zero L3H3"))
    async with it.run_test(size=SIZE) as pilot:
        await idle(pilot, lambda: it.talk.ready is not None and not it.talk.running)
        await click(it, pilot, "[x] zero L2H2", 1)
        assert edits(it) == ["zero L1H1", "# zero L2H2", "zero L3H3"]
        assert it.focus.edit == 1
        await click(it, pilot, "[ ] zero L2H2", 0)
        assert edits(it) == ["zero L1H1", "zero L2H2", "zero L3H3"]
        await click(it, pilot, "zero L3H3", 2)
        assert (edits(it), it.focus.edit) == (["zero L1H1", "zero L2H2", "zero L3H3"], 2)


async def test_a_click_on_a_vector_chooses_it() -> None:
    it, _, _ = app(session(vectors=('love = diff L6.pre "Love" "Hate"', 'paris = token " Paris"')))
    async with it.run_test(size=SIZE) as pilot:
        await idle(pilot, lambda: it.talk.ready is not None and not it.talk.running)
        await click(it, pilot, "paris token")
        assert (it.focus.vector, it.here) == (1, "vectors")


async def test_a_click_on_a_row_above_the_line_takes_it() -> None:
    it, _, _ = app(session("zero L1H1"))
    async with it.run_test(size=SIZE) as pilot:
        await idle(pilot, lambda: it.talk.ready is not None and not it.talk.running)
        await pilot.press("e", *"sc")
        await idle(pilot)
        await click(it, pilot, "times a number")
        assert it.line.field.value == "scale "
        assert it.focused is it.line.field, "one goes on typing"
        await pilot.press("escape", "colon", *"all off")
        await idle(pilot)
        await click(it, pilot, "Switch all edits off")
        assert edits(it) == ["# zero L1H1"]
        assert it.line.kind is None


async def test_a_click_on_a_row_that_was_scrolled_to_takes_that_one() -> None:
    it, _, _ = app()
    async with it.run_test(size=SIZE) as pilot:
        await idle(pilot)
        await pilot.press("e", *["down"] * 9)
        await idle(pilot)
        await pilot.click(it.line.query_one(Rows), offset=(5, 0))
        await idle(pilot)
        assert it.line.field.value == "mean ", "the second of ten stands at the top"


async def test_a_click_on_a_model_loads_it() -> None:
    it, _, _ = app()
    async with it.run_test(size=SIZE) as pilot:
        await idle(pilot, lambda: it.talk.ready is not None and not it.talk.running)
        await pilot.press("M")
        await idle(pilot)
        assert isinstance(it.screen, Models)
        await click(it, pilot, "demo", 1)
        assert not isinstance(it.screen, Models)
        assert it.session.model == "demo"


async def test_a_click_on_the_footer_does_what_stands_there() -> None:
    it, _, _ = app()
    async with it.run_test(size=SIZE) as pilot:
        await idle(pilot, lambda: it.talk.ready is not None and not it.talk.running)
        await click(it, pilot, "z zero", 2)
        assert edits(it) == ["zero L0H0"]
        await click(it, pilot, " z zero", 1)
        assert edits(it) == []
        await click(it, pilot, ": command", 4)
        assert it.line.kind is not None
        await pilot.press("escape")
        await idle(pilot)
        await click(it, pilot, "? help")
        assert isinstance(it.screen, Help)


async def test_a_click_on_a_column_s_head_sorts_by_it() -> None:
    it, _, _ = app(session())
    async with it.run_test(size=SIZE) as pilot:
        await idle(pilot, lambda: it.talk.ready is not None and not it.talk.running)
        await pilot.press("g", "i", "f")
        await idle(pilot, lambda: not it.talk.running)
        await click(it, pilot, "attribution", 2)
        assert it.session.views == ("scores attribution",)
        await click(it, pilot, "▾attribution", 2)
        assert it.session.views == ("scores attribution up",)
        await click(it, pilot, " head  ", 2)
        assert it.session.views == ("scores head",)


@pytest.mark.parametrize("size", [(60, 18), (80, 24), (100, 30), (120, 40)])
async def test_every_hidden_view_has_its_letter_or_name_on_a_border_and_a_click_calls_it(size: tuple[int, int]) -> None:
    it, _, _ = app(session())
    async with it.run_test(size=size) as pilot:
        await idle(pilot, lambda: it.talk.ready is not None and not it.talk.running)
        seen = it.board.seen()
        hidden = [view for name in seen for view in it.board.sharing(name) if view not in seen]
        assert hidden
        for view in hidden:
            await pilot.press("1")
            await idle(pilot)
            front = next(name for name in it.board.seen() if view in it.board.sharing(name))
            first, end = it.board.panes[front]._tab_cells[view]
            region = it.board.panes[front].region
            row = screen(it).splitlines()[region.y]
            said = row[region.x + first : region.x + end]
            title, letter = specs()[view].title, specs()[view].go
            assert said.startswith((letter, title[:3]))
            await pilot.click(offset=(region.x + first, region.y))
            await idle(pilot)
            assert view in it.board.seen()
            assert it.here == view


async def test_a_small_window_names_what_it_hides() -> None:
    it, _, _ = app(session())
    async with it.run_test(size=(80, 24)) as pilot:
        await idle(pilot, lambda: it.talk.ready is not None and not it.talk.running)
        border = next(row for row in screen(it).splitlines() if "─ Attention" in row)
        assert all(name in border for name in (" Hea", " i:Hea", " Res", " o:Los", " Len", " Nex", " Edi", " Vec"))
        assert "…" not in border
