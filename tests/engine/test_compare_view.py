"""`compare`: its numbers are those of two sessions that are run one by one, and those of a plain Hugging Face model."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from msgspec.structs import replace

from mechtui.engine.api import Engine, SessionError
from mechtui.engine.errors import ModelError
from mechtui.engine.model import Model
from mechtui.headless.work import items_of
from mechtui.link.messages import Checked
from mechtui.session.document import Session
from mechtui.session.grammar.words import quote
from mechtui.session.storage import save
from mechtui.views import parse_question
from mechtui.views.compare import Compare, CompareAnswer, Compared
from tests.engine.reference import run
from tests.engine.twin import CLOSE, PROMPT, SOURCE, Twin, make_twin, session_of

THIS = ("scale L0H1 x2", "zero L1H0 @-1")
OTHER = ("mean L1.mlp",)


@pytest.fixture(scope="module", params=["gpt2", "llama"])
def twin(request: pytest.FixtureRequest, blocks: str) -> Twin:
    return make_twin(request, blocks)


def answer(engine: Engine, session: Session, question: Compare) -> tuple[CompareAnswer, CompareAnswer | None]:
    clean, edited, more = next(engine.open(session, questions=(question,)).answer(question))
    assert isinstance(clean, CompareAnswer)
    assert edited is None or isinstance(edited, CompareAnswer)
    assert not more
    return clean, edited


def places(answer: CompareAnswer, view: str, what: str) -> list[Compared]:
    return [each for each in answer.numbers if (each.view, each.what) == (view, what)]


def number(answer: CompareAnswer, view: str, what: str) -> Compared:
    return places(answer, view, what)[0]


def test_the_logit_difference_is_that_of_a_plain_model(twin: Twin) -> None:
    texts = [twin.tokenizer.decode([id]) for id in twin.tokens(session_of()).ids]
    target = {"answer": texts[-1], "foil": texts[-2]}
    ids = [twin.text_ids(text, ())[0] for text in target.values()]
    this, other = session_of(*THIS, **target), session_of(*OTHER, prompt=SOURCE, **target)
    clean, edited = answer(twin.engine, this, Compare(other=other))
    assert edited is not None
    for found, edits in ((clean, ((), ())), (edited, (this.edits, other.edits))):
        one = number(found, "next_tokens", "logit difference")
        for said, session, hooks in zip((one.this, one.other), (this, other), edits, strict=True):
            logits, _ = run(twin.plain, twin.tokens(session).ids, hooks)
            assert said == pytest.approx(float(logits[-1, ids[0]] - logits[-1, ids[1]]), abs=2 * CLOSE)


def test_each_tables_largest_differences_are_those_of_the_two_run_one_by_one(gpt2_model: Model) -> None:
    this = session_of(*THIS, views=("attention L1H2",), answer=" Mary", foil=" John")
    other = session_of(*OTHER, prompt=SOURCE, answer=" Mary", foil=" John")
    clean, edited = answer(Engine(gpt2_model), this, Compare(other=other))
    assert edited is not None
    assert clean.positions == edited.positions == len(Engine(gpt2_model).open(this).ids)
    # On engines of their own, so that nothing is shared.
    sides = [Engine(gpt2_model).open(session) for session in (this, other)]
    tables: list[tuple[str, str, str, Callable[[tuple[int, ...]], str]]] = [
        ("attention L1H2", "weight", "table", lambda at: f"@{at[0]}>@{at[1]}"),
        ("residual", "norm", "norm", lambda at: f"{['L0.pre', 'L1.pre', 'L1.post'][at[0]]} @{at[1]}"),
        ("heads entropy", "value", "values", lambda at: f"L{at[0]}H{at[1]}"),
        ("lens", "KL to the final", "kl", lambda at: f"L{at[0]}.post @{at[1]}"),
        ("loss", "loss", "loss", lambda at: f"@{at[0]}"),
    ]
    for view, what, field, place in tables:
        pairs = [list(side.answer(parse_question(view)))[-1][:2] for side in sides]
        for which, found in enumerate((clean, edited)):
            mine, its = (getattr(pair[which], field).astype(float) for pair in pairs)
            far = np.abs(mine - its)
            largest = sorted((float(value) for value in far.flat if value > 0), reverse=True)[:3]
            said = places(found, view, what)
            assert [abs(each.this - each.other) for each in said] == pytest.approx(largest, abs=CLOSE)
            named = {place(at): at for at in np.ndindex(far.shape)}
            for each in said:
                assert each.this == pytest.approx(mine[named[each.where]], abs=CLOSE)
                assert each.other == pytest.approx(its[named[each.where]], abs=CLOSE)


def test_tokens_without_a_partner_are_left_out(gpt2_model: Model) -> None:
    this = session_of(prompt=PROMPT)
    longer = session_of(prompt=f"Well. {PROMPT}")
    clean, edited = answer(Engine(gpt2_model), this, Compare(other=longer))
    assert edited is None
    counts = [len(Engine(gpt2_model).open(session).ids) for session in (this, longer)]
    assert counts[0] < counts[1]
    assert 0 < clean.positions <= counts[0]
    assert number(clean, "loss", "loss").where
    with pytest.raises(SessionError, match="has no partner"):
        answer(Engine(gpt2_model), longer, Compare(other=this, position=1))


def test_a_session_beside_itself_differs_nowhere(gpt2_model: Model) -> None:
    this = session_of(*THIS)
    for found in answer(Engine(gpt2_model), this, Compare(other=this)):
        assert found is not None
        assert found.changes == ()
        assert all(each.this == each.other or np.isnan(each.this) for each in found.numbers)
        assert not any(each.where for each in found.numbers)


def test_a_session_file_is_the_other(gpt2_model: Model, tmp_path: Path) -> None:
    this, other = session_of(*THIS), session_of(*OTHER)
    save(other, tmp_path / "a b.toml")
    line = f'compare "{tmp_path}/a b.toml"'
    by_file = answer(Engine(gpt2_model), this, parse_question(line))  # type: ignore[arg-type]
    by_data = answer(Engine(gpt2_model), this, Compare(other=other))
    for one, two in zip(by_file, by_data, strict=True):
        assert one is not None
        assert two is not None
        assert repr(one.numbers) == repr(two.numbers)
        assert one.changes == two.changes == ("removed mean L1.mlp", "added scale L0H1 x2", "added zero L1H0 @-1")


def test_a_session_without_edits_is_printed_beside_one_with_some(gpt2_model: Model) -> None:
    line = f"compare {quote(str(Path(__file__).with_name('other.toml')))}"
    [item] = items_of([("", session_of())], [line])
    opened = Engine(gpt2_model).open(item.session)
    answered = {question: list(opened.answer(question))[-1][:2] for question in item.asked}
    printed = item.result(gpt2_model.ready, Checked("m"), answered)
    assert list(printed["edited"]) == [line]
    assert "removed scale L0H2 x0.5" in printed["edited"][line]["changes"]
    # The clean runs have no edits, so that what the edit does is the difference between the two answers.
    both = [printed[run][line]["numbers"] for run in ("clean", "edited")]
    assert [each["other"] for each in both[0]] != [each["other"] for each in both[1]]


REFUSED = [
    ("compare", "compare with what"),
    ("compare step 3", "is a state of the app's history"),
    ('compare "there/is/none.toml"', "none.toml"),
    ('compare model "demo@before"', "no second model can be loaded here"),
]


@pytest.mark.parametrize(("line", "why"), REFUSED)
def test_what_cannot_be_compared_is_said(line: str, why: str, gpt2_model: Model) -> None:
    question = parse_question(line)
    assert isinstance(question, Compare)
    with pytest.raises(SessionError, match=why):
        answer(Engine(gpt2_model), session_of(model="demo"), question)


def test_an_other_session_that_means_nothing_here_is_said(gpt2_model: Model) -> None:
    with pytest.raises(SessionError, match=r"step 1 cannot be run here: .*L99"):
        answer(Engine(gpt2_model), session_of(), Compare(step=1, other=session_of("zero L99H0")))


def test_a_second_model_is_loaded_once_and_has_its_own_numbers(gpt2_model: Model, llama_model: Model) -> None:
    asked: list[str] = []

    def load(name: str, cancelled: Callable[[], bool]) -> Model:
        asked.append(name)
        if name != "second":
            raise ModelError("there is none")
        return llama_model

    engine = Engine(gpt2_model, load)
    this = session_of(model="first")
    for _ in range(2):
        clean, _ = answer(engine, this, Compare(model="second"))
    assert asked == ["second"]
    assert clean.changes == ("model first",)
    loss = number(clean, "next_tokens", "logit difference")
    alone = Engine(llama_model).open(replace(this, model="second"))
    *_, (said, _, _) = alone.answer(parse_question("next_tokens"))
    assert loss.other == pytest.approx(said.logit_diff, abs=CLOSE)  # type: ignore[union-attr]
    with pytest.raises(SessionError, match=r"third cannot be loaded beside .*: there is none"):
        answer(engine, this, Compare(model="third"))
