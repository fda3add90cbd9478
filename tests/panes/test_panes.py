"""Every pane at every size: no exception, whole lines, clear words where there is nothing to show."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace
from rich.cells import cell_len
from rich.text import Text
from textual.geometry import Region
from textual.strip import Strip

from mechtui.app.board import pane_class
from mechtui.app.workspaces import panes
from mechtui.link.messages import Answered, EditProblem
from mechtui.paint.palette import Depth, palette
from mechtui.paint.spark import BLOCKS
from mechtui.panes.pane import Focus, Pane, Picture
from mechtui.session.document import Session, Token
from mechtui.session.grammar.edits import parse_edit
from mechtui.views import example_of, put
from mechtui.views.attention import Attention
from mechtui.views.attention.pane import AttentionPane
from mechtui.views.effects import Effects, EffectsAnswer
from mechtui.views.effects.pane import EditsPane
from mechtui.views.generate.pane import GeneratePane
from mechtui.views.heads.pane import HeadsPane
from mechtui.views.next_tokens import NextTokens, NextTokensAnswer
from mechtui.views.next_tokens.pane import NextTokensPane
from mechtui.views.residual.pane import ResidualPane
from mechtui.views.tokens.pane import TokensPane
from mechtui.views.vectors.pane import VectorsPane
from tests.panes.pictures import Holder, picture, pictured, pressed, resized, shown

PANES = tuple(pane_class(name) for name in panes())
every_pane = pytest.mark.parametrize("kind", PANES, ids=lambda kind: kind.__name__)


def drawn(pane: Pane, given_picture: Picture, width: int, height: int) -> list[str]:
    """All rows of the pane's page, as wide as they are painted."""
    page = pane.draw(given_picture, width, height)
    lines = page.head(0)[: page.head_rows] + [page.row(i, 0) for i in range(page.rows)] + page.foot
    assert page.head_rows + len(page.foot) < max(height, 2)
    if page.cursor is not None:
        assert 0 <= page.cursor < page.rows
    return [Strip(line).text for line in lines]


@every_pane
@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 9),
    count=st.integers(0, 40),
    layers=st.integers(1, 14),
    heads=st.integers(1, 14),
    edited=st.booleans(),
    source=st.booleans(),
    focus=st.builds(Focus, *[st.integers(-3, 50)] * 6),
    width=st.integers(1, 200),
    height=st.integers(1, 60),
    cycles=st.integers(0, 3),
    depth=st.sampled_from(list(Depth)),
)
def test_draws_anything_at_any_size(
    kind: type[Pane],
    seed: int,
    count: int,
    layers: int,
    heads: int,
    edited: bool,
    source: bool,
    focus: Focus,
    width: int,
    height: int,
    cycles: int,
    depth: Depth,
) -> None:
    pane = kind()
    pane.palette = palette(depth)
    pane.show(picture(seed, count, layers, heads, edited, focus, source))
    given_picture = pressed(pane, "scs"[:cycles])
    lines = drawn(pane, given_picture, width, height)
    assert "\n" not in "".join(lines)
    pane.questions(given_picture)
    pane.value()
    pane.row()


@every_pane
@pytest.mark.parametrize("size", [(28, 6), (80, 24), (200, 55)])
def test_shows_its_example(kind: type[Pane], size: tuple[int, int]) -> None:
    pane = kind()
    given_picture = pictured(example_of(kind.VIEW.name))
    pane.show(given_picture)
    assert sum(line.strip() != "" for line in drawn(pane, given_picture, *size)) >= 2


@every_pane
def test_without_colours_nothing_is_said_by_a_colour(kind: type[Pane]) -> None:
    pane = kind()
    pane.palette = palette(Depth.NONE)
    given_picture = pictured(example_of(kind.VIEW.name))
    pane.show(given_picture)
    page = pane.draw(given_picture, 80, 24)
    lines = [*page.head(0), *(page.row(index, 0) for index in range(page.rows)), *page.foot]
    looks = [segment.style for line in lines for segment in line if segment.style is not None]
    assert looks
    assert {(look.color, look.bgcolor) for look in looks} == {(None, None)}


@every_pane
async def test_every_strip_is_as_wide_as_the_pane(kind: type[Pane]) -> None:
    app = Holder(kind())
    async with app.run_test(size=(20, 3)) as pilot:
        app.pane.show(picture(count=60))
        await pilot.pause()
        for size in ((20, 3), (22, 5), (80, 24), (200, 60)):
            await resized(pilot, *size)
            for move in ((1, 0), (0, 1), (-1, 0), (0, -1)):
                app.pane.move(*move)
                await pilot.pause()
            app.pane.end()
            await pilot.pause()
            app.pane.page(-1)
            await pilot.pause()
            width = app.pane.scrollable_content_region.width
            assert width >= size[0] - 3
            assert {app.pane.render_line(y).cell_length for y in range(app.pane.size.height)} == {width}


@every_pane
async def test_says_what_it_waits_for(kind: type[Pane]) -> None:
    app = Holder(kind())
    nothing = Picture(Session(), Focus(), None, None)
    async with app.run_test(size=(60, 8)) as pilot:
        await pilot.pause()
        assert "waiting for the model" in " ".join(shown(app.pane)) or kind is GeneratePane
        app.pane.show(nothing)
        await pilot.pause()
        text = " ".join(" ".join(shown(app.pane)).split())
        assert any(
            word in text
            for word in (
                "waiting for the model",
                *(f"no {what}" for what in ("edit", "vector", "cases", "text")),
                "nothing",
            )
        )
        for act in (app.pane.home, app.pane.end, app.pane.next, app.pane.next_run):
            act()
        app.pane.move(1, 1)
        app.pane.page(1)
        assert (app.pane.value(), app.pane.row(), app.pane.search("x")) == ("", "", False)


