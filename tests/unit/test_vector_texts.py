"""Vector lines that name files, and the texts that stand there."""

from __future__ import annotations

from pathlib import Path

import pytest

from mechtui.session import text_files
from mechtui.session.grammar.vectors import format_vector, parse_vector
from mechtui.session.grammar.words import LineError
from mechtui.session.text_files import TextsError, sides_of


@pytest.mark.parametrize(
    ("line", "written"),
    [
        ("v = diff L9.pre file happy.txt sad.txt unit @all", 'v = diff L9.pre file "happy.txt" "sad.txt" unit @all'),
        ("v = diff L9.mlp columns p.csv a b @2", 'v = diff L9.mlp columns "p.csv" "a" "b" @2'),
        ('v = mean L9.pre file "a b.txt"', 'v = mean L9.pre file "a b.txt"'),
        ('v = mean L9.pre "Love"', 'v = mean L9.pre "Love"'),
        ('v = pca L9.pre column a.jsonl "x y" 3', 'v = pca L9.pre column "a.jsonl" "x y" 3'),
        ('v = pca L9.pre "a" | "b" 1', 'v = pca L9.pre "a" | "b"'),
    ],
)
def test_a_line_is_written_as_it_is_read(line: str, written: str) -> None:
    assert format_vector(parse_vector(line)) == written
    assert parse_vector(written) == parse_vector(line)


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("v = diff L9.pre file a.txt", "a text file, as in happy.txt, should stand"),
        ("v = diff L9.pre files a.txt b.txt", "neither file A.txt B.txt or columns F.csv A B"),
        ("v = mean L9.pre columns a.csv x", "neither file A.txt or column F.csv A"),
        ("v = mean L9.pre column a.txt x", "a.txt has no columns: a file that has ends in .csv or .jsonl"),
        ("v = pca L9.pre file a.txt 0", "counted from 1 to 2,000"),
        ("v = mean L9.pre file a.txt 2", "2 is not an option"),
        ('v = pca L9.pre "a"', "needs two texts or more"),
    ],
)
def test_what_a_line_lacks_is_said(line: str, problem: str) -> None:
    with pytest.raises(LineError) as refused:
        parse_vector(line)
    assert problem in str(refused.value)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def sides(line: str) -> list[list[str]]:
    return [[text.text for text in side] for side in sides_of(parse_vector(line))]


def test_lines_and_columns(folder: Path) -> None:
    (folder / "a.txt").write_bytes(b"\xef\xbb\xbf Love\r\n\r\nJoy\x0bx\n\n")
    (folder / "b.txt").write_text("Hate\n  \nwoe ")
    assert sides("v = diff L0.pre file a.txt b.txt") == [[" Love", "Joy\x0bx"], ["Hate", "woe "]]
    (folder / "p.csv").write_text('a,"b ""c""",d\n1,"x\ny",2\n\n3,"",4\n')
    assert sides(r'v = mean L0.pre column p.csv "b \"c\""') == [["x\ny"]]
    assert sides("v = diff L0.pre columns p.csv d a") == [["2", "4"], ["1", "3"]]
    (folder / "p.jsonl").write_text('{"a": "1", "n": 3}\n\n{"a": "2"}\n')
    assert sides("v = pca L0.pre column p.jsonl a") == [["1", "2"]]


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("v = mean L0.pre file none.txt", "there is no file none.txt"),
        ("v = mean L0.pre file .", ". is a folder; a file's name should stand here"),
        ("v = mean L0.pre file bytes.txt", "bytes.txt is no text: byte 1 is not UTF-8"),
        ("v = mean L0.pre file blank.txt", "blank.txt holds no text"),
        ("v = pca L0.pre file one.txt", "one.txt holds 1 text, and a principal direction needs two or more"),
        ("v = diff L0.pre file one.txt three.txt", "have different numbers of lines: one.txt 1 and three.txt 3"),
        ("v = diff L0.pre file gap.txt three.txt", "gap.txt line 2 is empty, and its pair three.txt line 2 is not"),
        ("v = mean L0.pre file large.txt", "larger than the 4 MiB"),
        ("v = mean L0.pre file many.txt", "many.txt holds 2,001 texts, more than the 2,000"),
        ("v = mean L0.pre column p.csv z", "p.csv line 2 has no column z: there are a, b"),
        ("v = mean L0.pre column p.csv a", "p.csv line 3 has 1 fields, and the first line names 2"),
        ("v = mean L0.pre column twice.csv a", "twice.csv line 1: the column a stands there twice"),
        ("v = mean L0.pre column p.jsonl a", "p.jsonl line 1: a should be text of whole characters"),
        ("v = mean L0.pre column list.jsonl a", "list.jsonl line 1 is no object"),
        ("v = mean L0.pre column not.jsonl a", "not.jsonl line 1 is not JSON"),
    ],
)
def test_what_a_file_lacks_is_said(folder: Path, line: str, problem: str) -> None:
    held: dict[str, str | bytes] = {
        "bytes.txt": b"a\xff",
        "blank.txt": " \n\n",
        "one.txt": "a",
        "three.txt": "a\nb\nc\n",
        "gap.txt": "a\n\nc\n",
        "large.txt": "x" * (text_files.MOST_BYTES + 1),
        "many.txt": "a\n" * 2001,
        "p.csv": "a,b\n1,2\n3\n",
        "twice.csv": "a,a\n1,2\n",
        "p.jsonl": '{"a": 3}\n',
        "list.jsonl": "[1]\n",
        "not.jsonl": "{\n",
    }
    for name, content in held.items():
        (folder / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(TextsError) as refused:
        sides_of(parse_vector(line))
    assert problem in str(refused.value)
