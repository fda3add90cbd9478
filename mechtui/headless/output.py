"""Results as JSON, JSONL, npz and CSV, in a file or on the standard output."""

from __future__ import annotations

import csv
import io
import json
import sys
import zipfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, Protocol

import numpy as np

from mechtui.headless.ending import FAILED, MISTAKE, Stop
from mechtui.headless.journal import Journal, line_of
from mechtui.session.grammar.words import quote
from mechtui.session.paths import PathError, private_file, reason, to_write

FORMATS = ("json", "jsonl", "npz", "csv")
# A table's axes; what is nested deeper has the rest of its indices in its key.
AXES = ("i", "j", "k")
COLUMNS = ("file", "case", "run", "view", "key", *AXES, "value")


# A spreadsheet takes a text that begins so for a formula.
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


class Sink(Protocol):
    """Where results go. kept: how many stand there already, so that they are not computed again. keeps: the file that
    keeps what is finished, whatever happens; empty where nothing does."""

    kept: int
    keeps: str

    def add(self, result: dict[str, Any]) -> None:
        """The next result. Raises Stop."""

    def finish(self) -> None:
        """That was all. Raises Stop."""

    def close(self) -> None:
        """However it ended."""


def format_of(output: str, chosen: str | None) -> str:
    """The format of what goes to `output`: the one that was chosen, else what the file's name says. Raises Stop."""
    if output == "-":
        if chosen == "npz":
            raise Stop(MISTAKE, "--format npz goes into a file: say which with --output FILE.npz")
        return chosen or "jsonl"
    suffix = Path(output).suffix.removeprefix(".").lower()
    if chosen is None and suffix not in FORMATS:
        endings = ", ".join(f".{each}" for each in FORMATS[:-1])
        raise Stop(
            MISTAKE, f"--output {output} should end in {endings} or .{FORMATS[-1]}, or be - for the standard output"
        )
    _path(output)  # what cannot be written is said before anything is read
    return chosen or suffix


def _path(output: str) -> Path:
    try:
        return to_write(output)
    except PathError as error:
        raise Stop(MISTAKE, f"--output {error}") from error


def sink_of(output: str, format: str, wanted: Sequence[str], again: bool) -> Sink:
    """wanted: a fingerprint for each result that will come. again: whether what stands there is replaced, whatever it
    is. Raises Stop."""
    if output == "-":
        return _Printed(format, len(wanted) > 1)
    path = _path(output)
    if again or (len(wanted) == 1 and format != "jsonl"):
        return _Replaced(output, path, format, len(wanted) > 1)
    if format == "jsonl":
        return _Lines(Journal(output, wanted, "name another file, or remove this one"))
    part = f"{output}.part"
    return _Whole(output, path, format, Journal(part, wanted, f"remove {part} to begin anew"))


class _Printed:
    """On the standard output, as they come where the format lets them."""

    kept, keeps = 0, ""

    def __init__(self, format: str, many: bool) -> None:
        self._format, self._many = format, many
        self._held: list[dict[str, Any]] = []

    def add(self, result: dict[str, Any]) -> None:
        if self._format == "jsonl":
            print(line_of(result), flush=True)
        else:
            self._held.append(result)

    def finish(self) -> None:
        if self._format != "jsonl":
            out = io.BytesIO()
            WRITE[self._format](out, self._held, self._many)
            sys.stdout.write(out.getvalue().decode())
            sys.stdout.flush()
            self._held.clear()

    def close(self) -> None:
        pass


class _Replaced:
    """A file that is written whole at the end, in place of the one before."""

    kept, keeps = 0, ""

    def __init__(self, name: str, path: Path, format: str, many: bool) -> None:
        self._name, self._path, self._format, self._many = name, path, format, many
        self._held: list[dict[str, Any]] = []

    def add(self, result: dict[str, Any]) -> None:
        self._held.append(result)

    def finish(self) -> None:
        _write(self._name, self._path, self._format, self._held, self._many)

    def close(self) -> None:
        pass