@every_pane
async def test_name_age_and_who_shares_the_place_stand_in_the_title(kind: type[Pane]) -> None:
    app = Holder(kind())
    app.pane.tabs = (kind.VIEW.name, "residual" if kind.VIEW.name != "residual" else "heads")
    async with app.run_test(size=(80, 10)) as pilot:
        app.pane.show(picture())
        await pilot.pause()
        title = Text.from_markup(str(app.pane.border_title)).plain
        assert title.startswith(kind.VIEW.title)
        assert title.endswith("│ Heads" if kind.VIEW.name == "residual" else "│ Residual")
        assert "older" not in str(app.pane.border_title)
        app.pane.show(picture(stale=True))
        await pilot.pause()
        assert "○ older" in str(app.pane.border_title)


@every_pane
async def test_an_unchanged_picture_repaints_nothing(kind: type[Pane], monkeypatch: pytest.MonkeyPatch) -> None:
    app = Holder(kind())
    async with app.run_test(size=(80, 16)) as pilot:
        first = picture()
        app.pane.show(first)
        await pilot.pause()
        asked: list[tuple[Region, ...]] = []
        monkeypatch.setattr(app.pane, "refresh", lambda *regions, **rest: asked.append(regions))
        app.pane.show(replace(first, stale=False))
        assert asked == []


async def test_a_moved_cursor_repaints_two_rows_and_the_head(monkeypatch: pytest.MonkeyPatch) -> None:
    app = Holder(AttentionPane())
    async with app.run_test(size=(120, 40)) as pilot:
        first = picture(count=30, focus=Focus(position=10, key=3))
        app.pane.show(first)
        await pilot.pause()
        asked: list[Region] = []
        monkeypatch.setattr(app.pane, "refresh", lambda *regions, **rest: asked.extend(regions))
        app.pane.show(replace(first, focus=Focus(position=11, key=3)))
        assert sorted(region.y for region in asked) == [12, 13]
        assert {region.height for region in asked} == {1}


async def test_tokens_wrap_with_positions_and_partners() -> None:
    app = Holder(TokensPane())
    async with app.run_test(size=(34, 12)) as pilot:
        app.pane.show(picture(source=True))
        await pilot.pause()
        lines = shown(app.pane)
        assert lines[0].startswith("0When")
        assert "1·Mary" in lines[0]
        assert lines[1].startswith("∅")
        text = "".join(lines)
        for expected in ("9⏎", "10⇥", "11·中文", "13[b]x[/b]"):
            assert expected in text
        pressed(app.pane, "s")
        assert "1·Mary=1" in "".join(shown(app.pane))
        app.pane.home()
        await pilot.pause()
        app.pane.move(1, 0)
        await pilot.pause()
        app.pane.move(0, 1)
        await pilot.pause()
        assert [look.position for look in app.looked][:2] == [0, 1]
        assert app.looked[-1].position > 1
        assert app.pane.search("JOHN")
        await pilot.pause()
        assert app.looked[-1].position == 3
        assert app.pane.value() == " John"


REFUSED = ("zero L9H9 @-1", "scale L3.mlp @2 x0", "add L6.pre love x5")


async def test_tokens_take_clicks() -> None:
    app = Holder(TokensPane())
    async with app.run_test(size=(60, 8)) as pilot:
        app.pane.show(picture())
        await pilot.pause()
        column = shown(app.pane)[0].index("3·John")
        await pilot.click(app.pane, offset=(column + 2, 1))
        assert app.looked[-1].position == 3


async def test_heads_show_cursor_marks_and_numbers() -> None:
    app = Holder(HeadsPane())
    app.pane.palette = palette(Depth.TRUE)
    async with app.run_test(size=(90, 18)) as pilot:
        given_picture = picture(focus=Focus(layer=3, head=4))
        app.pane.show(given_picture)
        await pilot.pause()
        lines = shown(app.pane)
        answer = given_picture.answered[0]
        assert lines[0].split() == [str(i) for i in range(12)]
        assert lines[4].split()[0] == "3"
        assert f"▸ {answer.edited.values[3, 4]:.2f}"[0:3] in lines[4]
        assert f"{answer.edited.values[3, 4]:.2f}".removeprefix("0") in lines[4]
        assert lines[10].count("*") == 1, "L9H9 is edited, L10H7 is off"
        assert "6*" in lines[7].replace(" ", "")[:2], "L6.pre is edited"
        assert app.pane.value() == f"{answer.edited.values[3, 4]:.6g}"
        pressed(app.pane, "c")
        assert app.pane.value() == f"{answer.clean.values[3, 4]:.6g}"
        app.pane.move(2, -1)
        await pilot.pause()
        assert (app.looked[-1].layer, app.looked[-1].head) == (2, 6)
        await pilot.click(app.pane, offset=(2 + 3 + 5, 6))
        assert app.looked[-1].layer == 4


@pytest.mark.parametrize("kind", [HeadsPane, TokensPane, AttentionPane, ResidualPane, EditsPane, VectorsPane])
async def test_an_edit_that_the_model_refuses_is_marked_nowhere(kind: type[Pane]) -> None:
    some = picture(focus=Focus(layer=9, head=9))
    some = replace(some, session=replace(some.session, edits=tuple(map(parse_edit, REFUSED))))
    refused = tuple(EditProblem(index, line, "there is no such thing") for index, line in enumerate(REFUSED))
    app = Holder(kind())
    async with app.run_test(size=(120, 30)) as pilot:
        app.pane.show(some)
        await pilot.pause()
        before = [pieces(app.pane, y) for y in range(app.pane.size.height)], str(app.pane.border_title)
        app.pane.show(replace(some, problems=refused))
        await pilot.pause()
        after = [pieces(app.pane, y) for y in range(app.pane.size.height)], str(app.pane.border_title)
        assert before != after, "this pane marks edits"
        app.pane.show(replace(some, session=replace(some.session, edits=())))
        await pilot.pause()
        if kind is EditsPane:
            assert "0/3 on" in after[1]
        else:
            none = [pieces(app.pane, y) for y in range(app.pane.size.height)], str(app.pane.border_title)
            assert after == none


