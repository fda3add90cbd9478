"""A session as a TOML file."""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import msgspec
from msgspec.structs import replace

from mechtui.session.document import Cells, OverCases, Session, Swept, surrogate
from mechtui.session.grammar.cases import MOST as MOST_CASES
from mechtui.session.grammar.cases import check_cases
from mechtui.session.grammar.edits import format_edit, parse_edit
from mechtui.session.grammar.looks import format_focus, format_screen, parse_focus, parse_screen
from mechtui.session.grammar.places import format_positions, parse_positions
from mechtui.session.grammar.saes import format_sae, parse_sae
from mechtui.session.grammar.vectors import format_vector, parse_vector
from mechtui.session.grammar.words import LineError, Mistakes, one_line, short, shortened
from mechtui.session.paths import PathError, read_text, reason, to_write, write_private
from mechtui.session.sweeps import MOST, MOST_CELLS, cells_of
from mechtui.session.toml import TomlError, parsed
from mechtui.visible import toml_escaped

if TYPE_CHECKING:
    from tomlkit import TOMLDocument

VERSION = 1
# Tables of a sweep over cases besides the means.
OVER = ("low", "high", "sd", "share", "n")
# Bytes of a session's file.
MOST_BYTES = 1 << 22


class StorageError(ValueError):
    """A session that cannot be read or written: one sentence that says which and why."""


class _Texts(msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True):
    """The keys of what a run is made of, in the order in which they are written."""

    mechtui: int
    model: str = ""
    prompt: str = ""
    source: str = ""
    answer: str = ""
    foil: str = ""
    bos: Literal["auto", "yes", "no"] = "auto"
    align: str = "auto"
    references: tuple[str, ...] = ()
    linear: bool = False
    vectors: tuple[str, ...] = ()
    saes: tuple[str, ...] = ()
    edits: tuple[str, ...] = ()
    views: tuple[str, ...] = ()


class _File(_Texts, forbid_unknown_fields=True, omit_defaults=True):
    """The file's keys. The last three say where one looked; `file` stands in kept sessions only."""

    cases: str = ""
    workspace: str = ""
    focus: str = ""
    file: str = ""


Table = tuple[tuple[float, ...], ...]


class _Over(msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True):
    """What cases say of a sweep besides the means, under `[sweeps.over]`."""

    count: Annotated[int, msgspec.Meta(ge=1, le=MOST_CASES)]
    texts: Annotated[str, msgspec.Meta(max_length=64)]
    low: Table
    high: Table
    sd: Table
    share: Table
    n: Table
    left_out: Annotated[int, msgspec.Meta(ge=0, le=MOST_CASES)] = 0
    why: str = ""


class _Swept(_Texts, forbid_unknown_fields=True, omit_defaults=True, kw_only=True):
    """A sweep's table: what it was made of, under the same keys, and its numbers, NaN for none."""

    mechtui: int = VERSION
    sweep: str
    metric: Literal["logit_diff", "normalised"]
    rows: tuple[str, ...]
    columns: tuple[str, ...]
    runs: int
    baseline: float | None = None
    source_baseline: float | None = None
    values: Table
    cases: str = ""
    over: _Over | None = None


