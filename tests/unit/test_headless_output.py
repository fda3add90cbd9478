"""What `mechtui run` writes: every format says the same, and what was finished is kept."""

from __future__ import annotations

import csv
import errno
import io
import json
import os
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mechtui.headless.ending import FAILED, MISTAKE, Stop
from mechtui.headless.journal import Journal
from mechtui.headless.output import AXES, COLUMNS, WRITE, format_of, sink_of
from mechtui.headless.work import Item, content_of
from mechtui.link.messages import Load
from mechtui.session.document import Session
from mechtui.session.grammar.vectors import parse_vector
from mechtui.views import parse_question

MODEL = {"name": "m", "source": "here", "architecture": "A", "dtype": "float32", "weights": "raw", "checked": {}}
REMEDY = "remove it"

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
NUMBER = st.integers(-5, 5) | st.floats(allow_nan=False, allow_infinity=False) | st.none()
KEY = st.from_regex(r"[a-z_]{1,5}", fullmatch=True)
TABLE = st.integers(0, 3).flatmap(lambda width: st.lists(st.lists(NUMBER, min_size=width, max_size=width), max_size=3))
VALUE = st.recursive(NUMBER | TEXT | st.booleans() | TABLE, lambda inner: st.lists(inner, max_size=3), max_leaves=8)
ANSWERS = st.dictionaries(st.sampled_from(["lens", 'circuit L0H0 " a"']), st.dictionaries(KEY, VALUE, max_size=3))


@st.composite
def results(draw: st.DrawFn) -> dict[str, Any]:
    return {
        "case": draw(st.integers(0, 9)),
        "session": {"prompt": draw(TEXT)},
        "model": MODEL,
        "tokens": [{"id": 1, "text": draw(TEXT)}],
        "clean": draw(ANSWERS),
        "edited": draw(ANSWERS | st.none()),
    }


def written(format: str, said: Sequence[dict[str, Any]], many: bool = True) -> bytes:
    file = io.BytesIO()
    WRITE[format](file, said, many)
    return file.getvalue()


@given(st.lists(results(), min_size=1, max_size=3))
def test_json_and_jsonl_hold_everything(said: list[dict[str, Any]]) -> None:
    assert json.loads(written("json", said)) == said
    assert [json.loads(line) for line in written("jsonl", said).decode().splitlines()] == said
    assert json.loads(written("json", said[:1], many=False)) == said[0]


@given(st.lists(results(), min_size=1, max_size=3))
def test_npz_holds_the_tables_and_the_rest_as_text(said: list[dict[str, Any]]) -> None:
    with np.load(io.BytesIO(written("npz", said))) as stored:
        assert json.loads(str(stored["json"])) == said
        for name in set(stored.files) - {"json"}:
            number, run, rest = name.split("/", 2)
            line, key = rest.rsplit("/", 1)
            expected = np.array(said[int(number)][run][line][key], dtype=np.float64)
            np.testing.assert_array_equal(stored[name], expected)
        tables = sum(
            isinstance(value, list) and bool(value) and _is_table(value)
            for result in said
            for run in ("clean", "edited")
            for answer in (result[run] or {}).values()
            for value in answer.values()
        )
        assert len(stored.files) == tables + 1


def _is_table(value: Any) -> bool:
    try:
        array = np.array(value, dtype=object)
    except ValueError:
        return False
    return array.size > 0 and all(item is None or type(item) in (int, float) for item in array.ravel())


def leaves(value: Any) -> list[Any]:
    if isinstance(value, dict):
        return [leaf for each in value.values() for leaf in leaves(each)]
    if isinstance(value, list):
        return [leaf for each in value for leaf in leaves(each)]
    return [value]


def cell(text: str) -> Any:
    """The value that a cell was, but for whether it was text; without the sign that keeps it from being a formula."""
    if text.lstrip("'").startswith(("=", "+", "-", "@")):
        text = text.removeprefix("'")
    return json.loads('"' + text.replace('"', '\\"') + '"')


@given(st.lists(results(), min_size=1, max_size=3))
def test_csv_has_a_row_for_every_value_in_order(said: list[dict[str, Any]]) -> None:
    text = written("csv", said).decode()
    header, *rows = csv.reader(io.StringIO(text, newline=""), strict=True)
    assert tuple(header) == COLUMNS
    of = [value for result in said for key, value in result.items() if key != "case" and value is not None]
    expected = [leaf for value in of for leaf in leaves(value)]
    assert len(rows) == len(expected)
    for row, leaf in zip(rows, expected, strict=True):
        value = row[-1]
        assert (cell(value) if isinstance(leaf, str) else json.loads(value or "null")) == leaf
    # Nothing in it acts on a terminal.
    assert all(char.isprintable() for char in text.replace("\n", ""))


