"""The session that the command line asks for: what the settings say, overruled by a file, overruled by flags."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from msgspec.structs import replace

from mechtui.config import Settings
from mechtui.session.document import Edit, Session, Vector, surrogate
from mechtui.session.grammar.cases import check_cases
from mechtui.session.grammar.edits import parse_edit
from mechtui.session.grammar.vectors import parse_vector
from mechtui.session.grammar.words import Mistakes
from mechtui.session.storage import StorageError, load, loads
from mechtui.views import parse_question

PLAIN = ("model", "prompt", "source", "answer", "foil", "bos", "align", "references", "linear")


def asked_session(chosen: Settings, given: Mapping[str, Any], file: str | None, text: str | None = None) -> Session:
    """chosen: the settings, with the flags among them. given: the flags alone. text: what the file holds, where it was
    read before. Raises LineError, StorageError."""
    if file is not None:
        stored = load(file, parse_question) if text is None else loads(text, "the standard input", parse_question)
        return with_flags(stored, chosen, given)
    _check(chosen)
    vectors, edits, cases = _lines(chosen.vector, chosen.edit, chosen.cases)
    return Session(**{name: getattr(chosen, name) for name in PLAIN}, vectors=vectors, edits=edits, cases=cases)


def with_flags(stored: Session, chosen: Settings, given: Mapping[str, Any]) -> Session:
    """A stored session, overruled by flags, whose edits and vectors come after its own. Raises LineError,
    StorageError."""
    _check(chosen)
    vectors, edits, cases = _lines(given.get("vector", ()), given.get("edit", ()), given.get("cases", stored.cases))
    return replace(
        stored,
        **{name: given[name] for name in PLAIN if name in given},
        model=given.get("model") or stored.model or chosen.model,
        vectors=stored.vectors + vectors,
        edits=stored.edits + edits,
        cases=cases,
    )


def check_lines(given: Mapping[str, Any]) -> None:
    """Whether the flags' own lines mean something, whatever a file says. Raises LineError."""
    _lines(given.get("vector", ()), given.get("edit", ()), given.get("cases", ""))


def _lines(
    vectors: Iterable[str], edits: Iterable[str], cases: str
) -> tuple[tuple[Vector, ...], tuple[Edit, ...], str]:
    """Raises LineError, for all that mean nothing."""
    lines = Mistakes()
    found = lines.read(parse_vector, vectors), lines.read(parse_edit, edits), lines.read(check_cases, (cases,))
    lines.check()
    return found[0], found[1], found[2][0]


def _check(chosen: Settings) -> None:
    """Raises StorageError for half of a character."""
    for name in PLAIN:
        value = getattr(chosen, name)
        if isinstance(value, str) and (at := surrogate(value)) is not None:
            raise StorageError(
                f"{name}: character {at} is no character but half of one (a lone surrogate); leave it out"
            )