def to_builtins(session: Session) -> dict[str, Any]:
    """The file's keys and values but for the sweeps: text and lists of lines. Fields that say nothing are left out.
    Raises StorageError for a lone surrogate, which no file can hold."""
    stored = _File(
        VERSION,
        **{name: getattr(session, name) for name in ("model", "prompt", "source", "answer", "foil", "bos", "align")},
        references=session.references,
        linear=session.linear,
        vectors=tuple(format_vector(vector) for vector in session.vectors),
        saes=tuple(format_sae(sae) for sae in session.saes),
        edits=tuple(format_edit(edit) for edit in session.edits),
        views=session.views,
        cases=session.cases,
        workspace="" if session.screen is None else format_screen(session.screen),
        focus="" if session.focus is None else format_focus(session.focus),
        file=session.file,
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

    said = toml_escaped(tomlkit.dumps(document(to_builtins(session))))
    return readable(said + "".join(map(swept_text, session.sweeps)))


def readable(text: str) -> str:
    """The same, if it is no more than `load` reads. Raises StorageError."""
    if len(text) > MOST_BYTES or len(text.encode("utf-8", "surrogatepass")) > MOST_BYTES:
        raise StorageError(f"a session takes at most {MOST_BYTES >> 20} MiB, and this one is larger; shorten its texts")
    return text


def document(said: dict[str, Any]) -> TOMLDocument:
    import tomlkit

    document = tomlkit.document()
    for key, value in said.items():
        if isinstance(value, (list, tuple)):
            array = tomlkit.array()
            array.extend(value)
            document[key] = array.multiline(len(value) > 1)
        else:
            document[key] = value
    return document


# Thousands of numbers, and the file is written again after every change.
@lru_cache(64)
def swept_text(swept: Swept) -> str:
    import tomlkit

    of = to_builtins(swept.of)
    del of["mechtui"]
    said = {
        **of,
        "sweep": format_edit(swept.edit),
        "metric": swept.metric,
        "rows": swept.rows,
        "columns": swept.columns,
        "runs": swept.runs,
        "baseline": swept.baseline,
        "source_baseline": swept.source_baseline,
    }
    table = document({key: value for key, value in said.items() if value is not None})
    for key in ("rows", "columns"):
        table[key].multiline(False)
    text = f"\n[[sweeps]]\n{toml_escaped(tomlkit.dumps(table))}{_table_text('values', swept.values)}"
    if (over := swept.over) is None:
        return text
    alone = {name: value for name in ("count", "texts", "left_out", "why") if (value := getattr(over, name))}
    tables = "".join(_table_text(name, getattr(over, name)) for name in OVER)
    return f"{text}[sweeps.over]\n{toml_escaped(tomlkit.dumps(alone))}{tables}"


def _table_text(name: str, values: Cells) -> str:
    rows = (", ".join("nan" if value is None else repr(float(value)) for value in row) for row in values)
    return f"{name} = [\n" + "".join(f"    [{row}],\n" for row in rows) + "]\n"


def loads(text: str, name: str = "the session", question: Callable[[str], object] = str) -> Session:
    """TOML -> Session. name: what the messages call it. question: reads the lines of views; without it nobody looks
    into them. Raises StorageError, or LineError for lines that mean nothing."""
    try:
        said = parsed(text)
    except TomlError as error:
        raise StorageError(f"{name} {error}") from error
    sweeps = said.pop("sweeps", [])
    _check_keys(said, (*_File.__struct_fields__, "sweeps"), name)
    version = said.get("mechtui")
    if version != VERSION:
        missing = "it has no line mechtui = 1" if version is None else f"it says mechtui = {version}"
        raise StorageError(f"{name} is no session that this version reads: {missing}, and {VERSION} is what it reads")
    try:
        stored = msgspec.convert(said, _File)
    except msgspec.ValidationError as error:
        raise StorageError(f"{name}: {_plain(error)}") from error
    return replace(
        _session(stored, question),
        cases=check_cases(stored.cases),
        sweeps=_sweeps(sweeps, name),
        screen=parse_screen(stored.workspace) if stored.workspace else None,
        focus=parse_focus(stored.focus) if stored.focus else None,
        file=stored.file,
    )


def _check_keys(said: dict[str, Any], keys: tuple[str, ...], name: str, what: str = "a session") -> None:
    for key in said:
        if key not in keys:
            near = difflib.get_close_matches(key, keys, n=1, cutoff=0.5)
            hint = f"did you mean {near[0]}?" if near else f"the keys are {', '.join(keys)}"
            raise StorageError(f"{name}: {one_line(short(key))} is no key of {what}; {hint}")


def _session(stored: _Texts, question: Callable[[str], object] = str) -> Session:
    lines = Mistakes()
    vectors, edits = lines.read(parse_vector, stored.vectors), lines.read(parse_edit, stored.edits)
    saes = lines.read(parse_sae, stored.saes)
    lines.read(question, stored.views)
    lines.check()
    return Session(
        model=stored.model,
        prompt=stored.prompt,
        source=stored.source,
        answer=stored.answer,
        foil=stored.foil,
        vectors=vectors,
        saes=saes,
        edits=edits,
        views=stored.views,
        bos=stored.bos,
        align=stored.align,
        references=stored.references,
        linear=stored.linear,
    )


def _sweeps(said: Any, name: str) -> tuple[Swept, ...]:
    """A file can only describe: what does not hold together is refused, and too much is."""
    if not isinstance(said, list):
        raise StorageError(f"{name}: sweeps are tables, each under its own [[sweeps]]")
    if len(said) > MOST:
        raise StorageError(f"{name}: there are {len(said)} sweeps, and {MOST} is the most that a session keeps")
    found = tuple(_swept(each, f"{name}: sweeps[{number}]") for number, each in enumerate(said))
    cells = sum(map(cells_of, found))
    if cells > MOST_CELLS:
        raise StorageError(f"{name}: the sweeps have {cells:,} cells, and {MOST_CELLS:,} is the most together")
    return found


def _swept(said: Any, where: str) -> Swept:
    if isinstance(said, dict):
        _check_keys(said, _Swept.__struct_fields__, where, "a sweep")
    try:
        stored = msgspec.convert(said, _Swept)
    except msgspec.ValidationError as error:
        raise StorageError(_plain(error, where)) from error
    if (stored.over is None) != (not stored.cases):
        raise StorageError(f"{where}: a sweep over cases has both, cases and a table over")
    edit = parse_edit(stored.sweep, roles=stored.over is not None)
    shape = (len(stored.rows), len(stored.columns))
    every = {"values": stored.values}
    if stored.over is not None:
        every |= {f"over.{name}": getattr(stored.over, name) for name in OVER}
    for name, table in every.items():
        if len(table) != shape[0] or any(len(row) != shape[1] for row in table):
            raise StorageError(f"{where}.{name}: {shape[0]} rows of {shape[1]} numbers are expected")
    letter = {"head": "H", "layer": "@", "feature": "F"}.get(edit.site.kind)
    if letter is None or (letter == "F" and stored.over is not None):
        raise StorageError(
            f"{where}.sweep: a sweep goes over heads, layers or, without cases, features, as in zero L*H*, "
            "patch L*.pre or zero res2F*"
        )
    if letter == "F" and stored.rows != (edit.site.sae,):
        raise StorageError(f"{where}: its one row is named {edit.site.sae}, as the dictionary that is swept")
    for kind, names in (("L", () if letter == "F" else stored.rows), (letter, stored.columns)):
        numbered = all(re.fullmatch(rf"{kind}[0-9]{{1,{7 if kind == 'F' else 5}}}", each, re.ASCII) for each in names)
        if not (numbered or (kind == "@" and stored.over is not None and all(map(_is_place, names)))):
            raise StorageError(f"{where}: rows are named L0, L1, and so on, columns {letter}0, {letter}1, and so on")
    numbers = [value for row in stored.values for value in row]
    if any(math.isinf(value) for table in every.values() for row in table for value in row) or not all(
        value is None or math.isfinite(value) for value in (stored.baseline, stored.source_baseline)
    ):
        raise StorageError(f"{where}: a number is infinite, and no model's is")
    done = sum(not math.isnan(value) for value in numbers)
    if not done <= stored.runs <= len(numbers):
        raise StorageError(f"{where}.runs: {stored.runs} cannot be, with {done} numbers in {len(numbers)} cells")
    return Swept(
        edit,
        replace(_session(stored), cases=check_cases(stored.cases)),
        stored.rows,
        stored.columns,
        stored.metric,
        _cells(stored.values),
        stored.runs,
        stored.baseline,
        stored.source_baseline,
        None if stored.over is None else _over(stored.over),
    )


def _over(stored: _Over) -> OverCases:
    tables = {name: _cells(getattr(stored, name)) for name in OVER}
    return OverCases(count=stored.count, texts=stored.texts, left_out=stored.left_out, why=stored.why, **tables)


def _cells(table: Table) -> Cells:
    return tuple(tuple(None if math.isnan(value) else value for value in row) for row in table)


def _is_place(column: str) -> bool:
    """Whether it is one position as lines write it: @S2, @-1."""
    try:
        found = parse_positions(column.removeprefix("@"), column, 1, roles=True)
    except LineError:
        return False
    return len(found.items) == 1 and column == f"@{format_positions(found)}"


def load(name: str | Path, question: Callable[[str], object] = str) -> Session:
    """name: as a user writes it, ~ and all. question: as in `loads`. Raises StorageError, or LineError for lines that
    mean nothing."""
    try:
        text = read_text(str(name), MOST_BYTES)
    except PathError as error:
        raise StorageError(str(error)) from error
    # Whoever wrote the file may say anything of files, and a save would write over what it says.
    return replace(loads(text, str(name), question), file="")


def save(session: Session, name: str | Path) -> None:
    """All of it or nothing. name: as a user writes it. Raises StorageError."""
    text = dumps(session)
    try:
        write_private(to_write(str(name)), text)
    except PathError as error:
        raise StorageError(str(error)) from error
    except OSError as error:
        raise StorageError(f"{name} cannot be written: {reason(error)}") from error


def _plain(error: msgspec.ValidationError, place: str = "") -> str:
    """`Expected `str`, got `int` - at `$.prompt`` -> prompt: expected str, got int. place: what the path begins in."""
    what, _, path = str(error).partition(" - at ")
    where = ".".join(part for part in (place, path.strip("`").removeprefix("$").removeprefix(".")) if part)
    what = what.replace("`", "")
    return one_line(shortened(f"{where}: {what[0].lower()}{what[1:]}" if where else what))
