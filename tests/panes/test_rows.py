"""The list with columns: what stands in which cell, sorted and narrowed, at every width."""

from __future__ import annotations

import math
from importlib import import_module

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace
from rich.cells import cell_len
from textual.strip import Strip

from mechtui.paint.numbers import fixed
from mechtui.paint.palette import HALF, Depth, palette
from mechtui.panes.pane import Page
from mechtui.panes.rows import Column, Numbers, Rows, Texts, ordered, read_cursor, read_number, write_cursor
from tests.panes.pictures import Holder, pictured

PALETTE = palette(Depth.TRUE)
NAMES = Texts("head", ("L0H0", "L0H1", "L10H3", "L2H2"))
EFFECT = Numbers("effect", np.array([0.5, -12.25, math.nan, 3.0]), signs=True, high=12.25)
SHARE = Numbers("induction", np.array([0.04, 1.0, 0.71, math.nan]), head="ind", look="shade")
LABEL = Texts("label", ("", "previous", "", "induction"))
ALL: tuple[Column, ...] = (NAMES, EFFECT, SHARE, LABEL)


LISTS = "neurons perplexity bigrams loss cases path composition circuit attribution compare faithfulness"


@pytest.mark.parametrize("view", LISTS.split())
async def test_a_list_stands_where_it_stood(view: str) -> None:
    """A pane of another start, told the cursor's word, is at the same row and column."""
    home = f"mechtui.views.{view}"
    example, kind = import_module(f"{home}.example").example(), import_module(f"{home}.pane").PANE
    word, seen = "", []
    for start in ("first", "again", "of another version"):
        app = Holder(kind())
        async with app.run_test(size=(150, 30)) as pilot:
            app.pane.put_cursor("9999/999" if start == "of another version" else word)
            picture = pictured(example)
            # The last token has no loss.
            app.pane.show(replace(picture, focus=replace(picture.focus, position=1)))
            await pilot.pause()
            if start == "first":
                assert app.pane.cursor() == ""
                app.pane.move(2, 0)
                if view not in ("attribution", "bigrams", "loss", "composition"):  # their rows are the shared focus
                    app.pane.move(0, 1)
                word = app.pane.cursor()
            seen.append(app.pane.value() or app.pane.row())
    assert word.rpartition("/")[2].isdecimal()
    assert seen[0] == seen[1] != ""


def test_a_cursors_word_is_read_back() -> None:
    for row, column in (("", None), ("L3N7", None), ("L3N7", 2), ("", 12)):
        assert read_cursor(write_cursor(row, column)) == (row, column)
    assert write_cursor(0, None) == ""
    assert [read_number(row) for row in ("7", "", "L3N7", "9" * 6)] == [7, 0, 0, 0]


def texts(page: Page) -> list[str]:
    lines = page.head(0)[: page.head_rows] + [page.row(index, 0) for index in range(page.rows)] + page.foot
    return [Strip(each).text for each in lines]


@pytest.mark.parametrize(
    ("value", "sign", "text"),
    [
        (0.714, False, ".71"),
        (1.0, False, "1.00"),
        (-0.3, False, "-.30"),
        (0.3, True, "+.30"),
        (-12.345, True, "-12.35"),
        (-0.001, True, " .00"),
        (-0.001, False, ".00"),
        (math.nan, True, ""),
        (math.inf, False, "∞"),
        (-math.inf, True, "-∞"),
    ],
)
def test_a_number_of_a_column(value: float, sign: bool, text: str) -> None:
    assert fixed(value, sign=sign) == text


def test_every_cell_has_its_place() -> None:
    rows = Rows(ALL, ordered(ALL, "effect"), "effect", chosen=frozenset({3}), edited=frozenset({1}))
    assert texts(rows.page(PALETTE, 60, 20, 1)) == [
        " head   ▾effect  induction  label    ",
        " L0H1*   -12.25       1.00  previous ",
        "●L2H2     +3.00             induction",
        " L0H0      +.50        .04           ",
        " L10H3                 .71           ",
    ]


