"""Contexts on the screen: what is shown of one neuron and of a list, where enter leads, and the line."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from mechtui.link.messages import Answered
from mechtui.paint.tokens import visible
from mechtui.panes.pane import Focus, Picture
from mechtui.session.changes import CannotError
from mechtui.session.document import SaeName, Session, Site, Span
from mechtui.session.grammar.words import LineError
from mechtui.views import parse_question, put
from mechtui.views.contexts import ENDS, MOST, Contexts, ContextsAnswer
from mechtui.views.contexts.example import example
from mechtui.views.contexts.pane import ContextsPane
from mechtui.views.features import BYS as FEATURES_BYS
from mechtui.views.features import Features
from mechtui.views.neurons import BYS, Neurons
from tests.panes.pictures import Holder, pictured, shown


class Desk:
    """What the pane's actions use of the app."""

    def __init__(self, session: Session) -> None:
        self.session, self.focus, self.said, self.asked = session, Focus(position=3), "", Contexts()
        self.line = ("", "")

    def change(self, session: Session, what: str = "") -> None:
        self.session = session

    def put(self, question: Any) -> None:
        self.asked = question

    def look(self, focus: Any) -> None:
        self.focus = focus

    def open_line(self, kind: str, text: str = "", index: int = -1) -> None:
        self.line = kind, text

    def say(self, sentence: str, *, bad: bool = False) -> None:
        self.said = sentence


def answer() -> ContextsAnswer:
    found = example().clean
    assert isinstance(found, ContextsAnswer)
    return found


def several() -> ContextsAnswer:
    """Two neurons, of which one fires nowhere."""
    one = answer()
    tables = {name: np.repeat(getattr(one, name), 2, 0) for name in ("rate", "value", "histogram", "bin")}
    names, labels = ("L9N77", "L9N5"), ("", "")
    return replace(one, **tables, names=names, labels=labels, contexts=(one.contexts[0], ()), gate=None, into=None)


def told(question: Contexts, found: ContextsAnswer, **more: Any) -> Picture:
    """The picture of a session with this line, to which this is the answer."""
    picture = pictured(example())
    asked = replace(question, known=True).asked()
    session = put(picture.session, question)
    return replace(picture, session=session, answered=(Answered(0, asked, found, None, 1.0, False),), **more)


async def test_a_neuron_s_contexts_stand_with_the_token_in_the_middle() -> None:
    pane = ContextsPane()
    async with Holder(pane).run_test(size=(120, 20)) as pilot:
        picture = told(Contexts(((9, 77),), file="notes.txt"), answer())
        pane.show(picture)
        await pilot.pause()
        head, *rows = shown(pane)
        assert [word in head for word in ("post", "gate", "in", "before", "token", "after")] == [True] * 6
        columns = set()
        for row, context in zip(rows, answer().contexts[0], strict=False):
            token = f"‹{visible(context.token)}›"
            assert token in row
            before = row[: row.index(token)].rstrip()
            assert before.endswith(context.before[-20:].replace("\n", "⏎").lstrip())
            columns.add(row.index(token))
        assert len(columns) == 1
        title = str(pane.border_title)
        assert "L9N77 notes.txt ─ 18,400 of 24,128 tokens" in title
        assert f"on {answer().rate[0]:.2f}".replace("0.", ".") in title
        assert f"on {answer().rate[0]:.2f} · windows of 128".replace("0.", ".") in str(pane.border_subtitle)
        assert "█" in "\n".join(shown(pane))  # the histogram
        assert ". reads on" in "\n".join(shown(pane))
        # What is asked: what is known; once it was started, all of it.
        known, whole = pane.questions(replace(picture, job=True))
        assert isinstance(known, Contexts)
        assert isinstance(whole, Contexts)
        assert (known.known, whole.known) == (True, False)
        assert whole.costly
        assert not known.costly


async def test_enter_makes_a_context_the_prompt_and_in_a_list_shows_the_neuron() -> None:
    pane = ContextsPane()
    async with Holder(pane).run_test(size=(120, 20)) as pilot:
        picture = told(Contexts(((9, 77),), file="notes.txt"), answer())
        pane.show(picture)
        await pilot.pause()
        pane.move(0, 2)
        assert pane.sites(picture) == (Site("neuron", Span(9, 9), Span(77, 77)),)
        desk = Desk(picture.session)
        pane.do_context(desk)  # type: ignore[arg-type]
        assert desk.session == replace(picture.session, prompt="a bridge over the stream")
        assert desk.focus.position == -1
        pane.do_list_contexts(desk)  # type: ignore[arg-type]
        assert desk.asked == Contexts(file="notes.txt")
        pane.do_own_samples(desk)  # type: ignore[arg-type]
        assert desk.asked == Contexts(((9, 77),))
        pane.do_context_file(desk)  # type: ignore[arg-type]
        assert desk.line == ("text_file", "notes.txt")
        assert pane.named("b.txt") == Contexts(((9, 77),), file="b.txt")
        # A list: a row for each neuron.
        pane.show(told(Contexts(file="notes.txt"), several()))
        await pilot.pause()
        head, first, second, *_ = shown(pane)
        assert "on" in head.split()
        assert "gate" not in head
        assert first.split()[0] == "L9N77"
        assert second.split()[0] == "L9N5"
        pane.move(0, 1)
        pane.do_context(desk)  # type: ignore[arg-type]
        assert desk.asked == Contexts(((9, 5),), file="notes.txt")
        assert pane.search("river")
        assert pane.row().startswith("L9N77")


