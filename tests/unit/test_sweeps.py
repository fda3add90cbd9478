"""Sweeps that are kept: added, found again, told apart from what is now, and written to the session's file."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from mechtui.session.cases import Case
from mechtui.session.document import Edit, OverCases, Session, Swept
from mechtui.session.grammar.edits import parse_edit
from mechtui.session.grammar.vectors import parse_vector
from mechtui.session.grammar.words import LineError
from mechtui.session.rewriting import rewritten
from mechtui.session.storage import StorageError, dumps, loads
from mechtui.session.sweeps import (
    MOST,
    MOST_CELLS,
    add,
    changed,
    made_of,
    of_heads,
    of_now,
    of_texts,
    older,
    told,
)

ZERO, PATCH, ADD = (parse_edit(line) for line in ("zero L*H*", "patch L*.pre", "add L*.pre v x5"))
SESSION = Session(
    model="smollm2",
    prompt="When Mary and John went",
    source="When Mary and Mary went",
    answer=" Mary",
    foil=" John",
    vectors=(parse_vector('v = diff L6.pre "Love" "Hate"'), parse_vector("w = neuron L5N11")),
    edits=(parse_edit("zero L9H9"), parse_edit("# scale L1H1 x2")),
    views=("heads norm",),
    references=("one", "two"),
)


def swept(session: Session = SESSION, edit: Edit = ZERO, clean: bool = False, size: tuple[int, int] = (2, 3)) -> Swept:
    rows, columns = size
    values = tuple(tuple(None if r == c == 1 else r - c / 8 for c in range(columns)) for r in range(rows))
    return Swept(
        edit,
        made_of(session, edit, clean),
        tuple(f"L{r}" for r in range(rows)),
        tuple(f"H{c}" for c in range(columns)),
        "logit_diff",
        values,
        rows * columns,
        6.1196,
    )


def test_what_a_sweep_is_made_of_is_what_decides_its_numbers() -> None:
    of = made_of(SESSION, ZERO)
    assert (of.model, of.prompt, of.answer, of.foil) == ("smollm2", "When Mary and John went", " Mary", " John")
    assert (of.source, of.references, of.vectors, of.views, of.sweeps) == ("", (), (), (), ())
    assert of.edits == (parse_edit("zero L9H9"),)
    assert made_of(SESSION, ZERO, clean=True).edits == ()
    assert made_of(SESSION, PATCH).source == SESSION.source
    assert made_of(SESSION, ADD).vectors == SESSION.vectors[:1]
    assert made_of(SESSION, parse_edit("mean L*H*")).references == ("one", "two")
    # A source matters, too, where an edit that is on takes from it.
    assert made_of(replace(SESSION, edits=(PATCH,)), ZERO).source == SESSION.source


def test_a_sweep_is_found_for_the_session_that_it_is_of() -> None:
    mine, bare = swept(), swept(clean=True)
    sweeps = add(add((), bare), mine)
    assert of_now(sweeps, SESSION, ZERO) is mine
    assert of_now(sweeps, SESSION, ZERO, clean=True) is bare
    assert of_now(sweeps, replace(SESSION, views=(), source="other"), ZERO) is mine
    without = replace(SESSION, edits=SESSION.edits[1:])
    assert of_now(sweeps, without, ZERO) is bare
    assert of_now(sweeps, SESSION, PATCH) is None
    assert older(sweeps, without, ZERO) == (mine,)
    assert older(sweeps, replace(SESSION, prompt="x"), ZERO) == (mine, bare)


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"prompt": "x"}, ("prompt",)),
        ({"answer": " John", "foil": " Mary"}, ("target",)),
        ({"edits": ()}, ("edits",)),
        ({"model": "gpt2", "bos": "no"}, ("model", "prompt")),
        ({"source": "x", "views": (), "vectors": ()}, ()),
        ({"edits": (parse_edit("zero L9H9"), parse_edit("zero L1H1"))}, ("edits",)),
    ],
)
def test_what_has_changed_since_is_named(change: dict[str, object], named: tuple[str, ...]) -> None:
    assert changed(swept(), replace(SESSION, **change)) == named
    assert changed(swept(edit=PATCH), replace(SESSION, source="x")) == ("source",)


CASES = (Case(1, "a", None, " x", " y", (("S2", 1),)), Case(2, "b", None, " x", " z"))
ROWS = ((1.5, None, -0.25),)


def over_cases(session: Session = SESSION, cases: tuple[Case, ...] = CASES) -> Swept:
    session = replace(session, cases="ioi 2")
    edit = parse_edit("patch L*.pre")
    of = of_texts(made_of(session, edit, over=True), cases)
    over = OverCases(2, told(cases), *(ROWS,) * 4, ((2.0, 0.0, 1.0),), 1, "it has no source")
    return Swept(edit, of, ("L0",), ("@IO", '@" to"#2', "@-1"), "logit_diff", ROWS, 2, 6.0, -3.0, over)


def test_a_sweep_over_cases_is_written_and_read_and_told_from_one_of_the_prompt() -> None:
    mine, alone = over_cases(), replace(swept(edit=PATCH), columns=("@0", "@1", "@2"))
    session = replace(SESSION, cases="ioi 2", sweeps=(alone, mine))
    assert loads(dumps(session)) == session
    assert rewritten(session, dumps(replace(session, sweeps=(mine,)))).count("[sweeps.over]") == 1
    assert of_now(session.sweeps, session, PATCH, over=True) is mine
    assert of_now(session.sweeps, session, PATCH) is alone
    assert older(session.sweeps, session, PATCH, over=True) == older(session.sweeps, session, PATCH) == ()
    assert of_heads((replace(mine, edit=ZERO),), session, 1, 3) is None


def test_a_sweep_over_cases_is_old_when_they_change_and_not_when_the_prompt_does() -> None:
    now = replace(SESSION, cases="ioi 2")
    for other in ({"prompt": "x"}, {"source": "x"}, {"answer": "x"}, {"align": "0>1"}):
        assert changed(over_cases(), replace(now, **other)) == (), "every case has its own"
    assert changed(over_cases(), replace(now, cases="ioi 3")) == ("cases",)
    assert changed(over_cases(), replace(now, edits=(), model="x")) == ("model", "edits")
    some = (*CASES, Case(3, "c", None, None, " y"))
    assert changed(over_cases(cases=some), replace(now, answer="x")) == ("target",)
    assert told(CASES) != told(CASES[:1])
    assert told(CASES) == told(tuple(replace(case, line=9) for case in CASES))


@pytest.mark.parametrize(
    ("before", "after", "why"),
    [
        ('cases = "ioi 2"\n', "", "a sweep over cases has both, cases and a table over"),
        ("share = [\n    [1.5, nan, -0.25],\n]", "share = []", r"over\.share: 1 rows of 3 numbers are expected"),
        ('"@IO"', '"@I O"', "columns @0, @1, and so on"),
        ("count = 2", "count = 0", r"over\.count: expected int >= 1"),
        ("[0.0, 2.0", "[inf, 2.0", "a number is infinite"),
    ],
)
def test_a_table_over_cases_that_does_not_hold_together_is_refused(before: str, after: str, why: str) -> None:
    good = dumps(Session(sweeps=(over_cases(),))).replace("n = [\n    [2.0, 0.0", "n = [\n    [0.0, 2.0")
    assert loads(good).sweeps
    assert before in good
    with pytest.raises(StorageError, match=why):
        loads(good.replace(before, after))


def test_the_same_again_takes_the_place_of_the_earlier_one() -> None:
    first = swept()
    again = replace(first, runs=5, values=tuple((None,) * 3 for _ in range(2)))
    assert add(add((), first), again) == (again,)
    other = swept(replace(SESSION, prompt="x"))
    assert add((first, other), again) == (other, again)


def test_the_oldest_go_where_there_are_too_many() -> None:
    sweeps: tuple[Swept, ...] = ()
    for number in range(MOST + 3):
        sweeps = add(sweeps, swept(replace(SESSION, prompt=str(number))))
    assert [each.of.prompt for each in sweeps] == [str(number) for number in range(3, MOST + 3)]
    large = swept(replace(SESSION, prompt="large"), size=(100, MOST_CELLS // 100))
    assert add(sweeps, large) == (large,)
    assert loads(dumps(replace(SESSION, sweeps=(large,)))).sweeps == (large,)


numbers = st.none() | st.floats(-1e30, 1e30, allow_nan=False)


@given(
    st.lists(st.lists(numbers, min_size=3, max_size=3), min_size=1, max_size=4),
    st.booleans(),
    st.text(st.characters(exclude_categories=["Cs"]), max_size=20),
)
def test_what_is_written_is_read(values: list[list[float | None]], clean: bool, prompt: str) -> None:
    session = replace(SESSION, prompt=prompt)
    one = swept(session, clean=clean, size=(len(values), 3))
    one = replace(one, values=tuple(map(tuple, values)))
    two = replace(swept(session, PATCH), columns=("@0", "@1", "@2"), metric="normalised", source_baseline=-1.5, runs=5)
    whole = replace(session, sweeps=(one, two))
    assert loads(dumps(whole)) == whole
    assert loads(dumps(replace(whole, sweeps=()))) == session


GOOD = dumps(Session(prompt="x", sweeps=(swept(Session(prompt="x")),)))


@pytest.mark.parametrize(
    ("before", "after", "why"),
    [
        ("runs = 6", "runs = 4", r"sweeps\[0\]\.runs: 4 cannot be, with 5 numbers in 6 cells"),
        ("runs = 6", "runs = 7", r"sweeps\[0\]\.runs: 7 cannot be"),
        ("runs = 6", 'runs = "6"', r"sweeps\[0\]\.runs: expected int, got str"),
        ("runs = 6\n", "", r"sweeps\[0\]: object missing required field runs"),
        ("-0.125", "inf", r"sweeps\[0\]: a number is infinite"),
        ("-0.125", "true", r"sweeps\[0\]\.values\[0\]\[1\]: expected float, got bool"),
        ("-0.125, ", "", r"sweeps\[0\]\.values: 2 rows of 3 numbers are expected"),
        ('rows = ["L0", "L1"]', 'rows = ["L0", "\\u001b[2J"]', "rows are named L0, L1"),
        ("baseline = 6.1196", "baseline = nan", "a number is infinite"),
        ('"logit_diff"', '"loss"', r"sweeps\[0\]\.metric: invalid enum value 'loss'"),
        ("runs = 6", "runs = 6\ncode = 1", r"sweeps\[0\]: code is no key of a sweep; "),
        ('sweep = "zero L*H*"', 'sweep = "zero L1N3"', "goes over heads, layers or"),
    ],
)
def test_a_table_that_does_not_hold_together_is_refused(before: str, after: str, why: str) -> None:
    assert loads(GOOD).sweeps
    assert before in GOOD
    with pytest.raises(StorageError, match=why) as caught:
        loads(GOOD.replace(before, after), "a.toml")
    assert str(caught.value).startswith("a.toml: ")
    assert "\n" not in str(caught.value)


def test_a_line_in_a_table_that_means_nothing_is_shown() -> None:
    with pytest.raises(LineError, match="is not an operation"):
        loads(GOOD.replace('"zero L*H*"', '"explode L*H*"'))


def test_too_much_is_refused() -> None:
    one = swept(Session(), size=(1, 1))
    many = dumps(Session(sweeps=tuple(replace(one, of=Session(prompt=str(n))) for n in range(MOST + 1))))
    with pytest.raises(StorageError, match=f"there are {MOST + 1} sweeps, and {MOST} is the most"):
        loads(many)
    large = swept(Session(), size=(MOST_CELLS // 200 + 1, 200))
    with pytest.raises(StorageError, match="cells, and 40,000 is the most"):
        loads(dumps(Session(sweeps=(large,))))
    with pytest.raises(StorageError, match=r"sweeps are tables"):
        loads("sweeps = 3\nmechtui = 1")


def test_huge_whole_numbers_are_numbers() -> None:
    text = GOOD.replace("-0.125", "1" + "0" * 400)
    with pytest.raises(StorageError):
        loads(text)


def test_a_file_without_sweeps_has_no_word_of_them() -> None:
    assert "sweep" not in dumps(SESSION)


def test_a_sweep_over_features_is_written_and_read() -> None:
    edit = parse_edit("zero res2F* @-1")
    rows = ((0.5, None, -1.25),)
    mine = Swept(edit, made_of(SESSION, edit), ("res2",), ("F3", "F12", "F131071"), "logit_diff", rows, 3, 6.0)
    session = replace(SESSION, sweeps=(mine,))
    text = dumps(session)
    assert loads(text) == session
    for wrong, why in {
        'rows = ["res2"]': 'rows = ["L2"]',
        '"F131071"': '"H7"',
    }.items():
        assert wrong in text
        with pytest.raises(StorageError, match=r"sweeps\[0\]"):
            loads(text.replace(wrong, why))