def pieces(pane: Pane, y: int) -> list[tuple[str, str]]:
    return [(segment.text, str(segment.style)) for segment in pane.render_line(y)]


async def test_heads_keep_the_cursor_in_sight() -> None:
    app = Holder(HeadsPane())
    async with app.run_test(size=(24, 8)) as pilot:
        app.pane.show(picture(layers=48, heads=25, focus=Focus(layer=40, head=24)))
        await pilot.pause()
        lines = shown(app.pane)
        assert any("▸" in line and line.split()[0] == "40" for line in lines)
        assert lines[0].split()[-1] == "24"
        app.pane.home()
        await pilot.pause()
        assert any("▸" in line and line.split()[0] == "0" for line in shown(app.pane))


async def test_narrow_heads_keep_unit_run_and_value() -> None:
    app = Holder(HeadsPane())
    app.pane.number = 2
    async with app.run_test(size=(26, 30)) as pilot:
        given_picture = picture(layers=30, heads=9, focus=Focus(layer=18, head=6), edits=("zero L18H6",))
        app.pane.show(given_picture)
        await pilot.pause()
        lines = [strip.text for strip in app.screen._compositor.render_strips()]
        assert "Heads entropy nats" in lines[0]
        assert "edited L18H6*" in lines[-1]
        assert f"{given_picture.answered[0].edited.values[18, 6]:.2f}".removeprefix("0") in lines[-1]
        assert "…" not in lines[0] + lines[-1]


@pytest.mark.parametrize(("text", "found"), [("L3H11", (3, 11)), ("3.11", (3, 11)), ("l0h5", (0, 5)), ("L12H0", None)])
async def test_a_head_is_found_by_its_name(text: str, found: tuple[int, int] | None) -> None:
    app = Holder(HeadsPane())
    async with app.run_test(size=(90, 18)) as pilot:
        app.pane.show(picture())
        assert app.pane.search(text) == (found is not None)
        await pilot.pause()
        assert [(look.layer, look.head) for look in app.looked] == ([found] if found else [])


async def test_heads_ask_for_the_summary_that_is_chosen() -> None:
    pane = HeadsPane()
    given_picture = picture(focus=Focus(position=5))
    pane.show(given_picture)
    lines = []
    for _ in range(10):
        lines += [question.line() for question in pane.questions(given_picture)]
        given_picture = pressed(pane, "sc")
    own = [f"heads {summary} @5" for summary in ("entropy", "first", "norm", "attribution")]
    # What is measured once per model is one answer for all that shows it.
    assert lines == [*own, *["scores"] * 4, *own[:2]]


async def test_attention_names_its_axes_and_leaves_the_future_blank() -> None:
    app = Holder(AttentionPane())
    async with app.run_test(size=(120, 20)) as pilot:
        given_picture = picture(focus=Focus(position=3, key=1, layer=9, head=9))
        app.pane.show(given_picture)
        await pilot.pause()
        table = given_picture.answered[1].edited.table
        lines = shown(app.pane)
        assert lines[0].split()[:4] == ["When", "·Mary", "·and", "·John"]
        assert lines[1].split() == [str(i) for i in range(14)]
        assert lines[2].split()[:2] == ["0", "When"]
        numbers = lines[5].replace("▸", " ").split()
        assert numbers[:2] == ["3", "·John"]
        assert [float(x) for x in numbers[2:]] == [round(float(v), 2) for v in table[3, :4]]
        assert "▸" in lines[5]
        assert "L9H9*" in str(app.pane.border_title)
        assert app.pane.value() == f"{table[3, 1]:.6g}"
        assert len(app.pane.row().split("\t")) == 14
        app.pane.move(1, 1)
        await pilot.pause()
        assert (app.looked[-1].position, app.looked[-1].key) == (4, 2)


async def test_attention_difference_has_signs_and_needs_an_edit() -> None:
    app = Holder(AttentionPane())
    async with app.run_test(size=(120, 20)) as pilot:
        given_picture = picture()
        app.pane.show(given_picture)
        pressed(app.pane, "cc")
        await pilot.pause()
        clean, edited = given_picture.answered[1].clean.table, given_picture.answered[1].edited.table
        assert float(shown(app.pane)[4].replace("▸", " ").split()[2]) == pytest.approx(
            edited[2, 0] - clean[2, 0], abs=0.006
        )
        assert "+" in "".join(shown(app.pane)[1:])
        without = picture(edited=False)
        app.pane.show(replace(without, session=app.pane.picture.session))
        assert "no edit is on" in shown(app.pane)[0]


async def test_attention_scrolls_through_a_thousand_tokens() -> None:
    app = Holder(AttentionPane())
    async with app.run_test(size=(100, 30)) as pilot:
        given_picture = picture(count=1024, layers=2, heads=2, focus=Focus(position=1000, key=990))
        given_picture = replace(given_picture, session=put(given_picture.session, Attention(1, 1, fold="whole")))
        app.pane.show(given_picture)
        await pilot.pause()
        lines = shown(app.pane)
        assert any("▸" in line and line.startswith("1000 ") for line in lines)
        assert "990" in lines[0]
        app.pane.show(replace(given_picture, focus=Focus(position=0, key=0)))
        await pilot.pause()
        assert shown(app.pane)[1].split()[:2] == ["0", "When"]


