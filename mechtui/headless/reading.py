"""The session that is asked for on the command line."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from msgspec.structs import replace

from mechtui.config import Settings
from mechtui.session.document import Session, surrogate
from mechtui.session.grammar.edits import parse_edit
from mechtui.session.grammar.vectors import parse_vector
from mechtui.session.storage import StorageError, load, loads
from mechtui.views import check_questions

PLAIN = ("model", "prompt", "source", "answer", "foil", "bos", "align", "references")


def read_session(
    chosen: Settings, given: Mapping[str, Any], session_file: str | None, text: str | None = None
) -> Session:
    """What settings say, overruled by the session file, overruled by the flags that were given. Edits and vectors of
    flags come after those of the file. text: what the file holds, where it was read before. Raises LineError,
    StorageError."""
    texts = {name: getattr(chosen, name) for name in PLAIN}
    for name, value in texts.items():
        if (at := surrogate(value)) is not None:
            raise StorageError(
                f"{name}: character {at} is no character but half of one (a lone surrogate); leave it out"
            )
    vectors = tuple(parse_vector(line) for line in chosen.vector)
    edits = tuple(parse_edit(line) for line in chosen.edit)
    if session_file is None:
        return Session(**texts, vectors=vectors, edits=edits)
    stored = load(session_file) if text is None else loads(text, "the standard input")
    check_questions(stored.views)
    return replace(
        stored,
        **{name: given[name] for name in PLAIN if name in given},
        model=given.get("model") or stored.model or chosen.model,
        vectors=stored.vectors + (vectors if "vector" in given else ()),
        edits=stored.edits + (edits if "edit" in given else ()),
    )
