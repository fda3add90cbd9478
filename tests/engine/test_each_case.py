"""A question over the cases: each case's numbers are a plain model's of it alone; jobs keep what they have."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from msgspec.structs import replace

from mechtui.engine.api import CLEAN, EDITED, Cancelled, Engine, SessionError
from mechtui.engine.each_case import Memory
from mechtui.engine.model import Model
from mechtui.evidence import summary
from mechtui.session.document import Session
from mechtui.session.grammar.edits import format_edit
from mechtui.views import parse_question
from mechtui.views.attribution import AttributionAnswer
from mechtui.views.dose import DoseAnswer
from mechtui.views.heads import HeadsAnswer
from mechtui.views.sweep import Sweep, SweepAnswer
from tests.engine.conftest import watched
from tests.engine.test_case_runs import CASES, VECTORS, cases_in, one_by_one
from tests.engine.test_script import exported, run, text_of
from tests.engine.twin import CLOSE, Twin, make_twin, session_of


@pytest.fixture(scope="module", params=["gpt2", "llama"])
def twin(request: pytest.FixtureRequest) -> Twin:
    return make_twin(request)


@pytest.fixture
def file(tmp_path: Path) -> str:
    return cases_in(tmp_path)


def last(
    engine: Engine, session: Session, line: str, cancelled: Callable[[], bool] = lambda: False
) -> tuple[SweepAnswer, SweepAnswer | None]:
    *_, (clean, edited, more) = engine.open(session, cancelled).answer(parse_question(line))
    assert not more
    assert isinstance(clean, SweepAnswer)
    assert edited is None or isinstance(edited, SweepAnswer)
    return clean, edited


@pytest.mark.parametrize("line", ["sweep zero L*H* @-1 over cases", "sweep patch L1H* over cases"])
def test_a_sweep_over_the_cases_is_the_mean_of_plain_runs_one_by_one(twin: Twin, file: str, line: str) -> None:
    question = parse_question(line)
    assert isinstance(question, Sweep)
    session = session_of("scale L0.mlp x0.5", vectors=VECTORS, cases=file)
    clean, edited = last(twin.engine, session, line)
    assert edited is not None
    for answer, on in ((clean, ()), (edited, ("scale L0.mlp x0.5",))):
        over = answer.over
        assert over is not None
        assert '" Mary Mary" is 2 tokens' in over.problems[-1]
        for number, case in enumerate(CASES[:-1]):
            if question.edit.op == "patch" and "source" not in case:
                assert over.problems[number]
                assert np.isnan(over.each[number]).all()
                continue
            base = one_by_one(twin, session_of(*on), case, edits=True)
            for row, layer in enumerate(answer.rows):
                for column in range(0, len(answer.columns), 2):
                    cell = format_edit(question.cell(int(layer[1:]), column))
                    now = one_by_one(twin, session_of(*on, cell), case, edits=True)
                    assert over.each[number, row, column] == pytest.approx(now - base, abs=CLOSE)
        said = over.at(answer.values, (0, 0))
        expected = summary(over.each[:, 0, 0])
        assert (
            said.n
            == expected.n
            == len(CASES) - 1 - over.problems[:-1].count("") * 0 - sum(map(bool, over.problems[:-1]))
        )
        for name in ("mean", "low", "high", "sd", "share"):
            assert getattr(said, name) == pytest.approx(getattr(expected, name), abs=CLOSE)
        assert (np.abs(answer.values) > 10 * CLOSE).any(), "this sweep changes nothing"
    assert not np.allclose(clean.values, edited.values)


def test_heads_over_the_cases_are_means_of_a_plain_models_patterns(twin: Twin, file: str) -> None:
    session = session_of("scale L0.mlp x0.5", cases=file)
    *_, (clean, edited, _) = twin.engine.open(session).answer(parse_question("heads entropy over cases"))
    assert isinstance(clean, HeadsAnswer)
    assert isinstance(edited, HeadsAnswer)
    assert clean.over is not None
    each = []
    for case in CASES[:-1]:
        ids = twin.tokens(replace(session, **{"cases": "", "source": "", **case})).ids
        with torch.no_grad():
            said = twin.plain(torch.tensor([ids]), output_attentions=True)
        rows = torch.stack([layer[0, :, -1] for layer in said.attentions])
        each.append(torch.special.entr(rows).sum(-1).numpy())
    np.testing.assert_allclose(clean.over.each[:-1], each, atol=CLOSE)
    assert np.isnan(clean.over.each[-1]).all()
    np.testing.assert_allclose(clean.values, np.mean(each, axis=0), atol=CLOSE)
    assert np.abs(edited.values[1:] - clean.values[1:]).max() > 10 * CLOSE
    np.testing.assert_allclose(edited.values[0], clean.values[0], atol=1e-6)


def test_attribution_over_the_cases_adds_up_to_a_plain_models_mean_difference(twin: Twin, file: str) -> None:
    session = session_of("scale L0.mlp x0.5", cases=file)
    *_, (clean, edited, _) = twin.engine.open(session).answer(parse_question("attribution over cases"))
    for answer, on in ((clean, ()), (edited, ("scale L0.mlp x0.5",))):
        assert isinstance(answer, AttributionAnswer)
        assert answer.over is not None
        names = answer.writes()
        difference = []
        for number, case in enumerate(CASES[:-1]):
            said = one_by_one(twin, session_of(*on), case, edits=True)
            row = answer.over.each[number]
            assert row[names.index("total")] == pytest.approx(said, abs=1e-3)
            assert np.nansum(row[:-1]) == pytest.approx(said, abs=2e-3)
            alone = replace(session, **{"cases": "", "source": "", **case})
            [(first, second, _)] = Engine(twin.engine.model).open(alone).answer(parse_question("attribution"))
            own = second if on else first
            assert isinstance(own, AttributionAnswer)
            np.testing.assert_allclose(row, own.means, atol=CLOSE)
            difference.append(said)
        assert answer.total == pytest.approx(np.mean(difference), abs=1e-3)
        np.testing.assert_allclose(answer.means, np.nanmean(answer.over.each, axis=0), atol=1e-5)


def test_a_dose_over_the_cases_is_the_mean_of_plain_runs_one_by_one(twin: Twin, file: str) -> None:
    """Alone, and between the edits that stand before and behind it."""
    session = session_of("scale L0.mlp x0.5", "scale L1H1 x0.5", "add L1.pre v x2", vectors=VECTORS, cases=file)
    *_, (clean, edited, _) = twin.engine.open(session).answer(parse_question("dose scale L1H1 0..2 step1 over cases"))
    for answer, before, after in ((clean, (), ()), (edited, ("scale L0.mlp x0.5",), ("add L1.pre v x2",))):
        assert isinstance(answer, DoseAnswer)
        assert answer.over is not None
        for number, case in enumerate(CASES[:-1]):
            for column, factor in enumerate(answer.numbers):
                alone = session_of(*before, f"scale L1H1 x{factor:g}", *after, vectors=VECTORS)
                said = one_by_one(twin, alone, case, edits=True)
                assert answer.over.each[number, 0, column] == pytest.approx(said, abs=CLOSE)
        np.testing.assert_allclose(answer.logit_diff, np.nanmean(answer.over.each, axis=0), atol=1e-5)
        assert np.ptp(answer.logit_diff) > 10 * CLOSE
    assert isinstance(clean, DoseAnswer)
    assert clean.kl[0, 1] == pytest.approx(0, abs=1e-6)
    assert clean.kl[0, 0] > 0


def test_layers_are_swept_at_what_each_case_names(twin: Twin, tmp_path: Path) -> None:
    """The same words stand at other positions in other cases; one has no such word, another none that is a token."""
    named = [{**case, "@S2": f"{case['foil'].strip()}#2"} for case in CASES[:4:2]]
    named += [dict(CASES[5]), {**CASES[5], "@S2": "Joh"}]
    (tmp_path / "named.jsonl").write_text("\n".join(map(json.dumps, named)))
    session = session_of("scale L0.mlp @-1 x0.5", cases=str(tmp_path / "named.jsonl"))
    clean, edited = last(twin.engine, session, "sweep patch L*.pre @* over cases")
    assert clean.columns == ("@S2", "@end")
    assert edited is not None
    for answer, on in ((clean, ()), (edited, ("scale L0.mlp @-1 x0.5",))):
        assert answer.over is not None
        for number, case in enumerate(named):
            alone = {name: text for name, text in case.items() if not name.startswith("@")}
            bos = twin.tokens(session_of(prompt=case["prompt"])).bos
            ids = twin.text_ids(case["prompt"], bos)
            before = case["prompt"].rpartition(case.get("@S2", "").partition("#")[0] or " ")[0].rstrip()
            base = one_by_one(twin, session_of(*on), alone, edits=True)
            places = {"@S2": len(twin.text_ids(before, bos)) if number < 2 else None, "@end": len(ids) - 1}
            for row, column in np.ndindex(*answer.values.shape):
                at = places[answer.columns[column]]
                said = answer.over.each[number, row, column]
                if at is None:
                    assert np.isnan(said)
                    continue
                cell = f"patch {answer.rows[row]}.pre @{at}"
                now = one_by_one(twin, session_of(*on, cell), alone, edits=True)
                assert said == pytest.approx(now - base, abs=CLOSE)
        assert answer.over.n[:, 0].max() == 2
        assert np.ptp(answer.values[:, 0]) > 10 * CLOSE
    both = last(twin.engine, session, "sweep patch L*H* @S2 over cases")[0]
    heads = last(twin.engine, session, "sweep patch L*H* over cases")[0]
    assert both.over is not None
    assert heads.over is not None
    assert np.isfinite(both.over.each[:2]).all()
    assert np.abs(both.over.each[:2] - heads.over.each[:2]).max() > 10 * CLOSE


def test_estimates_over_the_cases_are_the_mean_of_each_cases_own(gpt2_model: Model, file: str) -> None:
    engine = Engine(gpt2_model)
    session = session_of(cases=file)
    answer, _ = last(engine, session, "sweep zero L*H* estimate over cases")
    each = []
    for case in CASES[:-1]:
        alone = replace(session, **{"cases": "", "source": "", **case})
        each.append(last(Engine(gpt2_model), alone, "sweep zero L*H* estimate")[0].estimates)
    assert answer.estimates is not None
    np.testing.assert_allclose(answer.estimates, np.mean(each, axis=0), atol=1e-5)
    assert np.isnan(answer.values).all()


def test_a_job_that_was_stopped_goes_on_and_takes_no_trace_from_the_screen(gpt2_model: Model, file: str) -> None:
    engine = Engine(gpt2_model)
    line = "sweep zero L*H* over cases"
    session = session_of("zero L0H1", cases=file)
    opened = engine.open(session)
    assert opened.edited is not None
    before = [opened.clean.trace, opened.edited.trace]
    steps = 0

    def stop() -> bool:
        nonlocal steps
        steps += 1
        return steps > 40

    parts: list[SweepAnswer] = []

    def until_stopped() -> None:
        for clean, _, more in engine.open(session, stop).answer(parse_question(line)):
            assert isinstance(clean, SweepAnswer)
            assert more
            parts.append(clean)

    with pytest.raises(Cancelled):
        until_stopped()
    [*_, part] = parts
    assert part.over is not None
    assert 0 < part.over.n.max() < 6
    assert not part.over.each.size
    assert part.left is not None
    assert 0 < part.left.done < part.left.runs
    whole = last(engine, session, line)
    assert all(any(trace is kept for kept in engine.runner.store) for trace in before)
    assert not len(engine.aside.runner.store), "no trace stays when all is known"
    again = Engine(gpt2_model)
    np.testing.assert_allclose(whole[0].values, last(again, session, line)[0].values, atol=1e-5)
    with watched(engine.model.bridge.blocks[0].mlp.out, lambda _: pytest.fail("it ran again")):
        off = last(engine, replace(session, edits=()), line)
        np.testing.assert_array_equal(off[0].values, whole[0].values)
        both = last(engine, session, line)
        assert both[1] is not None
        assert whole[1] is not None
        np.testing.assert_array_equal(both[1].values, whole[1].values)


def test_the_oldest_numbers_go_where_they_are_too_many(gpt2_model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mechtui.engine.each_case.MOST_NUMBERS", 10)
    memory = Memory(Engine(gpt2_model).runner)
    keys = [(Sweep(), Session(prompt=str(number)), (), ()) for number in range(4)]
    for key in keys:
        memory.put(key, {"values": np.zeros(4, dtype=np.float32)})
    assert [memory.get(key) is None for key in keys] == [True, True, False, False]


@pytest.mark.parametrize(
    ("edits", "more", "said"),
    [
        (("zero L0H1 @3",), {}, "zero L0H1 @3: position 3 is another word in another prompt"),
        (("cut L0H1 -1>2",), {}, "position 2 is another word in another prompt"),
        ((), {"linear": True}, "linear mode is that of one prompt"),
        ((), {"cases": ""}, "the session names no cases"),
    ],
)
def test_what_cannot_be_taken_over_cases_is_refused(
    gpt2_model: Model, file: str, edits: tuple[str, ...], more: dict[str, object], said: str
) -> None:
    session = session_of(*edits, **{"cases": file, **more})
    with pytest.raises(SessionError, match=re.escape(said)):
        last(Engine(gpt2_model), session, "sweep zero L*H* over cases")
    if edits:
        off = replace(session, edits=tuple(replace(edit, on=False) for edit in session.edits))
        assert last(Engine(gpt2_model), off, "sweep zero L0H0 over cases")[0].over is not None


def test_cases_without_a_source_are_no_cases_of_a_patch(gpt2_model: Model, tmp_path: Path) -> None:
    path = tmp_path / "cases.csv"
    path.write_text('prompt,answer,foil\n"When Mary"," Mary"," John"\n')
    with pytest.raises(SessionError, match=r"no case says anything to this: .*source"):
        last(Engine(gpt2_model), session_of(cases=str(path)), "sweep patch L*H* over cases")


def test_the_plan_says_how_many_runs_and_computes_no_cell(gpt2_model: Model, file: str) -> None:
    engine = Engine(gpt2_model)
    session = session_of("zero L0H1", cases=file)
    clean, edited = last(engine, session, "sweep zero L*H* over cases plan")
    cells = gpt2_model.shape.n_layers * gpt2_model.shape.n_heads
    assert clean.left is not None
    assert clean.left == edited.left  # type: ignore[union-attr]
    assert (clean.left.runs, clean.left.done) == (2 * len(CASES) * cells, 0)
    assert clean.left.seconds
    assert np.isnan(clean.values).all()
    runs = engine.open(session).over_each(parse_question("sweep zero L*H* over cases"), lambda opened, run: {})
    assert len(runs.missing()) == 2 * len(CASES)
    assert {run for _, run in runs.missing()} == {CLEAN, EDITED}


@pytest.mark.parametrize(
    "line",
    [
        "attribution over cases",
        "sweep zero L1H0-1 @-2--1 over cases",
        "heads attribution over cases",
        "heads norm @-2 over cases",
        "dose scale L1H1 @-1 0..2 step1 over cases",
    ],
)
def test_the_program_asks_each_case_alone_and_finds_the_same(gpt2_model: Model, file: str, line: str) -> None:
    session = session_of(
        cases=file,
        views=(line,),
        model=gpt2_model.ready.name,
        answer=" Mary",
        foil=" John",
    )
    program = text_of(exported(gpt2_model, session))
    names = run(program)
    [(_, wanted)] = names["wanted"].items()
    assert {"low", "each"} <= {name.partition("[")[0] for name in wanted}
    with pytest.raises(AssertionError, match="each"):
        run(program.replace("When Mary went to the store", "When Mary went to the big store"))