async def test_residual_switches_to_logarithms_where_one_token_is_massive() -> None:
    given_picture = picture(edited=False)
    answered = given_picture.answered[2]
    norm = answered.clean.norm.copy()
    norm[:, 0] = 30000
    massive = replace(answered, clean=replace(answered.clean, norm=norm))
    app = Holder(ResidualPane())
    async with app.run_test(size=(70, 24)) as pilot:
        app.pane.show(replace(given_picture, answered=(massive,)))
        await pilot.pause()
        assert "log scale" in str(app.pane.border_title)
        assert shown(app.pane)[0].rstrip().endswith("30k…30k")
        pressed(app.pane, "s")
        assert "log scale" not in str(app.pane.border_title)
        foot = shown(app.pane)[-3:]
        assert [line.split()[0] for line in foot] == ["writes", "attn", "mlp"]
        app.pane.move(3, 0)
        await pilot.pause()
        assert app.looked[-1].layer == 3
        assert app.pane.value() == f"{norm[3, 13]:.6g}"


async def test_next_token_puts_clean_beside_edited() -> None:
    app = Holder(NextTokensPane())
    async with app.run_test(size=(60, 24)) as pilot:
        given_picture = picture()
        app.pane.show(given_picture)
        await pilot.pause()
        clean, edited = given_picture.answered[3].clean, given_picture.answered[3].edited
        lines = shown(app.pane)
        assert lines[0].split() == ["clean", "edited"]
        top = clean.top[0].token
        row = next(line for line in lines if line.startswith("·" + top.text.strip()))
        after = next(c.prob for c in (*edited.top, *edited.also) if c.token.id == top.id)
        assert f"{clean.top[0].prob:.3f}"[1:] in row
        assert f"{after:.3f}"[1:] in row
        assert f"{clean.logit_diff:+.2f} → {edited.logit_diff:+.2f}" in lines[-1]
        assert "@13" in str(app.pane.border_title)
        app.pane.move(0, 2)
        assert app.pane.row().split("\t")[0] != app.pane.value()
        assert app.pane.search("w7")
        assert app.pane.value() == " w7"
        app.pane.show(picture(edited=False))
        assert "→" not in "".join(shown(app.pane))


@pytest.mark.parametrize("width", range(18, 44))
async def test_next_token_shows_the_whole_logit_difference(width: int) -> None:
    given_picture = picture()
    answered = given_picture.answered[3]
    both = (
        replace(each, auto=True, logit_diff=diff) for each, diff in ((answered.clean, 17.64), (answered.edited, -6.56))
    )
    clean, edited = both
    app = Holder(NextTokensPane())
    async with app.run_test(size=(width, 24)) as pilot:
        await pilot.pause()
        app.pane.show(replace(given_picture, answered=(replace(answered, clean=clean, edited=edited),)))
        await pilot.pause()
        room = app.pane.scrollable_content_region.width
        page = app.pane.draw(app.pane.picture, room, 9)
        said = ["".join(segment.text for segment in page.row(index, 0)) for index in range(page.rows)]
        assert said[-1].endswith("+17.64 → -6.56")
        assert len(said[-1]) <= max(room, len("+17.64 → -6.56"))


async def test_next_token_says_when_it_chose_the_targets_itself() -> None:
    given_picture = picture(edited=False)
    answered = given_picture.answered[3]
    auto = replace(answered, clean=replace(answered.clean, auto=True))
    app = Holder(NextTokensPane())
    async with app.run_test(size=(60, 24)) as pilot:
        app.pane.show(replace(given_picture, answered=(auto,)))
        await pilot.pause()
        assert "(auto)" in shown(app.pane)[-1]


async def test_edits_show_effect_switch_and_problem() -> None:
    app = Holder(EditsPane())
    async with app.run_test(size=(60, 10)) as pilot:
        given_picture = picture(focus=Focus(edit=1))
        app.pane.show(given_picture)
        await pilot.pause()
        effect = given_picture.answered[5].clean.effect
        lines = shown(app.pane)
        assert lines[0].split() == ["[x]", "zero", "L9H9", "@-1", f"{effect[0]:+.2f}"]
        assert lines[1].startswith("[ ] scale L10H7 x0")
        assert app.pane.row().split("\t")[:2] == ["off", "scale L10H7 x0"]
        assert app.pane.value() == f"{effect[1]:.6g}"
        assert "Δ logit diff" in str(app.pane.border_title)
        problem = EditProblem(1, "scale L10H7 x0", "this model has 6 layers")
        app.pane.show(replace(given_picture, problems=(problem,)))
        assert "✗ this model has 6 layers" in shown(app.pane)[1]
        app.pane.move(0, 1)
        await pilot.pause()
        assert app.looked[-1].edit == 2


@pytest.mark.parametrize(
    ("width", "seen"),
    [
        (60, "[x] add L2.pre @-1 happy-and-not-sad x-2.5"),
        (44, "[x] add L2.pre @-1 happy-a… x-2.5"),
        (38, "[x] add L2.pre @-1 … x-2.5"),
        (30, "[x] add L2.p… x-2.5"),
    ],
)
async def test_a_coefficient_and_an_effect_are_never_cut(width: int, seen: str) -> None:
    app = Holder(EditsPane())
    async with app.run_test(size=(width, 10)) as pilot:
        given_picture = picture(edits=("add L2.pre @-1 happy-and-not-sad x-2.5", "scale L10H7 @0-3 x0.55"))
        app.pane.show(given_picture)
        await pilot.pause()
        effect = given_picture.answered[5].clean.effect
        lines = shown(app.pane)
        assert lines[0].split("…")[0].startswith(seen.split("…", maxsplit=1)[0])
        assert " x-2.5 " in lines[0]
        assert lines[0].rstrip().endswith(f"{effect[0]:+.2f}")
        assert " x0.55 " in lines[1]


