"""A session as a TOML file."""

from __future__ import annotations

import difflib
import tomllib
from pathlib import Path
from typing import Any, Literal

import msgspec

from mechtui.session.document import Session, surrogate
from mechtui.session.lines import format_edit, format_vector, parse_edit, parse_vector
from mechtui.session.paths import PathError, read_text, reason, to_write, write_private
from mechtui.visible import toml_escaped

VERSION = 1


class StorageError(ValueError):
    """A session that cannot be read or written: one sentence that says which and why."""


class _File(msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True):
    """The file's keys, in the order in which they are written."""

    mechtui: int
    model: str = ""
    prompt: str = ""
    source: str = ""
    answer: str = ""
    foil: str = ""
    bos: Literal["auto", "yes", "no"] = "auto"
    align: str = "auto"
    references: tuple[str, ...] = ()
    vectors: tuple[str, ...] = ()
    edits: tuple[str, ...] = ()
    views: tuple[str, ...] = ()


def to_builtins(session: Session) -> dict[str, Any]:
    """The file's keys and values: text and lists of lines. Fields that say nothing are left out. Raises
    StorageError for a lone surrogate, which no file can hold."""
    stored = _File(
        VERSION,
        **{name: getattr(session, name) for name in ("model", "prompt", "source", "answer", "foil", "bos", "align")},
        references=session.references,
        vectors=tuple(format_vector(vector) for vector in session.vectors),
        edits=tuple(format_edit(edit) for edit in session.edits),
        views=session.views,
    )
    said: dict[str, Any] = msgspec.to_builtins(stored)
    for key, value in said.items():
        for text in value if isinstance(value, (list, tuple)) else [value]:
            if isinstance(text, str) and (at := surrogate(text)) is not None:
                raise StorageError(f"{key}: character {at} is a lone surrogate, which no file can hold; remove it")
    return said


def dumps(session: Session) -> str:
    """The session as TOML. Raises StorageError."""
    import tomlkit

    document = tomlkit.document()
    for key, value in to_builtins(session).items():
        if isinstance(value, (list, tuple)):
            array = tomlkit.array()
            array.extend(value)
            document[key] = array.multiline(len(value) > 1)
        else:
            document[key] = value
    return toml_escaped(tomlkit.dumps(document))


def loads(text: str, name: str = "the session") -> Session:
    """TOML -> Session. name: what the messages call it. Raises StorageError, or LineError for a line that
    means nothing."""
    try:
        said: dict[str, Any] = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise StorageError(f"{name} is not TOML: {error}") from error
    keys = _File.__struct_fields__
    for key in said:
        if key not in keys:
            near = difflib.get_close_matches(key, keys, n=1, cutoff=0.5)
            hint = f"did you mean {near[0]}?" if near else f"the keys are {', '.join(keys)}"
            raise StorageError(f"{name}: {key} is no key of a session; {hint}")
    version = said.get("mechtui")
    if version != VERSION:
        missing = "it has no line mechtui = 1" if version is None else f"it says mechtui = {version}"
        raise StorageError(f"{name} is no session that this version reads: {missing}, and {VERSION} is what it reads")
    try:
        stored = msgspec.convert(said, _File)
    except msgspec.ValidationError as error:
        raise StorageError(f"{name}: {_plain(error)}") from error
    return Session(
        model=stored.model,
        prompt=stored.prompt,
        source=stored.source,
        answer=stored.answer,
        foil=stored.foil,
        vectors=tuple(parse_vector(line) for line in stored.vectors),
        edits=tuple(parse_edit(line) for line in stored.edits),
        views=stored.views,
        bos=stored.bos,
        align=stored.align,
        references=stored.references,
    )


def load(name: str | Path) -> Session:
    """name: as a user writes it, ~ and all. Raises StorageError, or LineError for a line that means nothing."""
    try:
        text = read_text(str(name))
    except PathError as error:
        raise StorageError(str(error)) from error
    return loads(text, str(name))


def save(session: Session, name: str | Path) -> None:
    """All of it or nothing. name: as a user writes it. Raises StorageError."""
    text = dumps(session)
    try:
        write_private(to_write(str(name)), text)
    except PathError as error:
        raise StorageError(str(error)) from error
    except OSError as error:
        raise StorageError(f"{name} cannot be written: {reason(error)}") from error


def _plain(error: msgspec.ValidationError) -> str:
    """`Expected `str`, got `int` - at `$.prompt`` -> prompt: expected str, got int."""
    what, _, where = str(error).partition(" - at ")
    where = where.strip("`").removeprefix("$").removeprefix(".")
    what = what.replace("`", "")
    return f"{where}: {what[0].lower()}{what[1:]}" if where else what
