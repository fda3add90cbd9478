"""What the terminal sends is read as the keys that were pressed, however it is cut into chunks."""

from __future__ import annotations

from itertools import pairwise
from unittest.mock import patch

import pytest
from hypothesis import given
from hypothesis import strategies as st
from textual import _parser, events
from textual._xterm_parser import XTermParser

from mechtui.app.driver import Escapes


def read(*chunks: str) -> list[str]:
    """The keys and pastes of these chunks; "" stands for a pause."""
    parser, escapes, heard = XTermParser(False), Escapes(), []
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


@given(st.lists(st.sampled_from(list(KEYS)), max_size=12), st.lists(st.integers(0, 60), max_size=6))
def test_however_it_is_cut_the_keys_are_the_same(keys: list[str], cuts: list[int]) -> None:
    keys.append("a")
    text = "".join(KEYS[key] for key in keys)
    places = [0, *sorted(cut for cut in cuts if cut < len(text)), len(text)]
    chunks = [text[first:last] for first, last in pairwise(places)]
    assert read(*filter(None, chunks)) == keys
