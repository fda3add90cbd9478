"""Session files."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from mechtui.session import storage
from mechtui.session.document import Focus, Point, Sae, Screen, Scrolled, Session, Swept
from mechtui.session.grammar.edits import parse_edit
from mechtui.session.grammar.looks import format_focus, format_screen, parse_focus, parse_screen
from mechtui.session.grammar.saes import WHERE
from mechtui.session.grammar.vectors import parse_vector
from mechtui.session.grammar.words import LineError
from mechtui.session.rewriting import rewritten, text_for
from mechtui.session.storage import StorageError, dumps, load, loads, save
from mechtui.views import parse_question

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
    [
        'love-hate = diff L6.pre "Love" "Hate"',
        "w = neuron L5N2011 unit",
        'p = pca L6.pre column "a b.csv" "x" 2',
        't = token " Paris"',
        "f = file a b#c",
    ]
)
points = st.builds(Point, st.integers(0, 99), st.sampled_from(WHERE))
places = st.one_of(st.just((None, None)), points.map(lambda reads: (reads, None)), st.tuples(points, points))
saes = st.builds(
    lambda name, path, where, labels: Sae(name, path, where[0], None if where[0] == where[1] else where[1], labels),
    st.from_regex(r"[a-z][\w-]{0,8}", fullmatch=True),
    text.filter(bool),
    places,
    text,
)
edits = st.sampled_from(
    [
        "zero L9H9 @-1",
        "# scale L10H7 x0.5",
        'cut L0H0 *>" John"#2',
        "noise embed sd3 seed7",
        "cut-path L0H*>L9H9.q @-1",
        "clamp res-8F3-7 x5",
    ]
)
names = st.sampled_from(["lens", "attention", "residual", "next_tokens", "heads"])
screens = st.builds(
    Screen,
    workspace=text.filter(bool),
    views=st.lists(names, max_size=4, unique=True).map(tuple),
    whole=st.booleans(),
    wider=st.integers(-40, 40),
    guest=st.just("") | names,
    job=st.just("") | names,
    places=st.lists(
        st.builds(
            Scrolled,
            names,
            st.integers(0, 999),
            st.integers(0, 999),
            st.text(st.characters(min_codepoint=35, max_codepoint=126), max_size=9),
        ),
        max_size=3,
    ).map(tuple),
)
counts = st.integers(0, 10**6)
focuses = st.builds(
    Focus,
    position=st.integers(-(10**6), 10**6),
    layer=counts,
    head=counts,
    key=st.just(-1) | counts,
    edit=counts,
    vector=counts,
)
swept = st.builds(
    Swept,
    edit=st.sampled_from([parse_edit("zero L*H*"), parse_edit("mean L*H*")]),
    of=st.builds(Session, prompt=text, edits=st.lists(edits.map(parse_edit), max_size=2).map(tuple)),
    rows=st.just(("L0", "L1")),
    columns=st.just(("H0",)),
    metric=st.just("logit_diff"),
    values=st.tuples(*[st.tuples(st.none() | st.floats(-9, 9, width=16))] * 2),
    runs=st.just(2),
    baseline=st.none() | st.floats(-9, 9, width=16),
)
sessions = st.builds(
    Session,
    sweeps=st.lists(swept, max_size=2).map(tuple),
    screen=st.none() | screens,
    focus=st.none() | focuses,
    file=text,
    model=text,
    prompt=text,
    source=text,
    answer=text,
    foil=text,
    vectors=st.lists(vectors.filter(lambda line: "a b" not in line).map(parse_vector), max_size=3).map(tuple),
    saes=st.lists(saes, max_size=2, unique_by=lambda sae: sae.name).map(tuple),
    edits=st.lists(edits.map(parse_edit), max_size=3).map(tuple),
    views=st.lists(text, max_size=3).map(tuple),
    bos=st.sampled_from(["auto", "yes", "no"]),
    align=st.sampled_from(["auto", "left", "3>4, 5-7>6-8"]),
    references=st.lists(text, max_size=3).map(tuple),
    linear=st.booleans(),
)


@given(sessions)
def test_what_is_written_is_read(session: Session) -> None:
    assert loads(dumps(session)) == session


@given(screens, focuses)
def test_where_one_looks_is_a_line_each(screen: Screen, focus: Focus) -> None:
    assert parse_screen(format_screen(screen)) == screen
    assert parse_focus(format_focus(focus)) == focus


def test_where_one_looks_can_be_written_by_hand() -> None:
    said = loads('mechtui = 1\nworkspace = "Explain lens attention whole"\nfocus = "L9H4 edit 2"')
    assert said.screen == Screen("Explain", ("lens", "attention"), whole=True)
    assert said.focus == Focus(layer=9, head=4, edit=1)
    assert said.work() == Session()


@pytest.mark.parametrize(
    ("line", "message", "column"),
    [
        ('focus = "H9"', "H9 should be a head, as in L9H9", 0),
        ('focus = "L9H9 13"', "nothing more is expected here, but 13 stands here", 5),
        ('focus = "L9H9 @x"', "@x should be a position, as in @13 or @-1", 5),
        ('focus = "L9H9 edit 0"', "0 should be a whole number from 1", 10),
        ('focus = "L9H9 edit 1 edit 2"', "edit stands there twice", 12),
        ('workspace = "Look lens lens"', "lens stands there twice", 10),
        ('workspace = "Look wider 41"', "41 should be a whole number from -40 to 40", 11),
        (
            'workspace = "Look at lens"',
            "lens should be a view, and cells and rows that it is scrolled by, as in lens:8,0",
            8,
        ),
        ('workspace = "a/b"', "a/b is no name of a workspace; others than words stand in quotes", 0),
    ],
)
def test_where_nobody_can_look_is_refused(line: str, message: str, column: int) -> None:
    with pytest.raises(LineError) as caught:
        loads(f"mechtui = 1\n{line}")
    assert (str(caught.value), caught.value.column) == (message, column)


BY_HAND = """\
# Indirect objects.
mechtui = 1  # the version
model = 'gpt2'
prompt = \"\"\"When Mary and John
went\"\"\"  # two lines

