"""What the terminal is sent: the same screen as Textual's own painting gives, in few bytes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any
from unittest.mock import patch

import pyte
import pyte.screens
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len
from rich.color import ColorSystem
from rich.console import Console
from rich.segment import Segment
from rich.style import Style
from textual._compositor import ChopsUpdate, CompositorUpdate, LayoutUpdate
from textual.geometry import Region, Size
from textual.strip import Strip
from wcwidth import wcwidth

from mechtui.app.frames import PLAIN, Frame, look_of

SIZE = Size(12, 3)
COLORS = ("none", "red", "#102030", "#ffffff", "color(100)")
TRUE = ColorSystem.TRUECOLOR


def style(color: str, background: str, bold: bool, dim: bool, reverse: bool) -> Style:
    colors = [None if name == "none" else name for name in (color, background)]
    return Style(color=colors[0], bgcolor=colors[1], bold=bold, dim=dim, reverse=reverse)


STYLES = st.none() | st.builds(style, st.sampled_from(COLORS), st.sampled_from(COLORS), *[st.booleans()] * 3)
TEXTS = st.sampled_from(["a", "b  ", "·▀│", "… a", "é東", "語b", "🙂", "東東 x", "e\u0301o"])


@st.composite
def strips(draw: st.DrawFn, width: int) -> Strip:
    """Some that fill so many cells."""
    segments, left = [], width
    while left:
        text = draw(TEXTS)
        segments.append(Segment(text if cell_len(text) <= left else " " * left, draw(STYLES)))
        left -= segments[-1].cell_length
    return Strip(segments, width)


@st.composite
def updates(draw: st.DrawFn) -> list[CompositorUpdate]:
    """One of the whole screen, then some of parts of it. No wide character lies on the border of two parts."""
    cut = draw(st.integers(1, SIZE.width - 1))
    whole = [[draw(strips(cut)), draw(strips(SIZE.width - cut))] for _ in range(SIZE.height)]
    found: list[CompositorUpdate] = [LayoutUpdate([*whole], Region(0, 0, *SIZE))]
    for _ in range(draw(st.integers(0, 4))):
        y = draw(st.integers(0, SIZE.height - 1))
        chops: list[dict[int, Strip | None]] = [{} for _ in range(SIZE.height)]
        chops[y] = {0: draw(strips(cut)), cut: draw(st.none() | strips(SIZE.width - cut))}
        begin, end = sorted((draw(st.sampled_from([0, cut])), draw(st.sampled_from([cut, SIZE.width]))))
        spans = [(y, begin, end)]
        found.append(ChopsUpdate(chops, spans, [[cut, SIZE.width]] * SIZE.height))
    return found


class Both:
    """Two terminals: one painted by Textual's own sequences, one by the frame's."""

    def __init__(self) -> None:
        self.frame = Frame()
        self.screens = [pyte.Screen(*SIZE) for _ in range(2)]
        self.streams = [pyte.Stream(screen) for screen in self.screens]
        self.console = Console(color_system="truecolor", force_terminal=True, width=SIZE.width)

    def paint(self, update: CompositorUpdate) -> str:
        self.streams[0].feed(update.render_segments(self.console).replace("\n", ""))
        self.frame.take(update, SIZE, TRUE)
        changes = self.frame.changes()
        self.streams[1].feed(changes)
        return changes

    def cells(self, number: int) -> list[list[Any]]:
        buffer = self.screens[number].buffer
        return [[buffer[y][x] for x in range(SIZE.width)] for y in range(SIZE.height)]


@given(updates())
def test_the_terminal_shows_what_textual_would_paint(found: list[CompositorUpdate]) -> None:
    both = Both()
    for update in found:
        both.paint(update)
        assert both.cells(1) == both.cells(0)
    both.frame.changes()
    assert both.frame.changes() == "", "nothing is sent twice"


@given(updates())
def test_frames_that_are_never_sent_are_missed_by_nobody(found: list[CompositorUpdate]) -> None:
    both, late = Both(), pyte.Screen(*SIZE)
    frame = Frame()
    for update in found:
        both.paint(update)
        frame.take(update, SIZE, TRUE)
    pyte.Stream(late).feed(frame.changes())
    assert [[late.buffer[y][x] for x in range(SIZE.width)] for y in range(SIZE.height)] == both.cells(0)


@given(updates(), st.text("xyz#", min_size=1, max_size=60))
def test_what_was_forgotten_is_painted_over(found: list[CompositorUpdate], noise: str) -> None:
    both = Both()
    for update in found:
        both.paint(update)
    both.streams[1].feed(f"\x1b[H{noise}")
    both.frame.forget()
    both.streams[1].feed(both.frame.changes())
    assert both.cells(1) == both.cells(0)


UNSURE = {"語": 1, "🙂": 1, "ж": 2, "é": 1, "…": 1}


@given(
    updates(), st.lists(st.sampled_from(["語x", "🙂", "жb", "éж", "xy"]), min_size=1, max_size=9), st.integers(0, 11)
)
def test_a_terminal_of_another_opinion_has_its_columns_straight(
    found: list[CompositorUpdate], texts: list[str], at: int
) -> None:
    """It takes wide characters for narrow ones, and narrow ones for wide: all else stands where it should."""
    frame, screen = Frame(), pyte.Screen(*SIZE)
    with patch.object(pyte.screens, "wcwidth", lambda sign: UNSURE.get(sign, wcwidth(sign))):
        stream = pyte.Stream(screen)
        for update in found:
            frame.take(update, SIZE, TRUE)
            stream.feed(frame.changes())
        strip = Strip([Segment("".join(texts))]).adjust_cell_length(SIZE.width)
        chops: list[dict[int, Strip | None]] = [{0: strip}, {}, {}]
        frame.take(ChopsUpdate(chops, [(0, 0, SIZE.width)], [[SIZE.width]] * 3), SIZE, TRUE)
        stream.feed(frame.changes())
        chops = [{at: Strip([Segment("#")])}, {}, {}]
        frame.take(ChopsUpdate(chops, [(0, at, at + 1)], [[at + 1]] * 3), SIZE, TRUE)
        stream.feed(frame.changes())
    row = frame._wanted[0]
    wrong = [(x, sign, screen.buffer[0][x].data) for x, (sign, _) in enumerate(row) if sign.isascii() and sign]
    assert all(sign == shown for _, sign, shown in wrong), wrong


@given(updates(), st.integers(1, 400))
def test_what_there_is_no_room_for_is_sent_next(found: list[CompositorUpdate], most: int) -> None:
    both, some = Both(), pyte.Screen(*SIZE)
    frame, stream = Frame(), pyte.Stream(some)
    for update in found:
        both.paint(update)
        frame.take(update, SIZE, TRUE)
        stream.feed(frame.changes(most))
    for _ in range(SIZE.height):
        stream.feed(frame.changes(most))
    assert frame.whole
    assert [[some.buffer[y][x] for x in range(SIZE.width)] for y in range(SIZE.height)] == both.cells(0)


def test_what_changed_last_and_what_waited_longest_come_in_turn() -> None:
    frame = Frame()
    frame.take(whole(of()), SIZE, TRUE)
    frame.changes()
    for y in (2, 1, 0):
        chops: list[dict[int, Strip | None]] = [{}, {}, {}]
        chops[y] = {0: Strip([Segment("#")])}
        frame.take(ChopsUpdate(chops, [(y, 0, 1)], [[1]] * 3), SIZE, TRUE)
    assert {frame.changes(1) for _ in range(2)} == {"\x1b[1;1H#", "\x1b[3;1H#"}
    assert frame.changes(1) == "\x1b[2;1H#"


def whole(rows: Iterable[list[Segment]]) -> LayoutUpdate:
    return LayoutUpdate([[Strip(row)] for row in rows], Region(0, 0, *SIZE))


def of(look: Style | None = None, mark: int = -1) -> Iterator[list[Segment]]:
    for y in range(SIZE.height):
        yield [Segment("x" if x == mark and y == 2 else ".", look) for x in range(SIZE.width)]


def test_what_stands_behind_the_last_column_is_nowhere() -> None:
    """As what was laid out for a window that is narrower by now."""
    frame = Frame()
    frame.take(whole([[Segment("a" * SIZE.width)]]), SIZE, None)
    frame.changes()
    for text in ("wider", "e\u0301", "中"):
        behind = LayoutUpdate([[Strip([Segment(text)])]], Region(SIZE.width + 2, 0, 5, 1))
        frame.take(behind, SIZE, None)
        assert frame.changes() == ""


def test_a_wide_character_of_which_half_is_painted_over_is_gone() -> None:
    both = Both()
    rest = [Segment(" " * SIZE.width)]
    both.paint(whole([[Segment("a東b" + " " * (SIZE.width - 4))], rest, rest]))
    for x, left in ((2, "a xb"), (1, "ax b")):
        frame = Frame()
        frame.take(whole([[Segment("a東b" + " " * (SIZE.width - 4))], rest, rest]), SIZE, TRUE)
        chops: list[dict[int, Strip | None]] = [{x: Strip([Segment("x")])}, {}, {}]
        frame.take(ChopsUpdate(chops, [(0, x, x + 1)], [[x + 1]] * 3), SIZE, TRUE)
        assert left in frame.changes()


def test_one_cell_that_changes_takes_few_bytes() -> None:
    both = Both()
    both.paint(whole(of(Style(color="#102030", bgcolor="#405060"))))
    sent = both.paint(whole(of(Style(color="#102030", bgcolor="#405060"), 7)))
    assert sent == "\x1b[3;8H\x1b[38;2;16;32;48;48;2;64;80;96mx\x1b[m"


def test_only_what_is_another_of_a_look_is_sent() -> None:
    both = Both()
    row = [
        Segment("a", Style(color="#010203", bgcolor="#0a0b0c")),
        Segment("b", Style(color="#010203", bgcolor="#0d0e0f")),
    ]
    row.append(Segment(" " * (SIZE.width - 2)))
    sent = both.paint(whole([row, *[[Segment(" " * SIZE.width)]] * 2]))
    assert "\x1b[38;2;1;2;3;48;2;10;11;12ma\x1b[48;2;13;14;15mb\x1b[m" in sent


def test_a_click_that_looks_the_same_is_not_sent_again() -> None:
    both = Both()
    both.paint(whole(of(Style(bold=True))))
    assert both.paint(whole(of(Style(bold=True) + Style(meta={"@click": "app.press('1')"})))) == ""


@pytest.mark.parametrize(
    ("colors", "color"),
    [(ColorSystem.EIGHT_BIT, "38;5;"), (ColorSystem.STANDARD, "3"), (ColorSystem.TRUECOLOR, "38;2;255;0;0")],
)
def test_colours_are_those_that_the_terminal_has(colors: ColorSystem, color: str) -> None:
    assert look_of(Style(color="#ff0000"), colors).color.startswith(color)
    assert look_of(Style(color="#ff0000", bold=True), None) == PLAIN._replace(attributes="1")
