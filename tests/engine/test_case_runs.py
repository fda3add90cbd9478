"""Edits over many prompts: each as a plain model's run of it alone; what cannot be is told, what is known is kept."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from msgspec.structs import replace

from mechtui.engine import batches, case_runs
from mechtui.engine.api import Cancelled, CaseRuns, Engine, SessionError
from mechtui.engine.model import Model
from mechtui.session.document import Session
from mechtui.views import parse_question
from mechtui.views.cases import CasesAnswer
from tests.engine.conftest import load_now, watched
from tests.engine.test_script import exported, run, text_of
from tests.engine.twin import CLOSE, Twin, make_twin, session_of

TO = "went to the {}store, {} gave a drink to"
# Two lengths, one without a source, one without Mary, one whose answer is no token.
CASES: tuple[dict[str, str], ...] = (
    *(
        {
            "prompt": f"When{one} and{two} {TO.format(kind, two.strip())}",
            "source": f"When{one} and{two} {TO.format(kind, one.strip())}",
            "answer": one,
            "foil": two,
        }
        for kind in ("", "big old ")
        for one, two in ((" Mary", " John"), (" John", " Mary"))
    ),
    {"prompt": "When Mary went to the store", "answer": " the", "foil": " a"},
    {"prompt": "When John went to the store", "source": "When John gave to the store", "answer": " the", "foil": " a"},
    {"prompt": "When Mary went", "answer": " Mary Mary", "foil": " a"},
)
VECTORS = ('v = diff L1.pre " Mary" " John"',)
EDITS = ("scale embed @1 x0.5", "zero L0H1 @-1", "noise L0.mlp sd1 seed1", "cut L1H0 -1>0-2", "add L1.pre @-2 v x2")
PATHS = ("cut-path embed>L1H1.q", "cut-path L0H1>L1H0.v @-1", "cut-path L0.attn>L1.mlp")


@pytest.fixture(scope="module", params=["gpt2", "llama"])
def twin(request: pytest.FixtureRequest) -> Twin:
    return make_twin(request)


def cases_in(folder: Path) -> str:
    """The name of a file with these cases."""
    path = folder / "cases.jsonl"
    path.write_text("\n".join(map(json.dumps, CASES)))
    return str(path)


@pytest.fixture
def file(tmp_path: Path) -> str:
    return cases_in(tmp_path)


def over(engine: Engine, session: Session, cancelled: Callable[[], bool] = lambda: False) -> CaseRuns:
    return engine.open(session, cancelled).over_cases()


def filled(engine: Engine, session: Session) -> CaseRuns:
    runs = over(engine, session)
    steps = list(runs.fill())
    assert steps == sorted(steps)
    assert all(done == of for done, of in steps[-1:])
    return runs


def one_by_one(twin: Twin, session: Session, case: dict[str, str], edits: bool) -> float:
    """By a plain model's own run of this prompt alone."""
    alone = replace(session, **{"cases": "", "source": "", **case})
    logits = twin.expected(alone, None if edits else ())[-1]
    answer, foil = (twin.text_ids(case[name], ())[0] for name in ("answer", "foil"))
    return float(logits[answer] - logits[foil])


@pytest.mark.parametrize("edits", [EDITS, PATHS, ("patch L1H0", "patch L0.mlp @-1", "zero L0H0")])
def test_cases_in_batches_are_what_each_is_alone(twin: Twin, file: str, edits: Sequence[str]) -> None:
    session = session_of(*edits, vectors=VECTORS, cases=file)
    runs = filled(twin.engine, session)
    clean, edited = runs.clean(), runs.of_edited()
    for number, case in enumerate(CASES[:-1]):
        assert clean.values[number] == pytest.approx(one_by_one(twin, session, case, edits=False), abs=CLOSE)
        if "patch" in edits[0] and "source" not in case:
            assert "needs" in edited.problems[number] or "source" in edited.problems[number]
            assert np.isnan(edited.values[number])
        else:
            assert not edited.problems[number]
            assert edited.values[number] == pytest.approx(one_by_one(twin, session, case, edits=True), abs=CLOSE)
    assert (abs(edited.values - clean.values)[:4] > 10 * CLOSE).all(), "these edits change nothing"
    assert '" Mary Mary" is 2 tokens' in clean.problems[-1]
    assert np.isnan(clean.values[-1])


