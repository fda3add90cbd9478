"""Lengths of time as text."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mechtui.duration import MOST, UNITS, DurationError, said, seconds


@given(st.integers(0, MOST))
def test_what_is_written_in_units_is_read(total: int) -> None:
    left, text = total, ""
    for letter, unit in UNITS.items():
        count, left = divmod(left, unit)
        text += f"{count}{letter}"
    assert seconds(text) == total


@given(st.text(max_size=12))
def test_any_text_is_read_or_refused(text: str) -> None:
    with suppress(DurationError):
        assert 0 <= seconds(text) <= MOST


@pytest.mark.parametrize(("text", "wanted"), [("30m", 1800), ("1h30m", 5400), (" 2D ", 172_800), ("off", 0), ("", 0)])
def test_seconds(text: str, wanted: int) -> None:
    assert seconds(text) == wanted


@pytest.mark.parametrize("text", ["30", "m", "-5m", "30m1h", "1.5h", "31d", "forever", "30m x"])
def test_what_is_no_time_is_refused(text: str) -> None:
    with pytest.raises(DurationError, match="should be"):
        seconds(text)


@pytest.mark.parametrize(
    ("length", "wanted"),
    [(0, "0 s"), (59.6, "1 min"), (1800, "30 min"), (5400, "1 h 30 min"), (90_061, "1 d 1 h"), (-3, "0 s")],
)
def test_said(length: float, wanted: str) -> None:
    assert said(length) == wanted
