"""The registry: every action can be done, every key means one thing, and the docs say what it says."""

from __future__ import annotations

from pathlib import Path

import pytest

from mechtui.app.actions import ACTIONS, PROGRAM, KeyClashError, Registry, keys_document, layer
from mechtui.app.board import pane_class
from mechtui.app.doing import DO
from mechtui.app.help import glossary
from mechtui.app.palette import is_line, matches
from mechtui.app.workspaces import panes
from mechtui.views import specs
from mechtui.views.spec import Action

DOCS = Path(__file__).parents[2] / "docs" / "keys.md"


def name(registry: Registry, key: str, pane: str = "heads") -> str:
    action = registry.at(key, pane)
    return action.name if action else ""


def test_every_action_does_something_and_nothing_is_done_without_an_action():
    assert {action.name for action in PROGRAM} == set(DO)
    assert len({action.name for action in ACTIONS}) == len(ACTIONS)


@pytest.mark.parametrize("pane", panes())
def test_a_pane_does_what_its_view_says(pane):
    done = {name.removeprefix("do_") for name in dir(pane_class(pane)) if name.startswith("do_")}
    assert done == {action.name for action in specs()[pane].actions}


def test_only_views_with_a_place_have_actions():
    assert {name for name, view in specs().items() if view.actions or view.footer} <= set(panes())


def test_no_key_has_two_meanings_in_a_layer():
    keys = [(layer(action), key) for action in ACTIONS for key in action.keys]
    assert len(keys) == len(set(keys))
    keys = [key for action in ACTIONS for key in action.keys]
    assert not {"ctrl+m", "ctrl+h", "ctrl+i"} & set(keys), "terminals send these as enter, backspace and tab"


def test_docs_are_current():
    assert DOCS.read_text("utf-8") == keys_document(), "run: python -m mechtui.app.actions > docs/keys.md"


@pytest.mark.parametrize("pane", panes())
def test_the_footer_offers_five_keys_or_more_in_every_pane_and_help_has_words_for_it(pane):
    offered = Registry().for_footer(pane)
    assert len(offered) >= 5
    assert [action.name for action in offered[-4:]] == ["prompt", "go", "palette", "help"]
    assert specs()[pane].words


def test_keys_can_be_changed():
    registry = Registry({"zero": "ctrl+x,/", "search": "ctrl+f"})
    assert [name(registry, key) for key in ("ctrl+x", "slash", "ctrl+f", "z")] == ["zero", "zero", "search", ""]


def test_a_key_given_to_one_action_is_taken_from_the_one_that_had_it():
    registry = Registry({"zero": "m"})
    assert name(registry, "m") == "zero"
    assert registry.by_name["mean"].keys == ()


def test_a_view_s_keys_come_before_the_program_s_in_its_pane():
    registry = Registry()
    assert [name(registry, "space", pane) for pane in ("vectors", "effects")] == ["add_vector", "toggle"]
    assert [name(registry, "enter", pane) for pane in ("vectors", "effects", "heads")] == [
        "change_vector",
        "change_edit",
        "into",
    ]
    # A key of another view leads there, to be told whose it is.
    assert [name(registry, "x", pane) for pane in ("attention", "heads")] == ["cut", "cut"]


def test_a_key_that_the_settings_give_to_the_program_means_that_in_every_pane():
    registry = Registry({"search": "space"})
    assert {name(registry, "space", pane) for pane in panes()} == {"search"}
    # One that they give to a view's action does so in its pane.
    registry = Registry({"cut": "z"})
    assert [name(registry, "z", pane) for pane in ("attention", "heads")] == ["cut", "zero"]


def test_two_actions_of_a_layer_with_one_key_are_refused_when_the_program_starts():
    first, second = (Action(name, ("x",), name, name, view="heads") for name in ("first", "second"))
    with pytest.raises(KeyClashError, match="the program gives x to both first and second"):
        Registry(actions=(*ACTIONS, first, second))


@pytest.mark.parametrize("pane", panes())
def test_help_shows_only_keys_that_do_what_it_says(pane):
    registry = Registry()
    own, rest = registry.for_help(pane)
    for action in (*own, *rest):
        assert {name(registry, key, pane) for key in action.keys} == {action.name}
    assert {action.name for action in specs()[pane].actions} <= {action.name for action in own}


def test_the_glossary_has_every_word_that_a_view_names():
    assert {word for view in specs().values() for word in view.words} <= set(glossary())


@pytest.mark.parametrize(
    ("keys", "said"),
    [({"zreo": "z"}, "did you mean zero?"), ({"zero": "w", "mean": "w"}, "keys] gives w to both")],
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
