"""The ranked list of heads: what is listed, in which order, and what its keys do."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace
from rich.text import Text

from mechtui.link.messages import Answered
from mechtui.paint.numbers import fit
from mechtui.paint.palette import Depth, palette
from mechtui.panes.pane import Focus, Picture
from mechtui.session.changes import CannotError
from mechtui.session.document import Session, Swept
from mechtui.session.grammar.edits import parse_edit
from mechtui.session.grammar.places import format_site
from mechtui.session.sweeps import made_of
from mechtui.views import put
from mechtui.views.attention import Attention
from mechtui.views.attribution import Ablated, Attribution, AttributionAnswer, Components
from mechtui.views.attribution.example import example as attribution_example
from mechtui.views.example import SHAPE, TOKENS
from mechtui.views.heads import NO_SWEEP, Heads, HeadsAnswer
from mechtui.views.heads.pane import HeadsPane
from mechtui.views.scores import MEASURING, Scores
from mechtui.views.scores.example import REPEAT, example
from mechtui.views.scores.pane import ScoresPane
from mechtui.views.tokens import TokensAnswer
from tests.panes.pictures import Holder, ready, shown

RNG = np.random.default_rng(5)
OF_PROMPT = {
    "attribution": RNG.normal(size=(12, 12)).astype(np.float32),
    "entropy": RNG.uniform(0, 2.5, (12, 12)).astype(np.float32),
    "first": RNG.uniform(0, 1, (12, 12)).astype(np.float32),
}


def picture(
    line: Scores | None = None,
    focus: Focus | None = None,
    measured: bool = True,
    partial: bool = False,
    edits: tuple[str, ...] = ("zero L9H9 @-1",),
    sweeps: tuple[Swept, ...] = (),
    **session: object,
) -> Picture:
    """GPT-2's shape; the numbers of the prompt are answers of the edited run."""
    now = Session(prompt="x", edits=tuple(map(parse_edit, edits)), **session)  # type: ignore[arg-type]
    if line is not None:
        now = put(now, line)
    count = len(TOKENS)
    answered = [
        Answered(
            1,
            Heads(summary, -1),  # type: ignore[arg-type]
            HeadsAnswer(summary, count - 1, values * 0),  # type: ignore[arg-type]
            HeadsAnswer(summary, count - 1, values),  # type: ignore[arg-type]
            1.0,
        )
        for summary, values in OF_PROMPT.items()
    ]
    if measured:
        answered.append(Answered(1, Scores(), example().clean, None, 1.0, partial))
    tokens = TokensAnswer(TOKENS, 0, np.zeros(count, dtype=np.float32), (), ())
    return Picture(now, focus or Focus(), ready(SHAPE.n_layers, SHAPE.n_heads), tokens, tuple(answered), sweeps=sweeps)


def said(lines: list[str]) -> str:
    """The sentences below the list."""
    return " ".join(" ".join(lines[-4:]).split())


def sweep_of(session: Session) -> tuple[np.ndarray, Swept]:
    """A sweep of the session as it is, and its values [layer, head]."""
    edit, values = parse_edit("zero L*H*"), np.random.default_rng(3).normal(size=(12, 12))
    names = tuple(f"L{i}" for i in range(12)), tuple(f"H{i}" for i in range(12))
    rows = tuple(map(tuple, values.tolist()))
    return values, Swept(edit, made_of(session, edit), *names, "logit_diff", rows, 144, 1.0)


class Table:
    """A desk that keeps what is done at it."""

    def __init__(self, session: Session) -> None:
        self.session = session
        self.put_line = self.opened = self.said = ""

    def put(self, question: Scores) -> None:
        self.put_line = question.line()

    def open_line(self, kind: str, text: str = "", index: int = -1) -> None:
        self.opened = f"{kind}: {text}"

    def change(self, session: Session, what: str = "") -> None:
        self.session = session

    def say(self, sentence: str, *, bad: bool = False) -> None:
        self.said = sentence


