"""Numbers, sparklines, bars and tokens as text."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len
from rich.style import Style

from mechtui.paint.bars import bar
from mechtui.paint.heat import cell
from mechtui.paint.numbers import amount, column, duration, fit, memory, share, signed
from mechtui.paint.palette import Depth, Palette
from mechtui.paint.spark import cell_of, logs, scale, sparkline, squeeze, with_cursor
from mechtui.paint.tokens import cut, pad, visible, visible_text
from mechtui.session.document import Token

NAN = math.nan


@pytest.mark.parametrize(
    ("value", "places", "text"),
    [
        (0.71, 2, ".71"),
        (1.0, 2, "1.0"),
        (0.996, 2, "1.0"),
        (0.0, 2, ".00"),
        (0.923, 3, ".923"),
        (1, 3, "1.00"),
        (NAN, 2, "   "),
    ],
)
def test_share(value: float, places: int, text: str) -> None:
    assert share(value, places) == text


@given(st.floats(0, 1), st.integers(2, 4))
def test_shares_have_one_width_and_are_near(value: float, places: int) -> None:
    text = share(value, places)
    assert len(text) == places + 1
    assert abs(float(text) - value) <= 0.501 * 10**-places


@pytest.mark.parametrize(
    ("value", "text"), [(-5.08, "-5.08"), (1.04, "+1.04"), (0.001, " 0.00"), (-0.001, " 0.00"), (NAN, "")]
)
def test_signed(value: float, text: str) -> None:
    assert signed(value) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [(480, "480"), (3100, "3.1k"), (999.6, "1.0k"), (9.96, "10"), (0.5, ".50"), (0.996, "1.0"), (0, ".00"),
     (2e6, "2.0M"),     (-61, "-61"), (31_400, "31k"), (NAN, ""), (math.inf, "∞")],
)  # fmt: skip
def test_amount(value: float, text: str) -> None:
    assert amount(value) == text


@given(st.floats(0, 1e14))
def test_amount_takes_four_cells_and_is_within_six_percent(value: float) -> None:
    text = amount(value)
    assert len(text) <= 4
    units = {"k": 1e3, "M": 1e6, "G": 1e9, "T": 1e12}
    number = float(text.rstrip("kMGT")) * units.get(text[-1], 1)
    assert number == pytest.approx(value, rel=0.06, abs=0.005)


@pytest.mark.parametrize(
    ("value", "width", "sign", "text"),
    [(0.71, 3, False, ".71"), (0.71, 2, False, ".7"), (0.04, 2, False, ".0"), (1.0, 2, False, " 1"),
     (1.0, 4, False, "1.00"), (-12.345, 6, False, "-12.35"), (-12.345, 4, False, " -12"), (0.25, 5, True, " +.25"),
     (-0.001, 4, True, " .00"),
     (0.6, 2, True, "  "), (-1.93, 2, True, "-2"), (123456.0, 4, False, "123k"), (123456.0, 2, False, "  "),
     (NAN, 3, False, "   ")],
)  # fmt: skip
def test_fit(value: float, width: int, sign: bool, text: str) -> None:
    assert fit(value, width, sign=sign) == text


@given(st.floats(-1e9, 1e9), st.integers(1, 9), st.booleans())
def test_fit_keeps_its_width_and_never_lies(value: float, width: int, sign: bool) -> None:
    text = fit(value, width, sign=sign)
    assert len(text) == width
    if text.strip() and text.strip()[-1] not in "kMG":
        assert float(text) == pytest.approx(value, abs=0.0501, rel=0.1501)


def test_columns_align_on_the_point() -> None:
    assert column(["-5.08", "+1.0", "48", ""]) == ["-5.08", "+1.0 ", "48   ", "     "]


def test_sparkline_has_gaps_one_scale_and_a_cursor() -> None:
    assert sparkline([0, NAN, 5, 10], 10, 0, 10) == "▁ ▅█"
    assert sparkline([5], 10, 0, 0) == "▁"
    assert scale([1, NAN], [7, 3]) == (1, 7)
    assert scale([NAN]) == (0, 0)
    assert logs([100, 0, NAN])[0] == 2
    assert math.isnan(logs([100, 0, NAN])[1])
    marked = with_cursor("▁▂▃", 1, Style.null(), Style(reverse=True))
    assert [segment.text for segment in marked] == ["▁", "▂", "▃"]
    assert marked[1].style == Style(reverse=True)


@given(st.lists(st.floats(0, 100), min_size=1, max_size=90), st.integers(1, 40))
def test_squeezing_loses_no_peak(values: list[float], width: int) -> None:
    found = squeeze(values, width)
    assert len(found) == min(len(values), width)
    assert max(found) == max(values)
    peak = values.index(max(values))
    assert found[cell_of(peak, len(values), width)] == max(values)


@given(st.floats(-1, 2), st.integers(0, 40))
def test_bars(part: float, width: int) -> None:
    text = bar(part, width)
    assert len(text) == width
    assert (text.strip() != "") == (part > 0 and width > 0)


def test_bar_eighths() -> None:
    assert bar(0.5, 4) == "██  "
    assert bar(0.9999, 1) == "█"
    assert bar(1 / 8, 1) == "▏"
    assert bar(1e-9, 3) == "▏  "
    assert bar(NAN, 2) == "  "


@pytest.mark.parametrize(
    ("text", "seen"),
    [(" to", "·to"), ("\n", "⏎"), ("\t", "⇥"), ("\x00", "\\x00"), ("\u200b", "\\u200b"), ("\u200d", "\\u200d"),
     ("e\u0301", "e\\u0301"), ("\ud800", "\\ud800"), ("🇫🇷", "\\U01f1eb\\U01f1f7"),
     ("中", "中"),
     ("[bold]", "[bold]"), ("\x1b[2J", "\\x1b[2J")],
)  # fmt: skip
def test_visible(text: str, seen: str) -> None:
    assert visible_text(text) == seen


def test_bytes_show_as_hex_and_nothing_as_empty() -> None:
    assert visible(Token(1, "\ufffd", "e4b8")) == "<e4b8>"
    assert visible(Token(1, "")) == "<empty>"


@given(st.text(max_size=30), st.integers(0, 20))
def test_cut_and_pad_keep_to_their_cells(text: str, cells: int) -> None:
    seen = visible_text(text)
    assert cell_len(cut(seen, cells)) <= cells
    assert cell_len(pad(seen, cells)) == cells
    assert cell_len(pad(seen, cells, right=True)) == cells
    assert cell_len(seen) == sum(cell_len(char) for char in seen)
    assert cut(seen, cell_len(seen)) == seen


@pytest.mark.parametrize("depth", [Depth.NONE, Depth.SIXTEEN, Depth.TRUE])
@pytest.mark.parametrize("value", [-123.4, -3.4e38, -12.5, 0.0, 88888.0])
@pytest.mark.parametrize("wide", [1, 2, 3, 4, 6])
def test_a_number_never_looks_as_if_it_were_none(value: float, wide: int, depth: Depth) -> None:
    """However little room there is: a blank without colour is a key that is not seen."""
    palette = Palette(depth)
    text, look = cell(value, -200.0, 100.0, wide, palette, digits=2)
    assert len(text) == wide
    assert text.strip() or look.bgcolor is not None
    if wide > 2:
        assert text.strip()
    assert cell(float("nan"), -200.0, 100.0, wide, palette) == (" " * wide, Style.null())


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.0, "0.1 s"), (0.42, "0.4 s"), (0.96, "1 s"), (12.4, "12 s"), (89, "89 s"), (200, "3 min"), (5400, "1.5 h")],
)
def test_durations(seconds: float, text: str) -> None:
    assert duration(seconds) == text


@pytest.mark.parametrize(("count", "text"), [(1, "1 MB"), (548_000_000, "548 MB"), (1_320_000_000, "1.3 GB")])
def test_memory(count: int, text: str) -> None:
    assert memory(count) == text
