"""A session written over a file that somebody wrote by hand: only what differs becomes another."""

from __future__ import annotations

import re
from collections.abc import Iterator
from difflib import SequenceMatcher
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mechtui.session.document import Session, Swept
from mechtui.session.grammar.words import LineError
from mechtui.session.paths import PathError, read_text
from mechtui.session.storage import (
    MOST_BYTES,
    StorageError,
    document,
    dumps,
    loads,
    readable,
    swept_text,
    to_builtins,
)
from mechtui.session.toml import TomlError, parsed
from mechtui.visible import toml_escaped

if TYPE_CHECKING:
    from tomlkit.items import Array, Item

_SWEEP = re.compile(r"^[ \t]*\[\[[ \t]*sweeps[ \t]*\]\]", re.MULTILINE)


def text_for(session: Session, path: Path) -> str:
    """What the file is to hold so that it says this session; of what it holds now as much as possible stays as it is
    written: comments, order, every line whose value is the same. Raises StorageError."""
    try:
        return rewritten(session, read_text(str(path), MOST_BYTES))
    except PathError:  # there is none, or no session's text
        return dumps(session)


def rewritten(session: Session, text: str) -> str:
    """`text_for` a file that holds this text. What is no session is written anew. Raises StorageError."""
    try:
        before = loads(text)
    except (StorageError, LineError):
        return dumps(session)
    head, tables = _parts(text)
    made = _keys(head, to_builtins(session)) + _sweeps(session.sweeps, before.sweeps, tables)
    return readable(made) if _says(made, session) else dumps(session)


def _says(text: str, session: Session) -> bool:
    """Whether the text is this session: nothing that is kept of a file's looks may cost what is in it."""
    try:
        return loads(text) == session
    except (StorageError, LineError):
        return False


def _parts(text: str) -> tuple[str, list[str]]:
    """The file's keys, and each of its tables of sweeps. What looks like a table may stand in a string."""
    starts = [found.start() for found in _SWEEP.finditer(text)]
    while starts and not _is_toml(text[: starts[0]]):
        starts.pop(0)
    if not starts:
        return text, []
    pieces = [text[start:end] for start, end in zip(starts, [*starts[1:], len(text)], strict=True)]
    return text[: starts[0]], pieces if all(map(_is_toml, pieces)) else []


def _is_toml(text: str) -> bool:
    try:
        parsed(text)
    except TomlError:
        return False
    return True


def _keys(text: str, said: dict[str, Any]) -> str:
    """The file's keys with these values: those that are the same stay, new ones come behind the last."""
    import tomlkit
    from tomlkit.items import Array

    file = tomlkit.parse(text)
    known = parsed(text)
    for key in known:
        if key not in said:
            file.remove(key)
        elif known[key] != _plain(said[key]):
            there = file[key]
            if isinstance(there, Array) and isinstance(said[key], (list, tuple)):
                _put(there, known[key], list(said[key]))
            else:
                file[key] = _item(said[key])
    new = {key: value for key, value in said.items() if key not in known}
    lines = tomlkit.dumps(file).splitlines(keepends=True)
    last = len(lines)
    while last and (not lines[last - 1].strip() or lines[last - 1].lstrip().startswith("#")):
        last -= 1
    if new and last and not lines[last - 1].endswith("\n"):
        lines[last - 1] += "\n"
    added = toml_escaped(tomlkit.dumps(document(new))) if new else ""
    return "".join([*lines[:last], added, *lines[last:]])


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


def _item(value: Any) -> Item:
    """A value as a file holds it, with escapes for what nobody would see."""
    import tomlkit

    if isinstance(value, (list, tuple)):
        array = tomlkit.array()
        array.extend([_item(each) for each in value])
        return array.multiline(len(value) > 1)
    item = tomlkit.item(value)
    return tomlkit.value(toml_escaped(item.as_string())) if isinstance(value, str) else item


def _put(array: Array, before: list[str], after: list[str]) -> None:
    """Make the array say `after`: lines that stay keep the comments beside them."""
    for what, first, end, new, new_end in reversed(SequenceMatcher(None, before, after, autojunk=False).get_opcodes()):
        if what == "equal":
            continue
        both = min(end - first, new_end - new)
        for at in reversed(range(first + both, end)):
            del array[at]
        for at in range(both):
            array[first + at] = _item(after[new + at])
        for at in range(new + both, new_end):
            array.insert(first + both, _item(after[new_end - 1 - (at - new - both)]))


def _sweeps(after: tuple[Swept, ...], before: tuple[Swept, ...], tables: list[str]) -> str:
    """The sweeps' tables; one that stands in the file already as it stands there."""
    there: dict[Swept, list[str]] = {}
    for swept, table in zip(before, tables, strict=True) if len(before) == len(tables) else ():
        there.setdefault(swept, []).append(table)
    return "".join(_each(after, there))


def _each(after: tuple[Swept, ...], there: dict[Swept, list[str]]) -> Iterator[str]:
    for swept in after:
        # Of equal ones each has its own.
        table = there[swept].pop(0) if there.get(swept) else swept_text(swept)
        yield table if table.endswith("\n") else f"{table}\n"
