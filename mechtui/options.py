"""The session that the command line asks for: what the settings say, overruled by a file, overruled by flags."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from msgspec.structs import replace

from mechtui.config import Settings
from mechtui.session.document import Edit, Sae, Session, Vector, surrogate
from mechtui.session.grammar.cases import check_cases
from mechtui.session.grammar.edits import parse_edit
from mechtui.session.grammar.saes import given_sae
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
    lines = _lines(chosen.vector, chosen.edit, chosen.cases, chosen.sae)
    return Session(**{name: getattr(chosen, name) for name in PLAIN}, **lines._asdict())


def with_flags(stored: Session, chosen: Settings, given: Mapping[str, Any]) -> Session:
    """A stored session, overruled by flags, whose edits and vectors come after its own. Raises LineError,
    StorageError."""
    _check(chosen)
    lines = _given(given, stored.cases, stored.saes)
    said = {name: given[name] for name in PLAIN if name in given}
    said["model"] = given.get("model") or stored.model or chosen.model
    return replace(
        stored,
        **said,
        vectors=stored.vectors + lines.vectors,
        edits=stored.edits + lines.edits,
        cases=lines.cases,
        saes=tuple(sae for sae in stored.saes if sae.name not in {new.name for new in lines.saes}) + lines.saes,
    )


def check_lines(given: Mapping[str, Any]) -> None:
    """Whether the flags' own lines mean something, whatever a file says. Raises LineError."""
    _given(given, "")


class _Lines(NamedTuple):
    """What lines say, under the session's names."""

    vectors: tuple[Vector, ...]
    edits: tuple[Edit, ...]
    cases: str
    saes: tuple[Sae, ...]


def _given(given: Mapping[str, Any], cases: str, saes: tuple[Sae, ...] = ()) -> _Lines:
    """The flags' lines. cases, saes: the session's. Raises LineError."""
    read = given.get("vector", ()), given.get("edit", ()), given.get("cases", cases), given.get("sae", ())
    return _lines(*read, taken=[sae.name for sae in saes])


def _lines(
    vectors: Iterable[str], edits: Iterable[str], cases: str, saes: Iterable[str], taken: Iterable[str] = ()
) -> _Lines:
    """taken: names of dictionaries that stay those of others. Raises LineError, for all that mean nothing."""
    lines, names = Mistakes(), [*taken]

    def named(line: str) -> Sae:
        sae = given_sae(line, names)
        names.append(sae.name)
        return sae

    found = _Lines(
        lines.read(parse_vector, vectors),
        lines.read(parse_edit, edits),
        next(iter(lines.read(check_cases, (cases,))), ""),
        lines.read(named, saes),
    )
    lines.check()
    return found


def _check(chosen: Settings) -> None:
    """Raises StorageError for half of a character."""
    for name in PLAIN:
        value = getattr(chosen, name)
        if isinstance(value, str) and (at := surrogate(value)) is not None:
            raise StorageError(
                f"{name}: character {at} is no character but half of one (a lone surrogate); leave it out"
            )
