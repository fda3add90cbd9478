"""The ranked list of heads in the app: two keys lead to it, marks are edited together, words narrow it."""

from __future__ import annotations

from mechtui.session.grammar.edits import format_edit
from mechtui.views.attention import Attention
from mechtui.views.scores.example import REPEAT
from tests.app.answering import app, idle, session
from tests.app.test_app import screen
from tests.panes.pictures import shown


async def test_two_keys_from_the_start_name_the_strongest_and_enter_shows_its_attention():
    it, _, model = app(session())
    async with it.run_test(size=(120, 40)) as pilot:
        await idle(pilot, lambda: it.talk.ready is not None and not it.talk.running)
        await pilot.press("g", "i")
        await idle(pilot, lambda: not it.talk.running)
        rows = [row.split() for row in shown(it.board.panes["scores"])]
        names = [row[0] for row in rows if row and row[0].startswith("L")]
        assert names[:3] == ["L5H5", "L6H9", "L5H1"]
        await pilot.press("enter")
        await idle(pilot, lambda: not it.talk.running)
        assert (it.focus.layer, it.focus.head, it.here) == (5, 5, "attention")
        assert any(isinstance(q, Attention) and (q.layer, q.head) == (5, 5) for q in model.asks[-1].questions)
        await pilot.press("backspace")
        await idle(pilot)
        assert it.here == "scores"


async def test_marked_heads_are_edited_together_and_one_undo_takes_all_back():
    it, _, _ = app(session())
    async with it.run_test(size=(120, 40)) as pilot:
        await idle(pilot, lambda: it.talk.ready is not None and not it.talk.running)
        await pilot.press("g", "i", "H", "H", "s", "z")
        await idle(pilot, lambda: not it.talk.running)
        assert [format_edit(edit) for edit in it.session.edits] == ["zero L5H5", "zero L6H9"]
        assert it.session.views == ("scores previous",)
        await pilot.press("u")
        await idle(pilot)
        assert it.session.edits == ()
        assert it.session.views == ("scores previous",)


async def test_words_narrow_the_list_and_a_repeat_becomes_the_prompt():
    it, _, _ = app(session())
    async with it.run_test(size=(120, 40)) as pilot:
        await idle(pilot, lambda: it.talk.ready is not None and not it.talk.running)
        await pilot.press("g", "i", "w", *"prev", "enter")
        await idle(pilot, lambda: not it.talk.running)
        assert it.session.views == ('scores "prev"',)
        assert "L4H11" in screen(it)
        assert "2 heads" in screen(it)
        await pilot.press("w", "backspace", "enter")
        await idle(pilot, lambda: not it.talk.running)
        assert "144 heads" in screen(it)
        await pilot.press("r")
        await idle(pilot, lambda: not it.talk.running)
        assert it.session.prompt == REPEAT
        await pilot.press("u")
        await idle(pilot, lambda: not it.talk.running)
        assert it.session.prompt == session().prompt
