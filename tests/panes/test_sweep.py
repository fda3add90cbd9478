"""The sweep's pane: the plan, cells that come in, the ranked list, and sweeps that were made before."""

from __future__ import annotations

import re
from dataclasses import replace as changed
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace
from textual.geometry import Region
from textual.strip import Strip

from mechtui.link.messages import Answered
from mechtui.paint.palette import Depth, palette
from mechtui.panes.pane import Focus, Picture
from mechtui.session import sweeps
from mechtui.session.changes import CannotError
from mechtui.session.document import Session
from mechtui.session.grammar.edits import parse_edit
from mechtui.session.grammar.places import format_site
from mechtui.views import example_of, parse_question, put
from mechtui.views.attention import Attention
from mechtui.views.sweep import Left, OfFeatures, Sweep, SweepAnswer
from mechtui.views.sweep.pane import SweepPane
from tests.panes.pictures import Holder, pictured, shown

WHOLE = example_of("sweep")
assert isinstance(WHOLE.clean, SweepAnswer)
assert isinstance(WHOLE.edited, SweepAnswer)
# As a sweep that was kept: without estimates.
EXAMPLE = changed(WHOLE, clean=replace(WHOLE.clean, estimates=None), edited=replace(WHOLE.edited, estimates=None))
assert isinstance(EXAMPLE.clean, SweepAnswer)
assert isinstance(EXAMPLE.edited, SweepAnswer)
BARE = replace(EXAMPLE.session, edits=())
POSITIONS = parse_question("sweep patch L*.pre")


def of(line: str = "sweep zero L*H*", **changes: Any) -> Picture:
    """A picture without an answer."""
    question = parse_question(line)
    session = put(changes.pop("session", BARE), question)
    return replace(
        pictured(EXAMPLE), session=replace(session, sweeps=()), answered=(), **{"sweeps": session.sweeps, **changes}
    )


def answered(picture: Picture, clean: SweepAnswer, edited: SweepAnswer | None = None, partial: bool = False) -> Picture:
    question = picture.question(Sweep)
    asked = replace(question.asked(), plan=clean.left is not None and clean.left.done == 0)
    return replace(picture, answered=(*picture.answered, Answered(1, asked, clean, edited, 1.0, partial)))


PLAN = replace(EXAMPLE.clean, values=np.full_like(EXAMPLE.clean.values, np.nan), left=Left(144, 0, 2.3, 90 * 10**6))
PART = replace(EXAMPLE.edited, baseline=6.12)


def text_of(pane: SweepPane, picture: Picture, width: int = 100, height: int = 30) -> str:
    pane.show(picture)
    page = pane.draw(picture, width, height)
    lines = [*page.head(0), *(page.row(i, 0) for i in range(page.rows)), *page.foot]
    return "\n".join([page.title, *(Strip(line).text for line in lines), "".join(text for text, _ in page.legend)])


def test_the_plan_says_what_it_takes_before_anything_runs() -> None:
    pane = SweepPane()
    picture = answered(of(), PLAN)
    text = text_of(pane, picture)
    assert "zero L*H*: 12 layers x 12 heads, 144 runs, about 2 s and 90 MB." in text
    assert "logit(·Mary) - logit(·John) after the last token, now +6.12" in text
    assert ". starts it" in text
    assert [question.line() for question in pane.questions(picture)] == ["sweep zero L*H*", "sweep zero L*H* plan"]
    assert [question.costly for question in pane.questions(picture)] == [True, False]


def test_both_runs_are_planned_where_an_edit_is_on() -> None:
    text = text_of(SweepPane(), answered(of(session=EXAMPLE.session), PLAN, PLAN))
    assert "288 runs, about 5 s and 90 MB" in text