class _Lines:
    """A JSONL file, which is its own journal."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self.kept, self.keeps = journal.kept, journal.name

    def add(self, result: dict[str, Any]) -> None:
        self._journal.add(result)

    def finish(self) -> None:
        self._journal.sync()

    def close(self) -> None:
        self._journal.close()


class _Whole(_Lines):
    """Another file, written whole at the end from a journal beside it, which goes then."""

    def __init__(self, name: str, path: Path, format: str, journal: Journal) -> None:
        super().__init__(journal)
        self._name, self._path, self._format = name, path, format

    def finish(self) -> None:
        _write(self._name, self._path, self._format, self._journal.results(), True)
        self._journal.remove()


def _write(name: str, path: Path, format: str, results: Iterable[dict[str, Any]], many: bool) -> None:
    """All of it or nothing. Raises Stop."""
    try:
        # It holds prompts, so that nobody else may read it; an older one stays until the new one is whole.
        with private_file(path) as file:
            WRITE[format](file, results, many)
    except OSError as error:
        raise Stop(FAILED, f"{name} cannot be written: {reason(error)}") from error


def write_jsonl(file: BinaryIO, results: Iterable[dict[str, Any]], many: bool) -> None:
    """A line each."""
    for result in results:
        file.write(f"{line_of(result)}\n".encode())


def write_json(file: BinaryIO, results: Iterable[dict[str, Any]], many: bool) -> None:
    """The one result, or a list of many."""
    if not many:
        return write_jsonl(file, results, many)
    for number, result in enumerate(results):
        file.write(f"{',' if number else '['}\n{line_of(result)}".encode())
    file.write(b"\n]\n")
    return None


def write_npz(file: BinaryIO, results: Iterable[dict[str, Any]], many: bool) -> None:
    """Every table of numbers as an array of its own, `clean/residual/norm`, of many with the number of the result in
    front, `3/clean/residual/norm`; and under `json` the same text as a JSON file has."""
    text = io.BytesIO()

    def passing() -> Iterator[dict[str, Any]]:
        for number, result in enumerate(results):
            for name, array in arrays(result).items():
                _put(archive, f"{number}/{name}" if many else name, array)
            yield result

    with zipfile.ZipFile(file, "w") as archive:
        write_json(text, passing(), many)
        _put(archive, "json", np.array(text.getvalue().decode().rstrip("\n")))


def _put(archive: zipfile.ZipFile, name: str, array: np.ndarray) -> None:
    with archive.open(f"{name}.npy", "w", force_zip64=True) as file:
        np.lib.format.write_array(file, array, allow_pickle=False)


def arrays(result: dict[str, Any]) -> dict[str, np.ndarray]:
    """Every table of numbers among the answers, as "clean/attention L9H9/pattern" -> array. null becomes NaN."""
    found: dict[str, np.ndarray] = {}
    for run in ("clean", "edited"):
        for line, answer in (result[run] or {}).items():
            for key, value in answer.items():
                if isinstance(value, list) and value and _shape(value) is not None:
                    found[f"{run}/{line}/{key}"] = np.array(value, dtype=np.float64)
    return found


def _shape(value: Any) -> tuple[int, ...] | None:
    """Of a number, of null, and of lists of such that are equally long; None of anything else."""
    if not isinstance(value, list):
        number = value is None or (isinstance(value, (int, float)) and not isinstance(value, bool))
        return () if number else None
    shapes = {_shape(item) for item in value}
    inner = shapes.pop() if len(shapes) == 1 else None
    return None if inner is None else (len(value), *inner)


def write_csv(file: BinaryIO, results: Iterable[dict[str, Any]], many: bool) -> None:
    """A row for each value of the JSON, under a row of names."""
    with _text(file) as text:
        rows = csv.writer(text, lineterminator="\n")
        rows.writerow(COLUMNS)
        for result in results:
            rows.writerows(rows_of(result))


def rows_of(result: dict[str, Any]) -> Iterator[tuple[str | int, ...]]:
    """A result's values as rows under `COLUMNS`: what is no answer has neither run nor view."""
    which = (_text_cell(result.get("file", "")), result.get("case", ""))
    for key, value in result.items():
        if key in ("clean", "edited"):
            for line, answer in (value or {}).items():
                for path, indices, cell in _values(answer, (), ()):
                    yield (*which, key, _text_cell(line), _text_cell(path), *indices, _cell(cell))
        elif key not in ("file", "case"):
            for path, indices, cell in _values(value, (key,), ()):
                yield (*which, "", "", _text_cell(path), *indices, _cell(cell))


def _values(value: Any, keys: tuple[str, ...], at: tuple[int, ...]) -> Iterator[tuple[str, tuple[int | str, ...], Any]]:
    """(key, indices, value) of everything that is neither a list nor an object."""
    if isinstance(value, dict):
        for key, each in value.items():
            yield from _values(each, (*keys, key), at)
    elif isinstance(value, list):
        for number, each in enumerate(value):
            if len(at) < len(AXES):
                yield from _values(each, keys, (*at, number))
            else:
                yield from _values(each, (*keys, str(number)), at)
    else:
        yield ".".join(keys), (*at, *[""] * (len(AXES) - len(at))), value


def _cell(value: Any) -> str:
    """A number as JSON has it, text without its quotes, null as nothing."""
    if value is None:
        return ""
    return _text_cell(value) if isinstance(value, str) else json.dumps(value)


def _text_cell(text: str) -> str:
    return no_formula(_plain(text))


def no_formula(text: str) -> str:
    """The text with `'` in front where a spreadsheet would take it for a formula; and where it would be one without
    the `'` that it has, so that taking one away gives every text back."""
    return f"'{text}" if text.lstrip("'").startswith(_FORMULA) else text


def _plain(text: str) -> str:
    """Text with JSON's escapes for a backslash and for what nobody would see; quotes stay as they are."""
    return '"'.join(quote(part)[1:-1] for part in text.split('"'))


@contextmanager
def _text(file: BinaryIO) -> Iterator[io.TextIOWrapper]:
    """The file as text, which stays open."""
    text = io.TextIOWrapper(file, "utf-8", newline="")
    try:
        yield text
        text.flush()
    finally:
        text.detach()


WRITE = {"json": write_json, "jsonl": write_jsonl, "npz": write_npz, "csv": write_csv}