async def test_the_list_begins_with_the_strongest_induction_head_and_has_every_column() -> None:
    app = Holder(ScoresPane())
    async with app.run_test(size=(110, 16)) as pilot:
        app.pane.show(picture(focus=Focus(layer=9, head=9)))
        await pilot.pause()
        lines = shown(app.pane)
        assert lines[0].split() == (
            ["head", "▾induction", "previous", "duplicate", "copying", "attribution", "entropy", "first", "label"]
        )
        answer = example().clean
        for text, place in zip(lines[1:4], ((5, 5), (6, 9), (5, 1)), strict=True):
            cells = text.split()
            assert cells[0] == f"L{place[0]}H{place[1]}"
            numbers = [answer.induction, answer.previous, answer.duplicate, answer.copying]
            numbers += [OF_PROMPT[name] for name in ("attribution", "entropy", "first")]
            assert [float(cell) for cell in cells[1:8]] == [pytest.approx(n[place], abs=0.0051) for n in numbers]
            assert cells[8] == "induction"
        assert "Heads ranked by induction" in str(app.pane.border_title)
        assert "144 heads" in str(app.pane.border_subtitle)
        # The keys act on the row at the top, which is marked and explained, until one looks elsewhere.
        assert any(line.startswith("L5H5 induction ") for line in lines)
        assert "n = 32, 64, 96" in said(lines)
        app.pane.end()
        await pilot.pause()
        app.pane.show(replace(app.pane.picture, focus=Focus(layer=9, head=9)))
        await pilot.pause()
        assert "L9H9*" in "".join(shown(app.pane))


async def test_the_cursor_is_on_the_top_then_follows_the_focus() -> None:
    app = Holder(ScoresPane())
    async with app.run_test(size=(80, 14)) as pilot:
        app.pane.show(picture(focus=Focus(layer=0, head=0)))
        for _ in range(2):
            app.pane.move(0, 1)
            await pilot.pause()
        assert [(look.layer, look.head) for look in app.looked] == [(6, 9), (5, 1)]
        # Sorted anew, the list shows its top again.
        app.pane.show(picture(Scores("previous"), app.looked[-1]))
        await pilot.pause()
        assert shown(app.pane)[1].split()[0] == "L4H11"
        assert [format_site(site) for site in app.pane.sites(app.pane.picture)] == ["L4H11"]
        app.pane.end()
        await pilot.pause()
        last = np.argsort(-example().clean.previous, axis=None, kind="stable")[-1]
        assert (app.looked[-1].layer, app.looked[-1].head) == divmod(int(last), 12)
        assert f"L{last // 12}H{last % 12} " in "".join(shown(app.pane))


async def test_one_looks_elsewhere_and_the_list_comes_along() -> None:
    app = Holder(ScoresPane())
    async with app.run_test(size=(80, 9)) as pilot:
        app.pane.show(picture(focus=Focus(layer=0, head=0)))
        await pilot.pause()
        app.pane.show(picture(focus=Focus(layer=11, head=3)))
        await pilot.pause()
        assert any(text.split()[:1] == ["L11H3"] for text in shown(app.pane))


async def test_columns_are_walked_and_explained() -> None:
    app = Holder(ScoresPane())
    async with app.run_test(size=(60, 16)) as pilot:
        app.pane.show(picture(focus=Focus(layer=5, head=5)))
        app.pane.move(3, 0)
        await pilot.pause()
        assert "L5H5 copying" in said(shown(app.pane))
        assert "W_U W_O W_V W_E" in said(shown(app.pane))
        assert app.pane.value() == f"{example().clean.copying[5, 5]:.6g}"
        assert app.pane.row().split("\t")[0] == "L5H5"
        app.pane.move(1, 0)
        await pilot.pause()
        assert "logit difference after @" in said(shown(app.pane))


async def test_while_the_list_shows_its_top_every_key_acts_on_the_top_row() -> None:
    app = Holder(ScoresPane())
    async with app.run_test(size=(80, 14)) as pilot:
        app.pane.show(picture(focus=Focus(layer=0, head=0)))
        await pilot.pause()
        pane, here = app.pane, app.pane.picture
        assert [format_site(site) for site in pane.sites(here)] == ["L5H5"]
        question = pane.into(here)
        assert isinstance(question, Attention)
        assert (question.layer, question.head) == (5, 5)
        assert pane.row().split("\t")[0] == "L5H5"
        assert any(line.startswith("L5H5 induction ") for line in shown(pane))
        pane.do_mark_head(Table(Session()))
        await pilot.pause()
        assert [format_site(site) for site in pane.sites(here)] == ["L5H5"]
        assert shown(pane)[1].startswith("●L5H5")


