"""Files of cases: every text comes back, and everything else is refused in a sentence."""

from __future__ import annotations

import csv
import io
import json
import re
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from mechtui.session.cases import COLUMNS, Case, CasesError, load, parse
from mechtui.session.document import Session

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
# What a universal newline makes another.
IN_CSV = TEXT.map(lambda text: text.replace("\r", ""))


@st.composite
def tables(draw: st.DrawFn) -> tuple[list[str], list[list[str]]]:
    columns = draw(st.lists(st.sampled_from(COLUMNS), min_size=1, unique=True))
    width = len(columns)
    rows = draw(st.lists(st.lists(IN_CSV, min_size=width, max_size=width), min_size=1, max_size=6))
    return columns, rows


def texts(case: Case) -> dict[str, str]:
    return {name: text for name in COLUMNS if (text := getattr(case, name)) is not None}


@given(tables(), st.sampled_from(["", "\ufeff"]))
def test_csv_gives_back_what_was_written(table: tuple[list[str], list[list[str]]], mark: str) -> None:
    columns, rows = table
    file = io.StringIO()
    csv.writer(file, lineterminator="\n").writerows([columns, *rows])
    cases = parse(mark + file.getvalue(), ".csv")
    assert [texts(case) for case in cases] == [
        {key: value for key, value in zip(columns, row, strict=True) if value} for row in rows
    ]


@given(st.lists(st.dictionaries(st.sampled_from(COLUMNS), TEXT | st.none()), min_size=1), st.booleans())
def test_jsonl_gives_back_what_was_written(rows: list[dict[str, str | None]], ascii: bool) -> None:
    text = "\n\n".join(json.dumps(row, ensure_ascii=ascii) for row in rows)
    cases = parse(text, ".jsonl")
    assert [texts(case) for case in cases] == [
        {key: value for key, value in row.items() if value is not None} for row in rows
    ]
    assert [case.line for case in cases] == [1 + 2 * number for number in range(len(rows))]


@given(
    st.text() | st.lists(st.sampled_from(['{"prompt": ', '"', "\n", ",", "prompt", "{", "}", "[", "1"])).map("".join)
)
@example('"\n"')
@example('{"\\n": ""}')
@pytest.mark.parametrize("suffix", [".csv", ".jsonl"])
def test_any_text_is_cases_or_one_sentence(suffix: str, text: str) -> None:
    try:
        said = ""
        assert parse(text, suffix, "a file")
    except CasesError as error:
        said = str(error)
    assert not said or re.match("a file .", said)
    assert "\n" not in said


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("a.csv", "promt,answer\nx,y\n", "a.csv line 1: promt is no column of a case; did you mean prompt?"),
        ("a.csv", "Prompt\nx\n", "Prompt is no column of a case; did you mean prompt?"),
        ("a.csv", "zzz\nx\n", "the columns are prompt, source, answer, foil"),
        ("a.csv", "prompt,\nx,y\n", "an empty name is no column"),
        ("a.csv", "prompt;answer\nx;y\n", "a.csv line 1 separates its columns by semicolons; save it with commas"),
        ("a.csv", '"prompt"\t"foil"\nx\ty\n', "a.csv line 1 separates its columns by tabs; save it with commas"),
        ("a.csv", "prompt,prompt\nx,y\n", "a.csv line 1: prompt stands there twice"),
        ("a.csv", 'prompt,answer\n"x\ny",b\n\nx\n', "a.csv line 5 has 1 fields, and the first line names 2"),
        ("a.csv", 'prompt\nx\n"y', "a.csv line 3 is not CSV: "),
        ("a.csv", "prompt\n", "a.csv holds no case"),
        ("a.csv", "", "a.csv holds no case"),
        ("a.jsonl", '{"prompt": "a"}\n{"anwser": "b"}', "a.jsonl line 2: anwser is no column of a case; did you mean"),
        ("a.jsonl", '{"prompt": "a"', "a.jsonl line 1 is not JSON: "),
        ("a.jsonl", '["a"]', "a.jsonl line 1 is not an object"),
        ("a.jsonl", "[" * 100000, "a.jsonl line 1 is not JSON: it is nested too deeply"),
        ("a.jsonl", '{"prompt": 3}', "a.jsonl line 1: prompt should be text, not a number"),
        ("a.jsonl", '{"prompt": {"a": "b"}}', "prompt should be text, not an object"),
        ("a.jsonl", '{"prompt": ["a"]}', "prompt should be text, not a list"),
        ("a.jsonl", '{"prompt": true}', "prompt should be text, not true or false"),
        ("a.jsonl", '{"prompt": "a", "prompt": "b"}', "a.jsonl line 1: prompt stands there twice"),
        ("a.jsonl", '{"prompt": "ab\\ud800"}', "prompt: character 2 is half of a character"),
        ("a.txt", "x", "a.txt should end in .jsonl or .csv"),
        (
            "a.csv",
            "prompt,@S 2\nx,y\n",
            "a.csv line 1: S 2 cannot be the name of a position, as @S2 is: it is a letter",
        ),
        ("a.csv", "prompt,@end\nx,y\n", "end cannot be the name of a position, as @S2 is: end is taken"),
        ("a.csv", "prompt,@S2\nx,y\n", 'a.csv line 2: @S2: "y" does not stand in its prompt'),
        ("a.csv", "prompt,@S2\nx y,y#2\n", '@S2: "y" does not stand 2 times in its prompt'),
        ("a.csv", "answer,@S2\nx,y\n", "@S2 names words of a prompt, and the case has none of its own"),
    ],
)
def test_what_is_no_cases_file_is_said(name: str, text: str, said: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(CasesError) as error:
        load(str(tmp_path / name))
    assert said in str(error.value)


def test_a_case_names_positions_of_its_prompt(tmp_path: Path) -> None:
    prompt = "John and Mary; John"
    lines = [{"prompt": prompt, "@S2": "John#2", "@IO": "Mary"}, {"prompt": prompt, "@S2": None, "@IO": "and"}]
    texts = {
        "a.csv": f'prompt,@S2,@IO\n"{prompt}",John#2,Mary\n"{prompt}",,and\n',
        "a.jsonl": "\n".join(map(json.dumps, lines)),
    }
    for name, text in texts.items():
        (tmp_path / name).write_text(text)
        one, two = load(str(tmp_path / name))
        assert dict(one.roles) == {"S2": 19, "IO": 13}
        assert dict(two.roles) == {"IO": 8}


def test_a_file_that_cannot_be_read_is_said(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_bytes(b"prompt\n\xff\n")
    for name, said in (("none.csv", "there is no file"), ("a.csv", "is no text: byte 7 is not UTF-8")):
        with pytest.raises(CasesError, match=said):
            load(str(tmp_path / name))


def test_a_case_takes_the_place_of_the_sessions_texts_only() -> None:
    session = Session(model="m", prompt="p", source="s", answer="a", views=("lens",))
    assert Case(3, prompt="q", foil="f").of(session) == Session(
        model="m", prompt="q", source="s", answer="a", foil="f", views=("lens",)
    )
    assert Case(source="").of(session).source == ""