def test_edits_that_meet_at_one_place_act_in_their_order_in_every_case(twin: Twin, file: str) -> None:
    """The first at a place that is another in each case of the batch, the second at all."""
    session = session_of('scale L1.pre @" Mary" x3', "add L1.pre v x2", vectors=VECTORS, cases=file)
    edited = filled(twin.engine, session).of_edited()
    for number, case in enumerate(CASES[:4]):
        assert edited.values[number] == pytest.approx(one_by_one(twin, session, case, edits=True), abs=CLOSE)


def test_a_place_that_a_case_lacks_leaves_that_case_out(twin: Twin, file: str) -> None:
    runs = filled(twin.engine, session_of('zero L0H1 @" Mary"', "# zero L9H9", cases=file))
    problems = runs.of_edited().problems
    assert [bool(problem) for problem in problems] == [False] * 5 + [True] * 2
    assert 'no token of the prompt is " Mary"' in problems[5]
    assert not any(runs.clean().problems[:-1])
    *_, (clean, edited, more) = twin.engine.open(session_of('zero L0H1 @" Mary"', cases=file)).answer(
        parse_question("cases")
    )
    assert isinstance(clean, CasesAnswer)
    assert isinstance(edited, CasesAnswer)
    assert not more
    assert (clean.over.n, edited.over.n, edited.left) == (6, 5, 0)
    assert [(each.edit, each.over) for each in clean.alone] == [('zero L0H1 @" Mary"', edited.change)]
    assert edited.change is not None
    assert edited.change.n == 5
    assert edited.change.mean == pytest.approx(float(edited.effect[:5].mean()), abs=1e-5)
    np.testing.assert_allclose(edited.effect[:5], edited.logit_diff[:5] - clean.logit_diff[:5], atol=1e-5)


def test_what_was_run_is_kept_and_stays_out_of_the_way(gpt2_model: Model, file: str) -> None:
    """An edit that is turned off and on again costs nothing, a job that was stopped goes on, and the traces of what is
    on the screen stay."""
    engine = Engine(gpt2_model)
    session = session_of(*EDITS, vectors=VECTORS, cases=file)
    opened = engine.open(session)
    before = [opened.clean.trace, *([] if opened.edited is None else [opened.edited.trace])]
    steps = 0

    def stop() -> bool:
        nonlocal steps
        steps += 1
        return steps > 12

    with pytest.raises(Cancelled):
        list(over(engine, session, stop).fill())
    some = np.isfinite(over(engine, session).clean().values).sum()
    assert 0 < some < 6
    whole = filled(engine, session).of_edited().values
    assert all(any(trace is kept for kept in engine.runner.store) for trace in before)
    with watched(engine.model.bridge.blocks[0].mlp.out, lambda _: pytest.fail("it ran again")):
        off = filled(engine, replace(session, edits=()))
        assert not off.edited
        np.testing.assert_array_equal(filled(engine, session).of_edited().values, whole)
        # What is typed in the prompt is another matter.
        filled(engine, replace(session, prompt="When Mary"))


