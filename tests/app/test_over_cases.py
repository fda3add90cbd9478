"""Cases in the app: named by a line, asked behind all else, beside every logit difference, opened and undone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from msgspec.structs import replace

from mechtui.app.app import Mechtui
from mechtui.evidence import Summary, summary
from mechtui.link.messages import Answered, Ask, Cancel, Failed, Finished, Reply
from mechtui.session.document import Session
from mechtui.session.grammar.edits import format_edit
from mechtui.session.storage import dumps
from mechtui.views import Question
from mechtui.views.cases import Alone, Cases, CasesAnswer
from mechtui.views.cases.example import COUNT, example
from mechtui.views.faithfulness import Faithfulness, Part
from tests.app.answering import PROMPT, Model, app, idle, session

SIZE = (160, 45)
LINE = "ioi 24"
OTHER = Summary(22, -0.71, -0.9, -0.5, 0.4, 0.95)


@pytest.fixture(autouse=True)
def _own_state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))


def part(session: Session, edited: bool, known: int) -> CasesAnswer:
    """The example's numbers of so many cases."""
    made = example()
    clean, other = made.clean, made.edited
    assert isinstance(clean, CasesAnswer)
    assert isinstance(other, CasesAnswer)
    answer = other if edited else clean
    values, effect = answer.logit_diff.copy(), answer.effect.copy()
    values[known:] = np.nan
    effect[known:] = np.nan
    change = summary(effect) if edited else None
    edits = () if edited else session.edits
    alone = tuple(Alone(format_edit(replace(each, on=True)), OTHER) for each in edits)
    return replace(
        answer,
        of=session.cases,
        logit_diff=values,
        effect=effect,
        over=summary(values),
        change=change,
        alone=alone,
        left=COUNT - known,
    )


class Behind(Model):
    """A model that has measured some cases, and the others when the test lets it."""

    def __init__(self) -> None:
        super().__init__()
        self.known = COUNT
        self.refuses = ""

    def answers(self, ask: Ask) -> list[Reply]:
        over = [question for question in ask.questions if isinstance(question, Cases)]
        others = tuple(question for question in ask.questions if question not in over)
        *replies, end = super().answers(replace(ask, questions=others))
        for question in over:
            if self.refuses:
                replies.append(Failed("ask", self.refuses, ask.generation, question=question))
                continue
            clean, edited = (part(ask.session, run, self.known) for run in (False, True))
            more = self.known < COUNT
            other = edited if ask.session.active_edits() else None
            replies.append(Answered(ask.generation, question, clean, other, 1.0, more))
        return replies if over and self.known < COUNT and not self.refuses else [*replies, end]

    def answer(self, question: Question, session: Session, seed: int) -> Any:
        assert not isinstance(question, Cases)
        return super().answer(question, session, seed)


def text(it: Mechtui) -> str:
    return "\n".join("".join(segment.text for segment in line) for line in it.screen._compositor.render_strips())


def asked(model: Model) -> int:
    return sum(isinstance(question, Cases) for ask in model.asks for question in ask.questions)


async def test_a_line_names_cases_and_the_rail_judges_by_them() -> None:
    it, _, model = app(session("zero L9H9"), Behind())
    async with it.run_test(size=SIZE) as pilot:
        await idle(pilot)
        assert "over the cases" not in text(it)
        assert asked(model) == 0
        await pilot.press("colon", *f"cases {LINE}", "enter")
        await idle(pilot)
        assert it.session.cases == LINE
        assert it.here == "cases"
        answer = example().edited
        assert isinstance(answer, CasesAnswer)
        assert answer.change is not None
        shown = " ".join(text(it).split())
        for over, n in ((answer.over, 23), (answer.change, 23)):
            assert f"{over.mean:+.2f} [{over.low:+.2f}, {over.high:+.2f}]" in shown
            assert f"n {n}" in shown
        assert "n 24" in shown
        assert "over the cases -0.71 [-0.90, -0.50]" in shown
        assert "n 22" in shown
        # It is in the document, and undo takes it back.
        assert f'cases = "{LINE}"' in dumps(it.document())
        await pilot.press("u")
        await idle(pilot)
        assert it.session.cases == ""
        assert "over the cases" not in text(it)


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("cases iox 5", "did you mean ioi?"),
        ("cases ioi 5 6", "a count stands there already"),
        ("cases notes.txt", "should end in .jsonl or .csv"),
    ],
)
async def test_a_mistake_stays_in_the_line(line: str, said: str) -> None:
    it, _, _ = app(session(cases=LINE), Behind())
    async with it.run_test(size=SIZE) as pilot:
        await idle(pilot)
        await pilot.press("colon", *line, "enter")
        await idle(pilot)
        assert said in " ".join(text(it).split())
        assert it.line.field.value == line
        assert it.session.cases == LINE


