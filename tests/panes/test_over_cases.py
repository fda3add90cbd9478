"""Heads and dose over the cases in their panes: means, and what the cases say of the number under the cursor."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
from msgspec.structs import replace
from textual.strip import Strip

from mechtui.evidence import summary
from mechtui.link.messages import Answered
from mechtui.panes.pane import Focus, Pane, Picture
from mechtui.session.cases import Case
from mechtui.session.changes import CannotError
from mechtui.session.document import Session, Token
from mechtui.session.grammar.words import LineError
from mechtui.views import cost_of, example_of, parse_question, put
from mechtui.views.attribution import Attribution, AttributionAnswer, Components
from mechtui.views.attribution.pane import AttributionPane
from mechtui.views.dose import Dose, DoseAnswer
from mechtui.views.dose.pane import DosePane
from mechtui.views.heads import Heads, HeadsAnswer
from mechtui.views.heads.pane import HeadsPane
from mechtui.views.over import Over
from mechtui.views.spec import Cost
from tests.panes.pictures import pictured

CASES = tuple(Case(at + 1, f"prompt {at}", None, " a", " b") for at in range(6))
PROBLEMS = ("",) * 5 + ("it is too long",)


def made(seed: int, *size: int, done: int = 6) -> tuple[np.ndarray, np.ndarray, Over]:
    """The cases' numbers, their means, and the rest."""
    each = np.random.default_rng(seed).normal(2, 1, (6, *size)).astype(np.float32)
    each[5] = np.nan
    each[done:] = np.nan
    return each, *Over.made("ioi 6", CASES, PROBLEMS if done == 6 else ("",) * 6, each, done)


def picture(line: str, clean: object, edited: object = None, session: Session | None = None) -> Picture:
    example = example_of(line.split(maxsplit=1)[0])
    question = parse_question(line)
    session = put(replace(example.session, cases="ioi 6", sweeps=()) if session is None else session, question)
    answered = () if clean is None else (Answered(1, question.asked(), clean, edited, 1.0),)  # type: ignore[arg-type]
    return replace(pictured(example), session=session, answered=answered, focus=Focus(layer=3, head=4))


def text_of(pane: Pane, shown: Picture, width: int = 120, height: int = 34) -> str:
    pane.show(shown)
    page = pane.draw(shown, width, height)
    lines = [*page.head(0), *(page.row(i, 0) for i in range(page.rows)), *page.foot]
    return "\n".join([page.title, *(Strip(line).text for line in lines), "".join(text for text, _ in page.legend)])


def heads(seed: int, done: int = 6) -> HeadsAnswer:
    _, means, over = made(seed, 12, 12, done=done)
    return HeadsAnswer("attribution", -1, means, over)


def test_heads_over_the_cases_say_how_sure_a_head_is() -> None:
    text = text_of(HeadsPane(), picture("heads attribution clean over cases", heads(1), heads(2)))
    expected = summary(made(1, 12, 12)[0][:, 3, 4])
    assert f"L3H4 {expected.mean:+.2f} [{expected.low:+.2f}, {expected.high:+.2f}]" in text
    assert "n 5" in text
    assert "attribution clean over ioi 6" in text
    assert "1 left out: it is too long" in text
    part = text_of(HeadsPane(), picture("heads attribution over cases", heads(1, 2), heads(2, 2)))
    assert "over ioi 6, 2 of 6 cases" in part


def test_the_heads_difference_is_taken_case_by_case() -> None:
    pane = HeadsPane()
    text_of(pane, picture("heads attribution difference over cases", heads(1), heads(2)))
    expected = np.nanmean(made(2, 12, 12)[0] - made(1, 12, 12)[0], axis=0)[3, 4]
    assert float(pane.value()) == pytest.approx(float(expected), abs=1e-4)
    text = text_of(pane, picture("heads attribution difference over cases", heads(1, 2), heads(2, 2)))
    assert "once all cases are there" in " ".join(text.split())


def ledger(seed: int, done: int = 6) -> AttributionAnswer:
    _, means, over = made(seed, 12 * 12 + 12 + 5, done=done)
    rest = dict(zip(("embed", "pos", "bias", "edits"), map(float, means[-5:-1]), strict=True))
    parts = Components(means[:144].reshape(12, 12), means[144:156], **rest)
    return AttributionAnswer(
        *(-1, Token(-1, "answer"), Token(-1, "foil"), False, parts, float(means[-1]), 1e-3), over=over
    )


