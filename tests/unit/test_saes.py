"""Lines of dictionaries: read, written, named by a flag, kept, taken back."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from mechtui.config import settings
from mechtui.options import asked_session, with_flags
from mechtui.session import changes
from mechtui.session.document import Point, Sae, Session
from mechtui.session.grammar.saes import format_sae, given_sae, parse_sae, unknown
from mechtui.session.grammar.words import LineError
from mechtui.session.history import History
from mechtui.session.journal import read, written
from mechtui.session.rewriting import rewritten
from mechtui.session.storage import StorageError, dumps, loads
from tests.unit.test_lines_any import LINE, said


@given(LINE | LINE.map("a = ".__add__) | LINE.map("a = b at ".__add__) | LINE.map("a = b labels ".__add__))
@example("a = b at L8.post>L9.mlp labels c")
@example('a = "b c@d" at L1.z>L1.z')
@example("a = b at L" + "9" * 30 + ".pre")
@example("L8 = b")
@example("a = b at L8.q")
def test_any_line(line: str) -> None:
    try:
        sae = parse_sae(line)
    except LineError as error:
        said(error)
        return
    assert parse_sae(format_sae(sae)) == sae
    session = Session(saes=(sae,))
    assert loads(dumps(session)) == session


@given(st.text(max_size=20), st.lists(st.sampled_from(["a", "res8", "sae"]), max_size=3))
def test_any_flag(text: str, taken: list[str]) -> None:
    try:
        sae = given_sae(text, taken)
    except LineError as error:
        said(error)
        return
    assert parse_sae(format_sae(sae)) == sae
    if "=" not in text:
        assert sae.name not in taken


@pytest.mark.parametrize(
    ("text", "taken", "name"),
    [
        ("a/blocks.8.hook_resid_pre", (), "res8"),
        ("a/blocks.8.hook_resid_pre", ("res8",), "res8-2"),
        ("a/blocks.8.hook_resid_pre", ("res8", "res8-2"), "res8-3"),
        ("owner/name/blocks.10.attn.hook_z@main", (), "z10"),
        ("owner/gemma-scope/layer_20/width_16k", (), "sae20"),
        ("/tmp/my dictionary/sae_weights.safetensors", (), "my-dictionary"),
        ("x=a/b", (), "x"),
        ("L8", (), "sae-L8"),
    ],
)
def test_a_path_alone_has_a_name(text: str, taken: tuple[str, ...], name: str) -> None:
    assert given_sae(text, taken).name == name


@pytest.mark.parametrize(
    ("line", "problem", "column"),
    [
        ("res8", "a dictionary is NAME = FILE, FOLDER or HUB-ID", 0),
        ("res8 = ", "the line ends where a file, a folder or a hub id should stand", 7),
        ("L8 = a", "L8 begins as a layer's name does", 0),
        ("a = b at L8", "L8 is no place; one is L8 with .pre .mid", 9),
        ("a = b at L8.in>L8.q", "L8.q is no place", 15),
        ("a = b c", "c should be at (as in at L8.post) or labels", 6),
        ("a = b at L8.pre at L8.post", "at should be at", 16),
    ],
)
def test_what_means_nothing(line: str, problem: str, column: int) -> None:
    with pytest.raises(LineError) as raised:
        parse_sae(line)
    assert problem in raised.value.problem
    assert raised.value.column == column


def test_flags_take_the_place_of_those_of_the_same_name() -> None:
    stored = Session(saes=(Sae("a", "one"), Sae("b", "two")))
    flags = {"sae": ("a=three", "x/b")}
    chosen = settings(flags, {}, Path("none"))
    assert with_flags(stored, chosen, flags).saes == (Sae("b", "two"), Sae("a", "three"), Sae("b-2", "x/b"))
    assert asked_session(chosen, flags, None).saes == (Sae("a", "three"), Sae("b", "x/b"))
    with pytest.raises(LineError, match="L1 begins as a layer"):
        asked_session(settings({"sae": ("L1=x",)}, {}, Path("none")), {}, None)


def test_the_nearest_name_is_said() -> None:
    saes = (Sae("res8", "a"), Sae("mlp3", "b"))
    assert unknown("rse8", saes) == "there is no dictionary rse8; did you mean res8? there are res8, mlp3"
    assert unknown("x", saes[1:]) == "there is no dictionary x; there is mlp3"
    assert "the session names none" in unknown("x", ())


def test_a_file_keeps_its_comments_and_an_unknown_key_its_nearest() -> None:
    text = 'mechtui = 1\n# mine\nsaes = [\n    "a = one",  # the first\n]\n'
    session = loads(text)
    made = rewritten(changes.put_sae(session, Sae("b", "two", Point(1, "pre"))), text)
    assert "# mine" in made
    assert "# the first" in made
    assert loads(made).saes == (Sae("a", "one"), Sae("b", "two", Point(1, "pre")))
    assert changes.put_sae(loads(made), Sae("a", "three")).saes[0] == Sae("a", "three")
    with pytest.raises(StorageError, match="did you mean saes"):
        loads("mechtui = 1\nsae = []")


def test_it_is_taken_back_and_kept() -> None:
    history = History(Session(prompt="a"))
    history.change(changes.put_sae(history.present, Sae("a", "one", labels="x y")))
    after = read(written(None, history.tree))
    assert after is not None
    assert after.steps[after.at].session.saes == (Sae("a", "one", labels="x y"),)
    history.undo()
    assert history.present.saes == ()