@pytest.mark.parametrize(
    ("session", "line", "why"),
    [
        (replace(BARE, source=""), "sweep patch L*H*", "patch takes its values from a source prompt"),
        (replace(BARE, foil=""), "sweep zero L*H*", "name an answer and a foil"),
    ],
)
def test_what_is_missing_is_said_and_not_asked(session: Session, line: str, why: str) -> None:
    pane = SweepPane()
    picture = of(line, session=session)
    assert why in " ".join(text_of(pane, picture).split())
    assert pane.questions(picture) == ()


def test_cells_fill_in_with_what_is_left() -> None:
    pane = SweepPane()
    text = text_of(pane, replace(answered(of(), PART, partial=True), job=True))
    assert "131 of 144, 3 s left" in text
    rows = [line.split() for line in text.split("\n")]
    assert "-2.28" in text
    assert rows[13][0] == "11"
    assert len(rows[13]) == 1 + 3, "the row has no cell yet, the list beside it has"
    assert "it was stopped" not in text


def test_what_was_stopped_stays_and_says_so() -> None:
    text = text_of(SweepPane(), answered(of(), PART, partial=True))
    assert "131 of 144: it was stopped; . goes on where it was" in text


def test_the_strongest_stand_beside_the_map_below_it_or_in_a_line() -> None:
    picture = answered(of(), EXAMPLE.clean)
    beside = text_of(SweepPane(), picture).split("\n")
    ranked = [line.split()[-3:][0] for line in beside[2:8]]
    assert ranked == ["L9H9", "L9H6", "L5H5", "L8H6", "L10H7", "L11H10"]
    assert "+1.28" in beside[6]
    below = text_of(SweepPane(), picture, 50, 24).split("\n")
    at = below.index("strongest")
    assert [line.split()[0] for line in below[at + 1 : at + 5]] == ["L9H9", "L9H6", "L5H5", "L8H6"]
    short = text_of(SweepPane(), picture, 50, 15)
    assert "strongest  L9H9 -3.04  L9H6 -2.18  L5H5 -1.68" in short


def test_the_list_has_all_of_them() -> None:
    picture = answered(of("sweep zero L*H* list"), EXAMPLE.clean)
    lines = text_of(SweepPane(), picture, 60, 200).split("\n")
    names = [line.split()[0] for line in lines[2:-1]]
    assert len(names) == len(set(names)) == 144
    values = [abs(float(line.split()[1])) for line in lines[2:-1]]
    assert values == sorted(values, reverse=True)


@pytest.mark.parametrize(("word", "value"), [("", -1.63), (" clean", -2.18), (" difference", 0.55)])
def test_edited_clean_and_difference(word: str, value: float) -> None:
    pane = SweepPane()
    picture = of(f"sweep zero L*H*{word}", session=EXAMPLE.session, focus=Focus(layer=9, head=6))
    text = text_of(pane, answered(picture, EXAMPLE.clean, replace(EXAMPLE.edited, left=None)))
    assert f"L9H6 {value:+.2f}".replace("+0", "+") in text
    assert float(pane.value()) == pytest.approx(value, abs=0.01)


async def test_the_cursor_looks_at_the_cells_head() -> None:
    app = Holder(SweepPane())
    async with app.run_test(size=(110, 24)) as pilot:
        app.pane.show(replace(answered(of(), EXAMPLE.clean), focus=Focus(layer=3, head=4)))
        await pilot.pause()
        app.pane.move(1, 2)
        await pilot.pause()
        assert (app.looked[-1].layer, app.looked[-1].head) == (5, 5)
        # A click on the second of the list.
        column = shown(app.pane)[2].index("L9H6")
        await pilot.click(app.pane, offset=(column + 2, 3))
        assert (app.looked[-1].layer, app.looked[-1].head) == (9, 6)
        assert app.pane.into(app.pane.picture) == Attention(*app.pane.picture.head())
        lines = [line for line in shown(app.pane) if "▸" in line]
        assert len(lines) == 1
        assert lines[0].split()[0] == "9"


