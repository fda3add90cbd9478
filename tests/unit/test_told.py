"""What differs between two sessions, in words."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from msgspec.structs import replace

from mechtui.session.document import Session
from mechtui.session.grammar.edits import parse_edit
from mechtui.session.grammar.saes import parse_sae
from mechtui.session.grammar.vectors import parse_vector
from mechtui.session.told import told
from tests.unit.test_storage import sessions

EDITS = tuple(map(parse_edit, ("zero L9H9 @-1", "scale L10H7 x0.5")))
OFF = tuple(map(parse_edit, ("zero L9H9 @-1", "# scale L10H7 x0.5")))
BEFORE = Session(model="demo", prompt="When Mary and John", answer=" Mary", edits=EDITS)

CHANGES = [
    (replace(BEFORE, prompt="When Mary and John went"), ('prompt + " went"',)),
    (replace(BEFORE, prompt="When Mary"), ('prompt - " and John"',)),
    (replace(BEFORE, prompt="When Mary and Paul"), ('prompt "Paul"',)),
    (replace(BEFORE, source="When"), ('source "When"',)),
    (replace(BEFORE, answer="", foil=" John"), ("no answer", 'foil " John"')),
    (replace(BEFORE, edits=EDITS[:1]), ("removed scale L10H7 x0.5",)),
    (replace(BEFORE, edits=(*EDITS, parse_edit("mean L1H2"))), ("added mean L1H2",)),
    (replace(BEFORE, edits=OFF), ("off scale L10H7 x0.5",)),
    (replace(BEFORE, edits=EDITS[::-1]), ("edits in another order",)),
    (replace(BEFORE, edits=(EDITS[0], parse_edit("scale L10H7 x2"))), ("scale L10H7 x0.5 → scale L10H7 x2",)),
    (replace(BEFORE, vectors=(parse_vector('t = token " Paris"'),)), ('added t = token " Paris"',)),
    (replace(BEFORE, saes=(parse_sae("res8 = a/b at L8.pre"),)), ("added res8 = a/b at L8.pre",)),
    (replace(BEFORE, views=("lens kl",)), ("shows lens kl",)),
    (replace(BEFORE, model="gpt2", bos="no"), ("model gpt2", "bos no")),
    (replace(BEFORE, linear=True), ("linear on",)),
    (replace(BEFORE, references=("a b",)), ('added reference "a b"',)),
]


@pytest.mark.parametrize(("after", "words"), CHANGES, ids=range(len(CHANGES)))
def test_a_change_in_words(after: Session, words: tuple[str, ...]) -> None:
    assert told(BEFORE, after) == words


@pytest.mark.parametrize(
    ("name", "lines"),
    [
        ("edits", EDITS),
        ("vectors", tuple(map(parse_vector, ('t = token " Paris"', 'u = token " Rome"')))),
        ("saes", tuple(map(parse_sae, ("a = x", "b = y")))),
        ("references", ("a", "b")),
        ("views", ("lens kl", "residual")),
    ],
)
def test_another_order_is_said_of_what_has_it(name: str, lines: tuple[Any, ...]) -> None:
    before, after = (replace(BEFORE, **{name: each}) for each in (lines, lines[::-1]))
    assert told(before, after) == (f"{name} in another order",)


def test_on_again() -> None:
    assert told(replace(BEFORE, edits=OFF), BEFORE) == ("on scale L10H7 x0.5",)


@given(sessions, sessions)
def test_something_is_told_where_something_differs(before: Session, after: Session) -> None:
    before, after = before.work(), after.work()
    assert bool(told(before, after)) == (before != after)