def test_sorting_is_by_size_stable_and_leaves_what_was_not_computed_last() -> None:
    assert ordered(ALL) == (0, 1, 2, 3)
    assert ordered(ALL, "effect") == (1, 3, 0, 2)
    assert ordered(ALL, "effect", up=True) == (0, 3, 1, 2)
    assert ordered(ALL, "induction") == (1, 2, 0, 3)
    assert ordered(ALL, "induction", up=True) == (0, 2, 1, 3)
    assert ordered(ALL, "label") == (0, 2, 3, 1)
    assert ordered(ALL, "no such column") == (0, 1, 2, 3)


def test_words_narrow_the_list() -> None:
    assert ordered(ALL, "effect", only="l0h") == (1, 0)
    assert ordered(ALL, only="L0H PREV") == (1,)
    assert ordered(ALL, only="nothing") == ()
    page = Rows(ALL, (), only="nothing").page(PALETTE, 60, 20, 0)
    assert texts(page) == ["no row has 'nothing' in it"]


def test_the_cursor_is_a_row_and_stays_one_when_the_order_changes() -> None:
    rows = Rows(ALL, ordered(ALL, "effect"), "effect")
    assert rows.page(PALETTE, 60, 20, 0).cursor == 2
    assert [rows.moved(0, down) for down in (-9, -1, 0, 1, 9)] == [1, 3, 0, 2, 2]
    again = Rows(ALL, ordered(ALL, "induction"), "induction")
    assert again.page(PALETTE, 60, 20, 0).cursor == 2
    narrowed = Rows(ALL, ordered(ALL, "effect", only="L0"), "effect", only="L0")
    assert narrowed.page(PALETTE, 60, 20, 2).cursor is None
    assert narrowed.moved(2, 5) == 1
    assert Rows(ALL, ()).moved(2, 5) == 2


def test_narrow_lists_show_short_heads_then_whole_columns_and_name_the_others() -> None:
    rows = Rows(ALL, ordered(ALL, "effect"), "effect")
    assert texts(rows.page(PALETTE, 34, 20, 1)) == [
        " head   ▾effect   ind  label    ",
        " L0H1    -12.25  1.00  previous ",
        " L2H2     +3.00        induction",
        " L0H0      +.50   .04           ",
        " L10H3            .71           ",
    ]
    assert texts(rows.page(PALETTE, 30, 20, 1)) == [
        " head   ▾effect   ind",
        " L0H1    -12.25  1.00",
        " L2H2     +3.00      ",
        " L0H0      +.50   .04",
        " L10H3            .71",
        "←→ more: label",
    ]
    # The cursor's column is in sight, and the first that then has no room has gone.
    assert texts(rows.page(PALETTE, 30, 5, 1, at=3)) == [
        " head     ind  label    ",
        " L0H1    1.00  previous ",
        " L2H2          induction",
        " L0H0     .04           ",
        " L10H3    .71           ",
    ]


def test_a_bar_takes_the_room_that_is_left_and_has_the_color_of_its_sign() -> None:
    bars = Numbers("effect", EFFECT.values, signs=True, look="bar", high=12.25)
    columns = (NAMES, bars)
    page = Rows(columns, ordered(columns, "effect"), "effect").page(PALETTE, 28, 20, 3)
    assert texts(page) == [
        " head   ▾effect             ",
        " L0H1    -12.25 ████████████",
        " L2H2     +3.00 ███         ",
        " L0H0      +.50 ▌           ",
        " L10H3                      ",
    ]
    below, above = (page.row(index, 0)[-1].style for index in (0, 1))
    assert below is not None
    assert above is not None
    assert below.color == PALETTE.diverging(-HALF).bgcolor
    assert above.color == PALETTE.diverging(HALF).bgcolor


@pytest.mark.parametrize("depth", list(Depth))
def test_a_shaded_cell_is_colored_by_its_value_and_blank_where_there_is_none(depth: Depth) -> None:
    colors = palette(depth)
    page = Rows((NAMES, SHARE), ordered((NAMES, SHARE))).page(colors, 40, 20, 0)
    row = [segment.style for segment in page.row(1, 0) if segment.text.strip() == "1.00"]
    assert row == [colors.sequential(15)] or depth == Depth.NONE
    assert not any(segment.style and segment.style.bgcolor for segment in page.row(3, 0))