async def test_the_list_is_walked_from_strong_to_weak() -> None:
    app = Holder(SweepPane())
    async with app.run_test(size=(60, 20)) as pilot:
        app.pane.show(replace(answered(of("sweep zero L*H* list"), EXAMPLE.clean), focus=Focus(layer=9, head=9)))
        await pilot.pause()
        app.pane.move(0, 1)
        await pilot.pause()
        app.pane.move(0, 1)
        await pilot.pause()
        assert [(look.layer, look.head) for look in app.looked] == [(9, 6), (5, 5)]
        app.pane.end()
        await pilot.pause()
        assert len(app.looked) == 3


async def test_the_list_beside_the_map_begins_with_the_strongest_wherever_the_map_is() -> None:
    app = Holder(SweepPane())
    async with app.run_test(size=(100, 12)) as pilot:
        picture = answered(of(focus=Focus(layer=0, head=0)), EXAMPLE.clean)
        app.pane.show(picture)
        await pilot.pause()
        first = shown(app.pane)
        app.pane.show(replace(picture, focus=Focus(layer=11, head=0)))
        await pilot.pause()
        last = shown(app.pane)
        assert app.pane.scroll_offset.y > 0
        ranked = [line.split()[-2:] for line in first]
        assert [line.split()[-2:] for line in last] == ranked
        at, name = next((y, found[0]) for y, line in enumerate(last) if (found := re.findall(r"L\d+H\d+", line)))
        await pilot.click(app.pane, offset=(last[at].index(name) + 2, at + 1))
        assert f"L{app.looked[-1].layer}H{app.looked[-1].head}" == name


def test_positions_are_named_by_tokens_and_looked_at() -> None:
    pane = SweepPane()
    values = np.linspace(0, 1, 12 * 14, dtype=np.float32).reshape(12, 14)
    layers, columns = (tuple(f"{name}{i}" for i in range(n)) for name, n in (("L", 12), ("@", 14)))
    answer = SweepAnswer(layers, columns, "normalised", values, 0.5, 3.5)
    picture = answered(of("sweep patch L*.pre", focus=Focus(position=9, layer=2)), answer)
    text = text_of(pane, picture, 140, 24)
    assert "·Mary" in text.split("\n")[1]
    assert f"L2 @9 +{values[2, 9]:.2f}".replace("+0", "+") in text
    assert "of the source" in text
    assert [format_site(site) for site in pane.sites(picture)] == ["L2.pre"]
    assert [format_site(site) for site in pane.sites(of(focus=Focus(layer=2, head=3)))] == ["L2H3"]
    looked: list[Focus] = []
    pane.on_look = looked.append
    pane.move(-2, 3)
    assert (looked[-1].position, looked[-1].layer) == (7, 5)


class Writing:
    """As much of the app as the pane's own actions use."""

    def __init__(self, session: Session) -> None:
        self.session = session

    def change(self, session: Session, what: str = "") -> None:
        self.session = session

    def put(self, question: Sweep) -> None:
        self.session = put(self.session, question)


def test_a_cell_becomes_an_edit_and_is_marked() -> None:
    pane = SweepPane()
    picture = answered(of(focus=Focus(layer=9, head=6)), EXAMPLE.clean)
    pane.show(picture)
    pane.draw(picture, 100, 30)
    desk: Any = Writing(picture.session)
    pane.do_as_edit(desk)
    assert desk.session.edits == (parse_edit("zero L9H6"),)
    after = replace(picture, session=desk.session)
    assert "L9H6*" in text_of(pane, replace(after, sweeps=(EXAMPLE.clean.kept(Sweep(), BARE, True),), answered=()))
    pane.do_as_edit(desk)
    assert desk.session.edits == ()
    at = of("sweep patch L*.pre", focus=Focus(position=3, layer=1))
    answer = replace(EXAMPLE.clean, columns=tuple(f"@{i}" for i in range(12)), metric="normalised")
    shows = answered(at, answer)
    pane.show(shows)
    pane.draw(shows, 100, 30)
    pane.do_as_edit(desk)
    assert desk.session.edits == (parse_edit("patch L1.pre @3"),)
    pane.draw(of(), 80, 20)
    with pytest.raises(CannotError, match="There is no cell yet"):
        pane.do_as_edit(desk)


