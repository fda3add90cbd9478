"""`:sae`: dictionaries are named, shown, let go and taken back."""

from __future__ import annotations

from pathlib import Path

import pytest
from textual.pilot import Pilot

from mechtui.embedded import DICTIONARIES
from mechtui.link.messages import Answered, Ask, Reply
from mechtui.session.document import Point, Sae
from mechtui.session.grammar.edits import format_edit
from mechtui.views import example_of
from mechtui.views.contexts import Contexts
from mechtui.views.contexts.pane import ContextsPane
from mechtui.views.features import Features, FeaturesAnswer
from tests.app.answering import Model, app, idle
from tests.panes.pictures import shown


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


async def test_the_pane_follows_a_list_whose_answer_comes_last() -> None:
    class Slow(Model):
        """A model that has said all else when it says which features are on."""

        def answers(self, ask: Ask) -> list[Reply]:
            replies = super().answers(ask)
            self.late = [each for each in replies if isinstance(each, Answered) and isinstance(each.question, Features)]
            return [each for each in replies if each not in self.late]

    it, link, model = app(model=Slow())
    async with it.run_test(size=(200, 55)) as pilot:
        await idle(pilot)
        await pilot.press("4", "g", "F")
        await idle(pilot)
        [late] = model.late
        link.reply(late)
        await idle(pilot)
        asked = {question.sae for ask in model.asks for question in ask.questions if isinstance(question, Contexts)}
        assert "res8" in asked


async def test_enter_shows_where_a_feature_fires_and_the_pane_follows_the_cursor() -> None:
    it, _, model = app()

    def of() -> tuple[int, ...]:
        """The features that are asked for."""
        pane = it.pane("contexts")
        assert isinstance(pane, ContextsPane)
        assert pane.picture is not None
        known, *_ = pane.questions(pane.picture)
        assert isinstance(known, Contexts)
        assert any(known in ask.questions for ask in model.asks)
        return known.features

    async with it.run_test(size=(200, 55)) as pilot:
        await idle(pilot)
        await pilot.press("4")
        await idle(pilot)
        assert of() == ()  # beside the neurons it is a list of them
        await pilot.press("g", "F")
        await idle(pilot)
        clean = example_of("features").clean
        assert isinstance(clean, FeaturesAnswer)
        features = clean.features.tolist()
        assert of() == (features[0],)
        await pilot.press("down", "down")
        await idle(pilot)
        assert of() == (features[2],)
        await pilot.press("enter")
        await idle(pilot)
        assert it.here == "contexts"
        assert it.session.views == (f"contexts res8F{features[2]}",)
        assert "‹·river›" in "\n".join(shown(it.pane("contexts")))  # type: ignore[arg-type]
        # Back in the list the pane follows again, and stays there with the keys.
        await pilot.press("g", "F", "down")
        await idle(pilot)
        assert of() == (features[3],)
        await pilot.press("g", "M")
        await idle(pilot)
        assert of() == (features[3],)
        await pilot.press("g", "m")
        await idle(pilot)
        assert of() == (features[2],)  # as its line says
