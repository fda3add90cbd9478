"""The list of losses: which rows, in which order, and where the cursor goes."""

from __future__ import annotations

import numpy as np
import pytest
from msgspec.structs import replace

from mechtui.session.grammar.words import LineError
from mechtui.views import parse_question, put
from mechtui.views.loss import ORDERS, Loss, LossAnswer
from mechtui.views.loss.example import example
from mechtui.views.loss.pane import LossPane
from tests.panes.pictures import Holder, pictured, shown


def number(row: str) -> int:
    return int(row.split(maxsplit=1)[0].lstrip("▸"))


async def rows_of(question: Loss, width: int = 120) -> list[str]:
    app = Holder(LossPane())
    async with app.run_test(size=(width, 22)) as pilot:
        picture = pictured(example())
        app.pane.show(replace(picture, session=put(picture.session, question)))
        await pilot.pause()
        return [text for text in shown(app.pane)[1 : len(picture.tokens.tokens) + 1] if text.strip()]


async def test_rows_stand_as_the_text_does_and_say_clean_edited_and_change() -> None:
    clean, edited = example().clean, example().edited
    assert isinstance(clean, LossAnswer)
    assert isinstance(edited, LossAnswer)
    rows = await rows_of(Loss())
    assert [number(row) for row in rows] == list(range(len(clean.loss)))
    assert rows[0].split() == ["0", "When"]  # nothing stands before it: no number
    for at in (1, 9):
        words = rows[at].split()
        assert f"{clean.loss[at]:.2f}".removeprefix("0") in words
        assert f"{edited.loss[at]:.2f}".removeprefix("0") in words


@pytest.mark.parametrize("up", [False, True])
async def test_sorted_by_the_edited_loss(up: bool) -> None:
    edited = example().edited
    assert isinstance(edited, LossAnswer)
    order = np.argsort(edited.loss[1:] if up else -edited.loss[1:]) + 1
    rows = await rows_of(Loss(by="edited", up=up))
    # What was not computed is last either way.
    assert [number(row) for row in rows] == [*order, 0]


async def test_the_cursor_walks_the_sorted_list() -> None:
    edited = example().edited
    assert isinstance(edited, LossAnswer)
    order = list(np.argsort(-edited.loss[1:]) + 1)
    app = Holder(LossPane())
    async with app.run_test(size=(120, 22)) as pilot:
        picture = pictured(example())
        picture = replace(picture, session=put(picture.session, Loss(by="edited")))
        app.pane.show(replace(picture, focus=replace(picture.focus, position=int(order[0]))))
        await pilot.pause()
        app.pane.move(0, 2)
        await pilot.pause()
        assert app.looked[-1].position == order[2]


@pytest.mark.parametrize("by", ORDERS)
@pytest.mark.parametrize("up", [False, True])
@pytest.mark.parametrize("top", [1, 3, 99])
def test_the_line_says_it(by: str, up: bool, top: int) -> None:
    question = Loss(top, by, up)  # type: ignore[arg-type]
    assert parse_question(question.line()) == question
    assert question.asked() == Loss(top)


@pytest.mark.parametrize("line", ["loss top0", "loss 5", "loss sum", "loss top100"])
def test_what_the_line_does_not_take_is_said(line: str) -> None:
    with pytest.raises(LineError, match="should be text, loss, edited, change, rank"):
        parse_question(line)