def test_s_leads_through_what_is_useful_and_what_was_made() -> None:
    pane = SweepPane()

    def lines(session: Session, count: int) -> list[str]:
        found = []
        for _ in range(count):
            pane.picture = replace(of(session=session), session=session, sweeps=session.sweeps)
            session = put(session, pane.next())
            found += session.views or ["sweep"]
        return found

    with_source = [
        "sweep mean L*H*",
        "sweep patch L*H*",
        "sweep patch L*.pre",
        "sweep patch L*.attn",
        "sweep patch L*.mlp",
    ]
    assert lines(BARE, 6) == [*with_source, "sweep"]
    assert lines(replace(BARE, source=""), 2) == ["sweep mean L*H*", "sweep"]
    made = EXAMPLE.clean.kept(parse_question("sweep scale L*H* x2"), BARE, True)
    assert made is not None
    assert lines(replace(BARE, source="", sweeps=(made,)), 3) == ["sweep mean L*H*", "sweep scale L*H* x2", "sweep"]


def kept(session: Session, clean: bool = True, answer: SweepAnswer = EXAMPLE.clean) -> Session:
    swept = answer.kept(Sweep(), session, clean)
    assert swept is not None
    return replace(session, sweeps=sweeps.add(session.sweeps, swept))


def test_a_sweep_that_was_made_is_there_without_being_asked() -> None:
    text = text_of(SweepPane(), of(session=kept(BARE)))
    assert "L9H9" in text
    assert "old" not in text
    stopped = text_of(SweepPane(), of(session=kept(BARE, answer=PART)))
    assert "131 of 144: it was stopped" in stopped


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"prompt": "Another one"}, "old, made with another prompt"),
        ({"answer": " John", "foil": " Mary"}, "old, made with another target"),
    ],
)
def test_it_is_old_when_what_it_was_made_of_is_another(change: dict[str, Any], why: str) -> None:
    session = replace(kept(BARE), **change)
    picture = answered(of(session=session), PLAN)
    text = text_of(SweepPane(), picture)
    assert why in text
    assert "○ old" in text
    assert ". runs it again: 144 runs, about 2 s and 90 MB" in text
    assert ("When·Mary·and·John" in text) == ("prompt" in change)


def test_the_clean_one_is_not_taken_for_the_edited_run() -> None:
    session = replace(kept(BARE), edits=EXAMPLE.session.edits)
    text = text_of(SweepPane(), answered(of(session=session), PLAN, PLAN))
    assert "zero L*H* clean: change" in text
    assert "of the clean run; . runs it with the edits: 288 runs, about 5 s and 90 MB" in text
    assert "old" not in text_of(SweepPane(), of("sweep zero L*H* clean", session=session))
    assert "clean" not in text_of(SweepPane(), of("sweep zero L*H* difference", session=session)).split("\n")[0]
    both = kept(session, clean=False, answer=replace(EXAMPLE.edited, left=None))
    assert "old" not in text_of(SweepPane(), of(session=both))
    difference = text_of(SweepPane(), of("sweep zero L*H* difference", session=both, focus=Focus(layer=9, head=9)))
    assert "L9H9* +.76" in difference


def test_earlier_ones_are_looked_at_one_by_one() -> None:
    pane = SweepPane()
    session = kept(replace(BARE, prompt="one"))
    for prompt in ("two", BARE.prompt):
        session = kept(replace(session, prompt=prompt))
    desk: Any = Writing(session)
    seen = []
    for _ in range(3):
        pane.picture = replace(of(), session=desk.session, sweeps=session.sweeps)
        pane.do_earlier(desk)
        text = text_of(pane, replace(of(), session=desk.session, sweeps=session.sweeps))
        seen.append(next((word for word in ("prompt: two", "prompt: one") if word in text), "now"))
    assert seen == ["prompt: two", "prompt: one", "now"]
    pane.picture = of()
    with pytest.raises(CannotError, match=r"No other sweep of zero L\*H\* was kept"):
        pane.do_earlier(Writing(BARE))  # type: ignore[arg-type]


