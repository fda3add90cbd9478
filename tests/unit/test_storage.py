"""Session files."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mechtui.session.document import Session
from mechtui.session.grammar.edits import parse_edit
from mechtui.session.grammar.vectors import parse_vector
from mechtui.session.grammar.words import LineError
from mechtui.session.storage import StorageError, dumps, load, loads, save

EXAMPLE = """\
mechtui = 1
model = "gpt2"
prompt = "When Mary and John went to the store, John gave a drink to"
source = "When Mary and John went to the store, Mary gave a drink to"
answer = " Mary"
foil = " John"
vectors = ['love-hate = diff L6.pre "Love" "Hate"']
edits = ["zero L9H9 @-1", "# scale L10H7 x0"]
views = ["next_tokens", "attention L9H9", "residual"]
"""

# Everything that a text may hold: TOML has escapes for all but lone surrogates.
text = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)
vectors = st.sampled_from(
    ['love-hate = diff L6.pre "Love" "Hate"', "w = neuron L5N2011 unit", 't = token " Paris"', "f = file a b#c"]
)
edits = st.sampled_from(["zero L9H9 @-1", "# scale L10H7 x0.5", 'cut L0H0 *>" John"#2', "noise embed sd3 seed7"])
sessions = st.builds(
    Session,
    model=text,
    prompt=text,
    source=text,
    answer=text,
    foil=text,
    vectors=st.lists(vectors.filter(lambda line: "a b" not in line).map(parse_vector), max_size=3).map(tuple),
    edits=st.lists(edits.map(parse_edit), max_size=3).map(tuple),
    views=st.lists(text, max_size=3).map(tuple),
    bos=st.sampled_from(["auto", "yes", "no"]),
    align=st.sampled_from(["auto", "left", "3>4, 5-7>6-8"]),
    references=st.lists(text, max_size=3).map(tuple),
)


@given(sessions)
def test_what_is_written_is_read(session: Session) -> None:
    assert loads(dumps(session)) == session


def test_the_example_of_the_docs() -> None:
    session = loads(EXAMPLE)
    assert session.prompt.endswith("gave a drink to")
    assert session.edits == (parse_edit("zero L9H9 @-1"), parse_edit("# scale L10H7 x0"))
    assert session.views == ("next_tokens", "attention L9H9", "residual")
    assert loads(dumps(session)) == session


def test_what_says_nothing_is_not_written() -> None:
    assert dumps(Session(prompt="a")) == 'mechtui = 1\nprompt = "a"\n'


def test_several_lines_stand_below_each_other() -> None:
    session = Session(edits=(parse_edit("zero L0H0"), parse_edit("zero L0H1")))
    assert dumps(session) == 'mechtui = 1\nedits = [\n    "zero L0H0",\n    "zero L0H1",\n]\n'


@pytest.mark.parametrize(
    ("toml", "message"),
    [
        ('mechtui = 1\npromt = "a"', "s: promt is no key of a session; did you mean prompt?"),
        ("mechtui = 1\nprompt = 3", "s: prompt: expected str, got int"),
        ("mechtui = 2", "s is no session that this version reads: it says mechtui = 2, and 1 is what it reads"),
        ('prompt = "a"', "s is no session that this version reads: it has no line mechtui = 1, and 1 is what it reads"),
        ("mechtui = ", "s is not TOML: "),
        ('mechtui = 1\nbos = "maybe"', "s: bos: invalid enum value 'maybe'"),
    ],
)
def test_what_is_no_session_is_refused(toml: str, message: str) -> None:
    with pytest.raises(StorageError) as caught:
        loads(toml, "s")
    assert str(caught.value).startswith(message)


def test_a_wrong_line_is_shown_with_its_place() -> None:
    with pytest.raises(LineError) as caught:
        loads('mechtui = 1\nedits = ["zreo L9H9"]')
    assert caught.value.column == 0
    assert "did you mean zero?" in str(caught.value)


def test_a_lone_surrogate_is_refused() -> None:
    with pytest.raises(StorageError, match="prompt: character 1 is a lone surrogate"):
        dumps(Session(prompt="a\ud800"))


def test_files_that_are_not_there(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="there is no file"):
        load(tmp_path / "no.toml")
    with pytest.raises(StorageError, match="cannot be written"):
        save(Session(), tmp_path / "no" / "s.toml")


def test_a_failed_write_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "s.toml"
    save(Session(prompt="old"), path)
    with pytest.raises(StorageError):
        save(Session(prompt="\ud800"), path)
    assert load(path) == Session(prompt="old")
    assert [each.name for each in tmp_path.iterdir()] == ["s.toml"]
