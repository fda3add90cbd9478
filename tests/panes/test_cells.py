"""Whatever tokens hold, a painted row has the cells that it counts, by rich, by wcwidth and by a terminal."""

from __future__ import annotations

import dataclasses
import unicodedata
from importlib.util import find_spec
from typing import Any

import pyte
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from msgspec import Struct
from msgspec.structs import replace
from rich.cells import cell_len
from wcwidth import wcswidth, wcwidth

from mechtui.app.board import pane_class
from mechtui.paint import plain
from mechtui.paint.palette import Depth, palette
from mechtui.paint.plain import form
from mechtui.paint.tokens import column_name, cut, pad, visible_text
from mechtui.session.document import Token
from mechtui.views import example_of, specs
from tests.app.test_hidden import sent
from tests.hidden import KINDS
from tests.panes.pictures import pictured

VIEWS = [name for name in specs() if find_spec(f"mechtui.views.{name}.pane")]
WIDE = 100
# Emoji, joined and coloured ones, flags, combining marks, right to left, Indic vowels, Chinese, ligatures, ambiguous.
TROUBLE = [
    *("🙂", "👩\u200d🚀", "👍🏽", "🇩🇪", "e\u0301\u0308", "שלום", "مرحبا", "नमस्ते"),
    *("東京", "ﷺ", "жé±·", "⚠\ufe0f", "한글", "ㅎ", "𓀀"),
]
TEXTS = st.lists(
    st.sampled_from([*TROUBLE, *map(sent, KINDS.values())]) | st.text(st.characters(codec="utf-8"), max_size=6),
    min_size=1,
    max_size=3,
).map("".join)


def counted(text: str) -> set[int]:
    """How many cells it takes, by all who count them: with and without groups of characters."""
    return {cell_len(text), wcswidth(text), sum(map(wcwidth, text))}


def columns(text: str) -> set[int]:
    """And on a terminal."""
    screen = pyte.Screen(200, 2)
    pyte.Stream(screen).feed(text)
    return {*counted(text), screen.cursor.x}


def with_tokens(value: Any, text: str) -> Any:
    """The same with this behind the text of every token in it."""
    if isinstance(value, Token):
        return replace(value, text=value.text + text)
    if isinstance(value, tuple):
        return tuple(with_tokens(each, text) for each in value)
    if isinstance(value, Struct):
        return replace(value, **{name: with_tokens(getattr(value, name), text) for name in value.__struct_fields__})
    return value


@settings(max_examples=6)
@given(TEXTS)
@example("".join(TROUBLE))
def test_every_row_of_every_pane_has_its_cells(text: str) -> None:
    for name in VIEWS:
        made = example_of(name)
        tokens = with_tokens(tuple(made.tokens), text)
        both = {"clean": made.clean, "edited": made.edited}
        answers = {key: with_tokens(answer, text) for key, answer in both.items() if answer is not None}
        pane = pane_class(name)()
        pane.picture = pictured(dataclasses.replace(made, tokens=tokens, **answers))
        for line in pane.whole(WIDE, palette(Depth.NONE)):
            row = "".join(segment.text for segment in line)
            assert len(counted(row)) == 1, (name, row, counted(row))
            assert row.isprintable(), (name, row)


@given(TEXTS, st.integers(0, 12))
def test_a_cell_has_the_cells_that_it_was_given(text: str, cells: int) -> None:
    for ascii_only in (False, True):
        plain.use(ascii_only)
        try:
            shown = visible_text(text)
            made = [pad(shown, cells), pad(shown, cells, right=True), column_name(shown, cells)]
            made = [form(each) for each in made] if ascii_only else made
            short = cut(shown, cells)
        finally:
            plain.use(False)
        assert columns(short) <= set(range(cells + 1))
        for each in made:
            assert columns(each) == {cells}, each


def test_all_agree_on_every_character_that_is_shown_as_it_is() -> None:
    """And what a neighbour could join to is no character that is shown as it is."""
    # Of the scripts with thousands of like characters some; what is not printable is hidden in any case.
    for code in (*range(0x3400), *range(0x3400, 0xD800, 31), *range(0xF900, 0x20000), *range(0x20000, 0x110000, 31)):
        if not chr(code).isprintable():
            continue
        shown = visible_text(chr(code))
        if len(shown) == 1:
            assert cell_len(shown) == wcwidth(shown) > 0, hex(code)
            assert unicodedata.category(shown) not in ("Mn", "Me", "Cf", "Cc"), hex(code)


# Their numbers are those of jobs and of the history's states.
ELSEWHERE = ("history", "perplexity", "sweep")
BOTH = [name for name in VIEWS if name not in ELSEWHERE and example_of(name).edited is not None]


@pytest.mark.parametrize("name", BOTH)
def test_other_numbers_are_other_signs_without_colours(name: str) -> None:
    made = example_of(name)
    assert made.edited is not None

    def texts(**answers: Any) -> list[str]:
        pane = pane_class(name)()
        pane.picture = pictured(dataclasses.replace(made, **answers))
        return ["".join(part.text for part in line) for line in pane.whole(WIDE, palette(Depth.NONE))]

    assert texts(edited=None) != texts(clean=made.edited, edited=None)


@pytest.mark.parametrize("depth", [Depth.NONE, Depth.SIXTEEN, Depth.TRUE])
def test_the_cursor_is_seen_without_colours(depth: Depth) -> None:
    pane = pane_class("heads")()
    pane.picture = pictured(example_of("heads"))
    marked = [part for line in pane.whole(WIDE, palette(depth)) for part in line if part.text.startswith("▸")]
    assert len(marked) == 1
    assert marked[0].style is not None
    assert marked[0].style.reverse or depth == Depth.SIXTEEN