def test_what_is_kept_is_what_was_answered() -> None:
    swept = PART.kept(Sweep(), EXAMPLE.session, False)
    assert swept is not None
    assert (swept.done, swept.runs) == (131, 144)
    again = SweepAnswer.of(swept)
    np.testing.assert_allclose(again.values, PART.values, rtol=1e-4)
    assert again.left == Left(144, 131, None, 0)
    assert PLAN.kept(Sweep(), BARE, True) is None
    assert PART.kept(Sweep(plan=True), BARE, True) is None


ESTIMATED = replace(PLAN, estimates=WHOLE.clean.estimates)


def test_estimates_stand_there_before_anything_runs_and_say_so() -> None:
    pane = SweepPane()
    picture = answered(of(focus=Focus(layer=9, head=9)), ESTIMATED)
    text = text_of(pane, picture)
    assert "zero L*H*: estimated change of the logit difference" in text
    assert "~ estimated, not measured: gradient times difference" in text
    assert ". measures them: 144 runs, about 2 s and 90 MB" in text
    assert "L9H9 ~-1.37" in text
    assert "~L5H5" in text
    assert pane.value().startswith("~-1.36")
    assert all(cell.startswith("~") for cell in pane.row().split("\t"))
    # A narrow map has no room for numbers: the sign is paler than a measured one.
    narrow = text_of(pane, picture, 50, 24)
    assert "~-" in narrow
    assert "strongest" in narrow


def test_exact_cells_replace_estimates_and_those_that_were_wrong_are_marked() -> None:
    pane = SweepPane()
    part = replace(WHOLE.edited, baseline=6.12)
    picture = replace(answered(of(focus=Focus(layer=9, head=6)), part, partial=True), job=True)
    text = text_of(pane, picture)
    rows = [line.split() for line in text.split("\n")]
    assert any(cell.startswith("~") for cell in rows[13][1:8]), "the last row has no exact cell yet"
    assert not any(cell.startswith("~") for cell in rows[2][1:8])
    assert "L9H6 -1.63 (~-1.47)" in text
    assert "L10H7!" in text
    assert "!+.96" in text
    assert "estimates agree in" in text
    assert "of 131 cells, rank correlation" in text
    assert "! other sign or off by more than half" in text
    lines = text_of(pane, answered(of("sweep zero L*H* list"), WHOLE.clean), 70, 200).split("\n")
    assert "estimate" in lines[1]
    assert next(line for line in lines if "L9H9" in line).split()[-1] == "-1.37"


def test_a_kept_sweep_takes_the_estimates_of_the_plan_unless_it_is_old() -> None:
    session = kept(BARE)
    assert "estimates agree in" in text_of(SweepPane(), answered(of(session=session), ESTIMATED))
    old = answered(of(session=replace(session, prompt="Another one")), ESTIMATED)
    assert "agree" not in text_of(SweepPane(), old)


def test_the_estimates_of_edited_and_clean_have_a_difference() -> None:
    picture = of("sweep zero L*H* difference", session=EXAMPLE.session, focus=Focus(layer=9, head=6))
    both = answered(picture, ESTIMATED, replace(ESTIMATED, estimates=ESTIMATED.estimates * 2))
    assert "L9H6 ~-.98" in text_of(SweepPane(), both)


