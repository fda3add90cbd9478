"""A picture of each workspace, on seeded answers, at the sizes that are promised. What panes look like alone stands in
tests/panes/test_pictures.py; what keys, lines and screens do is asserted, not pictured."""

from __future__ import annotations

from typing import Any

import pytest

from mechtui.app.workspaces import built_in
from tests.app.answering import app, idle, session

SIZES = [(80, 24), (120, 40), (200, 55)]
EDITS = ("zero L9H9 @-1", "# scale L10H7 x0", "add L6.pre love-hate x5")
VECTORS = ('love-hate = diff L6.pre "Love" "Hate"',)
NUMBERS = [*range(1, len(built_in()) + 1)]


@pytest.fixture(autouse=True)
def noon(monkeypatch: pytest.MonkeyPatch) -> None:
    """A picture is the same at any time of day."""
    monkeypatch.setattr("mechtui.views.history.pane._when", lambda seconds: "12:00:00")


@pytest.fixture(autouse=True)
def _same_terminal(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("COLORTERM", "truecolor")
    monkeypatch.delenv("NO_COLOR", raising=False)


def shown(number: int, **settings: str) -> tuple[Any, Any]:
    """The app, and what brings it to this workspace."""
    it, _, _ = app(session(*EDITS, vectors=VECTORS), **settings)

    async def run_before(pilot: Any) -> None:
        await idle(pilot)
        await pilot.press(str(number))
        await idle(pilot)

    return it, run_before


@pytest.mark.parametrize("size", SIZES, ids=lambda size: f"{size[0]}x{size[1]}")
@pytest.mark.parametrize("number", NUMBERS)
def test_workspace(snap_compare: Any, number: int, size: tuple[int, int]) -> None:
    it, run_before = shown(number)
    assert snap_compare(it, terminal_size=size, run_before=run_before)


def test_light(snap_compare: Any) -> None:
    it, run_before = shown(1, theme="textual-light")
    assert snap_compare(it, terminal_size=(120, 40), run_before=run_before)


def test_sixteen_colours(snap_compare: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm-16color")
    monkeypatch.delenv("COLORTERM")
    it, run_before = shown(1)
    assert snap_compare(it, terminal_size=(120, 40), run_before=run_before)
