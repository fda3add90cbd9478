"""Parts measured in the app: behind all else, stopped by esc, started again, opened to who made up for one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from msgspec.structs import replace

from mechtui.link.messages import Answered, Ask, Cancel, Finished, Reply
from mechtui.session.document import Session
from mechtui.session.storage import dumps
from mechtui.views import Question
from mechtui.views.attribution import Ablated, Attribution, AttributionAnswer, Components, Repair
from mechtui.views.attribution.example import example
from tests.app.answering import Model, app, idle, session
from tests.app.test_over_cases import text

SIZE = (160, 45)


@pytest.fixture(autouse=True)
def _own_state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))


class Measuring(Model):
    """A model that has measured some parts, and the others when the test lets it."""

    def __init__(self) -> None:
        super().__init__()
        self.known = 10**6

    def answers(self, ask: Ask) -> list[Reply]:
        *replies, end = super().answers(ask)
        parts = [each for each in replies if isinstance(each, Answered) and many(each.question)]
        partial = bool(parts) and self.known < 10**6
        said = [replace(each, partial=True) if partial and each in parts else each for each in replies]
        return said if partial else [*said, end]

    def answer(self, question: Question, session: Session, seed: int) -> Any:
        if not isinstance(question, Attribution):
            return super().answer(question, session, seed)
        made = example().clean
        assert isinstance(made, AttributionAnswer)
        assert isinstance(made.parts, Components)
        if question.site is not None and question.measured:
            heads = np.zeros((12, 12), np.float32)
            heads[9, 9], heads[10, 7] = -2.31, 1.75
            parts = Repair(question.measured, question.here, heads, np.zeros(12, np.float32), 0.0, 0.0, 0.25, -2.31)
            return replace(made, parts=parts, total=-0.31)
        if not question.measured:
            return made
        direct = -np.column_stack([made.parts.heads, made.parts.mlps])
        effect = direct / 2
        effect.reshape(-1)[self.known :] = np.nan
        return replace(made, ablated=Ablated(question.measured, question.here, direct, effect, effect))


def many(question: Question) -> bool:
    return question.many_runs


def asked(model: Model) -> int:
    return sum(many(question) for ask in model.asks for question in ask.questions)


async def test_r_measures_behind_all_else_esc_keeps_what_is_there_and_enter_shows_who_made_up_for_it() -> None:
    model = Measuring()
    model.known = 100
    it, link, _ = app(session(), model)
    async with it.run_test(size=SIZE) as pilot:
        await idle(pilot)
        await pilot.press("g", "d", "r")
        await idle(pilot)
        assert it.session.views == ("attribution measured",)
        assert 'views = ["attribution measured"' in dumps(it.document())
        last = model.asks[-1]
        assert last.questions[-1] == Attribution(measured="zero")
        assert "zeroed 100 of 156" in text(it)
        # A key that is pressed meanwhile is answered, and the rest is asked again behind it.
        await pilot.press("j", "k")
        await idle(pilot)
        assert many(model.asks[-1].questions[-1])
        before = asked(model)
        await pilot.press("escape")
        assert Cancel("ask") in link.sent
        link.reply(Finished(model.asks[-1].generation, 5.0, "cancelled"))
        await idle(pilot)
        await pilot.press("j", "k")
        await idle(pilot)
        assert asked(model) == before, "what was stopped begins again by itself"
        assert "zeroed 100 of 156" in text(it)
        model.known = 10**6
        await pilot.press("full_stop")
        await idle(pilot)
        assert asked(model) == before + 1
        assert "of 156" not in text(it)
        await pilot.press("g", "g", "enter")
        await idle(pilot)
        assert it.session.views == ("attribution L9H9 measured",)
        assert "87% made up" in text(it)
        await pilot.press("backspace")
        await idle(pilot)
        assert it.session.views == ("attribution measured",)
        await pilot.press("u")
        await idle(pilot)
        assert "attribution measured" not in it.session.views
