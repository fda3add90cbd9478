"""The list of senders: its order, its cursor, and what its keys make of a row."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from mechtui.session.grammar.words import LineError
from mechtui.views import parse_question, put
from mechtui.views.attention import Attention
from mechtui.views.path import Path, PathAnswer
from mechtui.views.path.example import STRONG, example
from mechtui.views.path.pane import PathPane
from tests.panes.pictures import Holder, pictured, shown


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