def test_columns_are_walked_clicked_and_copied() -> None:
    rows = Rows(ALL, ordered(ALL, "induction"), "induction")
    assert [rows.beside(None, right) for right in (-9, -1, 0, 1, 9)] == [1, 1, 2, 3, 3]
    found = [rows.column_at(x, 60) for x in (0, 6, 7, 14, 15, 25, 26, 36, 37)]
    assert found == [0, 0, 1, 1, 2, 2, 3, 3, None]
    assert [rows.value(1, at) for at in (None, 1, 2, 3)] == ["1", "-12.25", "1", "previous"]
    assert rows.value(2, 1) == ""
    assert rows.row_text(1) == "L0H1\t-12.25\t1.00\tprevious"


def test_without_rows_or_columns_there_is_a_sentence() -> None:
    empty = (Texts("head", ()), Numbers("effect", np.zeros(0)))
    assert texts(Rows(empty, ordered(empty, "effect"), "effect").page(PALETTE, 40, 5, 0)) == [
        "there is nothing to list"
    ]
    alone = Rows((NAMES,), ordered((NAMES,)))
    assert (alone.beside(None, 1), alone.value(0, None)) == (0, "L0H0")


@settings(max_examples=150, deadline=None)
@given(
    values=st.lists(st.floats(-1e6, 1e6) | st.just(math.nan), min_size=1, max_size=12),
    signs=st.booleans(),
    look=st.sampled_from(["plain", "shade", "bar"]),
    width=st.integers(1, 120),
    height=st.integers(1, 30),
    at=st.none() | st.integers(1, 4),
    up=st.booleans(),
    depth=st.sampled_from(list(Depth)),
)
def test_no_line_is_wider_than_the_list_and_points_stand_below_each_other(
    values: list[float], signs: bool, look: str, width: int, height: int, at: int | None, up: bool, depth: Depth
) -> None:
    numbers = np.array(values)
    high = float(np.nanmax(np.abs(numbers), initial=0.0))
    names = Texts("head", tuple(f"L{i}H中" for i in range(len(values))))
    columns: tuple[Column, ...] = (
        names,
        Numbers("effect", numbers, signs=signs, look=look, low=-high, high=high),  # type: ignore[arg-type]
        Numbers("attribution", numbers, head="attr", signs=True),
        Numbers("entropy", numbers),
        Texts("label", tuple("x" * (i * 7) for i in range(len(values)))),
    )
    order = ordered(columns, "effect", up)
    assert sorted(order) == list(range(len(values)))
    rows = Rows(columns, order, "effect", up, chosen=frozenset({0}), edited=frozenset({1}))
    page = rows.page(palette(depth), width, height, 0, at)
    lines = texts(page)
    assert page.head_rows + len(page.foot) < max(height, 2)
    assert all(cell_len(text) <= width for text in lines)
    body = lines[page.head_rows : page.head_rows + page.rows]
    assert len({cell_len(text) for text in body}) == 1
    if width >= 60 and at == 2:
        column = [text.find(".") for text in body if text.count(".") == 3 and look != "bar"]
        assert len(set(column)) <= 1


def test_every_column_can_be_reached_where_one_has_room() -> None:
    rows = Rows(ALL, ordered(ALL, "effect"), "effect")
    seen = set()
    at: int | None = None
    for _ in range(5):
        at = rows.beside(at, 1 if at is not None else 0)
        head = texts(rows.page(PALETTE, 20, 20, 0, at))[0]
        seen |= {name for name in ("effect", "ind", "label") if name in head}
    assert seen == {"effect", "ind", "label"}


def test_a_row_that_the_list_has_not_is_copied_as_nothing() -> None:
    rows = Rows((Texts("name", ["a", "b"]), Numbers("size", np.array([1.0, 2.0]))), (0, 1))
    assert [rows.row_text(row) for row in (1, 2, -1)] == ["b\t2.00", "", ""]
    assert [rows.value(row, 1) for row in (1, 2, -1)] == ["2", "", ""]
