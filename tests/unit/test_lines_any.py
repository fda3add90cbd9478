"""Lines of any text: read, or refused in one sentence; what is read can be written, read again and sent."""

from __future__ import annotations

import sys
from collections.abc import Callable

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from mechtui.link.frames import HEADER, decode_request, encode
from mechtui.link.messages import Ask
from mechtui.session.alignment import NO_PARTNER, align
from mechtui.session.document import Edit, Positions, Session, Vector
from mechtui.session.grammar.edits import format_edit, parse_edit
from mechtui.session.grammar.places import format_positions, format_site, parse_positions, parse_site
from mechtui.session.grammar.vectors import format_vector, parse_vector
from mechtui.session.grammar.words import LineError, named_in
from mechtui.session.storage import dumps, loads
from mechtui.views import parse_question

NUMBERS = (
    *("0", "-0", "7", "007", "999999999999999", "1000000000000000", "9223372036854775808", "9" * 25, "9" * 400),
    *("9" * 5000, "nan", "-nan", "inf", "-inf", "1e999", "1e308", "1e-400", "1_000", "0x10", "٣", "²", "１", "", "-"),
    *("1e5", "1.", ".5", "-1e-7", "+3", "1e", "3.4028235e38", "3.5e38", "1.5.2"),
)
PLAIN = """zero mean scale noise add cut patch resample # L H N L0H0 L3.pre L*H* . @ @all - , > x sd seed raw unit
= v diff pca mean token file columns column a.csv
neuron a#b | * all generate temperature top_p top attention next_tokens heads
cut-path patch-path L0H0>L1H1.q clamp freeze res8F F"""
WORDS = (
    *PLAIN.split(),
    *("sweep", "lens", " ", "  ", '"', '" John"', '"\\ud800"', "\ud800", "\\", "\x1b", "\n", "\0"),
)
NUMBER = st.one_of(st.sampled_from(NUMBERS), st.integers().map(str), st.floats().map(repr))
PIECE = st.one_of(
    NUMBER,
    st.text(max_size=6),
    st.sampled_from(WORDS),
)
LINE = st.lists(PIECE, max_size=12).map("".join) | st.lists(PIECE, max_size=8).map(" ".join)
EDIT = st.tuples(
    st.sampled_from(
        (
            "scale L{}.mlp x{}",
            "noise embed sd{} seed{}",
            "add L{}.pre v x{}",
            "zero L{}H{}",
            "clamp res8F{} x{}",
            "add res-LFF{}-{} x1",
            "cut L0H{} {}>0",
            "cut-path L{}H0>L{}H1.k",
        )
    ),
    NUMBER,
    NUMBER,
).map(lambda parts: parts[0].format(*parts[1:]))


def said(error: LineError) -> None:
    """One sentence, with a caret inside the line, that can be shown and sent."""
    assert error.problem
    assert "Error" not in error.problem
    assert 0 <= error.column <= len(error.line)
    error.shown().encode()


def goes_round(edit: Edit | None = None, vector: Vector | None = None, view: str = "") -> None:
    """A session with it is sent, saved and opened again as it was."""
    session = Session(edits=(edit,) if edit else (), vectors=(vector,) if vector else (), views=(view,) if view else ())
    ask = decode_request(encode(Ask(1, session, ()))[HEADER.size :])
    assert isinstance(ask, Ask)
    assert ask.session == session
    assert loads(dumps(session)) == session


@given(LINE | EDIT)
@example("zero L" + "9" * 5000 + "H0")
@example("noise embed sd1 seed" + "9" * 25)
@example('zero L0H0 @"\\ud800"')
@example("scale L0.mlp x1e999")
def test_any_edit(line: str) -> None:
    try:
        edit = parse_edit(line)
    except LineError as error:
        said(error)
        return
    assert parse_edit(format_edit(edit)) == edit
    goes_round(edit)