async def test_an_added_vector_says_how_long_it_is_and_where_it_was_read() -> None:
    app = Holder(EditsPane())
    async with app.run_test(size=(36, 10)) as pilot:
        given_picture = picture(edits=("add L2.pre love x-2", "add L6.pre love", "add L5.post love", "add L2.pre w"))
        answered = given_picture.answered[5]
        shares = replace(answered, clean=EffectsAnswer(5.0, (1.0, 2.0, 3.0, 4.0), (0.31, 0.5, 0.6, 0.7)))
        given_picture = replace(given_picture, answered=(shares,))
        for edit, said in enumerate(("love was read at L6.pre and is added at L2.pre.", "", "", "")):
            app.pane.show(replace(given_picture, focus=Focus(edit=edit)))
            await pilot.pause()
            text = " ".join(line.strip() for line in shown(app.pane))
            share = (".31", ".50", ".60", ".70")[edit]
            assert f"adds {share} of the activation's length" in text
            assert said in text
            assert ("was read" in text) is bool(said)


@pytest.mark.parametrize(
    ("linear", "together", "said"),
    [(True, 4.0, "together +4.00 = sum"), (True, 3.5, "together +3.50, sum +4.00"), (False, 3.5, "together +3.50")],
)
async def test_linear_mode_says_whether_effects_add_up(linear: bool, together: float, said: str) -> None:
    app = Holder(EditsPane())
    async with app.run_test(size=(70, 14)) as pilot:
        given_picture = picture()
        edits = tuple(map(parse_edit, ("zero L1H1", "zero L2H2", "# zero L3H3", "scale L0H0.q x2")))
        asked = replace(given_picture.session, edits=edits, linear=linear)
        answer = EffectsAnswer(5.0, (1.0, 3.0, 9.0, 0.0), (None,) * 4, 13, together)
        answered = (Answered(1, Effects(), answer, None, 1.0),)
        app.pane.show(replace(given_picture, session=asked, answered=answered, focus=Focus(edit=3)))
        await pilot.pause()
        assert f"{said}[/" in str(app.pane.border_subtitle)
        assert ("this edit does nothing" in " ".join(shown(app.pane))) is linear


async def test_numbers_of_another_prompt_are_called_older_whatever_is_answered() -> None:
    app = Holder(EditsPane())
    async with app.run_test(size=(60, 10)) as pilot:
        given_picture = picture()
        app.pane.show(given_picture)
        await pilot.pause()
        assert "older" not in str(app.pane.border_title)
        other = replace(given_picture.session, prompt="another")
        app.pane.show(replace(given_picture, session=other, answered=()))
        assert "older" in str(app.pane.border_title)
        app.pane.show(replace(given_picture, session=other))
        assert "older" not in str(app.pane.border_title)


async def test_a_vector_that_acts_elsewhere_says_so() -> None:
    app = Holder(VectorsPane())
    async with app.run_test(size=(80, 12)) as pilot:
        app.pane.show(picture(edits=("add L2.pre love x-2",)))
        await pilot.pause()
        assert "love was read at L6.pre and is added at L2.pre." in "\n".join(shown(app.pane))
        app.pane.show(picture(edits=("add L6.pre love x-2",)))
        await pilot.pause()
        assert "was read" not in "\n".join(shown(app.pane))


async def test_an_effect_stays_with_its_edit_when_the_list_changes() -> None:
    app = Holder(EditsPane())
    async with app.run_test(size=(60, 10)) as pilot:
        given_picture = picture()
        app.pane.show(given_picture)
        await pilot.pause()
        effect = given_picture.answered[5].clean.effect
        shorter = replace(given_picture.session, edits=given_picture.session.edits[1:])
        app.pane.show(replace(given_picture, session=shorter, stale=True))
        lines = shown(app.pane)
        assert lines[0].split()[-1] == f"{effect[1]:+.2f}"
        assert lines[1].split()[-1] == f"{effect[2]:+.2f}"


async def test_vectors_tell_their_size_meaning_and_problem() -> None:
    app = Holder(VectorsPane())
    async with app.run_test(size=(80, 10)) as pilot:
        app.pane.show(picture())
        await pilot.pause()
        lines = shown(app.pane)
        assert lines[0].startswith('*love diff L6.pre "Love" "Hate"')
        assert lines[0].rstrip().endswith("length 12")
        assert lines[-1].rstrip() == "length 12, .20 of the stream's at L6"
        assert "·love +0.30" in lines[1]
        assert "·hate -0.20" in lines[2]
        assert "✗ there is no neuron 11" in lines[4]


async def test_generate_says_where_edits_act_and_why_it_ended() -> None:
    app = Holder(GeneratePane())
    async with app.run_test(size=(100, 12)) as pilot:
        given_picture = picture()
        app.pane.show(given_picture)
        await pilot.pause()
        lines = shown(app.pane)
        assert "clean: " in lines[0]
        assert "edited: " in lines[0]
        assert "the count is reached" in lines[0]
        assert "edits act on new tokens too" in str(app.pane.border_title)
        assert app.pane.questions(given_picture)[0].line() == "generate 40"
        assert app.pane.questions(pressed(app.pane, "s"))[0].line() == "generate 40 prompt"
        session = replace(given_picture.session, views=("generate 7 temperature0.5",))
        assert app.pane.questions(replace(given_picture, session=session))[0].line() == "generate 7 temperature0.5"
    narrow = Holder(GeneratePane())
    async with narrow.run_test(size=(40, 20)) as pilot:
        narrow.pane.show(given_picture)
        await pilot.pause()
        starts = [line.split(":")[0] for line in shown(narrow.pane) if line.startswith(("clean:", "edited:"))]
        assert starts == ["clean", "edited"]


def test_nothing_that_was_not_computed_is_painted_as_a_number() -> None:
    given_picture = picture(edited=False)
    answered = given_picture.answered[0]
    values = np.full_like(answered.clean.values, np.nan)
    pane = HeadsPane()
    blank = replace(given_picture, answered=(replace(answered, clean=replace(answered.clean, values=values)),))
    pane.show(blank)
    assert not any("." in line for line in drawn(pane, blank, 90, 20))


