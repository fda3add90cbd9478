"""Every folder of mechtui/views is a view, and all that is said of it stands there."""

from __future__ import annotations

import ast
import json
from pathlib import Path
from typing import get_args, get_type_hints

import pytest

import mechtui
from mechtui.link.frames import encode
from mechtui.link.messages import Answered, Ask
from mechtui.session.document import Session
from mechtui.views import example_of, for_model, parse_question, put, spec_of, specs, state

ROOM = Path(mechtui.__file__).parent
FOLDERS = sorted(path.parent.name for path in (ROOM / "views").glob("*/__init__.py"))
# What every view's folder holds.
FILES = {"__init__.py", "compute.py", "pane.py", "script.py", "example.py"}
# And what it may hold besides: names and units for its numbers in files and reports.
BESIDES = {"tables.py"}
EXAMPLES = [name for name in FOLDERS if (ROOM / "views" / name / "example.py").exists()]
# A line for the views whose name alone is none.
NAMED_LINES = {
    "attention": "attention L0H0",
    "circuit": "circuit L0H0",
    "perplexity": 'perplexity "a.txt"',
    "sweep": "sweep zero L*H*",
}
# Where the screen may name views: their places, and what positions are named by. An attention's scores are no view,
# and perplexity is a word.
NAMED = {
    "workspaces.py": set(FOLDERS),
    "picture.py": {"tokens"},
    "board.py": {"tokens"},
    "edits_line.py": {"scores"},
    "help.py": {"scores", "perplexity"},
}

each = pytest.mark.parametrize("name", FOLDERS)


@each
def test_a_folder_is_a_view(name: str) -> None:
    view = specs()[name]
    assert view.name == name
    assert view.answer.__struct_config__.tag == name
    assert spec_of(parse_question(NAMED_LINES.get(name, name))) is view
    assert view.title
    assert all(text.endswith(".") for text in (view.shows, view.read, view.trap))
    files = {path.name for path in (ROOM / "views" / name).glob("*.py")}
    assert files - FILES - BESIDES == set()
    assert files >= FILES


@pytest.mark.parametrize("name", EXAMPLES)
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
    letters = [view.go for view in specs().values()]
    assert len(set(letters)) == len(letters)
    assert all(len(letter) == 1 and letter.isalpha() and letter not in "gy" for letter in letters)


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