def test_marks_are_of_one_model_and_of_heads_that_it_has() -> None:
    pane = ScoresPane()
    pane.show(picture(focus=Focus(layer=0, head=0)))
    pane._chosen = frozenset({(5, 5), (6, 9)})
    small = picture(focus=Focus(layer=0, head=0))
    assert small.ready is not None
    shape = replace(small.ready.shape, n_layers=6, n_heads=8)
    small = replace(small, ready=replace(small.ready, shape=shape))
    assert [format_site(site) for site in pane.sites(small)] == ["L5H5"]
    pane.show(replace(small, session=replace(small.session, model="another")))
    assert not pane._chosen


def test_the_line_sorts_turns_and_narrows() -> None:
    pane = ScoresPane()
    pane.show(picture(Scores("attribution")))
    orders = []
    for question in (Scores("attribution"), Scores("attribution", up=True), Scores("head"), Scores("head", up=True)):
        rows = pane._rows(picture(question))
        assert rows is not None
        orders.append(rows.order)
    by_size = np.argsort(-np.abs(OF_PROMPT["attribution"]), axis=None, kind="stable")
    assert list(orders[0]) == by_size.tolist()
    assert list(orders[1]) == by_size[::-1].tolist()
    assert list(orders[2]) == list(range(144))
    assert list(orders[3]) == list(range(144))[::-1]
    narrowed = pane._rows(picture(Scores(only="induction")))
    assert narrowed is not None
    assert narrowed.order == (65, 81, 61)
    assert [question.line() for question in (Scores().next(), Scores("head", up=True).next())] == [
        "scores previous",
        "scores",
    ]


def test_it_asks_for_the_cards_and_the_numbers_of_the_prompt() -> None:
    pane = ScoresPane()
    given_picture = picture(Scores("copying"), Focus(position=3))
    asked = [question.line() for question in pane.questions(given_picture)]
    assert asked == ["heads attribution @3", "heads entropy @3", "heads first @3", "scores"]
    half = picture(answer=" Mary")
    assert "heads attribution" not in [question.line() for question in pane.questions(half)]


def test_marks_survive_sorting_and_are_what_edits_act_on() -> None:
    pane, desk = ScoresPane(), Table(Session())
    pane.show(picture(focus=Focus(layer=5, head=5)))
    assert [format_site(site) for site in pane.sites(pane.picture)] == ["L5H5"]
    pane._top = False
    pane.on_look = lambda focus: None
    pane.do_mark_head(desk)
    assert pane.picture.head() == (6, 9)
    pane.do_mark_head(desk)
    assert [format_site(site) for site in pane.sites(pane.picture)] == ["L5H5", "L6H9"]
    pane.show(picture(Scores("copying"), pane.picture.focus))
    assert [format_site(site) for site in pane.sites(pane.picture)] == ["L5H5", "L6H9"]
    rows = pane._rows(pane.picture)
    assert rows is not None
    assert rows.chosen == {65, 81}
    pane.show(picture(Scores("copying"), Focus(layer=5, head=5)))
    pane.do_mark_head(desk)
    assert [format_site(site) for site in pane.sites(pane.picture)] == ["L6H9"]
    pane.do_unmark_heads(desk)
    with pytest.raises(CannotError, match="no head is marked"):
        pane.do_unmark_heads(desk)


def test_enter_leads_to_the_heads_attention() -> None:
    pane = ScoresPane()
    pane.show(picture(focus=Focus(layer=0, head=0)))
    pane.show(picture(focus=Focus(layer=5, head=1)))
    assert pane.into(picture(focus=Focus(layer=5, head=1))) == Attention(5, 1)