async def test_no_key_waits_for_cases_and_esc_keeps_what_is_there() -> None:
    """They are asked last of all; what is typed meanwhile is answered, and they are asked again behind it."""
    it, link, model = app(session("zero L9H9", cases=LINE), Behind())
    model.known = 10
    async with it.run_test(size=SIZE) as pilot:
        await idle(pilot)
        assert "14 runs to come" in text(it)
        assert "n 10" in text(it)
        await pilot.press("j", "l", "z")
        await idle(pilot)
        last = model.asks[-1]
        assert isinstance(last.questions[-1], Cases)
        assert len(last.questions) > 1
        assert len(it.session.edits) == 2
        before = asked(model)
        await pilot.press("escape")
        assert Cancel("ask") in link.sent
        link.reply(Finished(last.generation, 5.0, "cancelled"))
        await idle(pilot)
        await pilot.press("j", "right_square_bracket")
        await idle(pilot)
        assert asked(model) == before, "what was stopped begins again by itself"
        assert "n 10" in text(it)
        model.known = COUNT
        await pilot.press("g", "b", "full_stop")
        await idle(pilot)
        assert asked(model) == before + 1
        assert "runs to come" not in text(it)


async def test_enter_opens_a_case_with_all_its_texts() -> None:
    it, _, _ = app(session("zero L9H9", cases=LINE), Behind())
    async with it.run_test(size=SIZE) as pilot:
        await idle(pilot)
        await pilot.press("g", "b", "j", "enter")
        await idle(pilot)
        case = example().clean.cases[1]  # type: ignore[attr-defined]
        now = it.session
        assert (now.prompt, now.source, now.answer, now.foil) == (case.prompt, case.source, case.answer, case.foil)
        assert (now.cases, len(now.edits)) == (LINE, 1)
        await pilot.press("u")
        await idle(pilot)
        assert it.session.prompt == PROMPT
        # Sorted by the effect, the strongest is the first.
        await pilot.press("l", "l", "o")
        await idle(pilot)
        assert it.session.views == ("cases effect",)
        await pilot.press("home", "enter")
        await idle(pilot)
        answer = example().edited
        assert isinstance(answer, CasesAnswer)
        strongest = int(np.nanargmax(np.abs(answer.effect)))
        assert it.session.prompt == answer.cases[strongest].prompt


async def test_why_there_are_none_stands_where_they_would() -> None:
    it, _, model = app(session(cases="greater-than 32"), Behind())
    model.refuses = "cases: the tokenizer of gpt2 cannot make them"
    async with it.run_test(size=SIZE) as pilot:
        await idle(pilot)
        assert "✗ cases: the tokenizer of gpt2" in text(it)
        assert "Next token" in text(it)


async def test_heads_go_in_and_out_of_a_circuit_and_its_job_follows() -> None:
    it, _, model = app(session(cases=LINE), Behind())
    async with it.run_test(size=SIZE) as pilot:
        await idle(pilot)
        await pilot.press("g", "Q", "w")
        await idle(pilot)
        assert it.session.views == ("faithfulness L0H0",)
        assert not any(isinstance(each, Faithfulness) for ask in model.asks for each in ask.questions)
        assert "not started" in text(it)
        await pilot.press("full_stop")
        await idle(pilot)
        assert "0.82 [0.76, 0.88] n 64" in text(it)
        it.look(replace(it.focus, layer=9, head=9))
        await pilot.press("w")
        await idle(pilot)
        kept = (Part(0, 0), Part(9, 9))
        assert it.picture.question(Faithfulness).kept == kept
        assert model.asks[-1].questions[-1] == Faithfulness(kept)
        await pilot.press("x")
        await idle(pilot)
        assert it.session.views == ("faithfulness L9H9",)
