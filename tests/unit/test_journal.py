"""A history as lines that are only ever added to."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from mechtui.session.document import Focus, Screen, Session
from mechtui.session.grammar.edits import parse_edit
from mechtui.session.history import History, LogitDiff, Step, Tree
from mechtui.session.journal import SWITCHES, TYPES, read, written
from tests.unit.test_storage import sessions, text

FIRST = Session(model="demo", prompt="When Mary and John", edits=(parse_edit("zero L0H1"),))


works = sessions.map(Session.work)


def clock() -> float:
    return 1764496000.25


def begun(limit: int = 1000) -> History:
    return History(FIRST, limit, clock=clock, now=clock)


def some() -> History:
    """A history with a branch, a mark and what a model said."""
    history = begun()
    history.change(replace(FIRST, prompt="When Mary and John went"))
    history.note(LogitDiff(1.5, -0.5, -1))
    history.change(replace(FIRST, edits=()))
    history.mark('a "name"')
    history.undo()
    history.change(replace(FIRST, edits=(parse_edit("mean L0H0"), *FIRST.edits, parse_edit("# cut L0H0 3>1"))))
    history.undo()
    return history


def test_a_history_is_read_as_it_was_written() -> None:
    tree = some().tree
    assert read(written(None, tree)) == tree
    assert written(tree, tree) == ""


def test_a_step_is_written_as_what_differs_from_its_parent() -> None:
    lines = [json.loads(line) for line in written(None, some().tree).splitlines()]
    assert lines[0] == {"history": 1}
    assert [line["change"] for line in lines if line.get("parent") is not None] == [
        {"prompt": [18, 0, " went"]},
        {"prompt": [18, 0, ""], "edits": [0, 0, []]},
        {"prompt": [18, 0, ""], "edits": [0, 0, ["mean L0H0", "zero L0H1", "# cut L0H0 3>1"]]},
    ]


def test_what_is_added_later_is_short() -> None:
    history = some()
    before = history.tree
    history.mark("here")
    history.note(LogitDiff(0.5))
    assert written(before, history.tree).splitlines() == [
        '{"step": 1, "mark": "here"}',
        '{"step": 1, "logit_diff": {"clean": 0.5}}',
    ]
    before = history.tree
    history.redo()
    assert written(before, history.tree) == '{"at": 3}\n'


def test_every_field_of_a_session_can_be_written() -> None:
    full = Session(sweeps=(None,), screen=Screen("Look"), focus=Focus(), file="a")  # type: ignore[arg-type]
    apart = {name for name in Session.__struct_fields__ if getattr(full, name) != getattr(full.work(), name)}
    assert set(TYPES) == set(Session.__struct_fields__) - apart
    for name in TYPES:
        known = name in SWITCHES or isinstance(getattr(Session(), name), (str, tuple))
        assert known, f"{name} is neither a text nor a list: journal.py"


actions = st.one_of(
    st.tuples(st.just("change"), works, st.sampled_from(["", "prompt"])),
    st.tuples(st.just("undo")),
    st.tuples(st.just("redo")),
    st.tuples(st.just("jump"), st.integers(0, 12)),
    st.tuples(st.just("mark"), text),
    st.tuples(st.just("note"), st.builds(LogitDiff, *[st.floats(-99, 99)] * 2, st.integers(-1, 9))),
    st.tuples(st.just("rest")),
    st.tuples(st.just("write")),
)


def lived(history: History, done: list[tuple[Any, ...]]) -> str:
    """What a file holds that was added to at every "write", and at the end."""
    file, kept = written(None, history.tree), history.tree
    for name, *arguments in [*done, ("write",)]:
        if name == "write":
            file, kept = file + written(kept, history.tree), history.tree
        else:
            getattr(history, name)(*arguments)
    return file


@given(st.lists(actions, max_size=30), st.integers(1, 30))
def test_whenever_it_is_written_the_file_holds_the_history(done: list[tuple[Any, ...]], limit: int) -> None:
    history = begun(limit)
    assert read(lived(history, done)) == history.tree
    assert read(written(None, history.tree)) == history.tree


@given(works, st.lists(actions, max_size=8))
def test_another_history_takes_the_place_of_the_first(session: Session, done: list[tuple[Any, ...]]) -> None:
    first, other = some().tree, History(session, clock=clock, now=clock)
    lived(other, done)
    assert read(written(None, first) + written(first, other.tree)) == other.tree


def whole(tree: Tree) -> None:
    """Raises AssertionError where a tree is none."""
    assert list(tree.steps) == sorted(tree.steps)
    assert [step.number for step in tree.steps.values() if step.parent is None] == [tree.root.number]
    assert {tree.path(number)[0] for number in tree.steps} == {tree.root.number}
    assert tree.at in tree.steps
    assert all(way in tree.children[number] for number, way in tree.ways.items())
    marks = [step.mark for step in tree.steps.values() if step.mark]
    assert len(marks) == len(set(marks))


@given(st.lists(actions, max_size=20), st.data())
def test_of_a_torn_file_the_rest_is_read(done: list[tuple[Any, ...]], data: st.DataObject) -> None:
    history = begun()
    file = lived(history, done)
    states = {step.session for step in history.tree.steps.values()}
    begin = data.draw(st.integers(0, len(file)))
    end = data.draw(st.integers(begin, min(begin + 200, len(file))))
    torn = file[:begin] + data.draw(st.text(max_size=20)) + file[end:]
    tree = read(torn)
    if tree is None:
        # Only where the line of the root, or the first one, was hit.
        assert begin <= file.index("\n", file.index("\n") + 1)
        return
    whole(tree)
    if begin == end == len(file):
        assert {step.session for step in tree.steps.values()} <= states
    # One goes on in it as in any other.
    again = begun()
    again.restore(tree)
    again.change(replace(tree.step.session, prompt="and on"))
    assert read(torn + "\n" + written(tree, again.tree)) == again.tree


def test_a_file_that_ends_in_a_line_gives_all_before_it() -> None:
    file = written(None, some().tree)
    for end in range(len(file)):
        tree = read(file[:end])
        steps = list(tree.steps) if tree is not None else []
        before = file[: file.rfind("\n", 0, end) + 1]
        if end and file[end] == "\n":
            before = file[: end + 1]  # it lacks nothing but its end
        assert steps == list(range(before.count("\n") - 1))[:4]
        assert tree == read(before)


HOSTILE = [
    "",
    "null",
    "[" * 100_000,
    '{"step":' * 100_000,
    '{"history": 2}',
    '{"step": 0, "parent": 0, "when": 1, "change": {}}',
    '{"step": 1, "parent": 1, "when": 1, "change": {}}',
    '{"step": 1, "parent": 7, "when": 1, "change": {}}',
    '{"step": -1, "when": 1, "change": {}}',
    '{"step": 1e99, "when": 1, "change": {}}',
    '{"step": 1, "parent": 0, "when": 1e300, "change": {}}',
    '{"step": 1, "parent": 0, "when": 1, "change": {"prompt": [99, 0, ""]}}',
    '{"step": 1, "parent": 0, "when": 1, "change": {"prompt": [0, 0, ["a"]]}}',
    '{"step": 1, "parent": 0, "when": 1, "change": {"edits": [0, 0, "zero L0H1"]}}',
    '{"step": 1, "parent": 0, "when": 1, "change": {"edits": [0, 0, ["sudo L0H1"]]}}',
    '{"step": 1, "parent": 0, "when": 1, "change": {"bos": [0, 4, "maybe"]}}',
    '{"step": 1, "parent": 0, "when": 1, "change": {"sweeps": [0, 0, []]}}',
    '{"step": 1, "parent": 0, "when": 1, "change": {"__class__": [0, 0, "x"]}}',
    '{"step": 1, "parent": 0, "when": 1, "change": {"prompt": [0, 0, "\\ud800"]}}',
    '{"step": 0, "way": 0}',
    '{"step": 0, "logit_diff": {"clean": 1e999}}',
    '{"at": 5}',
    '{"forget": 0}',
]


@pytest.mark.parametrize("line", HOSTILE, ids=range(len(HOSTILE)))
def test_a_line_that_means_nothing_is_passed_over(line: str) -> None:
    first = written(None, begun().tree)
    if line != '{"history": 2}':
        assert read(first + line + "\n") == begun().tree
    assert read(line) is None


@given(st.lists(st.sampled_from(HOSTILE[5:] + written(None, some().tree).splitlines()), max_size=30))
def test_lines_in_any_order_make_a_tree_or_none(lines: list[str]) -> None:
    tree = read("\n".join(lines))
    if tree is not None:
        whole(tree)


def test_of_a_file_with_more_text_than_anyone_writes_the_newest_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    history = begun()
    for number in range(20):
        history.change(replace(FIRST, prompt=f"{number} " + "a" * 1000))
    monkeypatch.setattr("mechtui.session.journal.MOST", 10_000)
    tree = read(written(None, history.tree))
    assert tree is not None
    whole(tree)
    assert list(tree.steps) == list(range(12, 21))
    assert tree.step == history.tree.step


def test_a_long_text_that_is_written_word_by_word_is_read_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mechtui.session.journal.MOST", 20_000)
    history = begun(8)
    file, kept = written(None, history.tree), history.tree
    for number in range(30):
        for end in range(5):  # each says the step anew
            history.change(replace(FIRST, prompt="a" * 1000 + f" {number} " + "b" * end), "prompt")
            file, kept = file + written(kept, history.tree), history.tree
    assert read(file) == history.tree


def test_what_a_change_leaves_as_it_was_counts_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mechtui.session.journal.MOST", 2_000)
    history = begun()
    for number in range(30):
        history.change(replace(FIRST, prompt="a" * 1000, foil=f" {number}"))
    assert read(written(None, history.tree)) == history.tree


def test_numbers_that_are_none_are_not_written() -> None:
    history = begun()
    history.note(LogitDiff(float("nan")))
    tree = read(written(None, history.tree))
    assert tree == Tree.begun(Step(0, None, FIRST, clock()))


def test_half_a_character_is_written_and_its_step_is_not_read() -> None:
    history = begun()
    history.change(replace(FIRST, prompt="\ud800"))
    assert read(written(None, history.tree)) == begun().tree