def test_its_keys_change_the_line_or_the_prompt() -> None:
    pane, desk = ScoresPane(), Table(Session(prompt="mine"))
    pane.show(picture(Scores("copying")))
    pane.do_sort_here(desk)
    assert desk.put_line == "scores copying up"
    pane.move(-3, 0)
    pane.do_sort_here(desk)
    assert desk.put_line == "scores"
    pane.show(picture(Scores("copying", only="L3H")))
    pane.do_only_heads(desk)
    assert desk.opened == "narrow: L3H"
    assert pane.narrowed("induction").line() == 'scores copying "induction"'
    assert pane.narrowed("").line() == "scores copying"
    pane.do_write_repeat(desk)
    assert desk.session.prompt == REPEAT
    pane.show(picture(measured=False))
    with pytest.raises(CannotError, match="not measured yet"):
        pane.do_write_repeat(desk)
    without = replace(example().clean, repeat="")
    bare = picture()
    pane.show(replace(bare, answered=(*bare.answered[:-1], Answered(1, Scores(), without, None, 1.0))))
    with pytest.raises(CannotError, match="too few words"):
        pane.do_write_repeat(desk)


async def test_what_is_measured_says_how_far_it_is() -> None:
    app = Holder(ScoresPane())
    async with app.run_test(size=(80, 10)) as pilot:
        app.pane.show(replace(picture(measured=False), progress=0.4))
        await pilot.pause()
        assert "measuring 40%" in str(app.pane.border_title)
        assert shown(app.pane)[1].split()[0] == "L0H0"  # the numbers of the prompt are there
        app.pane.show(picture(partial=True))
        await pilot.pause()
        assert "measuring" in str(app.pane.border_title)
        app.pane.show(picture())
        await pilot.pause()
        assert "measuring" not in str(app.pane.border_title)
        app.pane.show(replace(picture(measured=False), answered=()))
        await pilot.pause()
        assert MEASURING in " ".join(shown(app.pane))


async def test_the_last_sweep_of_the_session_as_it_is_has_a_column() -> None:
    values, swept = sweep_of(picture().session)
    app = Holder(ScoresPane())
    async with app.run_test(size=(120, 10)) as pilot:
        app.pane.show(picture(Scores("sweep"), sweeps=(swept,)))
        await pilot.pause()
        best = divmod(int(np.argmax(np.abs(values))), 12)
        lines = shown(app.pane)
        assert "▾sweep" in lines[0]
        assert lines[1].split()[0] == f"L{best[0]}H{best[1]}"
        assert f"{values[best]:+.2f}".replace("0.", ".") in lines[1].split()
        # Of another prompt it is not shown.
        other = replace(swept, of=replace(swept.of, prompt="another"))
        app.pane.show(picture(Scores("sweep"), sweeps=(other,)))
        await pilot.pause()
        assert "sweep" not in shown(app.pane)[0]


async def test_the_map_shows_the_last_sweep_and_passes_over_it_where_there_is_none() -> None:
    values, swept = sweep_of(picture().session)
    app = Holder(HeadsPane())
    async with app.run_test(size=(90, 18)) as pilot:
        given_picture = picture(Heads("sweep"), Focus(layer=3, head=4), sweeps=(swept,))
        app.pane.show(given_picture)
        await pilot.pause()
        assert app.pane.questions(given_picture) == ()
        assert app.pane.value() == f"{values[3, 4]:.6g}"
        assert "Heads sweep zero" in str(app.pane.border_title)
        assert f"L3H4 {fit(values[3, 4], 7, sign=True).strip()}" in str(app.pane.border_subtitle)
        app.pane.show(picture(Heads("sweep")))
        await pilot.pause()
        assert NO_SWEEP in " ".join(" ".join(shown(app.pane)).split())
        for sweeps, following in (((swept,), "heads sweep"), ((), "heads induction")):
            app.pane.show(picture(Heads("attribution"), sweeps=sweeps))
            assert app.pane.next().line() == following


async def test_the_map_shows_the_models_scores_whatever_the_run_is() -> None:
    app = Holder(HeadsPane())
    async with app.run_test(size=(90, 18)) as pilot:
        for metric, low in (("induction", "0"), ("copying", "-1")):
            line = Heads(metric, run="difference")  # type: ignore[arg-type]
            app.pane.show(picture(line, Focus(layer=5, head=5)))
            await pilot.pause()
            assert app.pane.value() == f"{getattr(example().clean, metric)[5, 5]:.6g}"
            assert f"Heads {metric}" in str(app.pane.border_title)
            assert "@" not in str(app.pane.border_title)
            assert f"─ {low} " in Text.from_markup(app.pane.border_subtitle).plain
        app.pane.show(replace(picture(Heads("copying"), measured=False), progress=0.25))
        await pilot.pause()
        assert f"{MEASURING}: 25%" in " ".join(" ".join(shown(app.pane)).split())


