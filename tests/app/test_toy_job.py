"""A toy model's training goes on whatever is done to the session, since nothing of it plays a part."""

from __future__ import annotations

from msgspec.structs import replace

from mechtui.link.messages import Answered, Ask, Reply
from mechtui.session.grammar.edits import parse_edit
from mechtui.views.toy import Toy, ToyAnswer
from mechtui.views.toy.example import example
from tests.app.answering import Model, app, idle


class Training(Model):
    """A model process that has made so many steps of a toy, of 2,000."""

    step = 400

    def answers(self, ask: Ask) -> list[Reply]:
        toys = [question for question in ask.questions if isinstance(question, Toy)]
        others = tuple(question for question in ask.questions if question not in toys)
        *replies, end = super().answers(replace(ask, questions=others))
        answer = example().clean
        assert isinstance(answer, ToyAnswer)
        more = self.step < answer.steps
        parts = [Answered(ask.generation, each, replace(answer, step=self.step), None, 1.0, more) for each in toys]
        return [*replies, *parts] if more and toys else [*replies, *parts, end]


async def test_it_goes_on_through_edits_and_prompts_and_is_kept_when_it_is_stopped() -> None:
    it, _, model = app(model=Training())
    assert isinstance(model, Training)
    async with it.run_test(size=(120, 40)) as pilot:
        await idle(pilot)
        await pilot.press("g", "T", "full_stop")
        await idle(pilot, lambda: it.job == "toy")
        model.step = 800
        it.change(replace(it.session, edits=(parse_edit("zero L9H9"),)))
        await idle(pilot)
        assert it.job == "toy"
        assert any(isinstance(question, Toy) for question in model.asks[-1].questions)
        assert "step 800 of" in str(it.pane("toy").border_title)
        await pilot.press("escape")
        await idle(pilot)
        assert it.job == ""
        it.change(replace(it.session, prompt="Other words"))
        await idle(pilot)
        assert not any(isinstance(question, Toy) for question in model.asks[-1].questions)
        assert "step 800 of" in str(it.pane("toy").border_title)
        model.step = 2000
        await pilot.press("full_stop")
        await idle(pilot, lambda: it.job == "")
        assert "step" not in str(it.pane("toy").border_title)
