"""What each bad or odd input gives: one clear sentence and nothing lost, or simply the right tokens."""

from __future__ import annotations

import pytest

from mechtui.engine.api import Engine, SessionError
from mechtui.engine.model import Model
from mechtui.session.document import Session
from mechtui.session.grammar.edits import parse_edit
from mechtui.session.grammar.vectors import parse_vector
from mechtui.session.grammar.words import LineError

GOOD = "When Mary gave John a drink"

REFUSED = {
    "empty prompt": ("", r"the prompt is empty: type some text \(i\), or prepend"),
    "too long": ("a b" * 1700, r"the prompt has [\d,]+ tokens and .*gpt2\S* reads 64: remove [\d,]+ of them"),
    "lone surrogate": ("a\ud800b", r"the prompt holds a lone surrogate \(U\+D800\) at character 1: remove it"),
}


@pytest.mark.parametrize("what", REFUSED)
def test_a_prompt_that_cannot_be_run(what: str, gpt2_model: Model) -> None:
    prompt, sentence = REFUSED[what]
    with pytest.raises(SessionError, match=sentence) as caught:
        Engine(gpt2_model).open(Session(prompt=prompt, bos="no"))
    assert "\n" not in str(caught.value)


ODD = {
    "emoji": "a 😀 family 👩‍👩‍👧",
    "Chinese": "中文字",
    "control characters": "a\x07\x1b[31mb",
    "NUL": "a\0b",
    "newlines": "\n\n",
}


@pytest.mark.parametrize("what", ODD)
def test_an_odd_prompt_is_just_text(what: str, gpt2_model: Model) -> None:
    opened = Engine(gpt2_model).open(Session(prompt=ODD[what], bos="no"))
    data = b"".join(bytes.fromhex(token.hex) if token.hex else token.text.encode() for token in opened.tokens)
    assert data == ODD[what].encode()
    assert opened.clean.logits().isfinite().all()
    assert opened.problems == ()


LINES = {
    "typo in the op": ("zreo L1H1", 0, "did you mean zero?"),
    "typo in the site": ("zero L1X1", 5, "is not a site"),
    "no site": ("zero", 4, "the line ends where a site"),
    "open quote": ('zero L1H1 @" John', 11, "never closed"),
    "no number": ("scale L1H1 0.5", 11, "x and a number"),
    "head and vector": ("add L1H1 v x2", 4, "a steering vector has d_model numbers"),
}


@pytest.mark.parametrize("what", LINES)
def test_a_line_with_a_mistake_says_where(what: str) -> None:
    line, column, problem = LINES[what]
    with pytest.raises(LineError, match=problem) as caught:
        parse_edit(line)
    assert caught.value.column == column
    assert caught.value.shown().splitlines()[-1] == "  " + " " * column + "^"


NOT_HERE = {
    "a head": ("zero L1H4", "{name} has no L1H4: its heads are 0 to 3"),
    "a layer": ("zero L2H0", "{name} has no L2H0: its layers are 0 to 1"),
    "a vector": ("add L1.pre joy x2", "there is no steering vector joy; the session has: sad"),
    "a position": ("zero L1H1 @99", "there is no position 99: the prompt has 6 tokens, 0 to 5"),
    "a token": ('zero L1H1 @" Bob"', 'no token of the prompt is " Bob"'),
    "a source": ("patch L1H1", "patch takes its values from a source prompt, and the session has none"),
}


@pytest.mark.parametrize("what", NOT_HERE)
def test_an_edit_that_does_not_fit_is_named_and_the_others_hold(what: str, gpt2_model: Model) -> None:
    line, sentence = NOT_HERE[what]
    vectors = (parse_vector('sad = token " Mary"'),)
    session = Session(prompt=GOOD, vectors=vectors, edits=(parse_edit("zero L0H0"), parse_edit(line)), bos="no")
    opened = Engine(gpt2_model).open(session)
    named = sentence.format(name=gpt2_model.ready.name)
    assert [(each.index, each.where, each.sentence) for each in opened.problems] == [(1, line, named)]
    alone = Engine(gpt2_model).open(Session(prompt=GOOD, edits=(parse_edit("zero L0H0"),), bos="no"))
    assert opened.edited is not None
    assert alone.edited is not None
    assert opened.edited.logits().equal(alone.edited.logits())


def test_a_foil_of_two_tokens_is_named(gpt2_model: Model) -> None:
    opened = Engine(gpt2_model).open(Session(prompt=GOOD, answer=" Mary", foil=" Mary John"))
    (problem,) = opened.problems
    assert problem.where == "foil"
    assert problem.sentence == 'foil " Mary John" is 2 tokens (" Mary", " John"); a target is one token'


def test_a_foil_that_is_the_answer_is_refused_and_not_used(gpt2_model: Model) -> None:
    opened = Engine(gpt2_model).open(Session(prompt=GOOD, answer=" Mary", foil=" Mary"))
    (problem,) = opened.problems
    assert problem.where == "foil"
    assert "always 0" in problem.sentence
    assert opened.targets[0] is not None
    assert opened.targets[1] is None


def test_a_patch_without_partners_names_them(gpt2_model: Model) -> None:
    edits = (parse_edit("patch L1.pre"),)
    prompt, source = "When Mary gave the big old drink to John", "When Mary gave the drink to John"
    opened = Engine(gpt2_model).open(Session(prompt=prompt, source=source, edits=edits, bos="no"))
    assert opened.alignment == (0, 1, 2, 3, -1, -1, 4, 5, 6)
    assert opened.problems[0].sentence == (
        'tokens 4 " big", 5 " old" have no partner in the source; name positions that have one, as in @0-3,6-8'
    )
