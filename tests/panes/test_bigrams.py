"""The list of bigrams: its rows, orders, runs, and its line."""

from __future__ import annotations

import numpy as np
import pytest
from msgspec.structs import replace

from mechtui.session.grammar.words import LineError
from mechtui.views import parse_question, put
from mechtui.views.bigrams import ORDERS, Bigrams, BigramsAnswer
from mechtui.views.bigrams.example import example
from mechtui.views.bigrams.pane import BigramsPane
from tests.panes.pictures import Holder, pictured, shown


def answers() -> tuple[BigramsAnswer, BigramsAnswer]:
    clean, edited = example().clean, example().edited
    assert isinstance(clean, BigramsAnswer)
    assert isinstance(edited, BigramsAnswer)
    return clean, edited


def text(value: float, sign: bool = False) -> str:
    return f"{value:{'+' if sign else ''}.2f}".replace("0.", ".", 1) if abs(value) < 1 else f"{value:.2f}"


async def test_a_row_for_every_token_in_the_order_of_the_line() -> None:
    clean, edited = answers()
    app = Holder(BigramsPane())
    async with app.run_test(size=(140, 22)) as pilot:
        for question, answer in ((Bigrams(), edited), (Bigrams(by="gain", run="clean"), clean)):
            picture = pictured(example())
            app.pane.show(replace(picture, session=put(picture.session, question)))
            await pilot.pause()
            rows = [row for row in shown(app.pane) if row.strip()][1 : len(answer.bigrams) + 1]
            numbers = [int(row.split(maxsplit=1)[0].lstrip("▸").rstrip("*")) for row in rows]
            gain = answer.bigrams - answer.model
            order = np.argsort(-np.abs(np.nan_to_num(gain, nan=0)), kind="stable")
            assert numbers == (list(range(len(gain))) if question.by == "text" else order.tolist())
            for at, row in zip(numbers, rows, strict=True):
                if at < len(gain) - 1:
                    assert text(float(answer.bigrams[at])) in row.split()
                assert answer.best[at][0].text.strip() in row
        assert f"explain {text(clean.explained)} of what the model knows" in str(app.pane.border_subtitle)


async def test_the_difference_of_two_runs_and_of_one() -> None:
    clean, edited = answers()
    app = Holder(BigramsPane())
    async with app.run_test(size=(140, 22)) as pilot:
        picture = pictured(example())
        picture = replace(picture, session=put(picture.session, Bigrams(run="difference")))
        app.pane.show(picture)
        await pilot.pause()
        change = edited.bigrams[0] - clean.bigrams[0]
        assert f"{change:+.2f}".replace("0.", ".", 1) in shown(app.pane)[1].split()
        (one,) = picture.answered
        app.pane.show(replace(picture, answered=(replace(one, edited=None),)))
        await pilot.pause()
        assert "no edit is on" in "\n".join(shown(app.pane))


@pytest.mark.parametrize("by", ORDERS)
@pytest.mark.parametrize("mlps", [False, True])
@pytest.mark.parametrize("run", ["edited", "clean", "difference"])
def test_the_line_says_it(by: str, mlps: bool, run: str) -> None:
    question = Bigrams(mlps, 5, by, mlps, run)  # type: ignore[arg-type]
    assert parse_question(question.line()) == question
    assert question.asked() == Bigrams(mlps, 5)


@pytest.mark.parametrize("line", ["bigrams top0", "bigrams 5", "bigrams L1H1", "bigrams top100"])
def test_what_the_line_does_not_take_is_said(line: str) -> None:
    with pytest.raises(LineError, match="should be mlps, text, bigrams, model, gain"):
        parse_question(line)