def test_the_key_measures_what_a_line_only_estimates() -> None:
    pane = SweepPane()
    only = replace(WHOLE.clean, values=np.full_like(WHOLE.clean.values, np.nan))
    picture = of("sweep zero L*H* estimate")
    picture = replace(picture, answered=(Answered(1, picture.question(Sweep), only, None, 1.0),))
    assert [question.line() for question in pane.questions(picture)] == ["sweep zero L*H* estimate"]
    text = text_of(pane, picture)
    assert "~ estimated, not measured" in text
    assert ". measures them" in text

    class Starting(Writing):
        started = ""

        def go(self, name: str) -> None:
            pass

        def start(self, name: str) -> None:
            self.started = name

    desk: Any = Starting(picture.session)
    pane.start(desk)
    assert desk.session.views[-1:] in ((), ("sweep zero L*H*",))
    assert desk.started == "sweep"


def test_a_model_without_gradients_says_so_beside_the_plan() -> None:
    text = text_of(SweepPane(), answered(of(), replace(PLAN, refused="nothing is estimated of m: why")))
    assert "nothing is estimated of m: why." in text
    assert "144 runs" in text


async def test_a_moved_cursor_repaints_few_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    app = Holder(SweepPane())
    async with app.run_test(size=(110, 24)) as pilot:
        first = replace(answered(of(), EXAMPLE.clean), focus=Focus(layer=3, head=4))
        app.pane.show(first)
        await pilot.pause()
        asked: list[Region] = []
        monkeypatch.setattr(app.pane, "refresh", lambda *regions, **rest: asked.extend(regions))
        app.pane.show(replace(first, focus=Focus(layer=4, head=4)))
        assert 2 <= len(asked) <= 4
        asked.clear()
        app.pane.show(replace(first, focus=Focus(layer=4, head=4)))
        assert asked == []


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 9),
    layers=st.integers(1, 14),
    columns=st.integers(1, 60),
    width=st.integers(1, 200),
    height=st.integers(1, 60),
    positions=st.booleans(),
    line=st.sampled_from(["", " list", " clean", " difference list", " earlier"]),
    edited=st.booleans(),
    partial=st.booleans(),
    focus=st.builds(Focus, *[st.integers(-3, 50)] * 6),
    depth=st.sampled_from(list(Depth)),
)
def test_draws_anything_at_any_size(
    seed: int,
    layers: int,
    columns: int,
    width: int,
    height: int,
    positions: bool,
    line: str,
    edited: bool,
    partial: bool,
    focus: Focus,
    depth: Depth,
) -> None:
    rng = np.random.default_rng(seed)
    values = rng.normal(size=(layers, columns)).astype(np.float32)
    values[rng.random(values.shape) < rng.choice([0.3, 1.0])] = np.nan
    done = int(np.isfinite(values).sum())
    left = Left(values.size, done, None if seed % 2 else 3.0, 10**6) if partial and done < values.size else None
    estimates = rng.normal(size=values.shape).astype(np.float32) if seed % 3 else None
    names = tuple(f"{'@' if positions else 'H'}{i}" for i in range(columns))
    answer = SweepAnswer(tuple(f"L{i}" for i in range(layers)), names, "logit_diff", values, 1.0, None, left, estimates)
    session = EXAMPLE.session if edited else BARE
    picture = of(f"sweep zero {'L*.mlp' if positions else 'L*H*'}{line}", session=session, focus=focus)
    question = replace(picture.question(Sweep).asked(), plan=False)
    both = Answered(1, question, answer, answer if edited else None, 1.0, left is not None)
    picture = replace(picture, answered=(both,), job=partial)
    pane = SweepPane()
    pane.palette = palette(depth)
    pane.show(picture)
    page = pane.draw(picture, width, height)
    assert page.head_rows + len(page.foot) < max(height, 2)
    if page.cursor is not None:
        assert 0 <= page.cursor < page.rows
    assert len(page.head(0)[: page.head_rows]) == page.head_rows
    for index in range(page.rows):
        assert "\n" not in Strip(page.row(index, 0)).text
        for x in range(0, width, 3):
            hit = pane.hit(picture, index, x, 0)
            assert hit is None or hit.layer < max(layers, 51)
    pane.value()
    pane.row()