edits = [
    # name movers
    "zero L9H9 @-1",  # the strongest
    "# scale L10H7 x0.5",  # negative
    # the end
]
foil = " John"
# The end.
"""
COMMENTS = ["# Indirect objects.", "# the version", "# name movers", "# The end."]


def test_what_is_the_same_stays_as_it_was_written() -> None:
    assert rewritten(loads(BY_HAND), BY_HAND) == BY_HAND


def test_only_what_differs_is_written() -> None:
    before = loads(BY_HAND)
    added = (parse_edit("mean L1H1"), *before.edits, parse_edit("zero L0H0"))
    after = rewritten(replace(before, edits=added, prompt="When", foil="", answer=" Mary"), BY_HAND)
    assert (
        after
        == """\
# Indirect objects.
mechtui = 1  # the version
model = 'gpt2'
prompt = "When"  # two lines

edits = [
    # name movers
    "mean L1H1",
    "zero L9H9 @-1",  # the strongest
    "# scale L10H7 x0.5",  # negative
    # the end
    "zero L0H0"
]
answer = " Mary"
# The end.
"""
    )


@given(sessions)
def test_a_session_written_over_another_is_it_and_the_comments_stay(session: Session) -> None:
    written = rewritten(session, BY_HAND)
    assert loads(written) == session
    kept = [*COMMENTS[:2], *COMMENTS[3:], *([COMMENTS[2]] if session.edits else [])]
    assert all(written.count(comment) == 1 for comment in kept)


@given(sessions, sessions)
def test_any_session_written_over_any_other_is_it(before: Session, after: Session) -> None:
    assert loads(rewritten(after, dumps(before))) == after
    assert rewritten(before, dumps(before)) == dumps(before)


def test_a_file_that_is_no_session_is_written_anew(tmp_path: Path) -> None:
    path = tmp_path / "s.toml"
    session = Session(prompt="a")
    assert text_for(session, path) == dumps(session)
    path.write_text("[tool]\nname = 1\n")
    assert text_for(session, path) == dumps(session)
    path.write_bytes(b"\xff")
    assert text_for(session, path) == dumps(session)


def test_the_file_that_another_file_speaks_of_is_not_believed(tmp_path: Path) -> None:
    path = tmp_path / "s.toml"
    path.write_text('mechtui = 1\nfile = "/etc/passwd"\n')
    assert load(path).file == ""


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


def test_every_wrong_line_of_a_file_is_named() -> None:
    text = """
        mechtui = 1
        vectors = ["w = neuron L0N1", "w = nueron L0N1"]
        edits = ["zreo L0H0", "zero L0H1", "zero L0H"]
        views = ["lens", "lnes"]
    """
    with pytest.raises(LineError) as caught:
        loads(text, question=parse_question)
    assert [error.line for error in caught.value.each] == ["w = nueron L0N1", "zreo L0H0", "zero L0H", "lnes"]
    assert caught.value.line == "w = nueron L0N1"
    shown = caught.value.shown().splitlines()
    assert shown[1::3] == [f"  {error.line}" for error in caught.value.each]
    assert shown[2::3] == ["  " + " " * error.column + "^" for error in caught.value.each]
    with pytest.raises(LineError) as first:
        loads(text)
    assert len(first.value.each) == 3, "nobody looks into lines of views who does not ask"


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


def test_no_file_is_larger_than_what_is_read_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "session.toml"
    save(Session(prompt="short"), path)
    monkeypatch.setattr(storage, "MOST_BYTES", 1 << 20)
    with pytest.raises(StorageError, match="takes at most 1 MiB, and this one is larger; shorten its texts"):
        save(Session(prompt="é" * (1 << 19)), path)
    assert load(path) == Session(prompt="short")
    path.write_bytes(b"#" * (1 << 20) + b"\n")
    with pytest.raises(StorageError, match="is larger than the 1 MiB of text that are read"):
        load(path)


def test_a_failed_write_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "s.toml"
    save(Session(prompt="old"), path)
    with pytest.raises(StorageError):
        save(Session(prompt="\ud800"), path)
    assert load(path) == Session(prompt="old")
    assert [each.name for each in tmp_path.iterdir()] == ["s.toml"]
