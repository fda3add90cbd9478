"""A job of the app before goes on in the app that finds the model process."""

from __future__ import annotations

from pathlib import Path

import pytest

from mechtui.link.client import Life
from mechtui.link.messages import Ask, Attached, Load
from mechtui.panes.pane import OLDER
from mechtui.session.document import Session
from mechtui.views import Question, parse_question
from mechtui.views.sweep import Sweep
from tests.app.answering import app, idle, session
from tests.app.test_sweep_job import Sweeping, sweeps_asked, text

MEAN = parse_question("sweep mean L*H*").asked()


@pytest.fixture(autouse=True)
def _own_state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))


async def come_back(asked: Ask | None, start: Session, trouble: str = "") -> tuple[list[Sweep], str]:
    """The sweeps that an app asks for by itself when it finds this, and its screen."""
    it, link, model = app(start, model=Sweeping())

    async def attach(load: Load | None = None) -> None:
        link.on_reply(Life("attached", "The model was still in memory.", 7))
        link.on_reply(Attached(7, asked, trouble))

    link.start = attach  # type: ignore[method-assign]
    async with it.run_test(size=(160, 45)) as pilot:
        await idle(pilot)
        return sweeps_asked(model), text(it)


def ask(*questions: Question, of: Session) -> Ask:
    return Ask(57, of, (parse_question("tokens"), *questions))


@pytest.mark.parametrize("question", [Sweep(), MEAN])
async def test_a_sweep_is_taken_up_as_it_was(question: Sweep) -> None:
    start = session("zero L3H1")
    sweeps, shown = await come_back(ask(question, of=start), start)
    assert set(sweeps) == {question}
    assert "The model was still in memory." in shown
    assert "Sweep 35%" in " ".join(shown.split())


@pytest.mark.parametrize(
    "asked",
    [
        None,
        ask(of=session()),
        ask(Sweep(plan=True), of=session()),
        ask(parse_question("generate 20"), of=session()),
        ask(Sweep(), of=session("zero L3H1")),
        ask(Sweep(), of=session(prompt="another")),
    ],
)
async def test_what_is_no_job_or_of_another_session_begins_nothing(asked: Ask | None) -> None:
    sweeps, _ = await come_back(asked, session())
    assert sweeps == []


async def test_trouble_is_told() -> None:
    sentence = "The model process cannot outlive the app: no room."
    _, shown = await come_back(None, session(), sentence)
    assert sentence in shown


async def test_what_a_job_found_stays_as_older_when_an_edit_comes_while_nobody_looks() -> None:
    it, _, _ = app()
    async with it.run_test(size=(160, 45)) as pilot:

        async def press(*keys: str) -> str:
            await pilot.press(*keys)
            await idle(pilot)
            return " ".join(text(it).split())

        await idle(pilot)
        await press("2")
        assert "not run yet" in await press("g", "p")
        found = await press("full_stop")
        assert "not run yet" not in found
        assert OLDER.strip() not in found
        await press("g", "s")
        await press("g", "h", "z")
        again = await press("g", "p")
        assert "not run yet" not in again
        assert OLDER.strip() in again
        await press("full_stop")
        assert OLDER.strip() not in await press("g", "p")
        await press("g", "s")
        await press("i", *"and", "escape")
        assert "not run yet" in await press("g", "p"), "its places were those of another prompt"
