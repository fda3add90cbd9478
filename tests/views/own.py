"""What is true of a view that does not stand in mechtui. MECHTUI_VIEWS names its folder before this is imported; so it
is run in a process of its own, by tests/end_to_end/test_own_view.py."""

from __future__ import annotations

from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console

from mechtui.app import help as help_page
from mechtui.app import palette
from mechtui.app.actions import Registry
from mechtui.app.workspaces import panes
from mechtui.link.frames import decode_reply, encode
from mechtui.link.messages import Answered, Load
from mechtui.paint.palette import of_terminal
from mechtui.views import example_of, parse_question, specs
from mechtui.worker.models.load import load
from tests.app.answering import app, idle
from tests.app.test_app import screen
from tests.engine import test_answer_keys, test_export, test_script
from tests.folders import gpt2
from tests.lines import write_files
from tests.panes.pictures import Holder, pictured, shown
from tests.unit import test_report, test_tables, test_views

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


@pytest.mark.parametrize(
    "keys", [("g", "q", "c"), ("colon", *"certainty", "enter")], ids=["by its letter", "by its line"]
)
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


async def test_its_letters_are_offered_one_after_the_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    it, _, _ = app()
    async with it.run_test(size=(160, 50)) as pilot:
        await idle(pilot)
        here = it.here
        await pilot.press("g", "q")
        await idle(pilot)
        assert it.said == ("g qc Certainty", False)
        await pilot.press("a")
        await idle(pilot)
        assert it.said == ("No view has the letter qa: press g and wait to see the letters.", True)
        assert it.here == here
        await pilot.press("g", "q", "escape")
        await idle(pilot)
        assert (it.said, it.here, it.letters.awaited) == (("", False), here, False)


def test_the_walks_over_all_views_meet_it() -> None:
    """Nothing but its folder says so."""
    for walk in (test_views.FOLDERS, test_tables.VIEWS, test_script.QUESTIONS, test_export.ALL, panes()):
        assert "certainty" in walk
    test_views.test_a_folder_is_a_view("certainty")
    test_views.test_an_example_is_of_its_view_and_always_the_same("certainty")
    test_views.test_the_wire_carries_every_view()
    test_views.test_letters_are_unique()
    test_views.test_a_view_stands_beside_another()
    test_tables.test_no_number_is_missing("certainty")
    test_report.test_each_view_has_its_numbers_with_their_units("certainty")


def test_its_numbers_are_those_of_its_program_and_its_keys_are_looked_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = load(Load(str(gpt2(tmp_path)), device="cpu"), lambda *_: None, lambda: False)
    monkeypatch.chdir(write_files(tmp_path))
    it, names = test_script.programmed(model, ("certainty",), {}, lacking=False)
    test_script.check_program(it, names)
    clean, edited = (names["answers"][run, "certainty"]["most"] for run in ("clean", "edited"))
    assert (clean - edited).abs().max() > 1e-3
    printed = test_answer_keys.printed_by(model, tmp_path, ("certainty",))
    assert test_answer_keys.undocumented("certainty", "| `certainty` | `most`: how sure it is |", printed) == []
    assert test_answer_keys.undocumented("certainty", "| `certainty` | how sure it is |", printed) == ["most"] * 2
