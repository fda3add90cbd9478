"""The app on terminals that have no colours, ASCII only, or neither."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from subprocess import CompletedProcess

import pytest
from rich.segment import Segment
from textual._compositor import CompositorUpdate
from textual.screen import Screen
from textual.widgets import TextArea

from mechtui.app import app as app_module
from mechtui.app.app import Mechtui
from mechtui.app.frames import Frame
from mechtui.paint import plain
from mechtui.paint.palette import system
from tests.app.answering import app, idle, session

EDITS = ("zero L9H9 @-1", "# scale L10H7 x0.5")
SIZE = (120, 40)


@pytest.fixture(autouse=True)
def _as_before() -> Iterator[None]:
    yield
    plain.use(False)


def segments(shown: Mechtui) -> list[list[Segment]]:
    return [list(strip) for strip in shown.screen._compositor.render_strips()]


def sent(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What the terminal would be sent."""
    frame, found = Frame(), []

    def display(shown: Mechtui, screen: Screen[object], update: object) -> None:
        if isinstance(update, CompositorUpdate):
            frame.take(update, shown.size, system(shown.depth))
            found.append(frame.changes())

    monkeypatch.setattr(app_module.Mechtui, "_display", display)
    return found


async def test_without_colours_none_is_sent_and_the_cursor_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    found = sent(monkeypatch)
    shown, _, _ = app(session(*EDITS))
    async with shown.run_test(size=SIZE) as pilot:
        await idle(pilot)
        for keys in ("1", "g a", "2", "3", "4", "5", "6", "1", "g h"):
            await pilot.press(*keys.split())
            await idle(pilot)
            pane = shown.pane().region
            title = [part for part in segments(shown)[pane.y] if part.style and part.style.reverse]
            assert title, f"{keys}: the pane that has the keys is marked"
        reversed_ = [part.text for row in segments(shown) for part in row if part.style and part.style.reverse]
        assert any(text.startswith("▸") for text in reversed_), "the cell under the cursor is"
        await pilot.press("i")
        await idle(pilot)
        assert isinstance(shown.focused, TextArea)
        row = segments(shown)[shown.focused.region.y]
        assert [part.text for part in row if part.style and part.style.reverse] == [" "], "and the editor's cursor"
    codes = {code for text in found for code in _codes(text)}
    assert "7" in codes
    assert codes <= set("01234579"), "attributes only"


def _codes(text: str) -> list[str]:
    """Those of SGR."""
    return [code for found in re.findall(r"\x1b\[([\d;]*)m", text) for code in found.split(";") if code]


async def test_with_ascii_only_nothing_else_is_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    found = sent(monkeypatch)
    shown, _, _ = app(
        session(*EDITS, prompt="東京 naïve ~ and\tso", vectors=('v = diff L6.pre "a" "b"',)), signs="ascii"
    )
    async with shown.run_test(size=SIZE) as pilot:
        await idle(pilot)
        rows = ["".join(part.text for part in row) for row in segments(shown)]
        assert any(r"\u6771\u4eac" in row for row in rows), "tokens are spelled out"
        for keys in (
            "1",
            "2",
            "3",
            "4",
            "5",
            "6",
            "g l",
            "g o",
            "f",
            "f",
            "i",
            "escape",
            "a",
            "escape",
            "?",
            "escape",
            "M",
        ):
            await pilot.press(*("question_mark" if key == "?" else key for key in keys.split()))
            await idle(pilot)
            for row in segments(shown):
                text = "".join(part.text for part in row)
                assert text.isascii(), (keys, text)
                assert len(text) == SIZE[0], (keys, text)
    assert all(text.isascii() for text in found)


def test_a_terminal_that_cannot_place_a_cursor_is_refused(
    typed: Callable[..., CompletedProcess[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TERM", "dumb")
    monkeypatch.setattr("os.isatty", lambda stream: True)
    done = typed("--model", "demo")
    assert done.returncode == 2
    assert done.stderr == (
        "mechtui: TERM is dumb, the name of terminals that cannot place a cursor; mechtui run answers on any\n"
    )


def test_the_colours_that_are_sent_are_those_that_were_chosen(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rich takes a terminal that is called xterm-direct for one of sixteen colours."""
    monkeypatch.setenv("TERM", "xterm-direct")
    monkeypatch.delenv("COLORTERM", raising=False)
    monkeypatch.delenv("NO_COLOR", raising=False)
    shown, _, _ = app(session())
    assert system(shown.depth) is not None
    assert system(shown.depth).name == "TRUECOLOR"  # type: ignore[union-attr]
