"""The list of features: its columns, what stands under it, and its cursor."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from msgspec.structs import replace

from mechtui.session.changes import CannotError
from mechtui.session.document import Sae, Session
from mechtui.session.grammar.edits import parse_edit
from mechtui.session.grammar.places import format_site
from mechtui.session.grammar.vectors import format_vector
from mechtui.session.grammar.words import LineError
from mechtui.views import parse_question, put
from mechtui.views.features import BYS, Features, FeaturesAnswer
from mechtui.views.features.example import example
from mechtui.views.features.pane import FeaturesPane
from tests.panes.pictures import Holder, pictured, shown
from tests.panes.test_neurons import Desk as NeuronsDesk
from tests.panes.test_neurons import number


class Desk:
    """What the pane's actions use of the app."""

    def __init__(self, session: Session) -> None:
        self.session, self.ready = session, None
        self.asked: list[Features] = []

    def put(self, question: Features) -> None:
        self.asked.append(question)


def answers() -> tuple[FeaturesAnswer, FeaturesAnswer]:
    clean, edited = example().clean, example().edited
    assert isinstance(clean, FeaturesAnswer)
    assert isinstance(edited, FeaturesAnswer)
    return clean, edited


@pytest.mark.parametrize("run", ["edited", "clean", "difference"])
async def test_a_row_has_what_it_is_and_the_error_is_a_row(run: str) -> None:
    clean, edited = answers()
    app = Holder(FeaturesPane())
    async with app.run_test(size=(200, 24)) as pilot:
        picture = pictured(example())
        app.pane.show(replace(picture, session=put(picture.session, Features("res8", run=run))))  # type: ignore[arg-type]
        await pilot.pause()
        head, *rows = shown(app.pane)
        assert all(word in head for word in ("attribution", "value", "share", "label", "raises", "lowers", "cosine"))
        for at, feature in enumerate(clean.features):
            cells = rows[at].split()
            assert cells[0] == f"F{feature}"
            one, two = (float(answer.attribution[at]) for answer in (clean, edited))  # type: ignore[index]
            assert number({"clean": one, "edited": two, "difference": two - one}[run]) in cells
            assert clean.raises[at][0].token.text.strip() in rows[at]
            assert clean.labels[at] in rows[at]
        below = {row.split()[0]: row for row in rows if row.strip() and not row.startswith((" F", "F"))}
        for name, field in (("bias", "bias"), ("error", "error"), ("sum", "total")):
            one, two = (getattr(answer, field) for answer in (clean, edited))
            wanted = {"clean": one, "edited": two, "difference": two - one}[run]
            assert number(wanted) in next(row for key, row in below.items() if key == name).split()
        legend = str(app.pane.border_subtitle)
        assert "L0 58.3 · explains .94 · loss recovered .98" in legend
        if run == "difference":
            one_run = replace(picture.answered[0], edited=None)
            app.pane.show(replace(app.pane.picture, answered=(one_run,)))  # type: ignore[type-var]
            await pilot.pause()
            assert "no edit is on" in "\n".join(shown(app.pane))


async def test_the_cursor_stays_on_its_feature_and_a_label_is_found() -> None:
    app = Holder(FeaturesPane())
    async with app.run_test(size=(120, 20)) as pilot:
        picture = pictured(example())
        pane = app.pane
        assert isinstance(pane, FeaturesPane)
        pane.show(picture)
        await pilot.pause()
        pane.move(0, 2)
        clean = answers()[0]
        order = np.arange(len(clean.features))[::-1]
        names = ("features", "value", "values", "share", "attribution")
        turned: Any = replace(clean, **{name: getattr(clean, name)[order] for name in names})
        pane.show(replace(picture, answered=(replace(picture.answered[0], clean=turned, edited=turned),)))
        assert pane.row().startswith("F1262\t")
        assert pane.search("person")
        assert pane.row().startswith(f"F{turned.features[3]}\t")
        desk = Desk(Session(saes=(Sae("res8", "a"), Sae("mlp3", "b"))))
        pane.do_next_dictionary(desk)  # type: ignore[arg-type]
        assert desk.asked[-1].of == "mlp3"
        with pytest.raises(CannotError, match="res8 is the only dictionary of the session"):
            pane.do_next_dictionary(Desk(Session(saes=(Sae("res8", "a"),))))  # type: ignore[arg-type]


async def test_the_feature_under_the_cursor_is_clamped_and_made_a_vector() -> None:
    app = Holder(FeaturesPane())
    async with app.run_test(size=(120, 24)) as pilot:
        picture = pictured(example())
        app.pane.show(picture)
        await pilot.pause()
        app.pane.move(0, 1)
        clean, edited = answers()
        number, value = int(clean.features[1]), 2 * float(edited.value[1])
        name = f"res8F{number}"
        assert [format_site(site) for site in app.pane.sites(picture)] == [name]
        desk = NeuronsDesk(picture.session, picture.focus)
        app.pane.do_clamp_feature(desk)  # type: ignore[arg-type]
        assert desk.session.edits[-1] == parse_edit(f"clamp {name} x{value:.3g}")
        assert desk.focus.edit == len(desk.session.edits) - 1
        before = desk.session
        app.pane.do_clamp_feature(desk)  # type: ignore[arg-type]
        assert desk.session == before  # the one that is there is looked at
        app.pane.do_feature_vector(desk)  # type: ignore[arg-type]
        assert format_vector(desk.session.vectors[-1]) == f"{name} = feature res8 {number}"
        assert f"{name} x5 adds it" in desk.said


async def test_a_low_pane_keeps_error_and_sum() -> None:
    app = Holder(FeaturesPane())
    async with app.run_test(size=(80, 11)) as pilot:
        app.pane.show(pictured(example()))
        await pilot.pause()
        rows = [row.split()[0] for row in shown(app.pane) if row.strip()]
        assert rows[-2:] == ["error", "sum"]
    narrow = Holder(FeaturesPane())
    async with narrow.run_test(size=(40, 11)) as pilot:
        narrow.pane.show(pictured(example()))
        await pilot.pause()
        assert "L0 58.3 · EV .94 · recovered .98" in str(narrow.pane.border_subtitle)
        assert "bias" not in rows


@pytest.mark.parametrize("by", BYS)
@pytest.mark.parametrize("of", ["", "res8", "x-1"])
@pytest.mark.parametrize("run", ["edited", "difference"])
def test_the_line_says_it(by: str, of: str, run: str) -> None:
    question = Features(of, 3, by, 7, run)  # type: ignore[arg-type]
    assert parse_question(question.line()) == question
    assert question.asked() == Features(of, 3, by, 7)  # type: ignore[arg-type]
    assert question.for_model() == replace(question, of="")


@pytest.mark.parametrize("line", ["features a.b", "features @x", "features L0.pre"])
def test_what_the_line_does_not_take_is_said(line: str) -> None:
    with pytest.raises(LineError, match="should be a dictionary's name, a position"):
        parse_question(line)
