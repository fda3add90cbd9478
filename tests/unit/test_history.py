"""Undo and redo."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from mechtui.session.document import Session
from mechtui.session.history import History, LogitDiff, Step


def typed(history: History, text: str, merge: str = "prompt") -> None:
    """Type `text` at the end of the prompt, key by key."""
    for letter in text:
        history.change(replace(history.present, prompt=history.present.prompt + letter), merge)


def test_typing_is_undone_word_by_word() -> None:
    history = History(Session())
    typed(history, "When Mary  and")
    seen = []
    while history.undo() is not None:
        seen.append(history.present.prompt)
    assert seen == ["When Mary  ", "When ", ""]
    while history.redo() is not None:
        pass
    assert history.present.prompt == "When Mary  and"


def test_deleting_after_typing_is_a_step_of_its_own() -> None:
    history = History(Session())
    typed(history, "John")
    for end in (3, 2):
        history.change(replace(history.present, prompt="John"[:end]), "prompt")
    assert history.undo() == Session(prompt="John")
    assert history.undo() == Session()


def test_a_paste_is_one_step() -> None:
    history = History(Session())
    typed(history, "a")
    history.change(Session(prompt="a whole sentence"), "prompt")
    typed(history, "s")
    assert history.undo() == Session(prompt="a")


SENTENCE = "When John and Mary went to the store, Mary gave a drink to"


@given(st.lists(st.integers(1, len(SENTENCE) - 1), max_size=12))
def test_typing_that_comes_in_pieces_is_never_cut_within_a_word(cuts: list[int]) -> None:
    history = History(Session(prompt="one"))
    for end in (*sorted(set(cuts)), len(SENTENCE)):
        history.change(replace(history.present, source=SENTENCE[:end]), "source")
    history.change(replace(history.present, answer=" Mary"))
    assert history.undo() == Session(prompt="one", source=SENTENCE)
    while history.undo() is not None:
        left = history.present.source
        assert not left or left[-1].isspace() or SENTENCE[len(left)].isspace(), left
    assert history.present == Session(prompt="one")


def test_a_word_that_is_mended_while_it_is_typed_is_undone_as_a_word() -> None:
    history = History(Session())
    typed(history, "the Wehn")
    for text in ("the Weh", "the We", "the W"):
        history.change(Session(prompt=text), "prompt")
    typed(history, "hen it")
    seen = []
    while history.undo() is not None:
        seen.append(history.present.prompt)
    assert seen == ["the When ", "the Wehn", "the ", ""]


def test_a_number_is_one_step_while_its_key_comes_again_at_once() -> None:
    now = 0.0
    history = History(Session(), clock=lambda: now)
    history.change(Session(answer="0"))
    for step, wait in enumerate((0.0, 0.3, 0.3, 3.0, 0.3), 1):
        now += wait
        history.change(Session(answer=str(step)), "nudge 0")
    assert history.undo() == Session(answer="3")
    assert history.undo() == Session(answer="0")
    for answer in ("1", "2"):
        history.rest()
        history.change(Session(answer=answer), "nudge 0")
    assert history.undo() == Session(answer="1")


def test_keys_that_differ_never_merge() -> None:
    history = History(Session())
    history.change(Session(answer=" a"), "answer")
    history.change(Session(answer=" a", foil=" b"), "foil")
    assert history.undo() == Session(answer=" a")


def test_a_number_held_down_is_one_step() -> None:
    history = History(Session())
    for step in range(50):
        history.change(Session(answer=str(step)), "number")
    assert history.undo() == Session()
    assert history.undo() is None


def test_undo_ends_a_merge() -> None:
    history = History(Session())
    typed(history, "ab")
    history.undo()
    history.redo()
    typed(history, "c")
    assert history.undo() == Session(prompt="ab")


def test_no_change_is_no_step_and_keeps_redo() -> None:
    history = History(Session())
    typed(history, "a")
    history.undo()
    history.change(Session())
    assert history.undo() is None
    assert history.redo() == Session(prompt="a")


texts = st.text("ab ", max_size=6)


@given(st.lists(st.tuples(texts, st.sampled_from(["", "prompt"])), max_size=30))
def test_undoing_everything_leads_back_and_redoing_forth_again(changes: list[tuple[str, str]]) -> None:
    history = History(Session())
    for text, merge in changes:
        history.change(Session(prompt=text), merge)
    last = history.present
    backwards = [last]
    while (session := history.undo()) is not None:
        backwards.append(session)
    assert history.present == Session()
    forwards = [history.present]
    while (session := history.redo()) is not None:
        forwards.append(session)
    assert history.present == last
    assert forwards == backwards[::-1]


@given(st.integers(1, 8), st.integers(0, 30))
def test_no_more_steps_than_the_limit_are_kept(limit: int, count: int) -> None:
    history = History(Session(), limit)
    for step in range(count):
        history.change(Session(prompt=f"{step}."))
    steps = 0
    while history.undo() is not None:
        steps += 1
    assert steps == min(limit, count)


def test_a_change_after_an_undo_is_a_branch_and_redo_leads_where_one_stood_last() -> None:
    history = History(Session())
    for prompt in ("one.", "two."):
        history.change(Session(prompt=prompt))
    history.undo()
    history.change(Session(prompt="other."))
    assert history.undo() == Session(prompt="one.")
    assert history.redo() == Session(prompt="other.")
    assert history.jump(2) == Session(prompt="two.")
    assert history.undo() == Session(prompt="one.")
    assert history.redo() == Session(prompt="two.")
    assert [step.session.prompt for step in history.tree.steps.values()] == ["", "one.", "two.", "other."]
    assert history.jump(77) is None
    assert history.jump(None) is None
    assert history.present == Session(prompt="two.")


def test_redo_finds_its_way_to_where_one_jumped() -> None:
    history = History(Session())
    for prompt in ("one.", "two.", "three."):
        history.change(Session(prompt=prompt))
    history.jump(0)
    history.change(Session(prompt="other."))
    history.jump(3)
    history.jump(0)
    forwards = []
    while (session := history.redo()) is not None:
        forwards.append(session.prompt)
    assert forwards == ["one.", "two.", "three."]


def test_a_mark_is_one_steps_and_what_is_typed_next_does_not_change_a_marked_state() -> None:
    history = History(Session())
    typed(history, "abc")
    history.mark("here")
    typed(history, "def")
    assert history.present == Session(prompt="abcdef")
    marked = history.tree.marked("here")
    assert marked is not None
    assert marked.session == Session(prompt="abc")
    history.mark("here")
    assert history.tree.marked("here") == history.tree.step
    history.mark("", history.tree.at)
    assert history.tree.marked("here") is None
    assert history.tree.marked("") is None


def test_what_a_model_said_is_noted_at_the_state_it_said_it_of() -> None:
    history = History(Session(), now=lambda: 7.0)
    history.note(LogitDiff(1.5, None))
    history.change(Session(prompt="a"), "prompt")
    history.note(LogitDiff(2.5, -1.0, 3))
    assert [step.logit_diff for step in history.tree.steps.values()] == [LogitDiff(1.5), LogitDiff(2.5, -1.0, 3)]
    history.change(Session(prompt="ab"), "prompt")  # joins: it is another state now
    assert history.tree.step == Step(1, 0, Session(prompt="ab"), 7.0)


def test_of_a_full_tree_ends_are_forgotten_before_what_leads_to_the_present_and_marks_last() -> None:
    history = History(Session(), limit=3)
    history.change(Session(prompt="a."))
    history.mark("kept")
    history.undo()
    history.change(Session(prompt="b."))
    history.undo()
    history.change(Session(prompt="c."))
    history.change(Session(prompt="d."))
    assert [step.session.prompt for step in history.tree.steps.values()] == ["", "a.", "c.", "d."]
    history.change(Session(prompt="e."))
    history.change(Session(prompt="f."))  # only now, since a root with two children cannot be left out
    assert [step.session.prompt for step in history.tree.steps.values()] == ["c.", "d.", "e.", "f."]


names = st.sampled_from(["", "x", "y"])
actions = st.one_of(
    st.tuples(st.just("change"), texts.map(lambda text: Session(prompt=text)), st.sampled_from(["", "prompt"])),
    st.tuples(st.just("undo")),
    st.tuples(st.just("redo")),
    st.tuples(st.just("jump"), st.integers(0, 12)),
    st.tuples(st.just("mark"), names),
    st.tuples(st.just("rest")),
)


@given(st.lists(actions, max_size=40))
def test_whatever_was_done_undoing_leads_to_the_first_and_no_branch_is_lost(done: list[tuple[Any, ...]]) -> None:
    history = History(Session())
    there: dict[int, Session] = {}
    for name, *arguments in done:
        there[history.tree.at] = history.present
        joining = history.tree.at if name == "change" else -1
        getattr(history, name)(*arguments)
        if history.tree.at == joining:
            there[joining] = history.present  # typing that joins its step
        assert there.items() <= {number: step.session for number, step in history.tree.steps.items()}.items()
    last, undone = history.tree, 0
    while history.undo() is not None:
        undone += 1
    assert history.present == Session()
    for _ in range(undone):
        assert history.redo() is not None
    assert history.tree == last
