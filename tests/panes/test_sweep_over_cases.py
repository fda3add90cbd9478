"""A sweep over the cases in its pane: the means as a map, what the cases say of the cursor's cell, who is left out."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from msgspec.structs import replace

from mechtui.evidence import summary
from mechtui.link.messages import Answered
from mechtui.panes.pane import Focus
from mechtui.session.cases import Case
from mechtui.session.changes import CannotError
from mechtui.views import parse_question
from mechtui.views.over import Over
from mechtui.views.sweep import Left, SweepAnswer
from mechtui.views.sweep.pane import SweepPane
from tests.panes.test_sweep import BARE, EXAMPLE, Writing, answered, of, text_of

WITH = replace(BARE, cases="ioi 8")
LINE = "sweep zero L*H* over cases"
CASES = tuple(Case(at + 1, f"prompt {at}", None, " a", " b") for at in range(8))
PROBLEMS = ("",) * 7 + ("a source is needed",)


def each(seed: int) -> np.ndarray:
    values = np.random.default_rng(seed).normal(seed, 0.5, (8, 12, 12)).astype(np.float32)
    values[:, 9, 9] -= 4
    values[7] = np.nan
    return values


def over(seed: int, done: int = 8, estimates: bool = False) -> SweepAnswer:
    values = each(seed)
    values[done:] = np.nan
    means, said = Over.made("ioi 8", CASES, PROBLEMS if done == 8 else ("",) * 8, values, done)
    none = np.full_like(means, np.nan)
    left = None if done == 8 else Left(8 * 144, done * 144, 12.0, 0)
    rows, columns = (tuple(f"{name}{i}" for i in range(12)) for name in "LH")
    return SweepAnswer(
        *(rows, columns, "logit_diff", none if estimates else means, 3.5, None, left),
        means if estimates else None,
        over=said,
    )


def test_the_map_has_the_means_and_the_cursor_what_the_cases_say() -> None:
    picture = answered(of(LINE, session=WITH, focus=Focus(layer=9, head=9)), over(1))
    text = text_of(SweepPane(), picture, 120, 30)
    expected = summary(each(1)[:, 9, 9])
    assert "zero L*H* over ioi 8: change of the logit difference" in text
    interval = f"[{expected.low:+.2f}, {expected.high:+.2f}]"
    assert f"L9H9 {expected.mean:+.2f} {interval}" in text
    assert "100% −" in text
    assert "n 7" in text
    assert "means over 7 of 8 cases, logits; [ ] their 95 % intervals" in text
    assert "1 left out: a source is needed" in text


def test_the_list_has_interval_spread_and_share_beside_the_means() -> None:
    lines = text_of(SweepPane(), answered(of(f"{LINE} list", session=WITH), over(1)), 120, 200).split("\n")
    head = next(line for line in lines if "effect" in line)
    assert all(word in head for word in ("low", "high", "sd", "share", "n"))
    strongest = next(line for line in lines if "L9H9" in line and "─" not in line).split()
    expected = summary(each(1)[:, 9, 9])
    assert f"{expected.low:+.2f}" in strongest
    assert "7" in strongest


def test_cases_come_in_one_by_one_and_a_job_that_was_stopped_says_so() -> None:
    picture = answered(of(LINE, session=WITH), over(1, done=3), partial=True)
    running = text_of(SweepPane(), replace(picture, job=True), 140, 30)
    assert "over ioi 8: change of the logit difference 3 of 8 cases, 12 s left" in running
    assert "means over 3 of 8 cases" in running
    assert "it was stopped; . goes on where it was" in text_of(SweepPane(), picture, 140, 30)


def test_what_is_known_already_stands_there_before_it_is_started() -> None:
    """As after a change that took the answer with it: the model process has kept what the cases said."""
    asked = replace(parse_question(LINE), plan=True)
    part = over(1, done=3)
    text = text_of(
        SweepPane(), replace(of(LINE, session=WITH), answered=(Answered(1, asked, part, None, 1.0),)), 140, 30
    )
    assert "means over 3 of 8 cases" in text
    assert "it was stopped; . goes on where it was" in text
    whole = replace(over(1), left=Left(8, 8, 0.0, 0))
    text = text_of(
        SweepPane(), replace(of(LINE, session=WITH), answered=(Answered(1, asked, whole, None, 1.0),)), 140, 30
    )
    assert "means over 7 of 8 cases" in text
    assert "stopped" not in text


def test_the_difference_is_taken_case_by_case() -> None:
    session = replace(EXAMPLE.session, cases="ioi 8")
    picture = answered(of(f"{LINE} difference", session=session, focus=Focus(layer=2, head=3)), over(1), over(2))
    pane = SweepPane()
    text_of(pane, picture)
    assert float(pane.value()) == pytest.approx(float(np.nanmean(each(2)[:, 2, 3] - each(1)[:, 2, 3])), abs=1e-4)


def test_estimates_over_the_cases_are_pale_and_say_what_they_are() -> None:
    text = text_of(
        SweepPane(), answered(of("sweep zero L*H* estimate over cases", session=WITH), over(1, estimates=True)), 120, 30
    )
    assert "estimated, not measured: gradient times difference" in text
    assert "means over 7 of 8 cases" in text


def test_its_key_asks_for_the_cases_and_for_the_prompt_again() -> None:
    pane = SweepPane()
    picture = of(session=WITH)
    pane.show(picture)
    desk: Any = Writing(WITH)
    pane.do_over_cases(desk)
    assert desk.session.views == (LINE,)
    asked = replace(picture, session=desk.session)
    pane.show(asked)
    assert [question.line() for question in pane.questions(asked)] == [LINE, f"{LINE} plan"]
    pane.do_over_cases(desk)
    assert desk.session.views == (), "the plain line is what the name alone says"
    pane.show(of(session=BARE))
    with pytest.raises(CannotError, match="The session names no cases: :cases ioi 64 makes some"):
        pane.do_over_cases(Writing(BARE))  # type: ignore[arg-type]
    pane.show(of("sweep patch L*.pre", session=WITH))
    pane.do_over_cases(desk)
    assert desk.session.views == ("sweep patch L*.pre over cases",)
    pane.show(of("sweep patch L*.pre @S2 over cases", session=WITH))
    pane.do_over_cases(desk)
    assert desk.session.views == ("sweep patch L*.pre",), "a position of the cases is none of the prompt"


def test_without_cases_it_says_how_to_name_some_and_asks_nothing() -> None:
    pane = SweepPane()
    picture = of(LINE, session=BARE)
    assert ":cases ioi 64 makes some" in " ".join(text_of(pane, picture).split())
    assert pane.questions(picture) == ()


def by_roles(seed: int = 1) -> SweepAnswer:
    """Layers by what the cases name; the strongest at S2 of the third layer."""
    each = np.random.default_rng(seed).normal(0, 0.1, (8, 12, 3)).astype(np.float32)
    each[:, 2, 1] -= 3
    means, said = Over.made("ioi 8", CASES, ("",) * 8, each, 8)
    return SweepAnswer(
        tuple(f"L{row}" for row in range(12)), ("@IO", "@S2", "@end"), "logit_diff", means, 3.5, over=said
    )


def test_positions_of_the_cases_are_walked_by_a_cursor_of_the_panes_own() -> None:
    picture = answered(of("sweep patch L*.pre over cases", session=WITH, focus=Focus(layer=2, position=9)), by_roles())
    pane = SweepPane()
    assert "L2 @IO" in text_of(pane, picture, 120, 30)
    looked: list[Focus] = []
    pane.on_look = looked.append
    pane.move(1, 0)
    text = text_of(pane, picture, 120, 30)
    assert "L2 @S2 -3.0" in text or "L2 @S2 -2.9" in text
    assert not looked, "the screen looks where it did"
    pane.move(1, 1)
    assert [(focus.layer, focus.position) for focus in looked] == [(3, 9)]
    text_of(pane, picture, 120, 30)
    with pytest.raises(CannotError, match="end is a position of cases; an edit names one of this prompt"):
        pane.do_as_edit(Writing(WITH))  # type: ignore[arg-type]
    other = SweepPane()
    other.put_cursor(pane.cursor())
    assert other.cursor() == "2"


def test_it_is_kept_whole_marked_old_and_made_again() -> None:
    question = parse_question("sweep patch L*.pre over cases")
    whole = by_roles()
    assert replace(whole, left=Left(9, 3, 1.0, 0)).kept(question, WITH, True) is None, "a part is of other cases"
    kept = whole.kept(question, WITH, True)
    assert kept is not None
    assert question.remembered(replace(WITH, sweeps=(kept,)), True) is None, "a file of cases may be another by now"
    now = replace(of(question.line(), session=WITH), sweeps=(kept,))
    text = text_of(SweepPane(), now, 120, 30)
    assert "patch L*.pre over ioi 8: change of the logit difference" in text
    assert "old" not in text
    assert "means over 8 of 8 cases".replace("8 of 8", "8") in text
    assert whole.over is not None
    nothing = replace(whole.over, done=0)
    planned = replace(whole, values=np.full_like(whole.values, np.nan), left=Left(288, 0, 12.0, 0), over=nothing)
    other = of(question.line(), session=replace(WITH, cases="ioi 9"))
    text = text_of(SweepPane(), answered(replace(other, sweeps=(kept,)), planned), 120, 30)
    assert "old, made with other cases; . runs it again: 288 runs, about 12 s" in " ".join(text.split())
    file = tuple(replace(case, prompt="another") for case in CASES)
    of_file = replace(planned, over=replace(nothing, cases=file))
    text = text_of(SweepPane(), answered(now, of_file), 120, 30)
    assert "made with other cases" in text, "the file that the line names has been written anew"