def test_a_line_of_the_ledger_has_its_interval_below_it() -> None:
    shown = picture("attribution clean over cases", ledger(1), ledger(2))
    text = text_of(AttributionPane(), shown)
    expected = summary(made(1, 161)[0][:, 3 * 12 + 4])
    assert f"L3H4 {expected.mean:+.2f} [{expected.low:+.2f}, {expected.high:+.2f}]" in text
    assert "answer − foil @-1 clean over ioi 6" in text
    pane = AttributionPane()
    differing = text_of(pane, picture("attribution difference over cases", ledger(1), ledger(2)))
    change = summary((made(2, 161)[0] - made(1, 161)[0])[:, 3 * 12 + 4])
    assert f"L3H4 {change.mean:+.2f} [{change.low:+.2f}, {change.high:+.2f}]" in differing
    part = text_of(pane, picture("attribution over cases", ledger(1, 2), ledger(2, 2)))
    assert "over ioi 6, 2 of 6 cases" in part
    assert pane.questions(shown) == (parse_question("attribution over cases"),)


def test_a_token_is_looked_at_from_the_end_of_every_case() -> None:
    shown = replace(picture("heads norm over cases", None), focus=Focus(position=3))
    count = len(example_of("heads").tokens)
    assert shown.question(Heads).line() == f"heads norm @{3 - count} over cases"
    assert shown.question(Attribution).position == 3, "of the prompt alone it is the token itself"
    assert replace(shown, focus=Focus(position=-1)).question(Heads).line() == "heads norm over cases"


def test_nothing_is_measured_of_the_ledger_over_the_cases() -> None:
    pane = AttributionPane()
    text_of(pane, picture("attribution over cases", ledger(1), ledger(2)))
    for key in (pane.do_measure, pane.do_measure_here):
        with pytest.raises(CannotError, match="sweep zero L\\*H\\* over cases says what zeroing"):
            key(None)  # type: ignore[arg-type]


def test_a_curve_over_the_cases_has_its_interval() -> None:
    numbers = (0.0, 0.5, 1.0)
    each, means, over = made(3, 1, 3)
    none = np.full((1, 3), np.nan, dtype=np.float32)
    answer = DoseAnswer("scale L3H4", numbers, (-1,), means, means, none, none, (((), (), ()),), 1.5, 6, 6, over)
    text = text_of(DosePane(), picture("dose scale L3H4 0..1 step0.5 over cases", answer))
    expected = summary(each[:, 0, 2])
    assert f"x1 {expected.mean:+.2f} [{expected.low:+.2f}, {expected.high:+.2f}]" in text
    pane = DosePane()
    text_of(pane, picture("dose scale L3H4 0..1 step0.5 over cases", answer))
    for key in (pane.do_say_point, pane.do_say_all):
        with pytest.raises(CannotError, match="A text goes on from one prompt"):
            key(SimpleNamespace(picture=pane.picture))  # type: ignore[arg-type]
    head = next(line for line in text.split("\n") if "share" in line)
    assert all(word in head for word in ("low", "high", "agree", "n"))
    assert "over ioi 6" in text


@pytest.mark.parametrize(
    ("pane", "line"),
    [
        (HeadsPane, "heads norm over cases"),
        (DosePane, "dose scale L3H4 over cases"),
        (AttributionPane, "attribution over cases"),
    ],
)
def test_without_cases_nothing_is_asked_and_it_says_how_to_name_some(pane: type[Pane], line: str) -> None:
    example = example_of(line.split(maxsplit=1)[0])
    shown = picture(line, None, session=replace(example.session, cases=""))
    it = pane()
    assert it.questions(shown) == ()
    assert ":cases ioi 64 makes some" in " ".join(text_of(it, shown).split())


@pytest.mark.parametrize(
    "line",
    [
        "heads norm difference @-2 over cases",
        "heads attribution over cases",
        "attribution @-2 answer map clean over cases",
        "dose over cases",
        "dose add L3.pre v -2..2 step1 layers kl over cases",
    ],
)
def test_a_line_reads_back_and_waits_for_all_else(line: str) -> None:
    question = parse_question(line)
    assert question.line() == line
    assert cost_of(question) is Cost.JOB
    assert cost_of(type(question)()) is (Cost.JOB if isinstance(question, Dose) else Cost.ONE_RUN)


def test_s_stays_among_what_goes_over_cases() -> None:
    question = parse_question("heads entropy over cases")
    assert isinstance(question, Heads)
    seen = [question := question.next() for _ in range(4)]
    assert [each.summary for each in seen] == ["first", "norm", "attribution", "entropy"]
    assert all(each.over for each in seen)


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("heads induction over cases", "it is the model's, whatever the text"),
        ("heads sweep over cases", "sweep zero L*H* over cases makes one"),
        ("heads norm @3 over cases", "position 3 is another word"),
        ("dose scale L3H4 @3 over cases", "position 3 is another word"),
        ("dose scale L3H4 text over cases", "a text goes on from one prompt"),
        ("heads norm over", "over should be entropy"),
        ("attribution L1H1 over cases", "what L1H1 is made of is another in every case"),
        ("attribution measured over cases", "sweep zero L*H* over cases says what zeroing heads changes"),
        ("attribution @3 over cases", "position 3 is another word"),
    ],
)
def test_what_does_not_go_over_cases_is_refused(line: str, said: str) -> None:
    with pytest.raises(LineError) as error:
        parse_question(line)
    assert said in error.value.problem