FEATURES = "sweep zero res2F*"


def of_features(*numbers: int, values: tuple[float, ...], estimates: tuple[float, ...], off: int = 60) -> SweepAnswer:
    labels = tuple({12: "names in a list", 40: "\x1b[2Jthe"}.get(number, "") for number in numbers)
    found = (np.array([each], dtype=np.float32) for each in (values, estimates))
    exact, estimated = found
    at, value, becomes = np.full(len(numbers), 3), np.arange(1.0, len(numbers) + 1), np.zeros(len(numbers))
    known = OfFeatures(labels, at, value, becomes, off)
    columns = tuple(f"F{number}" for number in numbers)
    return SweepAnswer(("res2",), columns, "logit_diff", exact, 6.0, estimates=estimated, features=known)


SWEPT = of_features(3, 12, 40, values=(0.5, -2.25, float("nan")), estimates=(0.6, -1.0, 1.5))


def test_features_are_a_list_with_labels_and_what_is_known_of_each() -> None:
    pane = SweepPane()
    text = text_of(pane, answered(of(FEATURES), SWEPT))
    lines = text.split("\n")
    assert lines[1].split()[:4] == ["feature", "label", "▾effect", "estimate"]
    assert [line.split()[0] for line in lines[2:5]] == ["F12!", "~F40", "F3"]
    assert "names in a list" in lines[2]
    assert "-2.25" in lines[2]
    assert "-1.00" in lines[2]
    assert lines[2].split()[-2:] == ["3", picture_token(3)]
    assert "\x1b" not in text
    assert "60 other features are left as they are: no effect" in text
    little = of_features(3, 12, values=(0.004, -0.0212), estimates=(0.006, -0.02))
    text_of_little = text_of(SweepPane(), answered(of(FEATURES), little))
    assert "+.0040" in text_of_little
    assert "F12 -.0212 (~-.0200)" in text_of_little
    assert "F12 -2.25 (~-1.00)" in text, "the cursor is on the strongest"


def picture_token(position: int) -> str:
    return of().token(position)


def test_the_keys_of_a_sweep_act_on_the_feature_under_the_cursor() -> None:
    pane = SweepPane()
    desk: Any = Writing(of(FEATURES).session)
    picture = answered(of(FEATURES), SWEPT)
    text_of(pane, picture)
    pane.look = lambda **_: None  # type: ignore[method-assign]
    pane.move(0, 1)
    assert pane.cursor() == "F40"
    text_of(pane, picture)
    assert [format_site(site) for site in pane.sites(picture)] == ["res2F40"]
    into = pane.into(picture)
    assert into is not None
    assert into.line().startswith("features res2 @3")
    pane.do_as_edit(desk)
    assert desk.session.edits == (parse_edit("zero res2F40"),)
    for key in (pane.do_as_list, pane.do_over_cases):
        with pytest.raises(CannotError, match="eatures"):
            key(desk)
    other = SweepPane()
    other.put_cursor("F3")
    assert "F3 +.50" in text_of(other, picture)


def test_the_difference_has_the_features_of_either_run() -> None:
    line = f"{FEATURES} difference"
    session = replace(BARE, edits=(parse_edit("zero L0H1"), parse_edit("scale res2F12 x2")))
    edited = of_features(12, 50, values=(-1.0, 3.0), estimates=(-1.0, 1.0), off=61)
    clean = of_features(3, 12, values=(0.5, -2.25), estimates=(0.6, -1.0), off=61)
    text = text_of(SweepPane(), answered(of(line, session=session), clean, edited))
    rows = [each.split() for each in text.split("\n")[2:5]]
    assert [(row[0].replace("!", ""), next(word for word in row if word[0] in "+-")) for row in rows] == [
        ("F50", "+3.00"),
        ("F12*", "+1.25"),
        ("F3", "-.50"),
    ]
    assert "60 other features" in text
