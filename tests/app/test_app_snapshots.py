"""The whole screen, pictured: on seeded answers, at the sizes that are promised."""

from __future__ import annotations

import pytest

from mechtui.link.messages import Stage
from tests.app.answering import app, idle, session

SIZES = [(120, 40), (80, 24)]
EDITS = ("zero L9H9 @-1", "# scale L10H7 x0", "add L6.pre love-hate x5")
VECTORS = ('love-hate = diff L6.pre "Love" "Hate"',)


@pytest.fixture(autouse=True)
def _same_terminal(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("COLORTERM", "truecolor")
    monkeypatch.delenv("NO_COLOR", raising=False)


def pressed(*keys):
    async def run_before(pilot):
        await idle(pilot)
        await pilot.press(*keys)
        await idle(pilot)

    return run_before


@pytest.mark.parametrize("size", SIZES, ids=lambda size: f"{size[0]}x{size[1]}")
@pytest.mark.parametrize(
    "keys",
    [
        ("g", "h", "j", "l"),
        ("g", "a", "l", "x"),
        ("full_stop",),
        ("colon",),
        ("e", "z", "e", "r", "o", "space", "L", "x", "enter"),
    ],
    ids=["heads", "cut", "generate", "palette", "mistake"],
)
def test_screen(snap_compare, size, keys):
    it, _, _ = app(session(*EDITS, vectors=VECTORS))
    assert snap_compare(it, terminal_size=size, run_before=pressed(*keys))


def test_help(snap_compare):
    it, _, _ = app()
    assert snap_compare(it, terminal_size=(120, 40), run_before=pressed("g", "a", "question_mark"))


def test_loading(snap_compare):
    it, link, _ = app()
    link._respond = None
    it.talk._now = lambda: 3.2

    async def run_before(pilot):
        await idle(pilot)
        link.reply(Stage("load", "reading weights", 0.43, "231 of 548 MB"))
        await idle(pilot)

    assert snap_compare(it, terminal_size=(120, 40), run_before=run_before)


def test_no_colour(snap_compare, monkeypatch):
    monkeypatch.setenv("NO_COLOR", "1")
    it, _, _ = app(session(*EDITS, vectors=VECTORS))
    assert snap_compare(it, terminal_size=(120, 40), run_before=pressed("g", "h"))
