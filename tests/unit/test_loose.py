"""Lines whose words stand in any order."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mechtui.session.grammar.loose import choice, count, fields, flag, position, text
from mechtui.session.grammar.words import LineError, quote

READERS = (
    count("top", 40),
    choice("by", ("loss", "rank")),
    flag("up"),
    flag("as_map", "map"),
    text("only"),
    position(),
)


def read(line: str) -> dict[str, Any]:
    return fields(line, "something else", *READERS)


@given(st.permutations(("top7", "rank", "up", "map", "@-3", quote('a "b'))))
def test_the_order_of_words_says_nothing(words: list[str]) -> None:
    said = {"top": 7, "by": "rank", "up": True, "as_map": True, "position": -3, "only": 'a "b'}
    assert read(" ".join(("view", *words))) == said


def test_the_last_of_two_words_for_one_field_counts() -> None:
    assert read("view top7 loss top9 rank") == {"top": 9, "by": "rank"}
    assert read("view") == {}


@pytest.mark.parametrize(
    "word", ["top", "top0", "top41", "top1000000000", "top٣", "topx", "7", "map2", "Up", "@", "@x"]
)
def test_a_word_that_none_knows_is_named(word: str) -> None:
    with pytest.raises(LineError, match="should be something else") as error:
        read(f"view up {word}")
    assert error.value.column == len("view up ")
