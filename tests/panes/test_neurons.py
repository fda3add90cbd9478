"""The list of neurons: its columns, its cursor, and what keys do to the neuron under it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from msgspec.structs import replace

from mechtui.session.document import Session, Site, Span
from mechtui.session.grammar.edits import format_edit
from mechtui.session.grammar.vectors import format_vector
from mechtui.session.grammar.words import LineError
from mechtui.views import parse_question, put
from mechtui.views.contexts import Contexts
from mechtui.views.neurons import BYS, Neurons, NeuronsAnswer
from mechtui.views.neurons.example import example
from mechtui.views.neurons.pane import NeuronsPane
from tests.panes.pictures import Holder, pictured, shown


class Desk:
    """What the pane's actions use of the app."""

    def __init__(self, session: Session, focus: Any) -> None:
        self.session, self.focus, self.said = session, focus, ""

    def change(self, session: Session, what: str = "") -> None:
        self.session = session

    def look(self, focus: Any) -> None:
        self.focus = focus

    def say(self, sentence: str, *, bad: bool = False) -> None:
        self.said = sentence


def answers() -> tuple[NeuronsAnswer, NeuronsAnswer]:
    clean, edited = example().clean, example().edited
    assert isinstance(clean, NeuronsAnswer)
    assert isinstance(edited, NeuronsAnswer)
    return clean, edited


def number(value: float) -> str:
    text = f"{abs(value):.2f}"
    sign = "" if float(text) == 0 else "-" if value < 0 else "+"
    return sign + text.removeprefix("0")


@pytest.mark.parametrize("run", ["edited", "clean", "difference"])
async def test_a_row_has_gate_in_and_product_and_the_words(run: str) -> None:
    clean, edited = answers()
    app = Holder(NeuronsPane())
    async with app.run_test(size=(190, 20)) as pilot:
        picture = pictured(example())
        app.pane.show(replace(picture, session=put(picture.session, Neurons(run=run))))  # type: ignore[arg-type]
        await pilot.pause()
        head, *rows = shown(app.pane)
        assert [word in head for word in ("attribution", "post", "gate", "in", "reads", "raises", "lowers")] == [
            True
        ] * 7
        for at, name in enumerate(clean.names):
            cells = rows[at].split()
            assert cells[0] == name
            for field in ("attribution", "post", "pre", "into"):
                one, two = (
                    (v if v.ndim == 1 else v[:, -1])[at] for v in (getattr(clean, field), getattr(edited, field))
                )
                wanted = {"clean": one, "edited": two, "difference": two - one}[run]
                assert number(float(wanted)) in cells, field
            assert clean.reads[at][0].token.text.strip() in rows[at]
        if run == "difference":
            one_run = replace(picture.answered[0], edited=None)
            app.pane.show(replace(app.pane.picture, answered=(one_run,)))  # type: ignore[type-var]
            await pilot.pause()
            assert "no edit is on" in "\n".join(shown(app.pane))


async def test_keys_act_on_the_neuron_under_the_cursor() -> None:
    app = Holder(NeuronsPane())
    async with app.run_test(size=(120, 20)) as pilot:
        picture = pictured(example())
        pane = app.pane
        assert isinstance(pane, NeuronsPane)
        pane.show(picture)
        await pilot.pause()
        pane.move(0, 2)
        assert pane.sites(picture) == (Site("neuron", Span(10, 10), Span(1262, 1262)),)
        # Sorted anew, the cursor stays on its neuron.
        clean = answers()[0]
        order = np.arange(len(clean.neurons))[::-1]
        turned = replace(
            clean, **{n: getattr(clean, n)[order] for n in ("layers", "neurons", "post", "pre", "into", "attribution")}
        )
        pane.show(replace(picture, answered=(replace(picture.answered[0], clean=turned, edited=turned),)))
        assert pane.sites(picture)[0].index == Span(1262, 1262)
        assert pane.row().startswith("L10N1262")
        assert pane.into(picture) == Contexts(((10, 1262),))
        desk = Desk(picture.session, picture.focus)
        pane.do_scale_neuron(desk)  # type: ignore[arg-type]
        assert format_edit(desk.session.edits[-1]) == "scale L10N1262 x2"
        assert desk.focus.edit == len(desk.session.edits) - 1
        before = desk.session
        pane.do_scale_neuron(desk)  # type: ignore[arg-type]
        assert desk.session == before  # the one that is there is looked at
        pane.do_neuron_vector(desk)  # type: ignore[arg-type]
        assert format_vector(desk.session.vectors[-1]) == "L10N1262 = neuron L10N1262"
        assert desk.focus.vector == len(desk.session.vectors) - 1
        assert "add L10.post L10N1262 x5" in desk.said


async def test_a_word_is_found() -> None:
    app = Holder(NeuronsPane())
    async with app.run_test(size=(120, 20)) as pilot:
        app.pane.show(pictured(example()))
        await pilot.pause()
        assert app.pane.search("L8N640")
        assert app.pane.row().startswith("L8N640")


@pytest.mark.parametrize("by", BYS)
@pytest.mark.parametrize("of", [-1, 0, 11])
@pytest.mark.parametrize("run", ["edited", "difference"])
def test_the_line_says_it(by: str, of: int, run: str) -> None:
    question = Neurons(of, 3, by, 7, run)  # type: ignore[arg-type]
    assert parse_question(question.line()) == question
    assert question.asked() == Neurons(of, 3, by, 7)  # type: ignore[arg-type]


@pytest.mark.parametrize("line", ["neurons L5N3", "neurons top0", "neurons top100", "neurons 5", "neurons post"])
def test_what_the_line_does_not_take_is_said(line: str) -> None:
    with pytest.raises(LineError, match=r"should be a layer \(L5\), a position"):
        parse_question(line)
