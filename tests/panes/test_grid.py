"""The table of coloured cells: exact cells, names that fit, what a click hits."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.cells import cell_len
from textual.strip import Strip

from mechtui.paint.palette import Depth, level, palette
from mechtui.panes.grid import Grid
from mechtui.panes.pane import Line

TRUE = palette(Depth.TRUE)


def grid(values: list[list[float]] | np.ndarray, width: int = 40, **fields: object) -> Grid:
    array = np.asarray(values, dtype=np.float32)
    rows, columns = (tuple(map(str, range(count))) for count in array.shape)
    given_fields = {"low": 0.0, "high": 1.0, "rows": rows, "columns": columns, **fields}
    return Grid(array, width=width, **given_fields)  # type: ignore[arg-type]


def text(line: Line) -> str:
    return Strip(line).text


def table(shown: Grid, height: int = 20, left: int = 0) -> list[str]:
    page = shown.page(TRUE, height)
    return [text(line) for line in page.head(left)] + [text(page.row(i, left)) for i in range(page.rows)]


def test_cells_names_cursor_and_star() -> None:
    shown = grid(
        [[0.1, 0.25, 1.0], [0.5, np.nan, 0.75]], cursor=(1, 2), edited=frozenset({(0, 1)}), touched=frozenset({0})
    )
    assert table(shown) == [
        "        0     1     2",
        "0*    .10  *.25  1.00",
        "1     .50      ▸  .75",
    ]
    assert (shown.number(), shown.value(), shown.row_values()) == (".75", "0.75", "0.5\tnan\t0.75")


def test_colours_follow_the_scale_and_nan_has_none() -> None:
    page = grid([[0.1, 0.9, np.nan]]).page(TRUE, 9)
    cells = {segment.text: segment.style for segment in page.row(0, 0)}
    assert cells["   .10"] == TRUE.sequential(level(0.1, 0, 1))
    assert cells["   .90"] == TRUE.sequential(level(0.9, 0, 1))
    assert not cells["      "].bgcolor


def test_differences_have_signs_and_two_colours() -> None:
    page = grid([[-2.0, 2.0, 0.0]], low=-2.0, high=2.0, signs=True).page(TRUE, 9)
    assert text(page.row(0, 0)) == "0   -2.00 +2.00   .00"
    styles = [segment.style for segment in page.row(0, 0)][1:]
    assert styles[0] == TRUE.diverging(-8)
    assert styles[1] == TRUE.diverging(8)


def test_columns_grow_to_whole_cells_that_fill_the_width() -> None:
    values = np.zeros((3, 4))
    assert [grid(values, width).wide for width in (3, 11, 15, 19, 27, 90)] == [2, 2, 3, 4, 6, 6]
    assert grid(values, 90, most=30).wide == (90 - 3) // 4
    assert grid(values, 90, least=8, most=8).wide == 8


def test_numbers_are_thinned_where_columns_are_narrow_and_never_run_together() -> None:
    values = np.zeros((1, 30))
    found = table(grid(values, 63, cursor=(0, 11)))[0]
    assert found.split() == ["0", "2", "4", "6", "8", "11", "14", "16", "18", "20", "22", "24", "26", "28"]
    assert found[3 + 2 * 11 : 3 + 2 * 12] == "11"
    for column in range(30):
        names = table(grid(values, 63, cursor=(0, column)))[0].split()
        assert str(column) in names
        assert [int(name) for name in names] == sorted({int(name) for name in names})
        assert all(int(name) < 30 for name in names)


def test_tokens_stand_above_their_numbers() -> None:
    shown = grid(
        np.full((2, 3), 0.5), tokens=("When", "·Mary", "·and"), cursor=(0, 1), touched_columns=frozenset({2}), most=8
    )
    page = shown.page(TRUE, 12)
    assert [text(line) for line in page.head(0)] == [
        "       When   ·Mary    ·and",
        "          0       1       2",
    ]
    looks = {segment.text.strip(): segment.style for segment in page.head(0)[0]}
    assert (looks["·Mary"], looks["·and"]) == (TRUE.row, TRUE.mark)
    assert len(shown.page(TRUE, 9).head(0)) == 1, "a low pane keeps its rows for cells"
    assert table(grid(np.zeros((1, 20)), 45, tokens=("·a",) * 20))[0].split()[:2] == ["0", "2"]


def test_texts_take_the_place_of_numbers() -> None:
    shown = grid([[0.2, 0.9], [np.nan, 0.4]], texts=(("·Mary", "·John"), ("x", "·to")), cursor=(0, 0), most=8)
    page = shown.page(TRUE, 9)
    assert [text(page.row(i, 0)) for i in range(2)] == ["0  ▸·Mary   ·John  ", "1           ·to    "]
    assert [segment.style for segment in page.row(0, 0)][-1] == TRUE.sequential(level(0.9, 0, 1))


def test_what_a_click_hits() -> None:
    shown = grid(np.zeros((9, 4)), 40)
    assert (shown.label, shown.wide) == (3, 6)
    assert shown.hit(2, 3, 0) == (2, 0)
    assert shown.hit(2, 8, 0) == (2, 0)
    assert shown.hit(2, 9, 0) == (2, 1)
    assert shown.hit(2, 9, 12) == (2, 3)
    assert shown.hit(2, 1, 0) == (2, -1)
    assert shown.hit(-1, 10, 0) == (-1, 1)
    assert shown.hit(-1, 1, 0) is None
    assert shown.hit(2, 3 + 24, 0) is None


def test_the_cursor_moves_within_the_table() -> None:
    shown = grid(np.zeros((3, 4)), cursor=(1, 1))
    assert [shown.moved(*by) for by in ((1, 0), (0, 1), (9, 9), (-9, -9))] == [(1, 2), (2, 1), (2, 3), (0, 0)]
    assert grid(np.zeros((3, 4))).moved(1, 0) is None


@pytest.mark.parametrize(("width", "whole"), [(60, True), (26, False), (12, False)])
def test_the_legend_keeps_the_number(width: int, whole: bool) -> None:
    found = grid([[0.25]], width, cursor=(0, 0)).legend(TRUE, "L0H0 .25", "of 1", "edited ")
    border = "".join(piece for piece, _ in found.border)
    assert found.whole == whole
    assert "L0H0 .25" in border
    assert border.startswith("edited ") != whole
    assert ("of 1" in border) == whole


@settings(max_examples=200, deadline=None)
@given(
    seed=st.integers(0, 9),
    rows=st.integers(0, 40),
    columns=st.integers(0, 150),
    width=st.integers(1, 200),
    height=st.integers(1, 60),
    named=st.booleans(),
    texts=st.booleans(),
    signs=st.booleans(),
    depth=st.sampled_from(list(Depth)),
    scrolled=st.integers(0, 200),
)
def test_any_table_is_painted_in_whole_columns(
    seed: int,
    rows: int,
    columns: int,
    width: int,
    height: int,
    named: bool,
    texts: bool,
    signs: bool,
    depth: Depth,
    scrolled: int,
) -> None:
    rng = np.random.default_rng(seed)
    values = rng.normal(size=(rows, columns))
    values[values > 1.5] = np.nan
    names = tuple(("·中文", "a", "·Mary", "<e4b8>")[i % 4] for i in range(columns))
    shown = grid(
        values,
        width,
        signs=signs,
        low=-1.0 if signs else 0.0,
        cursor=(rows // 2, columns // 3) if rows and columns else None,
        tokens=names if named else (),
        texts=[names] * rows if texts else None,
        edited=frozenset({(0, 1)}),
        touched=frozenset({1}),
        most=9,
    )
    page = shown.page(palette(depth), height)
    left = min(scrolled, max(columns - 1, 0)) * shown.wide
    seen = range(left // shown.wide, max(min(columns, (left + width - shown.label) // shown.wide), left // shown.wide))
    lines = [*page.head(left), *(page.row(i, left) for i in range(rows))]
    assert len(page.head(left)) == page.head_rows < max(height, 2)
    assert {cell_len(text(line)) for line in lines} <= {shown.label + len(seen) * shown.wide}
    for line in lines:
        assert "\n" not in text(line)
    for index in range(rows):
        for x in range(width):
            hit = shown.hit(index, x, left)
            assert hit is None or (hit[0] == index and -1 <= hit[1] < columns)
