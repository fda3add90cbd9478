"""The sweep as a job of the app: started by its key, going on while one looks elsewhere, kept whatever is undone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from msgspec.structs import replace

from mechtui.app.app import Mechtui
from mechtui.app.keeping import Keeper
from mechtui.app.opening import new
from mechtui.link.messages import Answered, Ask, Cancel, Finished, Progress, Reply
from mechtui.session import keeping, storage
from mechtui.session.document import Session
from mechtui.session.grammar.edits import format_edit, parse_edit
from mechtui.views import Question
from mechtui.views.sweep import Left, Sweep, SweepAnswer
from tests.app.answering import Model, app, idle, session

SIZE = (160, 45)
TOTAL = 144
CELLS = np.random.default_rng(5).normal(size=(12, 12)).astype(np.float32)


@pytest.fixture(autouse=True)
def _own_state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))


def part(done: int, plan: bool = False) -> SweepAnswer:
    """So many cells, row by row."""
    values = CELLS.copy()
    values.ravel()[done:] = np.nan
    rows, columns = (tuple(f"{name}{i}" for i in range(12)) for name in "LH")
    left = Left(TOTAL, done, 12.0, 9 * 10**7) if plan or done < TOTAL else None
    return SweepAnswer(rows, columns, "logit_diff", values, 6.12, None, left)


class Sweeping(Model):
    """A model whose sweep has some cells at once; the others come when the test lets them."""

    def __init__(self) -> None:
        super().__init__()
        self.done = 50

    def answers(self, ask: Ask) -> list[Reply]:
        swept = [question for question in ask.questions if isinstance(question, Sweep) and not question.plan]
        others = tuple(question for question in ask.questions if question not in swept)
        *replies, end = super().answers(replace(ask, questions=others))
        for question in swept:
            edited = part(self.done) if ask.session.active_edits() else None
            more = self.done < TOTAL
            replies.append(Answered(ask.generation, question, part(self.done), edited, 1.0, more))
            replies.append(Progress(ask.generation, question, self.done / TOTAL))
        return [*replies, end] if self.done == TOTAL or not swept else replies

    def answer(self, question: Question, session: Session, seed: int) -> Any:
        return part(0, plan=True) if isinstance(question, Sweep) else super().answer(question, session, seed)


def text(it: Mechtui) -> str:
    return "\n".join("".join(segment.text for segment in line) for line in it.screen._compositor.render_strips())


def sweeps_asked(model: Model) -> list[Sweep]:
    return [q for ask in model.asks for q in ask.questions if isinstance(q, Sweep) and not q.plan]


async def test_nothing_runs_before_its_key_and_the_plan_stands_there():
    it, _, model = app(model=Sweeping())
    async with it.run_test(size=SIZE) as pilot:
        await idle(pilot)
        await pilot.press("g", "s")
        await idle(pilot)
        assert "144 runs, about 12 s and 90 MB" in " ".join(text(it).split())
        assert sweeps_asked(model) == []
        await pilot.press("full_stop")
        await idle(pilot)
        assert sweeps_asked(model) == [Sweep()]
        assert "50 of 144" in text(it)
        assert "Sweep 35%" in text(it)


async def test_it_goes_on_while_one_looks_elsewhere():
    it, _, model = app(model=Sweeping())
    async with it.run_test(size=SIZE) as pilot:
        await idle(pilot)
        await pilot.press("g", "s", "full_stop")
        await idle(pilot)
        model.done = 100
        await pilot.press("j", "l")
        await idle(pilot)
        await pilot.press("g", "a", "j")
        await idle(pilot)
        assert it.job == "sweep"
        last = model.asks[-1]
        assert last.questions[-1] == Sweep(), "what was asked meanwhile goes first"
        assert len(last.questions) > 1
        model.done = TOTAL
        await pilot.press("g", "h", "j")
        await idle(pilot)
        assert it.job == ""
        await pilot.press("g", "s")
        await idle(pilot)
        assert "logit difference" in text(it)
        assert "of 144" not in text(it)


@pytest.mark.parametrize(
    ("keys", "why"),
    [
        ("gf", "no edit yet has a number to be dosed"),
        ("gx", "no text is named yet"),
        ("gb", "no cases: :cases ioi 64 makes some"),
        ("gQ", "no cases: :cases ioi 64 names some"),
    ],
)
async def test_a_job_that_lacks_something_says_so_and_stops_no_other(keys: str, why: str) -> None:
    it, _, _ = app(model=Sweeping())
    async with it.run_test(size=SIZE) as pilot:
        await idle(pilot)
        await pilot.press("g", "s", "full_stop")
        await idle(pilot)
        await pilot.press(*keys, "full_stop")
        await idle(pilot)
        assert it.job == "sweep"
        assert "Sweep 35%" in text(it)
        assert why in it.said[0]


async def test_esc_keeps_what_is_there_and_the_key_goes_on():
    it, link, model = app(model=Sweeping())
    async with it.run_test(size=SIZE) as pilot:
        await idle(pilot)
        await pilot.press("g", "s", "full_stop")
        await idle(pilot)
        await pilot.press("escape")
        assert Cancel("ask") in link.sent
        link.reply(Finished(model.asks[-1].generation, 5.0, "cancelled"))
        await idle(pilot)
        await pilot.press("j")
        await idle(pilot)
        assert "50 of 144: it was stopped; . goes on where it was" in text(it)
        assert len(sweeps_asked(model)) == 1, "a moved cursor does not start it again"
        model.done = TOTAL
        await pilot.press("full_stop")
        await idle(pilot)
        assert len(sweeps_asked(model)) == 2
        assert "it was stopped" not in text(it)
        assert [each.done for each in it.talk.sweeps] == [TOTAL]
        await pilot.press("full_stop")
        await idle(pilot)
        assert "This sweep has all its cells" in text(it)


async def test_a_line_shows_its_plan_and_starts_nothing():
    model = Sweeping()
    it, _, _ = app(model=model)
    async with it.run_test(size=SIZE) as pilot:
        await idle(pilot)
        await pilot.press("colon", *"sweep", "space", *"mean", "space", "L", "asterisk", "H", "asterisk", "enter")
        await idle(pilot)
        assert it.here == "sweep"
        assert "mean L*H*: 12 layers x 12 heads, 144 runs" in " ".join(text(it).split())
        assert sweeps_asked(model) == []
        await pilot.press("full_stop")
        await idle(pilot)
        assert [question.line() for question in sweeps_asked(model)] == ["sweep mean L*H*"]


async def test_the_keys_act_on_the_strongest_cell_of_a_sweep_that_was_just_made():
    model = Sweeping()
    it, link, _ = app(session(), model)
    best = int(np.nanargmax(np.abs(CELLS)))
    name = f"L{best // 12}H{best % 12}"
    async with it.run_test(size=SIZE) as pilot:
        await idle(pilot, lambda: it.talk.ready is not None and not it.talk.running)
        await pilot.press("g", "s", "full_stop")
        await idle(pilot)
        assert name not in str(it.board.panes["sweep"].border_subtitle), "not before all of it is there"
        model.done = TOTAL
        for reply in model.answers(model.asks[-1]):
            link.reply(reply)
        await idle(pilot, lambda: not it.talk.running)
        assert name in str(it.board.panes["sweep"].border_subtitle)
        await pilot.press("z")
        await idle(pilot, lambda: not it.talk.running)
        assert [format_edit(edit) for edit in it.session.edits] == [f"zero {name}"]
        await pilot.press("u", "g", "s", "j")
        await idle(pilot, lambda: not it.talk.running)
        await pilot.press("z")
        await idle(pilot, lambda: not it.talk.running)
        assert [format_edit(edit) for edit in it.session.edits] != [f"zero {name}"], "one moves from there"


async def made(pilot: Any, model: Sweeping) -> None:
    await idle(pilot)
    model.done = TOTAL
    await pilot.press("g", "s", "full_stop")
    await idle(pilot)


async def test_an_undo_does_not_take_a_sweep_away_and_another_edit_does_not_start_it():
    model = Sweeping()
    it, _, _ = app(model=model)
    async with it.run_test(size=SIZE) as pilot:
        await made(pilot, model)
        await pilot.press("w")
        await idle(pilot)
        assert [edit.op for edit in it.session.edits] == ["zero"]
        assert len(sweeps_asked(model)) == 1
        assert "of the clean run" in text(it)
        await pilot.press("u")
        await idle(pilot)
        assert it.session.edits == ()
        assert "of the clean run" not in text(it)
        await pilot.press("n", "w", "u", "u", "u")
        await idle(pilot)
        assert [each.done for each in it.talk.sweeps] == [TOTAL]
        assert len(sweeps_asked(model)) == 1


async def test_another_line_stops_the_job_and_waits_for_its_own_key():
    model = Sweeping()
    it, _, _ = app(model=model)
    async with it.run_test(size=SIZE) as pilot:
        await idle(pilot)
        await pilot.press("g", "s", "full_stop")
        await idle(pilot)
        await pilot.press("t")
        await idle(pilot)
        assert it.job == "sweep", "how it is shown is no other sweep"
        await pilot.press("s")
        await idle(pilot)
        assert it.job == ""
        assert {question.line() for question in sweeps_asked(model)} == {"sweep zero L*H*"}
        assert "mean L*H*: 12 layers x 12 heads" in text(it)


async def test_a_sweep_is_in_the_file_and_comes_back_from_it(tmp_path: Path):
    model = Sweeping()
    it, _, _ = app(model=model, keeper=Keeper(keeping.Kept()))
    file = tmp_path / "ioi.toml"
    async with it.run_test(size=SIZE) as pilot:
        await made(pilot, model)
        storage.save(it.document(), file)
    it.sitting.keeper.close()
    saved = storage.load(file)
    assert [each.done for each in saved.sweeps] == [TOTAL]
    assert keeping.read(keeping.last()).sweeps == saved.sweeps, "a finished sweep is kept without a further change"
    again, _, other = app(saved, Sweeping())
    async with again.run_test(size=SIZE) as pilot:
        await idle(pilot)
        assert again.session.sweeps == (), "undo and the model process have no use for them"
        await pilot.press("g", "s")
        await idle(pilot)
        assert sweeps_asked(other) == []
        strongest = np.unravel_index(np.abs(CELLS).argmax(), CELLS.shape)
        assert f"L{strongest[0]}H{strongest[1]}" in text(again)
        assert "not run yet" not in text(again)
        assert all(ask.session.sweeps == () for ask in other.asks)


async def test_what_was_swept_of_another_prompt_is_marked_old():
    model = Sweeping()
    it, _, _ = app(model=model)
    async with it.run_test(size=SIZE) as pilot:
        await made(pilot, model)
        it.change(replace(it.session, prompt="Another prompt"))
        await idle(pilot)
        shown = " ".join(text(it).split())
        assert "○ old" in shown
        assert "old, made with another prompt; . runs it again: 144 runs" in shown


async def test_opening_a_session_brings_its_sweeps(tmp_path: Path):
    model = Sweeping()
    it, _, _ = app(model=model)
    async with it.run_test(size=SIZE) as pilot:
        await made(pilot, model)
        other = session(prompt="Another prompt")
        swept = part(TOTAL).kept(Sweep(parse_edit("mean L*H*")), other, True)
        it.open(replace(other, sweeps=(swept,)), tmp_path / "other.toml")
        await idle(pilot)
        assert [format_edit(each.edit) for each in it.talk.sweeps] == ["mean L*H*"]


async def test_an_answer_that_comes_after_another_session_was_opened_is_not_kept_with_it():
    it, link, model = app(model=Sweeping())
    async with it.run_test(size=SIZE) as pilot:
        await idle(pilot)
        await pilot.press("g", "s", "full_stop")
        await idle(pilot)
        asked = model.asks[-1]
        it.sitting.go_on(new(it.session))
        link.on_reply(Answered(asked.generation, Sweep(), part(TOTAL), None, 1.0))
        assert it.talk.sweeps == ()
        assert Cancel("ask") in link.sent, "nobody wants the rest"
        await idle(pilot)
        # It begins anew.
        model.done = TOTAL
        await pilot.press("g", "s", "full_stop")
        await idle(pilot)
        assert model.asks[-1].generation > asked.generation
        assert [each.done for each in it.talk.sweeps] == [TOTAL]
