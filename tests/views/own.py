"""What is true of a view that does not stand in mechtui. MECHTUI_VIEWS names its folder before this is imported; so it
is run in a process of its own, by tests/end_to_end/test_own_view.py."""

from __future__ import annotations

from io import StringIO
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from mechtui.app import help as help_page
from mechtui.app import palette
from mechtui.app.actions import Registry
from mechtui.engine.api import Engine
from mechtui.export.program import Exported, program
from mechtui.export.script import script
from mechtui.link.frames import decode_reply, encode
from mechtui.link.messages import Answered, Load
from mechtui.paint.palette import of_terminal
from mechtui.session.document import Session
from mechtui.session.grammar.edits import parse_edit
from mechtui.views import example_of, parse_question, specs
from mechtui.views.tokens import Tokens
from mechtui.worker.models import load
from tests.app.answering import app, idle
from tests.app.test_app import screen
from tests.folders import gpt2
from tests.panes.pictures import Holder, pictured, shown

VIEW = specs()["certainty"]


def test_it_crosses_the_wire() -> None:
    example = example_of("certainty")
    frame = encode(Answered(1, example.question, example.clean, example.edited, 1.0))
    answered = decode_reply(frame[4:])
    assert isinstance(answered, Answered)
    assert type(answered.question) is VIEW.question
    assert type(answered.edited) is VIEW.answer


def test_help_says_what_its_spec_says() -> None:
    written = StringIO()
    Console(file=written, width=200).print(help_page.content(VIEW, Registry({}), of_terminal()))
    for text in (VIEW.shows, VIEW.read, VIEW.trap):
        assert text in written.getvalue()


def test_the_palette_takes_its_line() -> None:
    assert palette.is_line("certainty")
    assert palette.read("certainty") == parse_question("certainty") == VIEW.question()


@pytest.mark.parametrize("size", [(28, 6), (80, 24), (200, 55)])
async def test_its_pane_shows_its_numbers(size: tuple[int, int]) -> None:
    from mechtui.views.certainty.pane import PANE  # type: ignore[import-not-found]

    app = Holder(PANE())
    example = example_of("certainty")
    async with app.run_test(size=size) as pilot:
        app.pane.show(pictured(example))
        await pilot.pause()
        lines = shown(app.pane)
        assert "Certainty" in str(app.pane.border_title)
        assert any(f"{value:.2f}"[1:] in line for value in example.edited.most for line in lines)  # type: ignore[union-attr]


@pytest.mark.parametrize("keys", [("g", "q"), ("colon", *"certainty", "enter")], ids=["by its letter", "by its line"])
@pytest.mark.parametrize("size", [(80, 24), (160, 50)])
async def test_the_screen_shows_it(
    keys: tuple[str, ...], size: tuple[int, int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    it, _, model = app()
    async with it.run_test(size=size) as pilot:
        await idle(pilot)
        assert "certainty" not in it.board.seen()
        await pilot.press(*keys)
        await idle(pilot)
        assert "certainty" in it.board.seen()
        assert VIEW.question() in model.asks[-1].questions
        text = "\n".join(shown(it.board.panes["certainty"]))
        assert f"{example_of('certainty').clean.most[-1]:.2f}"[1:] in text  # type: ignore[attr-defined]
        await pilot.press("question_mark")
        await idle(pilot)
        assert VIEW.title in screen(it)


def test_the_exported_program_says_what_the_model_process_says(tmp_path: Path) -> None:
    folder = gpt2(tmp_path)
    model = load(Load(str(folder), device="cpu"), lambda *_: None, lambda: False)
    session = Session(
        prompt="When Mary and John went", bos="yes", edits=(parse_edit("scale L0.mlp x3"),), views=("certainty",)
    )
    opened = Engine(model).open(session, questions=[VIEW.question()])
    [(clean, edited, _)] = opened.answer(VIEW.question())
    [(tokens, _, _)] = opened.answer(Tokens())
    shown = {"certainty": (clean.json(), edited.json())}  # type: ignore[union-attr]
    text = script(program(Exported(session, model.ready, tokens, shown)))  # type: ignore[arg-type]
    names: dict[str, object] = {}
    exec(compile(text, "exported", "exec"), names)
    answers = names["answers"]
    assert isinstance(answers, dict)
    for run, answer in (("clean", clean), ("edited", edited)):
        np.testing.assert_allclose(answers[run, "certainty"]["most"].numpy(), answer.most, atol=1e-5)  # type: ignore[union-attr]
    assert not np.allclose(clean.most, edited.most, atol=1e-3)  # type: ignore[union-attr]
