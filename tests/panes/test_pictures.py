"""One picture of every pane, from its view's example: narrow and wide, and where colour says something in 16 colours
and on a light ground, too."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Any

import pytest

from mechtui.app.board import pane_class
from mechtui.views import example_of, specs
from tests.panes.pictures import Holder, pictured

VIEWS = [name for name in specs() if find_spec(f"mechtui.views.{name}.pane")]
SIZES = [(40, 14), (110, 30)]
# Views whose cells are told apart by their colour.
COLOURED = [name for name in ("attention", "attribution", "heads", "lens", "sweep", "tokens") if name in VIEWS]


@pytest.fixture(autouse=True)
def _same_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("COLORTERM", "truecolor")
    monkeypatch.delenv("NO_COLOR", raising=False)


def held(name: str, theme: str = "textual-dark") -> tuple[Holder, Any]:
    """The view's pane in an app of its own, and what gives it its example."""
    app = Holder(pane_class(name)())

    async def run_before(pilot: Any) -> None:
        app.theme = theme
        app.pane.focus()
        app.pane.show(pictured(example_of(name)))
        await pilot.pause()

    return app, run_before


@pytest.mark.parametrize("size", SIZES, ids=lambda size: f"{size[0]}x{size[1]}")
@pytest.mark.parametrize("name", VIEWS)
def test_pane(snap_compare: Any, name: str, size: tuple[int, int]) -> None:
    app, run_before = held(name)
    assert snap_compare(app, terminal_size=size, run_before=run_before)


@pytest.mark.parametrize("theme", ["textual-dark", "textual-light"])
@pytest.mark.parametrize("name", COLOURED)
def test_sixteen_colours(snap_compare: Any, name: str, theme: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm-16color")
    monkeypatch.delenv("COLORTERM")
    app, run_before = held(name, theme)
    assert snap_compare(app, terminal_size=(80, 20), run_before=run_before)


@pytest.mark.parametrize("name", COLOURED)
def test_light(snap_compare: Any, name: str) -> None:
    app, run_before = held(name, "textual-light")
    assert snap_compare(app, terminal_size=(80, 20), run_before=run_before)