@given(TEXT, st.sampled_from(["=", "+", "-", "@", "'"]), st.floats(max_value=-1e-9, allow_infinity=False))
def test_no_text_in_csv_is_a_formula_and_numbers_stay_numbers(text: str, begin: str, number: float) -> None:
    token = f"{begin}{text}"
    said = {"file": token, "session": {}, "model": {}, "tokens": [{"text": token}], "edited": None}
    said["clean"] = {token: {token: [number]}}
    _, first, second = csv.reader(io.StringIO(written("csv", [said]).decode(), newline=""))
    texts = [*first[:1], *first[2:5], first[-1], *second[:5]]
    assert not [each for each in texts if each.startswith(("=", "+", "-", "@"))]
    assert cell(first[-1]) == token
    assert float(second[-1]) == number


def test_csv_can_be_made_a_table_again() -> None:
    said = {"session": {}, "model": {}, "tokens": [], "clean": {"residual": {"norm": [[1.5, 2], [None, 4]]}}}
    said |= {"edited": None}
    rows = csv.DictReader(io.StringIO(written("csv", [said]).decode()))
    found = {(row["run"], row["view"], row["key"], *(row[axis] for axis in AXES)): row["value"] for row in rows}
    norm = ("clean", "residual", "norm")
    assert found == {
        (*norm, "0", "0", ""): "1.5",
        (*norm, "0", "1", ""): "2",
        (*norm, "1", "0", ""): "",
        (*norm, "1", "1", ""): "4",
    }


def test_a_fourth_index_stands_in_the_key() -> None:
    said = {"session": {}, "model": {}, "tokens": [], "clean": {"v": {"a": [[[[7, 8]]]]}}, "edited": None}
    _, *rows = csv.reader(io.StringIO(written("csv", [said]).decode()))
    assert [row[4:] for row in rows] == [["a.0", "0", "0", "0", "7"], ["a.1", "0", "0", "0", "8"]]


@pytest.mark.parametrize(
    ("output", "chosen", "format"),
    [
        ("-", None, "jsonl"),
        ("-", "csv", "csv"),
        ("a.CSV", None, "csv"),
        ("a.txt", "json", "json"),
        ("a.npz", None, "npz"),
    ],
)
def test_the_format_is_the_files_or_the_chosen_one(output: str, chosen: str | None, format: str) -> None:
    assert format_of(output, chosen) == format


@pytest.mark.parametrize(("output", "chosen"), [("a.txt", None), ("-", "npz")])
def test_a_format_that_cannot_be_is_said(output: str, chosen: str | None) -> None:
    with pytest.raises(Stop, match=r"\.npz"):
        format_of(output, chosen)


# What was finished


def result(case: int, **model: str) -> dict[str, Any]:
    return {"case": case, "session": {}, "model": MODEL | model, "tokens": [], "clean": {}, "edited": None}


def journal(path: Path, wanted: str = "abcd") -> Journal:
    return Journal(str(path), list(wanted), REMEDY)


@pytest.fixture
def half(tmp_path: Path) -> Path:
    """Two results of four."""
    path = tmp_path / "a.jsonl"
    made = journal(path)
    for case in range(2):
        made.add(result(case))
    made.close()
    return path


def test_what_was_finished_is_kept_and_the_rest_is_added(half: Path) -> None:
    before = half.read_bytes()
    assert half.stat().st_mode & 0o777 == 0o600
    made = journal(half)
    assert made.kept == 2
    made.add(result(2))
    assert list(made.results()) == [result(0), result(1), result(2)]
    made.close()
    assert half.read_bytes().startswith(before)
    assert journal(half).kept == 3


@given(torn=st.binary(max_size=40).map(lambda rest: rest.replace(b"\n", b"")), whole=st.integers(1, 16))
def test_a_line_that_is_not_whole_is_dropped(tmp_path_factory: pytest.TempPathFactory, torn: bytes, whole: int) -> None:
    path = tmp_path_factory.mktemp("torn") / "a.jsonl"
    made = journal(path)
    made.add(result(0))
    made.close()
    line = path.read_bytes()
    begun = b'{"fingerprint": "'
    path.write_bytes(line + (begun[:whole] if whole < len(begun) - 1 else begun + torn))
    made = journal(path)
    assert made.kept == 1
    made.close()
    assert path.read_bytes() == line


