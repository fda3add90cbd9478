"""What the terminal sends is read as the keys that were pressed, however it is cut into chunks."""

from __future__ import annotations

import asyncio
from itertools import pairwise
from queue import Queue
from types import SimpleNamespace
from unittest.mock import patch

import pyte
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.color import ColorSystem
from rich.segment import Segment
from rich.style import Style
from textual import _parser, events
from textual._compositor import LayoutUpdate
from textual._xterm_parser import XTermParser
from textual.app import App
from textual.geometry import Offset, Region, Size
from textual.strip import Strip

from mechtui.app import driver
from mechtui.app.driver import Escapes
from mechtui.app.pace import ANSWER, ASK


def read(*chunks: str, escapes: Escapes | None = None) -> list[str]:
    """The keys and pastes of these chunks; "" stands for a pause."""
    escapes = escapes or Escapes()
    parser, heard = XTermParser(False), []
    now = 0.0
    # Textual's parser takes an escape for a key when nothing has followed it for a while.
    with patch.object(_parser, "get_time", lambda: now):
        for chunk in chunks:
            text = escapes.feed(chunk) if chunk else escapes.rest()
            heard += list(parser.feed(text)) if text else []
            now += 0.0 if chunk else 1.0
            heard += list(parser.tick())
    return [f"<{each.text}>" if isinstance(each, events.Paste) else getattr(each, "key", "?") for each in heard]


@pytest.mark.parametrize(
    ("chunks", "keys"),
    [
        (["i\x1bz:"], ["i", "escape", "z", "colon"]),
        (["\x1bz\x1b[A\x1b", ""], ["escape", "z", "up", "escape"]),
        (["\x1b\x1bz"], ["escape", "escape", "z"]),
        (["\x1b", "z"], ["escape", "z"]),
        (["\x1b\r\ra"], ["escape", "enter", "enter", "a"]),
        (["\x1b", "[A"], ["up"]),
        (["\x1b[", "A"], ["up"]),
        (["\x1b1\x1b\t\x1b-"], ["escape", "1", "escape", "tab", "escape", "minus"]),
        (["\x1bb", "\x1b\x7f"], ["ctrl+left", "ctrl+w"]),
        (["\x1b[200~a\x1bz\x1b[31mb\x1b[20", "1~c\x1bd"], ["<az[31mb>", "c", "escape", "d"]),
        (["\x1b[200", "~a", "b\x1b[201~", "\x1b", ""], ["<ab>", "escape"]),
    ],
)
def test_escape_is_told_from_a_sequence(chunks: list[str], keys: list[str]) -> None:
    assert read(*chunks) == keys


KEYS = {
    **{"a": "a", "escape": "\x1b", "up": "\x1b[A", "colon": ":", "enter": "\r", "f1": "\x1bOP"},
    "<x y>": "\x1b[200~x y\x1b[201~",
}


@given(st.lists(st.sampled_from([*KEYS, ANSWER]), max_size=12), st.lists(st.integers(0, 60), max_size=6))
def test_however_it_is_cut_the_keys_are_the_same(keys: list[str], cuts: list[int]) -> None:
    """And the terminal's own answers are no keys."""
    keys.append("a")
    text = "".join(KEYS.get(key, key) for key in keys)
    places = [0, *sorted(cut for cut in cuts if cut < len(text)), len(text)]
    chunks = [text[first:last] for first, last in pairwise(places)]
    escapes = Escapes()
    assert read(*filter(None, chunks), escapes=escapes) == [key for key in keys if key != ANSWER]
    assert escapes.answers == keys.count(ANSWER)


def test_an_answer_that_comes_within_a_paste_is_no_text() -> None:
    assert read(f"\x1b[200~ab{ANSWER}cd\x1b[201~") == ["<abcd>"]


class Written:
    """In the place of the thread that writes."""

    def __init__(self) -> None:
        self.texts: list[str] = []
        self._queue: Queue[str] = Queue()

    def write(self, text: str) -> None:
        self.texts.append(text)


async def test_frames_that_a_slow_line_has_no_room_for_are_dropped_not_queued(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0
    monkeypatch.setattr(driver, "time", SimpleNamespace(monotonic=lambda: now))
    app: App[None] = App()
    terminal = driver.Terminal(app)
    written = Written()
    monkeypatch.setattr(terminal, "_writer_thread", written)
    size = Size(40, 10)

    def paint(sign: str) -> None:
        rows = [[Strip([Segment(sign * size.width, Style(color=f"#0000{ord(sign):02x}"))])] for _ in range(size.height)]
        terminal.paint(LayoutUpdate(rows, Region(0, 0, *size)), size, ColorSystem.TRUECOLOR, Offset(0, 0))

    # 1,000 bytes a second, as its first answers show.
    terminal.pace.sent(4, now)
    terminal.pace.answered(now + 0.001)
    for _ in range(6):
        terminal.pace.sent(100, now, True)
        now += 0.1
        terminal.pace.answered(now)
    assert terminal.pace.speed == pytest.approx(1000, rel=0.3)
    screen = pyte.Screen(*size)
    for number in range(200):
        paint(chr(ord("!") + number % 90))
    assert len("".join(written.texts)) < 3000, "the rest was never sent"
    paint("z")
    for _ in range(100):
        now += 1.0
        terminal._answered(len(terminal.pace._under_way))
        await asyncio.sleep(0)
        terminal._send()
    pyte.Stream(screen).feed("".join(written.texts).replace(ASK, ""))
    assert screen.display == ["z" * size.width] * size.height
    before = len(written.texts)
    terminal._send()
    assert len(written.texts) == before