@settings(max_examples=40, deadline=None)
@given(
    width=st.integers(1, 200),
    height=st.integers(1, 60),
    focus=st.builds(Focus, *[st.integers(-3, 50)] * 6),
    by=st.sampled_from(["induction", "copying", "attribution", "sweep", "label", "head"]),
    only=st.sampled_from(["", "L1", "nothing at all"]),
    measured=st.booleans(),
    columns=st.integers(-3, 9),
    depth=st.sampled_from(list(Depth)),
)
def test_draws_anything_at_any_size(
    width: int, height: int, focus: Focus, by: str, only: str, measured: bool, columns: int, depth: Depth
) -> None:
    pane = ScoresPane()
    pane.palette = palette(depth)
    given_picture = picture(Scores(by, only=only), focus, measured)  # type: ignore[arg-type]
    pane.show(given_picture)
    pane.on_look = lambda focus: None
    pane.move(columns, 1)
    page = pane.draw(given_picture, width, height)
    assert page.head_rows + len(page.foot) < max(height, 2)
    assert page.cursor is None or 0 <= page.cursor < page.rows
    for index in range(page.rows):
        assert sum(segment.cell_length for segment in page.row(index, 0)) <= width
    pane.value()
    pane.row()


def test_where_the_ledgers_line_measures_the_heads_stand_what_was_measured_what_others_did_and_the_norm() -> None:
    pane = ScoresPane()
    given_picture = picture()
    assert not any(isinstance(each, Attribution) for each in pane.questions(given_picture))
    asking = put(given_picture.session, Attribution(measured="zero", order="map"))
    given_picture = replace(given_picture, session=asking)
    *_, asked = pane.questions(given_picture)
    assert asked == Attribution(measured="zero")
    direct = -np.column_stack([OF_PROMPT["attribution"], np.ones(12)]).astype(np.float32)
    effect = direct / 2
    effect[3, 4] = np.nan
    known = attribution_example().clean
    assert isinstance(known, AttributionAnswer)
    assert isinstance(known.parts, Components)

    def answered(heads: np.ndarray) -> Answered:
        ablated = Ablated("zero", False, direct, effect, effect + direct / 10)
        answer = replace(known, parts=replace(known.parts, heads=heads), ablated=ablated)
        return Answered(1, asked, known, answer, 1.0)

    def rows(heads: np.ndarray) -> list[list[str]]:
        shows = replace(given_picture, answered=(*given_picture.answered, answered(heads)))
        pane.show(shows)
        page = pane.draw(shows, 140, 200)
        lines = [*page.head(0), *(page.row(i, 0) for i in range(page.rows))]
        return ["".join(segment.text for segment in each).split() for each in lines]

    names, *lines = rows(OF_PROMPT["attribution"])
    assert names[5:9] == ["attribution", "measured", "others", "norm"]
    [head] = [each for each in lines if each[0].strip("●*") == "L2H5"]
    line = float(OF_PROMPT["attribution"][2, 5])
    found = [float(each) for each in head[5:9]]
    assert found == pytest.approx([line, -line / 2, line / 2, line / 10], abs=0.006)
    [blank] = [each for each in lines if each[0].strip("●*") == "L3H4"]
    assert len(blank) == len(head) - 3, "it is not measured yet"
    # Of other lines than these it is not told.
    assert "measured" not in rows(OF_PROMPT["attribution"] + 1)[0]


def test_beside_a_sweep_that_zeroed_the_heads_stands_what_the_others_did() -> None:
    values, swept = sweep_of(picture().session)
    pane = ScoresPane()
    shows = picture(sweeps=(swept,))
    pane.show(shows)
    page = pane.draw(shows, 140, 200)
    names = "".join(segment.text for segment in page.head(0)[0]).split()
    assert names[5:8] == ["attribution", "others", "sweep"]
    rows = ["".join(segment.text for segment in page.row(i, 0)).split() for i in range(page.rows)]
    [head] = [each for each in rows if each[0].strip("●*") == "L2H5"]
    assert float(head[6]) == pytest.approx(values[2, 5] + OF_PROMPT["attribution"][2, 5], abs=0.006)
