"""What a line of the command leads to: where the keys are afterwards, and what stays of what was written."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
from msgspec.structs import replace

from mechtui.app.actions import ACTIONS, Registry
from mechtui.app.app import Main
from mechtui.app.palette import matches
from mechtui.link.messages import Answered, Ask, EditProblem, Failed, Finished, Load, Reply, Started
from mechtui.panes.pane import Pane
from mechtui.views import Question
from mechtui.views.attribution import Attribution
from mechtui.views.heads import Heads
from tests.app.answering import Model, app, idle, session
from tests.app.test_app import screen

SIZE = (120, 40)
# They leave the terminal or the program.
AWAY = {"suspend", "quit"}


@pytest.fixture(autouse=True)
def _own_state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)


async def test_after_any_action_that_was_called_by_its_words_esc_leads_back_to_the_keys() -> None:
    it, _, _ = app(session("zero L0H0"))
    windows = set()
    async with it.run_test(size=SIZE) as pilot:
        await idle(pilot, lambda: it.talk.ready is not None and not it.talk.running)
        for action in ACTIONS:
            if action.name in AWAY:
                continue
            it.open_line("palette")
            await idle(pilot)
            kind = it.line.kind
            assert kind is not None
            assert kind.do is not None
            # As enter does it with an action's row.
            it.line.close()
            kind.do(action.name)
            await idle(pilot)
            if len(it.screen_stack) > 1:
                windows.add(type(it.screen).__name__)
            for _ in range(2):
                await pilot.press("escape")
                await idle(pilot)
            assert isinstance(it.screen, Main), action.name
            assert not it.typing, action.name
            assert isinstance(it.focused, Pane), action.name
    assert {"Help", "Models"} <= windows


@pytest.mark.parametrize("words", ["help", "model"])
async def test_a_window_that_a_line_opened_leaves_no_text_cursor_behind(words: str) -> None:
    it, _, _ = app()
    async with it.run_test(size=SIZE) as pilot:
        await idle(pilot, lambda: it.talk.ready is not None and not it.talk.running)
        before = it.session
        await pilot.press("colon", *words, "enter")
        await idle(pilot, lambda: len(it.screen_stack) > 1)
        await pilot.press("escape")
        await idle(pilot, lambda: len(it.screen_stack) == 1)
        await pilot.press("x")
        await idle(pilot)
        assert it.session.prompt == before.prompt
        assert "NORMAL" in screen(it)


@pytest.mark.parametrize("place", range(len(ACTIONS)))
def test_an_action_s_whole_name_finds_it_first(place: int) -> None:
    action = ACTIONS[place]
    if action.name == "palette" or Counter(each.title.lower() for each in ACTIONS)[action.title.lower()] > 1:
        pytest.skip("the list has it not, or several of this name")
    assert matches(action.title, Registry().actions)[0].action.name == action.name


# Models that do not come


async def test_a_chosen_model_is_the_session_s_once_it_is_there() -> None:
    it, link, model = app(session("zero L1H1"))
    async with it.run_test(size=SIZE) as pilot:
        await idle(pilot, lambda: it.talk.ready is not None and not it.talk.running)
        link._respond = lambda request: [] if isinstance(request, Load) else model.respond(request)
        await pilot.press("M", *"nope", "enter")
        await idle(pilot)
        assert it.talk.loading is not None
        await pilot.press("z")
        await idle(pilot)
        assert it.session.model == "gpt2"
        loads = [request.model for request in link.sent if isinstance(request, Load)]
        assert loads == ["gpt2", "nope"], "what is done meanwhile loads nothing"
        link.reply(Failed("load", "nope is not on this machine.", model="nope"))
        await idle(pilot, lambda: not it.talk.running)
        assert it.session.model == it.document().model == "gpt2"
        assert "nope is not on this machine." in screen(it)
        await pilot.press("m")
        await idle(pilot, lambda: not it.talk.running)
        assert [request.model for request in link.sent if isinstance(request, Load)] == loads
        assert model.asks[-1].session.model == "gpt2"
        link._respond = model.respond
        await pilot.press("M", *"demo", "enter")
        await idle(pilot, lambda: not it.talk.running)
        assert it.session.model == model.asks[-1].session.model == "demo"
        await pilot.press("u")
        await idle(pilot, lambda: not it.talk.running)
        assert it.session.model == it.ready.name == "gpt2"


async def test_a_session_whose_model_does_not_come_goes_on_with_the_one_that_runs(tmp_path: Path) -> None:
    it, link, model = app(session(model=""))
    async with it.run_test(size=SIZE) as pilot:
        await idle(pilot, lambda: it.talk.ready is not None and not it.talk.running)
        link._respond = lambda request: [] if isinstance(request, Load) else model.respond(request)
        it.open(session("mean L2H2", model="nope"), tmp_path / "nope.toml")
        await idle(pilot)
        link.reply(Failed("load", "nope is not on this machine.", model="nope"))
        await idle(pilot, lambda: not it.talk.running)
        assert it.session.model == "gpt2"
        assert it.session.edits
        assert "nope is not on this machine." in screen(it)
        await pilot.press("z")
        await idle(pilot, lambda: not it.talk.running)
        assert [request.model for request in link.sent if isinstance(request, Load)] == ["", "nope"]


# Targets that are refused


def _explains(question: Question) -> bool:
    return isinstance(question, Attribution) or (isinstance(question, Heads) and question.summary == "attribution")


class Choosy(Model):
    """Refuses an answer or a foil that has a capital Q in it, and attributes nothing without both."""

    def answers(self, ask: Ask) -> list[Reply]:
        refused = [name for name in ("answer", "foil") if "Q" in getattr(ask.session, name)]
        problems = tuple(EditProblem(-1, name, f"{name} is 3 tokens; a target is one token") for name in refused)
        replies: list[Reply] = []
        for each in super().answers(ask):
            if isinstance(each, Started):
                replies.append(Started(ask.generation, problems))
            elif isinstance(each, Answered) and _explains(each.question) and self._lacks(ask, refused):
                said = "attribution explains a logit difference: give the session a foil"
                replies.append(Failed("ask", said, ask.generation, question=each.question, lacks="a foil"))
            else:
                replies.append(each)
        assert isinstance(replies[-1], Finished)
        return replies

    @staticmethod
    def _lacks(ask: Ask, refused: list[str]) -> bool:
        return bool(refused) or bool(ask.session.answer) != bool(ask.session.foil)


@pytest.mark.parametrize("wrong", ["answer", "foil"])
async def test_a_target_that_is_refused_is_taken_back_and_stays_in_the_line(wrong: str) -> None:
    it, _, _ = app(session(), Choosy())
    async with it.run_test(size=SIZE) as pilot:
        await idle(pilot, lambda: it.talk.ready is not None and not it.talk.running)
        await pilot.press("2")
        await idle(pilot, lambda: not it.talk.running)
        before = it.session
        await pilot.press("a", *(["tab"] if wrong == "foil" else []), "end", "Q", "enter")
        await idle(pilot, lambda: it.line.kind is not None and not it.talk.running)
        assert it.session == before
        text = " ".join(screen(it).split())
        assert f"{wrong} is 3 tokens; a target is one token" in text
        assert "explains a logit difference" not in text
        assert "failed" not in text
        field = it.line.other if wrong == "foil" else it.line.field
        assert field.value == getattr(before, wrong) + "Q"
        assert it.focused is field
        # What was wrong is mended where it stands.
        await pilot.press("end", "backspace", "s", "enter")
        await idle(pilot, lambda: not it.talk.running)
        assert getattr(it.session, wrong) == getattr(before, wrong) + "s"
        assert it.line.kind is None


async def test_who_goes_on_after_a_target_is_not_brought_back_to_its_line() -> None:
    it, link, model = app(session(), Choosy())
    async with it.run_test(size=SIZE) as pilot:
        await idle(pilot, lambda: it.talk.ready is not None and not it.talk.running)
        model.mute = True
        await pilot.press("a", "end", "Q", "enter", "z")
        await idle(pilot)
        model.mute = False
        for reply in model.answers(model.asks[-1]):
            link.reply(reply)
        await idle(pilot, lambda: not it.talk.running)
        assert it.line.kind is None
        assert it.session.answer.endswith("Q")
        assert it.session.edits
        assert "answer is 3 tokens; a target is one token" in " ".join(screen(it).split())


async def test_what_lacks_a_target_says_the_key_that_names_it() -> None:
    for keys, key in ((None, "a"), ({"target": "ctrl+t"}, "ctrl+t")):
        it, _, _ = app(replace(session(), foil=""), Choosy(), **({"keys": keys} if keys else {}))
        async with it.run_test(size=SIZE) as pilot:
            await idle(pilot, lambda it=it: it.talk.ready is not None and not it.talk.running)
            it.put(Heads("attribution"))
            await idle(pilot, lambda it=it: not it.talk.running)
            assert f"Heads needs a foil: {key} names the target." in " ".join(screen(it).split())
            assert "failed" not in screen(it)


async def test_two_news_that_come_together_are_both_told() -> None:
    it, link, _ = app()
    async with it.run_test(size=SIZE) as pilot:
        await idle(pilot, lambda: it.talk.ready is not None and not it.talk.running)
        link.reply(Failed("save_vectors", "the first reason"))
        link.reply(Failed("save_vectors", "the second reason"))
        await idle(pilot)
        assert "the first reason" in screen(it)
        assert "the second reason" in screen(it)
