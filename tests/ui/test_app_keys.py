"""The registry: every action can be done, every key means one thing, and the docs say what it says."""

from __future__ import annotations

from pathlib import Path

import pytest

from mechtui.ui.actions import ACTIONS, KeyClashError, Registry, keys_document
from mechtui.ui.doing import DO
from mechtui.ui.help import PANE_WORDS, WORDS
from mechtui.ui.layout import PANES
from mechtui.ui.palette import is_line, matches

DOCS = Path(__file__).parents[2] / "docs" / "keys.md"


def test_every_action_does_something_and_nothing_is_done_without_an_action():
    assert {action.name for action in ACTIONS} == set(DO)


def test_no_key_has_two_meanings():
    keys = [key for action in ACTIONS for key in action.keys]
    assert len(keys) == len(set(keys))
    assert not {"ctrl+m", "ctrl+h", "ctrl+i"} & set(keys), "terminals send these as enter, backspace and tab"


def test_docs_are_current():
    assert DOCS.read_text("utf-8") == keys_document(), "run: python -m mechtui.ui.actions > docs/keys.md"


@pytest.mark.parametrize("pane", PANES)
def test_the_footer_offers_five_keys_or_more_in_every_pane_and_help_has_words_for_it(pane):
    offered = Registry().for_footer(pane)
    assert len(offered) >= 5
    assert [action.name for action in offered[-2:]] == ["palette", "help"]
    assert all(word in WORDS for word in PANE_WORDS[pane])


def test_keys_can_be_changed():
    registry = Registry({"zero": "ctrl+x,/", "search": "ctrl+f"})
    assert registry.keymap["ctrl+x"].name == registry.keymap["slash"].name == "zero"
    assert registry.keymap["ctrl+f"].name == "search"
    assert "z" not in registry.keymap


def test_a_key_given_to_one_action_is_taken_from_the_one_that_had_it():
    registry = Registry({"zero": "m"})
    assert registry.keymap["m"].name == "zero"
    assert registry.by_name["mean"].keys == ()


@pytest.mark.parametrize(
    ("keys", "said"),
    [({"zreo": "z"}, "did you mean zero?"), ({"zero": "w", "mean": "w"}, "gives w to both")],
)
def test_a_keymap_that_cannot_be_is_refused(keys, said):
    with pytest.raises(KeyClashError, match=said.replace("?", r"\?")):
        Registry(keys)


@pytest.mark.parametrize(
    ("text", "first"), [("undo", "undo"), ("hlp", "help"), ("zero h", "zero_here"), ("/", "search")]
)
def test_the_palette_finds(text, first):
    assert matches(text, Registry().actions)[0].action.name == first


@pytest.mark.parametrize(
    ("text", "line"),
    [("zero L9H9", True), ("zero", False), ('v = token "x"', True), ("attention L1H1", True), ("undo", False)],
)
def test_the_palette_knows_lines_from_names(text, line):
    assert is_line(text) is line
