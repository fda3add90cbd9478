"""Every folder of mechtui/views is a view, and all that is said of it stands there."""

from __future__ import annotations

import ast
import json
from itertools import permutations
from pathlib import Path
from typing import get_args, get_type_hints

import pytest

import mechtui
from mechtui.app.workspaces import built_in, read, with_besides
from mechtui.link.frames import encode
from mechtui.link.messages import Answered, Ask
from mechtui.session.document import Session
from mechtui.views import example_of, for_model, own, parse_question, put, spec_of, specs, state
from tests.lines import lines_of

ROOM = Path(mechtui.__file__).parent
# Those of mechtui, and those of one's own that MECHTUI_VIEWS names.
ROOMS = (ROOM / "views", *map(Path, own.folders()))
FOLDERS = sorted(path.parent.name for room in ROOMS for path in room.glob("*/__init__.py"))
# What every view's folder holds.
FILES = {"__init__.py", "compute.py", "pane.py", "script.py", "example.py"}
# And what it may hold besides: names and units for its numbers in files and reports.
BESIDES = {"tables.py"}
# Where the screen may name views: their places, and what positions are named by. An attention's scores are no view,
# perplexity is a word, and who names a dictionary is led to its features.
NAMED = {
    "workspaces.py": set(FOLDERS),
    "picture.py": {"tokens"},
    "board.py": {"tokens"},
    "edits_line.py": {"scores"},
    "help.py": {"scores", "perplexity"},
    "sae_line.py": {"features"},
}

each = pytest.mark.parametrize("name", FOLDERS)


@each
def test_a_folder_is_a_view(name: str) -> None:
    view = specs()[name]
    assert view.name == name
    assert view.answer.__struct_config__.tag == name
    assert all(spec_of(parse_question(line)) is view for line in lines_of(name))
    assert view.title
    assert all(text.endswith(".") for text in (view.shows, view.read, view.trap))
    files = {path.name for room in ROOMS for path in (room / name).glob("*.py")}
    assert files - FILES - BESIDES == set()
    assert files >= FILES


@each
def test_an_example_is_of_its_view_and_always_the_same(name: str) -> None:
    view, example = specs()[name], example_of(name)
    assert type(example.question) is view.question
    assert parse_question(example.question.line()) == example.question
    assert {type(answer) for answer in (example.clean, example.edited) if answer is not None} == {view.answer}
    frames = {encode(Answered(1, each.question, each.clean, each.edited, 1.0)) for each in (example, example_of(name))}
    assert len(frames) == 1
    assert json.dumps(example.clean.json(), allow_nan=False)


def test_the_wire_carries_every_view() -> None:
    asked = get_args(get_type_hints(Ask)["questions"])[0]
    answered = get_type_hints(Answered)["clean"]
    for view in specs().values():
        assert view.question in get_args(asked)
        assert view.answer in get_args(answered)


def test_letters_are_unique() -> None:
    theirs = own.names(set())
    assert not [pair for pair in permutations([view.go for view in specs().values()], 2) if pair[1].startswith(pair[0])]
    for name, view in specs().items():
        if name in theirs:
            assert view.go.startswith(own.FIRST)
        else:
            assert len(view.go) == 1
            assert view.go.isalpha()
            assert view.go not in ("g", "y", own.FIRST)


def test_a_view_stands_beside_another() -> None:
    for name, view in specs().items():
        assert not view.beside or view.beside in specs()
        homes = [workspace for workspace in built_in() if view.beside in workspace.views]
        assert all(name in workspace.views for workspace in homes)
    assert with_besides(read("A", ("cases / loss",))).columns == ((("cases", "faithfulness"), ("loss",)),)
    assert with_besides(read("A", ("faithfulness / cases",))).columns == ((("faithfulness",), ("cases",)),)


@pytest.mark.parametrize("path", sorted((ROOM / "app").glob("*.py")), ids=lambda path: path.name)
def test_the_screen_names_no_view_but_by_its_place(path: Path) -> None:
    named = set()
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        match node:
            case ast.Constant(value=str(text)) if text in FOLDERS:
                named.add(text)
            case ast.ImportFrom(module=str(module)) if module.startswith("mechtui.views."):
                named |= {module.split(".")[2]} & set(FOLDERS)
    assert named <= NAMED.get(path.name, set())


LINES = (
    "heads norm",
    "heads entropy difference",
    "attention L0H0 scores",
    "attention L0H0 clean wide4",
    "residual clean log",
    "tokens ids",
    "next_tokens top20",
    "generate 7 prompt",
)


@pytest.mark.parametrize("line", LINES)
def test_a_line_is_what_its_pane_shows(line: str) -> None:
    question = parse_question(line)
    session = put(Session(views=("sweep zero L*H*",)), question)
    assert session.views == ("sweep zero L*H*", line)
    assert state(session.views, type(question)) == question
    assert put(session, type(question)()).views == ("sweep zero L*H*",)


@pytest.mark.parametrize("line", LINES)
def test_a_line_takes_the_place_of_the_one_before(line: str) -> None:
    question = parse_question(line)
    for turned in (question.next(), question.next_run()):
        assert parse_question(turned.line()) == turned
        kept = put(put(Session(), question), turned).views
        assert kept in ((turned.line(),), ())


@pytest.mark.parametrize("name", specs())
def test_what_says_only_how_an_answer_is_shown_is_not_asked(name: str) -> None:
    kind = specs()[name].question
    assert set(kind.__struct_fields__) >= kind.SHOWN
    assert kind().asked() == kind()


def test_words_of_display_ask_the_same() -> None:
    for line, asked in (
        ("heads norm difference @3", "heads norm @3"),
        ("attention L1H2 scores clean wide8", "attention L1H2 scores"),
        ("residual clean log", "residual"),
        ("tokens ids", "tokens"),
    ):
        assert parse_question(line).asked().line() == asked


def test_what_narrows_a_list_goes_with_its_model_and_its_mode() -> None:
    kept = ('history "zero"', "lens kl", "nonsense")
    lines = ('scores copying "L18H"', 'composition V "L5H1"', 'circuit L0H1 trigrams "Mary"', *kept)
    after = for_model(Session(model="gpt2", views=lines), "demo")
    assert after.model == "demo"
    assert after.views == ("scores copying", "composition V", "circuit L0H1 trigrams", *kept)
    narrowed = parse_question('circuit L0H1 trigrams "Mary"')
    assert narrowed.next().line() == "circuit L0H1 directions"
