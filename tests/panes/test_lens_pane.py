"""The lens on the screen: layers by tokens, the layer that decides, the curve below."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace
from textual.strip import Strip

from mechtui.link.messages import Answered, EditProblem
from mechtui.paint.palette import Depth, palette
from mechtui.panes.pane import Page
from mechtui.panes.picture import Picture
from mechtui.session.changes import CannotError
from mechtui.session.document import Focus, Session, Token
from mechtui.session.grammar.places import format_site
from mechtui.views import example_of, parse_question, put
from mechtui.views.lens import SHOWS, Lens, LensAnswer
from mechtui.views.lens.pane import LensPane
from mechtui.views.question import RUNS
from tests.panes.pictures import Holder, pictured, pressed, shown

EXAMPLE = example_of("lens")
CLEAN, EDITED = EXAMPLE.clean, EXAMPLE.edited
assert isinstance(CLEAN, LensAnswer)
assert isinstance(EDITED, LensAnswer)


def pane_of(
    line: str = "lens", clean: LensAnswer = CLEAN, edited: LensAnswer | None = EDITED, focus: Focus | None = None
) -> LensPane:
    pane, picture = LensPane(), pictured(EXAMPLE, focus)
    question = parse_question(line)
    answered = Answered(1, question.asked(), clean, edited, 1.0)
    pane.show(replace(picture, session=put(picture.session, question), answered=(answered,)))
    return pane


def page_of(pane: LensPane, width: int = 100, height: int = 30) -> Page:
    assert pane.picture is not None
    return pane.draw(pane.picture, width, height)


def rows(page: Page) -> list[str]:
    return [Strip(page.row(index, 0)).text for index in range(page.rows)]


def legend(page: Page) -> str:
    return "".join(text for text, _ in page.legend)


def test_the_last_layer_is_on_top_and_the_one_that_decides_is_marked() -> None:
    page = page_of(pane_of(edited=None))
    names = [row[:4].strip(" *") for row in rows(page)]
    assert names == ["11", "10", "9", "8", "▲7", "6", "5", "4", "3", "2", "1", "0"]
    assert page.title == "top token: ·Mary decides at L7"
    # The cursor stands there until it is moved.
    assert page.cursor == 4
    assert legend(page).startswith("L7.post @13 ·Mary .30")
    head = [Strip(line).text for line in page.head(0)]
    assert head[0].split()[:3] == ["When", "·Mary", "·and"]
    assert head[1].split() == [str(i) for i in range(14)]


def test_another_token_has_another_layer() -> None:
    assert page_of(pane_of("lens clean", focus=Focus(position=12))).title.startswith("top token clean: ·Mary is not")
    without = replace(CLEAN, auto=True)
    assert (
        page_of(pane_of(clean=without, edited=None, focus=Focus(position=12))).title == "top token: ·to decides at L6"
    )


def test_an_edited_run_says_where_the_clean_one_decided() -> None:
    page = page_of(pane_of())
    assert page.title == "top token edited: ·Mary is not on top (clean: L7)"
    assert page.cursor == 0
    # Rows of layers that an edit acts on have a star.
    assert [row.split()[0] for row in rows(page) if "*" in row[:5]] == ["9*", "6*"]


@pytest.mark.parametrize(
    ("line", "title", "here", "unit"),
    [
        ("lens prob", "p(·Mary) edited: ", ".059", "prob"),
        ("lens logit", "logit of ·Mary edited: ", "13.18", "logit"),
        ("lens rank", "rank of ·Mary edited: ", "6", "rank"),
        ("lens entropy", "entropy edited: ", "0", "nats"),
        ("lens kl", "KL(final ‖ here) edited: ", "0", "nats"),
        ("lens clean", "top token clean: ", "·Mary .30", "logit"),
        ("lens difference", "top token, p(·Mary) edited-clean: ", "·Mary → ·John -.79", "logit"),
        ("lens rank difference", "rank of ·Mary edited-clean: ", "+6", "rank"),
    ],
)
def test_every_line_says_what_it_shows(line: str, title: str, here: str, unit: str) -> None:
    page = page_of(pane_of(line))
    assert page.title.startswith(title)
    row = "L7.post" if line == "lens clean" else "L11.post"
    assert legend(page).startswith(f"{row} @13 {here} ─ ")
    assert Strip(page.foot[0]).text.startswith(unit)


def test_the_keys_of_what_and_which_run_go_around() -> None:
    pane = pane_of()
    seen = [pressed(pane, "s").question(Lens).shows for _ in SHOWS]
    assert seen == [*SHOWS[1:], SHOWS[0]]
    assert [pressed(pane, "c").question(Lens).run for _ in RUNS] == ["clean", "difference", "edited"]


def test_the_numbers_are_those_of_the_answer() -> None:
    assert CLEAN.answer_prob is not None
    assert EDITED.answer_prob is not None
    pane = pane_of("lens prob clean", focus=Focus(position=3, layer=5))
    assert pane.value() == f"{CLEAN.answer_prob[5, 3]:.6g}"
    assert pane.row().split("\t") == [f"{value:.6g}" for value in CLEAN.answer_prob[5]]
    pane = pane_of("lens prob difference", focus=Focus(position=3, layer=5))
    assert float(pane.value()) == pytest.approx(float(EDITED.answer_prob[5, 3] - CLEAN.answer_prob[5, 3]), abs=1e-6)
    cells = rows(page_of(pane_of("lens prob clean"), 120))[0].split()[1:]
    assert cells[:3] == [f"{value:.2f}"[1:] for value in CLEAN.answer_prob[11, :3]]
    # Of a token its text, as it is.
    assert pane_of("lens clean", focus=Focus(position=0, layer=11)).value() == " Mary"


async def test_the_cursor_goes_up_to_later_layers_and_the_focus_with_it() -> None:
    app = Holder(pane_of(edited=None))
    async with app.run_test(size=(100, 30)) as pilot:
        await pilot.pause()
        pane = app.pane
        pane.move(0, -1)
        await pilot.pause()
        assert app.looked[-1].layer == 8
        pane.move(-2, 0)
        await pilot.pause()
        assert (app.looked[-1].layer, app.looked[-1].position) == (8, 11)
        pane.end()
        await pilot.pause()
        assert app.looked[-1].position == -1
        # Another pane goes to another layer: the cursor follows.
        assert pane.picture is not None
        pane.show(replace(pane.picture, focus=Focus(layer=2)))
        await pilot.pause()
        assert "L2.post @13" in str(pane.border_subtitle)
        await pilot.click(offset=(30, 5))  # the third row below two of names and the frame
        await pilot.pause()
        assert (app.looked[-1].layer, app.looked[-1].position) == (9, 4)
        await pilot.click(offset=(40, 1))  # a token's name
        await pilot.pause()
        assert (app.looked[-1].layer, app.looked[-1].position) == (9, 5)
        assert "▸" in shown(pane)[4]


def test_mid_rows_stand_below_their_layers_and_the_cursor_finds_its_own() -> None:
    names = tuple(f"L{layer}.{part}" for layer in range(6) for part in ("mid", "post"))
    pane = pane_of("lens mid", replace(CLEAN, layers=names), None)
    assert [row[:6].strip(" *") for row in rows(page_of(pane))][:4] == ["5", "5m", "4", "4m"]
    assert page_of(pane).title == "top token: ·Mary decides at L3"
    pane.move(0, 1)
    assert legend(page_of(pane)).startswith("L3.mid @13")
    pane.move(0, 1)
    assert legend(page_of(pane)).startswith("L2.post @13")
    assert page_of(pane_of("lens mid", replace(CLEAN, layers=(*names[1:], "L6.mid")), None)).title.endswith("L4.mid")


def test_whose_translator_it_is_stands_in_the_title() -> None:
    names = {"translator": "tuned lens d\x1bemo, fitted on gpt2"}
    pane = pane_of('lens file "d.safetensors"', replace(CLEAN, **names), None)
    assert page_of(pane).title == "tuned d\\x1bemo, fitted on gpt2 · top token: ·Mary decides at L7"
    assert page_of(pane, 34).title.startswith("tuned d\\x1bemo · ")
    with pytest.raises(CannotError, match=r"d\.safetensors translates what leaves a layer"):
        pane.do_mid(None)  # type: ignore[arg-type]


def test_the_curve_shows_answer_and_foil_where_there_is_room() -> None:
    foot = [Strip(line).text for line in page_of(pane_of(edited=None)).foot]
    assert foot[0].startswith("logit  ━ ·Mary 14.8  ━ ·John 12.31")
    assert foot[-1].startswith("layer 0")
    assert len(foot) == 15
    assert page_of(pane_of(edited=None), 100, 14).foot == []
    assert next(Strip(line).text for line in page_of(pane_of()).foot).startswith(
        "logit  ━ ·Mary 13.18  ━ ·John 15.49  ━ clean"
    )
    without = replace(CLEAN, answers=None, answer_logit=None, answer_prob=None, answer_rank=None, foils=None)
    assert Strip(page_of(pane_of(clean=without, edited=None)).foot[0]).text.startswith("prob  ━ top token")


def test_why_there_is_nothing_stands_there() -> None:
    def said(pane: LensPane) -> str:
        return " ".join(row.strip() for row in rows(page_of(pane)))

    assert said(pane_of("lens difference", edited=None)) == "no edit is on: there is no difference to show"
    without = replace(CLEAN, answers=None, answer_logit=None, answer_prob=None, answer_rank=None)
    pane = pane_of("lens rank", without, None)
    assert said(pane) == "no answer is named, only a foil: a names it"
    assert pane.picture is not None
    problem = EditProblem(-1, "answer", "answer is 2 tokens; name one of them")
    pane.show(replace(pane.picture, problems=(problem,)))
    assert said(pane) == problem.sentence
    assert (pane.value(), pane.row()) == ("", "")
    # The tokens are still there to be seen.
    assert "top token" in page_of(pane_of("lens", without, None)).title
    nothing = Picture(pane.picture.session, Focus(), None, None)
    pane.show(nothing)
    assert said(pane) == LensPane.WAITING


def test_a_model_without_mid_says_so_and_is_not_asked() -> None:
    pane = pane_of("lens mid", edited=None)
    picture = pane.picture
    assert picture is not None
    assert picture.ready is not None
    assert pane.questions(picture) == (Lens(mid=True),)
    ready = replace(picture.ready, shape=replace(picture.ready.shape, has_mid=False))
    pane.show(replace(picture, ready=ready))
    assert pane.picture is not None
    assert pane.questions(pane.picture) == ()
    assert rows(page_of(pane))[0].startswith("gpt2 has no residual stream between attention and MLP (L*.mid)")


def test_edits_act_on_the_residual_stream_of_the_cursors_row() -> None:
    def sites(pane: LensPane) -> list[str]:
        page_of(pane)
        # The desk's picture has no pane's answers.
        return [format_site(site) for site in pane.sites(Picture(Session(), Focus(), None, None))]

    assert sites(pane_of(edited=None)) == ["L7.post"]
    names = tuple(f"L{layer}.{part}" for layer in range(6) for part in ("mid", "post"))
    pane = pane_of("lens mid", replace(CLEAN, layers=names), None)
    pane.move(0, 1)
    assert sites(pane) == ["L3.mid"]
    assert sites(pane_of("lens difference", edited=None)) == []


def test_nothing_hidden_reaches_the_screen() -> None:
    odd = tuple(Token(each.id, "\x1b[31m\n") if each.text == "ality" else each for each in CLEAN.vocabulary)
    page = page_of(pane_of(clean=replace(CLEAN, vocabulary=odd), edited=None), 200)
    text = "".join(rows(page))
    assert "\x1b" not in text
    assert "\n" not in text
    assert "\\x1b[31m⏎" in text
    assert "<20e4>" in text


@settings(max_examples=60, deadline=None)
@given(
    shows=st.sampled_from(SHOWS),
    run=st.sampled_from(RUNS),
    mid=st.booleans(),
    edited=st.booleans(),
    auto=st.booleans(),
    focus=st.builds(Focus, *[st.integers(-3, 50)] * 6),
    width=st.integers(1, 200),
    height=st.integers(1, 60),
    depth=st.sampled_from(list(Depth)),
)
def test_draws_anything_at_any_size(
    shows: str,
    run: str,
    mid: bool,
    edited: bool,
    auto: bool,
    focus: Focus,
    width: int,
    height: int,
    depth: Depth,
) -> None:
    names = tuple(f"L{layer}.{part}" for layer in range(6) for part in ("mid", "post")) if mid else CLEAN.layers
    one, two = (replace(each, layers=names, auto=auto) for each in (CLEAN, EDITED))
    pane = pane_of(f"lens {'mid' if mid else ''} {shows} {run}", one, two if edited else None, focus)
    pane.palette = palette(depth)
    page = page_of(pane, width, height)
    lines = [*page.head(0)[: page.head_rows], *(page.row(i, 0) for i in range(page.rows)), *page.foot]
    assert page.head_rows + len(page.foot) < max(height, 2)
    assert page.cursor is None or 0 <= page.cursor < page.rows
    assert all("\n" not in Strip(line).text for line in lines)
    pane.value()
    pane.row()


def test_a_long_prompt_keeps_whole_columns() -> None:
    wide = np.concatenate([np.arange(14)] * 30)
    many = replace(
        CLEAN,
        **{
            name: getattr(CLEAN, name)[..., wide]
            for name in CLEAN.__struct_fields__
            if isinstance(getattr(CLEAN, name), np.ndarray)
        },
    )
    pane = pane_of(clean=many, edited=None)
    page = page_of(pane, 80, 24)
    assert page.step >= 6
    assert page.wide == page.stick + page.step * 420
