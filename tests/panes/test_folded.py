"""Long prompts: the whole table as a small picture, and of each query the keys that it looks at most."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace
from rich.cells import cell_len

from mechtui.link.messages import Answered
from mechtui.paint.halves import halves
from mechtui.paint.palette import Depth, palette
from mechtui.panes import folded as module
from mechtui.panes.folded import Folded
from mechtui.panes.overview import overview
from mechtui.panes.picture import Picture
from mechtui.session.document import Focus
from mechtui.views import put
from mechtui.views.attention import Attention, AttentionAnswer
from mechtui.views.attention.pane import AttentionPane
from tests.panes.pictures import Holder, picture, shown

HALF = 200
COUNT = 2 * HALF


def induction() -> np.ndarray:
    """From the second time on that a token stands there, the one behind its first place gets most; the rest rests."""
    rng = np.random.default_rng(0)
    table = rng.uniform(0, 0.4 / COUNT, (COUNT, COUNT)).astype(np.float32)
    table[:, 0] = 0.3
    for query in range(HALF, COUNT):
        table[query, query - HALF + 1] = 0.6
    table[np.triu_indices(COUNT, 1)] = np.nan
    return table


def of(table: np.ndarray, line: Attention, focus: Focus) -> Picture:
    given = picture(count=len(table), layers=10, heads=10, focus=replace(focus, layer=9, head=9), edited=False)
    answered = Answered(1, line.asked(), AttentionAnswer("pattern", table), None, 1.0)
    return replace(given, answered=(answered,), session=put(given.session, line))


def test_a_stripe_is_not_lost_among_what_is_dark() -> None:
    small = overview(induction(), 14, 28, 0.0, 1.0)
    assert small.dots.shape == (28, 28)
    # The stripe begins in the middle of the rows and goes down to the middle of the columns, one dot a row.
    for dot in range(15, 28):
        bright = np.flatnonzero(small.dots[dot] > 0.5)
        assert set(bright) <= {dot - 14, dot - 13}
        assert len(bright) >= 1
    assert np.nanmax(small.dots[:14]) < 0.5
    assert np.isnan(small.dots[0, 1:]).all()


def test_a_dot_of_a_difference_is_what_is_farthest_from_0() -> None:
    table = np.array([[0.1, 0.2, 0, 0], [-0.5, 0.3, 0, 0], [0, 0, np.nan, 0.4], [0, 0, 0, 0.2]])
    small = overview(table, 1, 2, -1, 1, signs=True)
    assert small.dots.tolist() == [[-0.5, 0], [0, 0.4]]
    assert overview(table, 1, 2, 0, 1).dots.tolist() == [[0.3, 0], [0, 0.4]]
    assert small.strongest(table, 0, 0) == (1, 0)
    assert small.strongest(table, 0, 1) == (2, 3)
    assert small.strongest(table, 1, 0) is None


@settings(max_examples=60, deadline=None)
@given(count=st.integers(1, 90), height=st.integers(1, 30), width=st.integers(1, 60), seed=st.integers(0, 9))
def test_every_cell_has_its_dot(count: int, height: int, width: int, seed: int) -> None:
    table = np.random.default_rng(seed).uniform(0, 1, (count, count))
    table[np.triu_indices(count, 1)] = np.nan
    small = overview(table, height, width, 0, 1)
    assert small.height <= height
    assert small.width <= width
    assert np.nanmax(small.dots) == np.nanmax(table)
    for row in range(count):
        y, x = small.place(row, row)
        assert y < small.height
        assert x < small.width
        first, last = small.span(y)
        assert first <= row < last
        found = small.strongest(table, y, x)
        assert found is not None
        assert table[found] >= table[row, row]
    assert [small.span(y)[1] for y in range(small.height)][-1] == count


@pytest.mark.parametrize("depth", list(Depth))
def test_half_a_cell_has_its_own_colour(depth: Depth) -> None:
    values = np.array([[1.0, np.nan, 0.0, np.nan], [0.0, 1.0, np.nan, np.nan], [1.0, 1.0, 1.0, 1.0]])
    pieces = halves(values, 0, 0, 1, palette(depth))
    if depth is Depth.NONE:
        assert "".join(text for text, _ in pieces) == "██· "
        return
    assert "".join(text for text, _ in pieces) == "▀▄▀ "
    strong, weak = (palette(depth).sequential(level).bgcolor for level in (15, 0))
    assert (pieces[0][1].color, pieces[0][1].bgcolor) == (strong, weak)
    assert (pieces[1][1].color, pieces[1][1].bgcolor) == (strong, None)
    assert "".join(text for text, _ in halves(values, 2, 0, 1, palette(depth))) == "▀▀▀▀"


def test_the_keys_of_a_query() -> None:
    table = np.array([[0.5, 0.1, 0.3, 0.05, np.nan]])
    fold = Folded(table, 0, 1, signs=False, unit=True)
    assert fold.keys(0, 3, ranked=True) == [0, 2, 1]
    assert fold.keys(0, 3, ranked=False) == [0, 1, 2]
    assert fold.keys(0, 9, ranked=True) == [0, 2, 1, 3]
    # The cursor's key is in sight, wherever it stands.
    assert fold.keys(0, 3, ranked=True, cursor=3) == [0, 2, 3]
    assert fold.keys(0, 1, ranked=True, cursor=4) == [4]
    # One walks through all of them by rank.
    assert [fold.moved(0, 2, True, key, 1) for key in (0, 2, 1, 3)] == [2, 1, 3, 3]
    assert fold.moved(0, 2, False, 0, 1) == 2
    assert fold.held(0, [0, 2]) == "2 of its 4 keys: .80 of the row"
    change = Folded(np.array([[0.1, -0.4, 0.2]]), -0.4, 0.4, signs=True, unit=True)
    assert change.keys(0, 2, ranked=True) == [1, 2]


@pytest.mark.parametrize("size", [(50, 18), (63, 26), (118, 36), (60, 16)])
async def test_400_tokens_say_what_the_head_does(size: tuple[int, int]) -> None:
    app = Holder(AttentionPane())
    async with app.run_test(size=size) as pilot:
        app.pane.show(of(induction(), Attention(9, 9), Focus()))
        await pilot.pause()
        lines = shown(app.pane)
        width = app.pane.scrollable_content_region.width
        query = next(line for line in lines if line.startswith("399"))
        assert "▸200" in query
        assert ".60" in query
        assert "▄" in "".join(lines)
        assert {cell_len(line) for line in lines} == {width}
        # Where in the whole the cursor stands.
        assert "▾" in lines[0]
        assert lines[0].rstrip().endswith("399")
        assert "ranked" in str(app.pane.border_title)


async def test_moving_keeps_the_column_and_asks_for_no_more_than_is_in_sight(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[int] = []
    monkeypatch.setattr(module, "overview", lambda *args: made.append(1) or overview(*args))
    app = Holder(AttentionPane())
    async with app.run_test(size=(118, 30)) as pilot:
        app.pane.show(of(induction(), Attention(9, 9), Focus()))
        await pilot.pause()
        app.pane.move(0, -1)
        await pilot.pause()
        assert (app.looked[-1].position, app.looked[-1].key) == (398, -1)  # at what it looks at most
        assert any("398" in line and "▸199" in line for line in shown(app.pane))
        app.pane.move(1, 0)
        await pilot.pause()
        assert app.looked[-1].key == 0
        app.pane.move(0, -100)
        await pilot.pause()
        assert (app.looked[-1].position, app.looked[-1].key) == (298, 0)
        assert any("298" in line and "▸  0" in line for line in shown(app.pane))
        found = app.pane._found
        assert found is not None
        assert len(found[2]._orders) <= 2 * 30
        assert len(made) == 1


async def test_a_dot_leads_to_the_strongest_cell_of_its_block() -> None:
    app = Holder(AttentionPane())
    async with app.run_test(size=(118, 34)) as pilot:
        app.pane.show(of(induction(), Attention(9, 9), Focus()))
        await pilot.pause()
        drawn = app.pane._folded
        assert drawn is not None
        assert drawn.small is not None
        y, x = drawn.small.place(300, 101)
        right = app.pane.scrollable_content_region.width - drawn.small.width
        await pilot.click(AttentionPane, offset=(1 + right + x, 2 + y))
        await pilot.pause()
        looked = app.looked[-1]
        assert looked.key == looked.position - HALF + 1
        assert abs(looked.position - 300) < 2 * COUNT / len(drawn.small.dots) + 1
        # A key of a row.
        await pilot.click(AttentionPane, offset=(1 + drawn.room.label + drawn.room.wide + 3, 6))
        await pilot.pause()
        assert app.looked[-1].key == 0


async def test_the_order_and_the_whole_table_are_words_of_the_line() -> None:
    assert Attention.parse("attention L9H9 folded", "L9H9 folded").fold == "folded"
    assert Attention(9, 9, fold="ranked").line() == "attention L9H9 ranked"
    assert Attention(9, 9, fold="ranked").asked() == Attention(9, 9)
    app = Holder(AttentionPane())
    async with app.run_test(size=(118, 30)) as pilot:
        seen = {}
        for fold in ("ranked", "folded", "whole"):
            line = Attention.parse(f"attention L9H9 {fold}", "")
            app.pane.show(of(induction(), line, Focus(position=350)))
            await pilot.pause()
            seen[fold] = next(text for text in shown(app.pane) if text.startswith("350"))
        assert seen["ranked"].index("151") < seen["ranked"].index(" 0When")
        assert seen["folded"].index(" 0When") < seen["folded"].index("151")
        assert ".60" in seen["ranked"]
        assert "▀" not in seen["whole"]


async def test_search_goes_to_a_token_and_keeps_it_in_sight() -> None:
    app = Holder(AttentionPane())
    async with app.run_test(size=(118, 30)) as pilot:
        app.pane.show(of(induction(), Attention(9, 9), Focus(position=100)))
        await pilot.pause()
        assert app.pane.search("store")
        await pilot.pause()
        position = app.looked[-1].position
        assert app.pane.picture.token(position) == "·store"
        assert any(line.startswith(str(position)) and "▸" in line for line in shown(app.pane))