@pytest.mark.parametrize(
    ("wanted", "said"),
    [
        ("axcd", "line 2 is of another session, question or case than is asked for now: remove it"),
        ("a", "line 2 is of"),
    ],
)
def test_another_session_or_case_is_refused_and_nothing_is_lost(half: Path, wanted: str, said: str) -> None:
    before = half.read_bytes()
    with pytest.raises(Stop, match=said) as stop:
        journal(half, wanted)
    assert stop.value.status == MISTAKE
    assert half.read_bytes() == before


@pytest.mark.parametrize("theirs", [b"notes\n", b"notes", b'{"a": 1}\n', b"[]\n", b"1\n2", b'{"fingerprint": "a"}\n'])
def test_a_file_that_is_not_ours_is_left_alone(tmp_path: Path, theirs: bytes) -> None:
    path = tmp_path / "notes.jsonl"
    path.write_bytes(theirs)
    with pytest.raises(Stop, match=r"notes\.jsonl line 1 is none that mechtui run --output wrote: name another file"):
        journal(path)
    assert path.read_bytes() == theirs


def test_another_model_of_the_same_name_is_refused(half: Path) -> None:
    made = journal(half)
    with pytest.raises(Stop, match=r"holds results of another m \(dtype float32\): remove it"):
        made.add(result(2, dtype="float16"))
    made.add(result(2, name="n", dtype="float16"))  # another session's
    made.close()


def test_another_content_of_a_file_is_another_result(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    session = Session(
        vectors=(parse_vector('v = file "v.safetensors#v"'), parse_vector('d = diff L0.pre file "a" "b"'))
    )
    questions = {line: parse_question(line) for line in ("residual", 'compare "other.toml"')}
    of = partial(Item(session, questions).fingerprint, Load("m"), content_of)
    found = [of()]
    for name in ("v.safetensors", "a", "b", "other.toml"):
        for content in ("a", "b"):
            Path(name).write_text(content)
            found.append(of())
    assert len(set(found)) == len(found)
    assert of() == found[-1]


@pytest.mark.parametrize("why", [errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS])
def test_a_file_system_without_locks_takes_results(half: Path, monkeypatch: pytest.MonkeyPatch, why: int) -> None:
    def none(*_: object) -> None:
        raise OSError(why, os.strerror(why))

    monkeypatch.setattr("fcntl.flock", none)
    made = journal(half)
    assert made.kept == 2
    made.add(result(2))
    made.sync()
    made.close()
    assert len(half.read_bytes().splitlines()) == 3


def test_two_at_once_do_not_mix(half: Path) -> None:
    first = journal(half)
    with pytest.raises(Stop, match="another mechtui run is writing"):
        journal(half)
    first.close()
    journal(half).close()


def test_a_full_disk_loses_nothing(half: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = half.read_bytes()
    made = journal(half)
    write = os.write

    def full(handle: int, data: Any) -> int:
        monkeypatch.setattr(os, "write", fails)
        return write(handle, bytes(data)[:7])

    def fails(_handle: int, _data: Any) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "write", full)
    with pytest.raises(Stop, match="cannot be written: no space left on device") as stop:
        made.add(result(2))
    assert stop.value.status == FAILED
    made.close()
    monkeypatch.undo()
    assert half.read_bytes() == before + b'{"finge'
    assert journal(half).kept == 2


def test_a_file_that_nothing_came_into_is_not_left(tmp_path: Path) -> None:
    made = journal(tmp_path / "a.jsonl")
    made.close()
    assert not list(tmp_path.iterdir())
    (tmp_path / "a.jsonl").touch()
    journal(tmp_path / "a.jsonl").close()
    assert (tmp_path / "a.jsonl").exists()


@pytest.mark.parametrize("format", ["json", "npz", "csv"])
def test_a_file_that_is_written_whole_has_its_results_beside_it_until_then(tmp_path: Path, format: str) -> None:
    output = tmp_path / f"out.{format}"
    output.write_bytes(b"an older one")
    sink = sink_of(str(output), format, ["a", "b"], again=False)
    sink.add(result(0))
    sink.close()
    assert sink.keeps == f"{output}.part"
    assert output.read_bytes() == b"an older one"
    sink = sink_of(str(output), format, ["a", "b"], again=False)
    assert sink.kept == 1
    sink.add(result(1))
    sink.finish()
    sink.close()
    assert [path.name for path in tmp_path.iterdir()] == [output.name]
    if format != "npz":  # a zip file holds the time
        assert output.read_bytes() == written(format, [result(0), result(1)])
    assert output.stat().st_mode & 0o777 == 0o600
