"""Keys that come in one chunk do what they do one by one."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, example, given, seed, settings
from hypothesis import strategies as st
from textual import events
from textual._xterm_parser import XTermParser
from textual.pilot import Pilot
from textual.widgets import Input

from mechtui.app.app import Mechtui
from mechtui.app.driver import Escapes
from mechtui.app.turns import Turns
from tests.app.answering import app, idle, session

SIZE = (120, 40)
PASTE = "\x1b[200~x y\nz\x1b[201~"
# What a person types, in pieces; none of it depends on when a model answers.
PIECES = [
    *("i", "ab", "X", "\x7f", "\x1b[D", "\x01", " ", PASTE, "\x0b", "o", "a Mary", "\t", "\r"),
    *("z", "u", "\x12", "d", "J", "+", "O", "ge", "gh", "ga", "gc", "g", "3", "1"),
    *("j", "k", "f", "c", "?", "M", "R", "T"),
    *(":undo\r", ":zero L1H2\r", "ezero L3H4\r"),
]  # fmt: skip


@pytest.fixture(autouse=True)
def _own_state(tmp_path_factory, monkeypatch):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path_factory.mktemp("state")))


def heard(text: str) -> list[events.Event]:
    parser, escapes = XTermParser(False), Escapes()
    spelled = escapes.feed(text) + escapes.rest()
    return [event for event in parser.feed(spelled) if isinstance(event, events.Event)] if spelled else []


def state(it: Mechtui) -> tuple[object, ...]:
    """All that a key can change and that a later key depends on."""
    inputs = [(each.value, each.cursor_position) for each in it.screen.query(Input)]
    texts = [(name, editor.text, editor.selection) for name, editor in it.board.editors.items()]
    focused = it.focused.id if it.focused else None
    kind = it.line.kind.label if it.line.kind else None
    where = (type(it.screen).__name__, focused, it.here, it.focus, it.arrangement, it.theme, it.board.writing, kind)
    return (it.session, where, texts, inputs)


async def type_(pilot: Pilot[int], text: str, together: bool) -> None:
    it = pilot.app
    assert isinstance(it, Mechtui)
    assert it._driver is not None
    for event in heard(text):
        it._driver.process_message(event)
        if not together:
            await idle(pilot)
    await idle(pilot)


async def after(text: str, together: bool) -> tuple[object, ...]:
    it, _, _ = app(session("zero L9H9", "scale L1.mlp x2"))
    async with it.run_test(size=SIZE) as pilot:
        await idle(pilot, lambda: it.talk.ready is not None and not it.talk.running)
        await type_(pilot, text, together)
        return state(it)


@seed(11)
@settings(max_examples=25, deadline=None, database=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.sampled_from([*PIECES, "\x1b", "\x1b"]), min_size=2, max_size=14).map("".join))
@example("iabX\x7fc")
@example("i and\x1bz:undo\r")
@example("iabX\x7f" + PASTE + "\x7fc\x1bz")
@example("Mgpt2\x1bz")
@example("?\x1bz")
async def test_a_chunk_does_what_its_keys_do_one_by_one(text: str) -> None:
    assert await after(text, together=True) == await after(text, together=False)


async def test_keys_act_also_where_messages_never_end(monkeypatch):
    monkeypatch.setattr(Turns, "_quiet", lambda turns: False)
    it, _, _ = app()
    async with it.run_test(size=SIZE) as pilot:
        await type_(pilot, "zz", together=True)
        for _ in range(100):
            if not it._turns.empty:
                await pilot.pause(0.05)
        assert it._turns.empty
