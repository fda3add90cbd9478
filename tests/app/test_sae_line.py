"""`:sae`: dictionaries are named, shown, let go and taken back."""

from __future__ import annotations

from pathlib import Path

import pytest
from textual.pilot import Pilot

from mechtui.embedded import DICTIONARIES
from mechtui.session.document import Point, Sae
from mechtui.session.grammar.edits import format_edit
from mechtui.views.features import Features
from tests.app.answering import app, idle


@pytest.fixture(autouse=True)
def _own_state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))


async def enter(pilot: Pilot[int], line: str) -> None:
    await pilot.press("colon", *line, "enter")
    await idle(pilot)


async def test_a_line_names_one_shows_it_and_lets_it_go() -> None:
    it, _, _ = app()
    async with it.run_test(size=(140, 40)) as pilot:
        await idle(pilot)
        await enter(pilot, "sae a = some/where at L1.post")
        assert it.session.saes == (Sae("a", "some/where", Point(1, "post")),)
        assert it.here == "features"
        assert it.pane("features").picture.question(Features).of == "a"
        await enter(pilot, "sae other/blocks.2.hook_resid_pre")
        assert [sae.name for sae in it.session.saes] == ["a", "res2"]
        await enter(pilot, "sae a none")
        assert [sae.name for sae in it.session.saes] == ["res2"]
        await pilot.press("u")
        await idle(pilot)
        assert [sae.name for sae in it.session.saes] == ["a", "res2"]
        await enter(pilot, "sae b none")
        assert it.line.field.value == "sae b none"  # a mistake stays in the line


async def test_one_that_travels_with_the_model_can_be_edited(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    it, _, _ = app()
    async with it.run_test(size=(140, 40)) as pilot:
        await idle(pilot, lambda: it.talk.ready is not None)
        monkeypatch.setitem(DICTIONARIES, it.talk.ready.name, {"mine": tmp_path})
        await enter(pilot, "zero mineF0")
        assert [format_edit(edit) for edit in it.session.edits] == ["zero mineF0"]
