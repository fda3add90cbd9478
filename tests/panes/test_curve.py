"""Line charts, cell by cell."""

from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.cells import cell_len
from rich.style import Style
from textual.strip import Strip

from mechtui.paint.palette import Depth, palette
from mechtui.panes.curve import Axis, Series, curve
from mechtui.panes.pane import Line

TRUE = palette(Depth.TRUE)
NAN = math.nan
ONE, TWO = Style(color="red"), Style(color="blue")


def drawn(
    *values: list[float], width: int = 20, height: int = 5, depth: Depth = Depth.TRUE, **more: object
) -> list[str]:
    series = [Series(name, each, look) for name, each, look in zip(("one", "two"), values, (ONE, TWO), strict=False)]
    points = [str(i) for i in range(max(map(len, values)))]
    lines = curve(series, width, height, palette(depth), points=points, **more)  # type: ignore[arg-type]
    return [Strip(line).text for line in lines]


def looks(line: Line) -> list[tuple[str, Style | None]]:
    return [(char, segment.style) for segment in line for char in segment.text]


def test_a_line_in_twenty_by_five_cells() -> None:
    assert drawn([0, 1, 2, 3], of="layer", axis=Axis("nats")) == [
        "nats  ━ one         ",
        "    3┤          ▗▄▞▀",
        "     │   ▗▄▄▄▀▀▀▘   ",
        "    0┤▄▞▀▘          ",
        "layer 0   1    2   3",
    ]


def test_two_lines_cross_and_the_first_lies_on_top() -> None:
    up, down = Series("up", [0, 1], ONE), Series("down", [1, 0], TWO)
    lines = curve([up, down], 18, 5, TRUE, points=["a", "b"])
    assert [Strip(line).text for line in lines] == [
        "━ up  ━ down      ",
        "1┤▀▀▄▄▄      ▄▄▄▀▀",
        " │     ▄▄▄▀▀▀     ",
        "0┤▄▄▀▀▀      ▀▀▀▄▄",
        "  a              b",
    ]


def test_a_value_that_was_not_computed_is_a_gap() -> None:
    assert drawn([0, 0, NAN, 1, 1], width=21)[1:4] == [
        "1┤              ▀▀▀▀▀",
        " │                   ",
        "0┤▄▄▄▄▄              ",
    ]
    assert drawn([NAN, NAN], width=18)[1:4] == [" " * 18] * 3


def test_one_point_is_a_dot_and_a_flat_line_has_one_number() -> None:
    assert drawn([7.5], width=18)[1:4] == ["   │              ", "7.5┤      ▝       ", "   │              "]
    assert [line for line in drawn([2, 2, 2]) if "2┤" in line] == ["2┤▀▀▀▀▀▀▀▀▀▀▀▀▀▀▀▀▀▀"]


def test_points_lie_where_their_numbers_say() -> None:
    even = drawn([0, 1, 0], width=21, height=4)
    uneven = drawn([0, 1, 0], width=21, height=4, xs=(0.0, 1.0, 10.0))
    assert even != uneven


def test_every_point_has_its_dot() -> None:
    values = [0.0, 5.0, 1.0, 9.0, 10.0, 2.5, 10.0]
    lines = drawn(values, width=40, height=12)[1:-1]
    body = [line[3:] for line in lines]
    quarters = {(0, 0): "▘▀▌▛▚▜▙█", (1, 0): "▝▀▐▛▞▜▟█", (0, 1): "▖▄▌▛▞▙▟█", (1, 1): "▗▄▐▜▚▙▟█"}
    columns, rows = 2 * len(body[0]), 2 * len(body)
    for place, value in enumerate(values):
        x, y = round(place / 6 * (columns - 1)), round((1 - value / 10) * (rows - 1))
        assert body[y // 2][x // 2] in quarters[x % 2, y % 2], place


def test_an_axis_need_not_be_linear() -> None:
    values = [1.0, 10.0, 100.0]
    log = drawn(values, width=24, axis=Axis(scaled=math.log10))
    assert (log[1][:4], log[3][:4]) == ("100┤", "  1┤")
    # The same dots as those of the exponents, whose numbers take two cells less.
    assert [line[4:] for line in log[1:4]] == [line[2:] for line in drawn([0, 1, 2], width=22)[1:4]]


def test_the_ends_may_be_given_and_differences_have_signs() -> None:
    lines = drawn([0.2, 0.4], axis=Axis("prob", 0, 1), cursor=1)
    assert (lines[1][:2], lines[3][:2]) == ("1┤", "0┤")
    assert drawn([-1, 2.5], axis=Axis(signs=True))[1].startswith("+2.5┤")


def test_the_cursor_has_a_line_and_its_values_in_the_legend() -> None:
    lines = drawn([0, 1, 2, 3], [3, 2, 1, NAN], width=40, cursor=1, axis=Axis("nats"))
    assert lines[0].rstrip() == "nats  ━ one 1  ━ two 2"
    assert any("┊" in line for line in lines[1:4])
    shown = curve([Series("one", [0, 1, 2], ONE)], 40, 5, TRUE, points=["a", "b", "c"], cursor=1)
    assert [char for char, style in looks(shown[-1]) if style == TRUE.selected] == ["b"]


def test_names_last_longer_than_values() -> None:
    assert drawn([1, 2], [2, 1], cursor=0)[0] == "━ one 1  ━ two 2    "
    assert drawn([1, 2], [2, 1], width=14, cursor=0)[0] == "━ one  ━ two  "
    assert drawn([1, 2], [2, 1], width=11, cursor=0)[0] == "━ o…  ━ t… "


def test_without_colours_each_line_has_a_mark() -> None:
    assert drawn([0, 1], [1, 0], width=16, depth=Depth.NONE) == [
        "● one  ○ two    ",
        "1┤○○○○      ●●●●",
        " │    ●●●●●●    ",
        "0┤●●●●      ○○○○",
        "  0            1",
    ]


@pytest.mark.parametrize("depth", [Depth.SIXTEEN, Depth.EIGHT_BIT, Depth.TRUE])
def test_every_line_keeps_its_colour(depth: Depth) -> None:
    of = palette(depth)
    lines = curve([Series("one", [0, 0], of.good), Series("two", [1, 1], of.bad)], 20, 5, of, points=["0", "1"])
    assert {style for char, style in looks(lines[1]) if char == "▀"} == {of.bad}
    assert {style for char, style in looks(lines[3]) if char == "▄"} == {of.good}


@settings(max_examples=60, deadline=None)
@given(
    values=st.lists(st.lists(st.floats(allow_infinity=True, allow_nan=True, width=32), max_size=40), max_size=4),
    width=st.integers(0, 120),
    height=st.integers(0, 30),
    depth=st.sampled_from(list(Depth)),
    cursor=st.booleans(),
)
def test_fills_its_room_whatever_it_is_given(
    values: list[list[float]], width: int, height: int, depth: Depth, cursor: bool
) -> None:
    count = max(map(len, values), default=0)
    series = [Series(f"·n{i}", each + [NAN] * (count - len(each)), ONE) for i, each in enumerate(values)]
    here = count - 1 if cursor and count else None
    lines = curve(
        series, width, height, palette(depth), points=[f"L{i}" for i in range(count)], of="layer", cursor=here
    )
    assert len(lines) == (height if width else 0)
    assert {sum(cell_len(segment.text) for segment in line) for line in lines} <= {width}
