"""Lines and templates of cases: read back, kept, and refused in a sentence."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from mechtui.session import case_templates
from mechtui.session.case_templates import built_in, family_of, make
from mechtui.session.cases import Case, CasesError
from mechtui.session.document import Session
from mechtui.session.grammar.cases import MOST, CaseSet, check_cases, format_cases, parse_cases
from mechtui.session.grammar.words import LineError
from mechtui.session.history import History
from mechtui.session.journal import read, written
from mechtui.session.roles import roles_of
from mechtui.session.storage import dumps, loads
from mechtui.session.told import told

names = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
made = st.builds(CaseSet, st.just(""), st.sampled_from(sorted(built_in())), st.integers(1, MOST), st.integers(0, 10**9))
own = st.builds(
    CaseSet, names.map(lambda name: f"{name}.toml"), st.from_regex(r"[a-z-]{1,8}", fullmatch=True), st.integers(1, MOST)
)
files = st.builds(CaseSet, st.tuples(names, st.sampled_from([".csv", ".jsonl"])).map("".join))


@given(made | own | files)
def test_a_line_reads_back(cases: CaseSet) -> None:
    line = format_cases(cases)
    assert parse_cases(line) == cases
    session = Session(cases=check_cases(line))
    assert loads(dumps(session)).cases == line


def mistake(line: str) -> LineError | None:
    try:
        parse_cases(line)
    except LineError as error:
        return error
    return None


@given(st.text() | st.lists(st.sampled_from(["ioi", "64", "seed1", '"a.csv"', "m.toml", '"', "0", "@"])).map(" ".join))
def test_any_line_is_cases_or_one_sentence(line: str) -> None:
    error = mistake(line)
    if error is None:
        assert parse_cases(format_cases(parse_cases(line))) == parse_cases(line)
    else:
        assert error.problem
        assert "\n" not in error.problem
        assert 0 <= error.column <= len(line)


@pytest.mark.parametrize(
    ("line", "said", "column"),
    [
        ("iox 4", "did you mean ioi?", 0),
        ("ioi 0", "1 to 1,000", 4),
        ("ioi 5 6", "a count stands there already", 6),
        ("ioi many", "as in ioi 64 seed1", 4),
        ("a.csv 3", "nothing more is expected", 6),
        ("prompts.txt", "should end in .jsonl or .csv", 0),
    ],
)
def test_mistakes_say_where(line: str, said: str, column: int) -> None:
    with pytest.raises(LineError) as error:
        parse_cases(line)
    assert said in error.value.problem
    assert error.value.column == column


def test_cases_are_undone_kept_and_told() -> None:
    history = History(Session(prompt="Mary"))
    history.change(replace(history.present, cases="ioi 64"))
    history.change(replace(history.present, cases="ioi 32 seed1"))
    kept = read(written(None, history.tree))
    assert kept is not None
    assert kept.step.session.cases == "ioi 32 seed1"
    assert told(Session(), Session(cases="ioi 64")) == ("cases ioi 64",)
    history.undo()
    assert history.present.cases == "ioi 64"


def test_a_case_without_a_source_has_none() -> None:
    session = Session(prompt="A", source="B", answer=" x", foil=" y", cases="ioi 4")
    assert Case(prompt="C").alone(session) == Session(prompt="C", answer=" x", foil=" y")
    assert Case(answer=" z").alone(session) == Session(prompt="A", source="B", answer=" z", foil=" y")


def by_words(text: str) -> list[str]:
    """A tokenizer of words; longer ones than five letters are two tokens."""
    return [piece for word in text.split() for piece in ([word] if len(word) < 6 else [word[:5], word[5:]])]


TEMPLATES = """
[mine]
about = "which of two"
[[mine.forms]]
prompt = "{name1} sees {name2} and {pair.0} {pair.1}"
answer = " {name1}"
foil = " {name2}"
[mine.words]
name = ["Ann", "Bob", "Cid", "Dan", "Elizabeth"]
pair = [["a", "b"], ["c", "d"]]
"""


def test_templates_of_ones_own(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(TEMPLATES)
    cases = make(family_of("mine", str(path)), "mine", 10, 1, by_words, "words")
    for case in cases:
        one, two = (case.answer or "").strip(), (case.foil or "").strip()
        assert one != two
        assert case.prompt in (f"{one} sees {two} and a b", f"{one} sees {two} and c d")
    # What a tokenizer cuts in two is passed over, so that all are alike.
    assert not any("Elizabeth" in (case.prompt or "") for case in cases)
    with pytest.raises(CasesError, match=r"mine makes 2\d different cases for the tokenizer of words, and 99 are"):
        make(family_of("mine", str(path)), "mine", 99, 1, by_words, "words")
    with pytest.raises(CasesError, match="the tokenizer of words cannot make cases mine"):
        make(family_of("mine", str(path)), "mine", 1, 1, lambda text: text, "words")
    with pytest.raises(CasesError, match="has no family yours; it has mine"):
        family_of("yours", str(path))


def test_a_form_names_positions_by_their_slots() -> None:
    text = TEMPLATES.replace("{name2} and", "{name2}, {name2} and").replace(
        "[mine.words]", 'roles = { S = "{name2}#2", IO = "{name1}" }\n[mine.words]'
    )
    [case] = make(case_templates.parse(text, "mine.toml")["mine"], "mine", 1, 1, by_words, "words")
    assert case.prompt is not None
    ends = {name: case.prompt[:end] for name, end in case.roles}
    one, two = (case.answer or "").strip(), (case.foil or "").strip()
    assert ends == {
        "IO": one,
        "name2": f"{one} sees {two}",
        "S": f"{one} sees {two}, {two}",
        "pair": case.prompt.rpartition(" ")[0],
        "pair_2": case.prompt,
    }
    assert [role.name for role in roles_of([case])] == ["IO", "name2", "S", "pair", "pair_2", "end"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("mine = 1", "expected `?object`?, got `?int"),
        ("[mine]\nforms = []\nwords = {}", "mine has no form"),
        (TEMPLATES.replace("{pair.1}", "{pair.2}"), r"\{pair.2\} names a column that some words of pair have not"),
        (
            TEMPLATES.replace("{pair.1}", "{other}"),
            r"\{other\} names a list that is not there; its lists are name",
        ),
        (TEMPLATES.replace("about", "abuot"), "abuot"),
        ("[mine", "is not TOML"),
        (
            TEMPLATES.replace("[mine.words]", 'roles = { S = "{name2}#2" }\n[mine.words]'),
            r"mine: S names \{name2\}#2, which its prompt has not",
        ),
        (
            TEMPLATES.replace("[mine.words]", 'roles = { end = "{name2}" }\n[mine.words]'),
            "end cannot be the name of a position",
        ),
    ],
)
def test_what_is_no_file_of_templates_is_said(text: str, said: str) -> None:
    with pytest.raises(CasesError, match=said) as error:
        case_templates.parse(text, "mine.toml")
    assert str(error.value).startswith("mine.toml")
    assert "\n" not in str(error.value)
