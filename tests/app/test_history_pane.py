"""The history in the app: what the model said is noted, states are marked, and any of them can be gone to."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from mechtui.session.grammar.edits import format_edit
from mechtui.session.told import told
from mechtui.views.history import pane
from tests.app.answering import app, idle, session
from tests.app.test_app import screen


async def test_states_are_noted_marked_and_gone_to():
    it, _, _ = app(session())
    async with it.run_test(size=(120, 40)) as pilot:
        await idle(pilot, lambda: it.talk.ready is not None and not it.talk.running)
        first = it.session
        await pilot.press("g", "h", "z")
        await idle(pilot, lambda: not it.talk.running)
        await pilot.press("u", "m")
        await idle(pilot, lambda: not it.talk.running)
        assert [step.parent for step in it.history.tree.steps.values()] == [None, 0, 0]
        said = [step.logit_diff for step in it.history.tree.steps.values()]
        assert all(each is not None for each in said)
        assert [each.edited is None for each in said] == [True, False, False]
        await pilot.press("g", "u", "up", "m", *"zeroed", "enter")
        await idle(pilot)
        assert it.history.tree.marked("zeroed").number == 1
        assert "zeroed" in screen(it)
        await pilot.press("enter")
        await idle(pilot, lambda: not it.talk.running)
        assert [edit.op for edit in it.session.edits] == ["zero"]
        await pilot.press("g", "u", "home", "enter")
        await idle(pilot, lambda: not it.talk.running)
        assert it.session == first
        # Redo leads to where one stood last.
        await pilot.press("ctrl+r")
        await idle(pilot)
        assert [format_edit(edit).split()[0] for edit in it.session.edits] == ["zero"]
        assert len(it.history.tree.steps) == 3


async def test_a_change_tells_the_list_of_states_only_what_is_new(monkeypatch: pytest.MonkeyPatch):
    it, _, _ = app(session())
    async with it.run_test(size=(120, 40)) as pilot:
        await idle(pilot, lambda: it.talk.ready is not None and not it.talk.running)
        for key in "zmz":
            await pilot.press("g", "h", key)
            await idle(pilot, lambda: not it.talk.running)
        await pilot.press("g", "u")
        await idle(pilot)
        assert len(it.history.tree.steps) == 4
        asked = []
        monkeypatch.setattr(pane, "told", lambda before, after: asked.append(after) or told(before, after))
        it.change(replace(it.session, prompt="Other"))
        await idle(pilot, lambda: not it.talk.running)
        assert asked == [it.session]
        assert "Other" in screen(it)
        # A state that is made anew under its number is told anew.
        tree = it.history.tree
        other = replace(tree.step.session, prompt="Third")
        it.history.tree = tree.put(replace(tree.step, session=other))
        it.repaint()
        await idle(pilot, lambda: not it.talk.running)
        assert asked[1:] == [other]
        assert "Third" in screen(it)


async def test_a_mark_can_be_taken_away_and_words_narrow():
    it, _, _ = app(session())
    async with it.run_test(size=(120, 40)) as pilot:
        await idle(pilot, lambda: it.talk.ready is not None and not it.talk.running)
        await pilot.press("g", "u", "m", "x", "enter")
        await idle(pilot)
        assert it.history.tree.step.mark == "x"
        await pilot.press("m", "backspace", "enter")
        await idle(pilot)
        assert it.history.tree.step.mark == ""
        await pilot.press("w", *"zero", "enter")
        await idle(pilot, lambda: not it.talk.running)
        assert it.session.views == ('history "zero"',)


async def test_a_state_is_set_beside_the_present_one():
    it, _, model = app(session())
    async with it.run_test(size=(120, 40)) as pilot:
        await idle(pilot, lambda: it.talk.ready is not None and not it.talk.running)
        first = it.session
        await pilot.press("g", "h", "z")
        await idle(pilot, lambda: not it.talk.running)
        await pilot.press("g", "u", "x")
        await idle(pilot)
        assert "This is the present state" in screen(it)
        await pilot.press("up", "x")
        await idle(pilot, lambda: not it.talk.running)
        assert it.here == "compare"
        assert it.session.views == ("compare step 0",)
        asked = next(q for q in model.asks[-1].questions if q.line() == "compare step 0")
        assert asked.other == first