@given(
    LINE
    | st.sampled_from(("diff L0.pre", "mean L0.pre file", "pca L0.pre column a.csv", 'pca L0.pre "a" | "b"')).flatmap(
        lambda source: LINE.map(f"v = {source} ".__add__)
    )
    | LINE.map("v = file ".__add__)
    | NUMBER.map("v = neuron L0N".__add__)
    | NUMBER.map("v = feature res-8 ".__add__)
)
@example('v = diff L0.pre "a" "b" @' + "1" * 25)
@example('v = diff L0.pre file a.txt "b c.txt" unit @all')
@example('v = diff L0.pre columns "a.jsonl" "b" c"d @2')
@example('v = pca L0.pre file "a.txt" 2001')
@example('v = pca L0.pre "a" | "b" 2 unit')
@example("v = file \ud800#a")
@example('v = file "a b#c d"')
@example("v = file =#a")
def test_any_vector(line: str) -> None:
    try:
        vector = parse_vector(line)
    except LineError as error:
        said(error)
        return
    assert parse_vector(format_vector(vector)) == vector
    goes_round(vector=vector)


@given(LINE | LINE.map("generate ".__add__) | NUMBER.map("generate 3 temperature".__add__) | EDIT.map("sweep ".__add__))
@example("generate 3 temperatureinf")
@example("generate 3 temperature" + "9" * 400)
@example("generate 3 temperature1e-05")
@example("generate 3 seed" + "9" * 25)
@example("next_tokens @" + "9" * 5000)
@example("generate\tzzz")
def test_any_question(line: str) -> None:
    try:
        question = parse_question(line)
    except LineError as error:
        said(error)
        return
    assert parse_question(question.line()) == question
    decode_request(encode(Ask(1, Session(), (question,)))[HEADER.size :])
    goes_round(view=question.line())


def positions(text: str) -> Positions:
    return parse_positions(text, text, 0)


@given(LINE | NUMBER)
def test_any_positions_and_sites(text: str) -> None:
    for parse, written in ((positions, format_positions), (parse_site, format_site)):
        try:
            parsed = parse(text)  # type: ignore[operator]
        except LineError as error:
            said(error)
        else:
            assert parse(written(parsed)) == parsed  # type: ignore[operator]


@given(LINE | NUMBER | st.tuples(NUMBER, NUMBER, NUMBER, NUMBER).map(lambda four: "{}-{}>{}-{}".format(*four)))
@example("0-999999999999999>0-999999999999999")
def test_any_alignment(how: str) -> None:
    try:
        partners = align(range(5), range(7), how)
    except LineError as error:
        said(error)
    else:
        found = [partner for partner in partners if partner != NO_PARTNER]
        assert len(partners) == 5
        assert set(found) <= set(range(7))
        assert len(found) == len(set(found)), "no source position serves twice"


def steps(parse: Callable[[str], object], line: str) -> int:
    """Lines of our own code that run while `line` is read. What runs inside a regular expression is not counted."""
    count = 0

    def trace(frame: object, event: str, _: object) -> object:
        nonlocal count
        count += event == "line"
        return trace

    sys.settrace(trace)  # type: ignore[arg-type]
    try:
        parse(line)
    except LineError:
        pass
    finally:
        sys.settrace(None)
    return count


@pytest.mark.parametrize(
    ("parse", "begin", "piece"),
    [
        (parse_edit, '"', 'a\\"'),
        (parse_edit, "zero L0H0 @", "3,"),
        (parse_edit, "zero L0H0 @", '"a",'),
        (parse_edit, "cut L0H0 ", '"a",3,'),
        (parse_edit, "zero L0H0 ", "L0H0 "),
        (parse_vector, "v = diff L0.pre ", '"a" "b" | '),
        (parse_question, "generate ", "prompt "),
        (parse_question, "generate ", "x"),
        (lambda how: align(range(5), range(7), how), "", "3>4, "),
    ],
)
def test_a_line_twice_as_long_costs_twice_as_much(parse: Callable[[str], object], begin: str, piece: str) -> None:
    short, long = (steps(parse, begin + piece * count) for count in (500, 1000))
    assert long < 2.2 * short


@pytest.mark.parametrize(
    ("line", "sentence", "place"),
    [
        ("attention L99H9 scores", "gpt2 has no L99H9: its layers are 0 to 11", 10),
        ("next_tokens @999", "There is no position 999: the prompt has 14 tokens.", 12),
        ('circuit L0H1 " zyx w"', "the word of a circuit should be one token, and · zyx w is 3", 13),
        ("write NOVIEW x.csv", "NOVIEW is nothing that can be written", 6),
        ("nowhere", "there is no folder nowhere", 0),
        ("lens kl", "The numbers are of an earlier state", None),
        ("", "nothing stands here", None),
    ],
)
def test_the_word_that_a_sentence_names_is_found(line: str, sentence: str, place: int | None) -> None:
    assert named_in(line, sentence) == place