async def test_it_says_what_is_not_read() -> None:
    pane = ContextsPane()
    nothing = replace(answer(), counted=0, contexts=((),), value=np.zeros((1, 0), np.float32), gate=None, into=None)
    async with Holder(pane).run_test(size=(100, 20)) as pilot:
        for question, more, said in (
            (Contexts(((9, 77),)), {}, ". has the model write samples"),
            (Contexts(((9, 77),), file="a.txt"), {}, "a.txt is not read yet: . reads it"),
            (Contexts(((9, 77),), file="a.txt"), {"job": True, "progress": 0.25}, "reading: 25%"),
        ):
            pane.show(told(question, nothing, **more))
            await pilot.pause()
            assert said in " ".join("\n".join(shown(pane)).split())
        with pytest.raises(CannotError, match="Nothing is read yet"):
            pane.do_context(Desk(pictured(example()).session))  # type: ignore[arg-type]
        pane.show(told(Contexts(((9, 77),)), replace(answer(), gate=None, into=None)))
        with pytest.raises(CannotError, match="Only gated MLPs"):
            pane.next()


def test_the_list_is_that_of_the_neurons_line() -> None:
    pane, picture = ContextsPane(), pictured(example())
    for line in (Neurons(of=3, by="activation", top=7), Neurons()):
        session = put(put(picture.session, line), Contexts(file="a.txt"))
        (known, *_) = pane.questions(replace(picture, session=session))
        assert isinstance(known, Contexts)
        assert known.listed == replace(line, position=known.position)
    # What its own line says goes before.
    session = put(put(picture.session, Neurons(of=3)), Contexts(file="a.txt", by="activation"))
    (known, *_) = pane.questions(replace(picture, session=session))
    assert isinstance(known, Contexts)
    assert (known.of, known.by) == (-1, "activation")


def test_a_line_that_names_a_feature_keeps_it_until_the_cursor_of_the_list_is_moved() -> None:
    pane, picture = ContextsPane(), pictured(example())
    session = put(picture.session, parse_question('contexts res2F5 "a.txt"'))
    for at, named in ((None, "res2F5"), (9, "res2F5"), (7, "res2F7"), (9, "res2F9")):
        unit = None if at is None else Site("feature", index=Span(at, at), sae="res2")
        beside = replace(picture, session=session, unit=unit)
        (known, *_) = pane.questions(beside)
        assert isinstance(known, Contexts)
        assert known.names == (named,)
    # What is read next is what is shown.
    pane.picture = beside
    desk = Desk(session)
    pane.do_own_samples(desk)  # type: ignore[arg-type]
    assert (desk.asked.names, desk.asked.file) == (("res2F9",), "")


ANY: dict[str, Any] = {
    "file": st.sampled_from(["", "notes.txt", 'a "b" \\ c.txt']),
    "window": st.sampled_from([0, 2, 300]),
    "end": st.sampled_from(ENDS),
    "known": st.booleans(),
    "position": st.integers(-9, 30),
    "top": st.integers(1, 99),
}


@given(
    st.builds(
        Contexts,
        st.lists(st.tuples(st.integers(0, 99), st.integers(0, 9999)), max_size=4, unique=True).map(tuple),
        of=st.integers(-1, 40),
        by=st.sampled_from(BYS),
        **ANY,
    )
    | st.builds(
        Contexts,
        sae=st.sampled_from([SaeName("res8"), SaeName("F5"), SaeName("a-b")]),
        features=st.lists(st.integers(0, 99999), max_size=4, unique=True).map(tuple),
        by=st.sampled_from(FEATURES_BYS),
        **ANY,
    )
)
def test_the_line_says_it(question: Contexts) -> None:
    assert parse_question(question.line()) == question
    if question.names:
        assert question.asked().listed == (Features(question.sae) if question.sae else Neurons())


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        ("contexts notes.txt", r"should be a neuron \(L5N12\), a feature \(res8F1234\), a text file"),
        ("contexts L5N3 res8F2", "neurons or of a dictionary's features, not of both"),
        ("contexts res8F2 res9F1", "res9 stands beside res8"),
        ("contexts res8 activation", "features of res8 are listed by attribution or value or share or number"),
        ("contexts L5N3 window1", "window1 should be at least window2"),
        (" ".join(["contexts", *(f"L0N{n}" for n in range(MOST + 1))]), "100 neurons or features are the most"),
    ],
)
def test_what_the_line_does_not_take_is_said(line: str, sentence: str) -> None:
    with pytest.raises(LineError, match=sentence):
        parse_question(line)