def test_no_job_loses_numbers_of_its_own_and_older_ones_go(
    gpt2_model: Model, file: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(case_runs, "MOST_KEPT", 3)
    engine = Engine(gpt2_model)
    first = filled(engine, session_of("zero L0H1", cases=file))
    assert np.isfinite(first.clean().values).sum() == np.isfinite(first.of_edited().values).sum() == 6
    assert len(engine.cases.known) == 12
    second = filled(engine, session_of("zero L0H0", cases=file))
    assert np.isfinite(second.clean().values).sum() == np.isfinite(second.of_edited().values).sum() == 6
    assert len(engine.cases.known) == 12


def test_a_job_that_is_stopped_leaves_no_traces(gpt2_model: Model, file: str) -> None:
    engine = Engine(gpt2_model)
    halted: list[bool] = []
    runs = over(engine, session_of("patch L1H0", cases=file), lambda: bool(halted))

    def until_stopped() -> None:
        for _ in runs.fill():
            if len(engine.cases.runner.store):
                halted.append(True)

    with pytest.raises(Cancelled):
        until_stopped()
    assert not len(engine.cases.runner.store)


def test_too_little_memory_halves_the_batch(gpt2_model: Model, file: str, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = filled(Engine(gpt2_model), session_of(cases=file)).clean().values
    true = batches._last_logits

    def short(runner: Any, texts: Sequence[Any], cancelled: Any, given: Any) -> torch.Tensor:
        if len(texts) > 1:
            raise MemoryError
        return true(runner, texts, cancelled, given)

    monkeypatch.setattr(batches, "_last_logits", short)
    np.testing.assert_allclose(filled(Engine(gpt2_model), session_of(cases=file)).clean().values, whole, atol=CLOSE)


@pytest.mark.parametrize("name", ["demo", "attn-only-2l"])
def test_cases_are_made_for_the_models_tokenizer(name: str) -> None:
    engine = Engine(load_now(name))
    for line in ("ioi 12 seed3", "repeat 6", "agreement 6", "greater-than 4"):
        cases = case_runs.cases_of(Session(cases=line), engine.model)
        assert len({case.prompt for case in cases}) == len(cases) == int(line.split()[1])
        lengths = {len(engine.model.encode(case.prompt or "", "no")) for case in cases}
        assert len(lengths) == 1
        for case in cases:
            assert case.answer != case.foil
            assert [len(engine.model.encode(text or "", "no")) for text in (case.answer, case.foil)] == [1, 1]
        assert cases == case_runs.cases_of(Session(cases=line), engine.model)
    assert cases != case_runs.cases_of(Session(cases=f"{line} seed1"), engine.model)


def test_runs_made_together_are_found_by_who_asks_next(gpt2_model: Model) -> None:
    engine = Engine(gpt2_model)
    sessions = [session_of("zero L0H1 @-1", prompt=case["prompt"], source=case["source"]) for case in CASES[:4]]
    opened = [engine.open(session) for session in sessions]
    texts = [(each.ids, edits) for each in opened for edits in ((), each.hook_edits(0) or ())]
    batches.run_ahead(engine.runner, texts, lambda: False)
    with watched(engine.model.bridge.blocks[0].mlp.out, lambda _: pytest.fail("it ran again")):
        got = [[run.logits() for run in (each.clean, each.edited) if run is not None] for each in opened]
    for session, logits in zip(sessions, got, strict=True):
        alone = Engine(gpt2_model).open(session)
        for way, mine in zip((alone.clean, alone.edited), logits, strict=True):
            assert way is not None
            torch.testing.assert_close(mine, way.logits(), atol=CLOSE, rtol=0)


def test_linear_mode_has_no_cases(gpt2_model: Model, file: str) -> None:
    with pytest.raises(SessionError, match="linear mode is that of one prompt"):
        over(Engine(gpt2_model), session_of("zero L0H1", cases=file, linear=True))


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("", "the session names no cases"),
        ("none.jsonl", "there is no file none.jsonl"),
        ("ioi 900", "cannot make cases ioi: no answer and foil"),
    ],
)
def test_cases_that_cannot_be_had_are_said(gpt2_model: Model, line: str, said: str) -> None:
    with pytest.raises(SessionError, match=said):
        over(Engine(gpt2_model), Session(prompt="Mary", cases=line))


def test_the_program_runs_each_case_alone_and_finds_the_same(gpt2_model: Model, file: str) -> None:
    """In TransformerLens's own terms; it compares all numbers by itself."""
    session = session_of(
        "zero L0H1 @-1", cases=file, views=("cases",), model=gpt2_model.ready.name, answer=" Mary", foil=" John"
    )
    program = text_of(exported(gpt2_model, session))
    names = run(program)
    [(_, wanted)] = names["wanted"].items()
    assert len(wanted["logit_diff[]"]) == len(CASES)
    assert wanted["over.n"] == [6] or list(wanted["over.n"]) == [6.0]
    assert "np.random.default_rng(0)" in program
    with pytest.raises(AssertionError, match="logit_diff"):
        run(program.replace("When Mary went to the store", "When Mary went to the big store"))