@pytest.mark.parametrize(("layers", "width"), [(4, 70), (12, 48), (30, 46), (30, 44), (1, 30)])
@pytest.mark.parametrize("cursor", [0, -1])
async def test_every_layer_is_a_bar_also_the_one_under_the_cursor(layers: int, width: int, cursor: int) -> None:
    app = Holder(ResidualPane())
    async with app.run_test(size=(width, 24)) as pilot:
        await pilot.pause()
        given_picture = picture(layers=layers, edited=False, focus=Focus(layer=cursor % layers))
        app.pane.show(given_picture)
        await pilot.pause()
        lines = shown(app.pane)
        counts = [sum(char in BLOCKS for char in line) for line in lines if line.strip()]
        assert counts[:14] == [layers + 1] * 14
        assert [count for count in counts if count][-2:] == [layers] * 2
        for y in (13, len(lines) - 1):
            for segment in app.pane.render_line(y):
                if any(char in BLOCKS for char in segment.text):
                    assert not segment.style.reverse


# How many edits there are, the list of edits alone is long by.
@pytest.mark.parametrize(("kind", "edits"), [*((kind, 3) for kind in PANES), (EditsPane, 0), (EditsPane, 1)])
async def test_a_pane_that_scrolls_keeps_its_cursor_in_sight(kind: type[Pane], edits: int) -> None:
    app = Holder(kind())
    async with app.run_test(size=(60, 24)) as pilot:
        lines = ("zero L9H9 @-1", "scale L10H7 x0", "add L6.pre love x5")[:edits]
        for height, edited in ((24, False), (24, True), (9, True), (9, False), (24, False), (6, True)):
            await pilot.resize_terminal(60, height)
            for position in (39, 0, 20, 39):
                focus = Focus(position=position, layer=position // 4, head=3, key=position, edit=9, vector=1)
                app.pane.show(picture(count=40, edited=edited, edits=lines, focus=focus))
                await pilot.pause()
                page, room = app.pane._page, app.pane.scrollable_content_region.size
                assert page is not None
                if page.cursor is not None:
                    at = page.cursor - app.pane.scroll_offset.y
                    assert 0 <= at < max(room.height - page.head_rows - len(page.foot), 1)
                if page.cursor_x is not None:
                    first, last = (x - app.pane._now()[2] for x in page.cursor_x)
                    assert page.stick <= first <= last < room.width


@pytest.mark.parametrize("count", [5, 13, 40])
@pytest.mark.parametrize("kind", [AttentionPane, HeadsPane], ids=lambda kind: kind.__name__)
async def test_tables_fill_their_pane_with_whole_columns(kind: type[Pane], count: int) -> None:
    app = Holder(kind())
    async with app.run_test(size=(27, 30)) as pilot:
        await pilot.pause()
        app.pane.palette = palette(Depth.TRUE)
        given = picture(count=count, heads=count, focus=Focus(key=count - 1, head=count - 1, layer=9))
        app.pane.show(replace(given, session=put(given.session, Attention(9, 9, fold="whole"))))
        for width in (*range(30, 60, 3), 100, 200):
            await resized(pilot, width, 30)
            page, room = app.pane._page, app.pane.scrollable_content_region.width
            assert width - 4 < room <= width
            assert page is not None
            left = app.pane._now()[2]
            assert left % page.step == 0
            row = page.row(page.cursor or 0, left)
            cells = sum(segment.cell_length for segment in row) - page.stick
            assert cells % page.step == 0
            assert cells <= room - page.stick
            # No wider cell would do, or they are as wide as is of use.
            assert page.step >= 6 or (page.step + 1) * count > room - page.stick


async def test_columns_are_told_apart_by_their_numbers() -> None:
    app = Holder(AttentionPane())
    async with app.run_test(size=(58, 30)) as pilot:
        await pilot.pause()
        app.pane.show(picture(count=13))
        await pilot.pause()
        assert shown(app.pane)[1].split() == [str(i) for i in range(13)]


async def test_a_scale_without_extent_is_not_shown() -> None:
    app = Holder(HeadsPane())
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.pause()
        app.pane.show(picture(focus=Focus(position=0)))
        await pilot.pause()
        assert " 0 nats" not in str(app.pane.border_subtitle)
        assert ".00 .00" not in str(app.pane.border_subtitle)


@pytest.mark.parametrize("width", [32, 38, 60])
@pytest.mark.parametrize("kind", [NextTokensPane, EditsPane], ids=lambda kind: kind.__name__)
async def test_why_a_target_is_refused_can_be_read_whole(kind: type[Pane], width: int) -> None:
    sentence = 'answer " Mary Jane Watson" is 3 tokens (· Mary, · Jane, · Watson); a target is one token'
    app = Holder(kind())
    async with app.run_test(size=(width, 24)) as pilot:
        await pilot.pause()
        app.pane.show(replace(picture(), problems=(EditProblem(-1, "answer", sentence),)))
        await pilot.pause()
        assert sentence in " ".join(" ".join(shown(app.pane)).split())


async def test_a_target_and_a_source_of_an_earlier_prompt_say_so() -> None:
    earlier = frozenset(("target", "source"))
    for kind, words in ((NextTokensPane, "answer and foil are of an earlier prompt"), (TokensPane, "of an earlier")):
        app = Holder(kind())
        async with app.run_test(size=(60, 24)) as pilot:
            await pilot.pause()
            for of in (earlier, frozenset()):
                app.pane.show(replace(picture(source=True), earlier=of))
                await pilot.pause()
                assert (words in "".join(shown(app.pane)) + str(app.pane.border_title)) is bool(of)


async def test_numbers_in_the_text_stand_apart_from_positions_and_ids() -> None:
    app = Holder(TokensPane())
    async with app.run_test(size=(60, 6)) as pilot:
        await pilot.pause()
        given_picture = picture(count=3)
        assert given_picture.tokens is not None
        numbers = tuple(Token(id, text) for id, text in ((5, "11"), (6, "²"), (7, " 29")))
        app.pane.show(replace(given_picture, tokens=replace(given_picture.tokens, tokens=numbers)))
        await pilot.pause()
        assert shown(app.pane)[0].split() == ["0:11", "1:²", "2·29"]
        pressed(app.pane, "s")
        assert shown(app.pane)[0].split() == ["0:11=5", "1:²=6", "2·29=7"]
        look = app.pane.palette.dim.color
        ids = [segment.text for segment in app.pane.render_line(0) if segment.style.color == look]
        assert "=6" in "".join(ids)


@pytest.mark.parametrize("cells", [2, 3, 4, 5, 6])
@pytest.mark.parametrize("value", [0.0, 0.62, 1.62, 12.34])
async def test_a_star_is_its_own_heads(cells: int, value: float) -> None:
    given_picture = picture(layers=4, heads=8, edits=("patch L3H6",))
    answered = given_picture.answered[0]
    edited = replace(answered.edited, values=np.full((4, 8), value, dtype=np.float32))
    pane = HeadsPane()
    shown_picture = replace(given_picture, answered=(replace(answered, edited=edited),))
    header, *rows = drawn(pane, shown_picture, 3 + 8 * cells, 20)
    row, name = rows[3], header.index("6")
    at = row.index("*")
    assert header.index("5") < at <= name
    if cells < 4 or (cells, value) == (4, 1.62):
        assert at == name, "under its head's name"
    else:
        assert row[at - 1] == " ", "apart from the number of the head before"
        assert row[at + 1] not in " *", "before its own number"


@pytest.mark.parametrize("width", [28, 30, 32, 38, 46])
@pytest.mark.parametrize("edited", [True, False])
async def test_answer_and_foil_keep_their_names(width: int, edited: bool) -> None:
    given_picture = picture(edited=edited)
    answered = given_picture.answered[3]

    def renamed(run: NextTokensAnswer | None) -> NextTokensAnswer | None:
        if run is None:
            return None
        answer = replace(run.answer, token=Token(1, " Alexander"), logit=17.65)
        return replace(run, answer=answer, foil=replace(run.foil, token=Token(2, " Jo"), logit=-13.63))

    two = replace(answered, clean=renamed(answered.clean), edited=renamed(answered.edited))
    lines = drawn(NextTokensPane(), replace(given_picture, answered=(two,)), width, 30)
    answer, foil = (next(line for line in lines if line.startswith(name)) for name in ("answer ", "foil   "))
    assert answer[7:18] == "·Alexander ", "the whole name"
    assert foil[7:11] == "·Jo "
    assert len(answer) == len(foil) <= width
    assert ("→17.65" if edited else " 17.65") in answer
    assert ("17.65→17.65" in answer) == (edited and width > 30), "the clean logit gives way to the name"


@pytest.mark.parametrize("width", [31, 34, 38, 60])
def test_no_targets_is_said_whole(width: int) -> None:
    given_picture = picture(edited=False)
    answered = given_picture.answered[3]
    none = replace(answered, clean=replace(answered.clean, answer=None, foil=None, logit_diff=None))
    said = drawn(NextTokensPane(), replace(given_picture, answered=(none,)), width, 30)[-1]
    assert said.startswith("no ")
    assert len(said) <= width
    assert ("difference" in said) == (width >= 40)


@pytest.mark.parametrize("width", [16, 24, 28, 46, 90])
@pytest.mark.parametrize("number", [0, 2])
@pytest.mark.parametrize("stale", [True, False])
async def test_titles_of_heads_and_generation_are_whole(width: int, number: int, stale: bool) -> None:
    for pane in (HeadsPane(), GeneratePane()):
        pane.number = number
        given_picture = picture(stale=stale, focus=Focus(position=0))
        app = Holder(pane)
        async with app.run_test(size=(width + 2, 20)) as pilot:
            pane.show(given_picture)
            for _ in range(4):
                await pilot.pause()
                title = Text.from_markup(str(pane.border_title)).plain
                assert len(title) <= max(width - 4, len(f"2 Generate 40, greedy{' ○ older' if stale else ''}"))
                assert "40, greedy" in title or "Heads entropy" in title or "Heads first" in title
                pressed(pane, "s")


@pytest.mark.parametrize(("width", "layers"), [(28, 24), (40, 24), (46, 24), (46, 4), (60, 24)])
def test_a_write_is_beside_what_it_is_said_to_be(width: int, layers: int) -> None:
    given_picture = picture(layers=layers, focus=Focus(layer=layers - 1))
    lines = drawn(ResidualPane(), given_picture, width, 30)
    at = next(i for i, each in enumerate(lines) if each.startswith("writes @13"))
    assert all(len(each.rstrip()) <= width for each in lines[at:])
    assert (" of max" in lines[at]) == (" of " in lines[at + 1])
    numbered = lines[at + 1].rstrip()[-1].isdigit()
    assert (f"L{layers - 1}" in lines[at]) == numbered
    assert (" of " in lines[at + 1]) == (width - layers >= 19)


async def test_a_refused_vector_says_its_whole_reason_at_the_foot() -> None:
    reason = 'w = diff L2.pre "Mary" "Mary": both sides are the same, so the vector is zero'
    given_picture = picture(focus=Focus(vector=1))
    answered = given_picture.answered[-1]
    meanings = (answered.clean.vectors[0], replace(answered.clean.vectors[1], problem=reason))
    two = replace(answered, clean=replace(answered.clean, vectors=meanings))
    app = Holder(VectorsPane())
    async with app.run_test(size=(40, 10)) as pilot:
        app.pane.show(replace(given_picture, answered=(two,)))
        await pilot.pause()
        foot = " ".join(each.strip() for each in shown(app.pane)[-4:])
        assert f"✗ {reason}" in foot


def test_a_contrast_says_how_well_it_tells_what_it_has_not_seen() -> None:
    given_picture = picture(focus=Focus(vector=0))
    answered = given_picture.answered[-1]
    tells = replace(answered.clean.vectors[0], pairs=60, right=0.95, auc=0.931)
    one = replace(answered, clean=replace(answered.clean, vectors=(tells, *answered.clean.vectors[1:])))
    lines = drawn(VectorsPane(), replace(given_picture, answered=(one,)), 40, 10)
    assert "held out of 60: 95% right, AUC .93" in "".join(lines)


def test_a_vector_whose_texts_are_read_says_how_far_it_is() -> None:
    given_picture = picture(focus=Focus(vector=1))
    answered = given_picture.answered[-1]
    first = replace(answered, clean=replace(answered.clean, vectors=answered.clean.vectors[:1]), partial=True)
    lines = drawn(VectorsPane(), replace(given_picture, answered=(first,), progress=0.62), 40, 10)
    assert "·love +0.30" in lines[1]
    assert lines[4].strip() == "reading texts 62%"


@pytest.mark.parametrize("width", [24, 50])
def test_heads_always_have_a_scale(width: int) -> None:
    said = picture(layers=4, heads=8)
    pane = HeadsPane()
    page = pane.draw(said, width, 18)
    text = "".join(text for text, _ in page.legend) + "".join(Strip(each).text for each in page.foot)
    assert "2.64" in text, "ln 14 at the last of 14 positions"


@pytest.mark.parametrize("width", [24, 90])
def test_heads_say_that_none_changed(width: int) -> None:
    given_picture = picture(layers=4, heads=8)
    answered = given_picture.answered[0]
    same = replace(given_picture, answered=(replace(answered, edited=answered.clean),))
    pane = HeadsPane()
    difference = replace(same.session, views=("heads entropy difference",))
    given_picture, same = replace(given_picture, session=difference), replace(same, session=difference)
    assert drawn(pane, same, width, 18)[-1] == "no head changed"
    assert "no head changed" not in drawn(pane, given_picture, width, 18)
    nothing = replace(answered.clean, values=np.full((4, 8), np.nan, dtype=np.float32))
    unknown = replace(given_picture, answered=(replace(answered, clean=nothing, edited=nothing),))
    assert "no head changed" not in drawn(pane, unknown, width, 18)


async def test_the_one_row_of_tokens_that_is_seen_is_full() -> None:
    app = Holder(TokensPane())
    async with app.run_test(size=(80, 4)) as pilot:
        app.pane.show(picture(source=True))
        await pilot.pause()
        token, partner = (each.rstrip() for each in shown(app.pane))
        assert "13[b]x" in token
        assert " 6the" in token.replace("·", "")
        assert len(partner) > 40
        for at, text in ((10, "10⇥"), (8, "8,"), (13, "13[b]")):
            column = cell_len(token[: token.index(text)])
            await pilot.click(app.pane, offset=(column + 2, 1))
            assert app.looked[-1].position == at
            await pilot.pause()
        app.pane.home()
        await pilot.pause()
        assert shown(app.pane)[0].startswith("0When")
        app.pane.move(0, 1)
        await pilot.pause()
        assert "13[b]x" in shown(app.pane)[0], "down goes to what the last row shows"


async def test_next_token_has_the_logits_where_bars_leave_room_and_asks_for_what_fills_it() -> None:
    app = Holder(NextTokensPane())
    async with app.run_test(size=(52, 40)) as pilot:
        given_picture = picture(edited=False)
        app.pane.show(given_picture)
        await pilot.pause()
        best = given_picture.answered[3].clean.top[0]
        lines = shown(app.pane)
        assert lines[0].split() == ["clean", "logit"]
        assert lines[1].split()[-1] == f"{best.logit:.2f}"
        (asked,) = app.pane.questions(given_picture)
        assert (asked.position, asked.top) == (-1, 50)
        named = replace(given_picture, session=put(given_picture.session, NextTokens(top=20)))
        assert app.pane.questions(named) == (NextTokens(top=20),)
    app = Holder(NextTokensPane())
    async with app.run_test(size=(34, 16)) as pilot:
        app.pane.show(given_picture)
        await pilot.pause()
        assert shown(app.pane)[0].split() == ["clean"]
        assert app.pane.questions(given_picture) == (NextTokens(),)


async def test_edits_are_listed_by_the_size_of_their_effects_and_keep_their_numbers() -> None:
    lines = ("zero L1H1", "zero L2H2", "zero L3H3", "zero L4H4")
    given_picture = picture(edits=lines, focus=Focus(edit=0))
    answered = Answered(1, Effects(), EffectsAnswer(5.0, (-0.2, 3.0, None, -4.0), (None,) * 4, 13), None, 1.0)
    given_picture = replace(given_picture, answered=(answered,))
    app = Holder(EditsPane())
    async with app.run_test(size=(60, 14)) as pilot:
        app.pane.show(given_picture)
        await pilot.pause()
        assert [line.split()[2] for line in shown(app.pane)[:4]] == ["L1H1", "L2H2", "L3H3", "L4H4"]
        pressed(app.pane, "s")
        await pilot.pause()
        assert app.pane.picture.session.views == ("effects ranked",)
        assert [line.split()[2] for line in shown(app.pane)[:4]] == ["L4H4", "L2H2", "L1H1", "L3H3"]
        assert "ranked" in str(app.pane.border_title)
        # The cursor stays on its edit, and goes down the list as it is shown.
        app.pane.move(0, -1)
        await pilot.pause()
        assert app.looked[-1].edit == 1
        await pilot.click(EditsPane, offset=(10, 1))
        await pilot.pause()
        assert app.looked[-1].edit == 3
        pressed(app.pane, "s")
        assert app.pane.picture.session.views == ()
