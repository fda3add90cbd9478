"""The list of senders: its order, its cursor, and what its keys make of a row."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from mechtui.panes.pane import Focus, Pane, Picture
from mechtui.session.document import Session
from mechtui.session.grammar.edits import format_edit
from mechtui.session.grammar.words import LineError
from mechtui.views import Question, parse_question, put
from mechtui.views.attention import Attention
from mechtui.views.attention.example import example as attention_example
from mechtui.views.attention.pane import AttentionPane
from mechtui.views.composition.example import example as composition_example
from mechtui.views.composition.pane import CompositionPane
from mechtui.views.example import Example
from mechtui.views.path import Path, PathAnswer
from mechtui.views.path.example import STRONG, example
from mechtui.views.path.pane import PathPane
from tests.panes.pictures import Holder, pictured, shown


class Desk:
    """As much of the app as these keys use."""

    def __init__(self, now: Picture) -> None:
        self.session, self.ready, self.focus = now.session, now.ready, now.focus
        self.went: list[str] = []

    def change(self, session: Session, what: str = "") -> None:
        self.session = session

    def put(self, question: Question) -> None:
        self.session = put(self.session, question)

    def look(self, focus: Focus) -> None:
        self.focus = focus

    def position(self) -> int:
        return 14

    def go(self, pane: str) -> None:
        self.went.append(pane)

    start = go

    def lines(self) -> list[str]:
        return [format_edit(edit) for edit in self.session.edits if edit.sender is not None]


async def on(pane: Pane, of: Example) -> Desk:
    """The pane with its example on a screen; the desk beside it."""
    app = Holder(pane)
    async with app.run_test(size=(120, 30)) as pilot:
        now = pictured(of)
        pane.show(now)
        await pilot.pause()
        return Desk(now)


async def test_keys_make_the_rows_path_an_edit_and_take_it_away() -> None:
    pane = PathPane()
    desk = await on(pane, example())
    pane.do_cut_path(desk)  # type: ignore[arg-type]
    assert desk.lines() == ["cut-path L8H6>L9H9.q"]
    pane.do_path_edit(desk)  # type: ignore[arg-type]
    assert desk.lines() == ["cut-path L8H6>L9H9.q", "patch-path L8H6>L9H9.q"]
    pane.do_cut_path(desk)  # type: ignore[arg-type]
    assert desk.lines() == ["patch-path L8H6>L9H9.q"]
    pane.do_path_here(desk)  # type: ignore[arg-type]
    pane.do_path_sort(desk)  # type: ignore[arg-type]
    assert [line for line in desk.session.views if line.startswith("path")]


async def test_x_cuts_the_pair_of_the_composition_view() -> None:
    pane = CompositionPane()
    desk = await on(pane, composition_example())
    pane.do_cut_pair(desk)  # type: ignore[arg-type]
    assert desk.lines() == ["cut-path L4H11>L5H5.k"]
    pane.do_cut_pair(desk)  # type: ignore[arg-type]
    assert desk.lines() == []


async def test_one_key_asks_who_put_it_there() -> None:
    pane = AttentionPane()
    desk = await on(pane, attention_example())
    for key, part in ((pane.do_who_query, "q"), (pane.do_who_key, "k")):
        key(desk)  # type: ignore[arg-type]
        (line,) = [line for line in desk.session.views if line.startswith("path")]
        question = parse_question(line)
        assert isinstance(question, Path)
        assert question.part == part
        assert question.at is not None
        assert question.other is not None
    assert desk.went == ["path"] * 4
    first, second = (question.of_cell(3, 1) for question in (Path("q"), Path("k")))
    assert (first.line(), second.line()) == ("path L0H0.q 3>1", "path L0H0.k 3>1")


async def rows_of(question: Path, width: int = 100) -> list[str]:
    app = Holder(PathPane())
    async with app.run_test(size=(width, 24)) as pilot:
        picture = pictured(replace_question(question))
        app.pane.show(replace(picture, session=put(picture.session, question)))
        await pilot.pause()
        return shown(app.pane)


def replace_question(question: Path) -> object:
    from dataclasses import replace as changed

    return changed(example(), question=question.asked())


@pytest.mark.parametrize("by", ["effect", "moves"])
async def test_the_strongest_sender_is_first(by: str) -> None:
    question = Path("q", 9, 9, by=by)  # type: ignore[arg-type]
    first = [text.split()[0].lstrip("▸ ") for text in await rows_of(question) if text.strip()][1:4]
    assert first == sorted(STRONG, key=lambda name: -abs(STRONG[name]))[:3]


async def test_enter_leads_to_the_senders_attention_and_the_rows_narrow() -> None:
    app = Holder(PathPane())
    async with app.run_test(size=(100, 24)) as pilot:
        picture = pictured(example())
        session = put(picture.session, Path("q", 9, 9, only="mlp"))
        app.pane.show(replace(picture, session=session))
        await pilot.pause()
        names = [text.split()[0] for text in shown(app.pane) if ".mlp" in text]
        assert names[0] == "L0.mlp"
        app.pane.show(replace(picture, session=put(picture.session, Path("q", 9, 9))))
        app.pane.move(0, 1)
        await pilot.pause()
        into = app.pane.into(picture)
        assert isinstance(into, Attention)
        assert (into.layer, into.head) == (7, 9)
        assert app.pane.cursor() == "L7H9"


def test_lines_read_back_and_what_is_none_is_refused() -> None:
    for line in (
        *("path L8H6.q", "path L8H6.k 14>2 cut", "path L8H6.q 14>2", "path L8H6.v @-1 layers moves", "path L8.mlp"),
        *("path logits", "path L5H5>L8H6.q clean", 'path embed>L8.mlp @3 "L5"'),
    ):
        assert parse_question(line).line() == line
    refused = {
        "path L8H*.q": "is not one receiver",
        "path L*H5>L8H6.q": "is not one sender",
        "path L8H6": "write L8H6.q, L8H6.k or L8H6.v",
        "path L8.mlp 3>2": "attends to nothing",
        "path logits @3": "leave the position out",
        "path L5H5>logits": "path logits ranks",
        "path L8H6.q sideways": "should be @14, 14>2",
    }
    for line, why in refused.items():
        with pytest.raises(LineError, match=why):
            parse_question(line)


def test_an_answer_that_is_not_whole_says_so_in_json() -> None:
    clean = example().clean
    assert isinstance(clean, PathAnswer)
    assert "left" not in clean.json()
