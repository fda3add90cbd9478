"""A sweep comes in parts, goes on where it was interrupted, says beforehand what it takes, halves what is too large."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import torch

from mechtui.engine import gradients, variants
from mechtui.engine.api import Cancelled, Engine, NoGradientError, SessionError
from mechtui.engine.model import Model
from mechtui.link.messages import Answered, Ask, Finished, Reply
from mechtui.views import parse_question
from mechtui.views.sweep import SweepAnswer, compute
from mechtui.worker.main import Worker
from tests.engine.twin import session_of

SWEEPS = ("zero L*H*", "mean L*.mlp", "patch L*.pre", "patch L*H*.v", "scale L*.attn x2")
Pair = tuple[SweepAnswer, SweepAnswer | None]


@pytest.fixture(params=["gpt2", "llama"])
def model(request: pytest.FixtureRequest) -> Model:
    found: Model = request.getfixturevalue(f"{request.param}_model")
    return found


def asked(
    engine: Engine, line: str, *edits: str, cancelled: Callable[[], bool] = lambda: False
) -> Iterator[tuple[SweepAnswer, SweepAnswer | None, bool]]:
    opened = engine.open(session_of(*edits), cancelled)
    for clean, edited, more in opened.answer(parse_question(f"sweep {line}")):
        assert isinstance(clean, SweepAnswer)
        assert edited is None or isinstance(edited, SweepAnswer)
        yield clean, edited, more


def final(engine: Engine, line: str, *edits: str) -> Pair:
    *_, (clean, edited, more) = asked(engine, line, *edits)
    assert not more
    return clean, edited


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Batches of one or two cells, so that a sweep of these models has several."""
    monkeypatch.setattr(variants, "batch_tokens", lambda engine: 6)


@pytest.mark.parametrize("edits", [(), ("scale L0H0 x0.5", "zero L1.mlp @2")])
@pytest.mark.parametrize("line", SWEEPS)
def test_cells_come_one_after_the_other_and_stay(model: Model, line: str, edits: tuple[str, ...], small: None) -> None:
    parts = list(asked(Engine(model), line, *edits))
    last, edited, _ = parts[-1]
    assert len(parts) > 2
    assert [more for *_, more in parts] == [True] * (len(parts) - 1) + [False]
    assert np.isfinite(last.values).all()
    assert (last.left, edited is None) == (None, not edits)
    counts = []
    for clean, changed, _ in parts:
        for answer, whole in ((clean, last), (changed, edited)):
            if answer is None or whole is None:
                continue
            there = np.isfinite(answer.values)
            np.testing.assert_array_equal(answer.values[there], whole.values[there])
            # What the numbers are is known before the first of them.
            assert (answer.metric, answer.baseline, answer.source_baseline) == (
                *(whole.metric, whole.baseline, whole.source_baseline),
            )
            if answer.left is not None:
                assert answer.left.done == there.sum()
                assert answer.left.runs == there.size
        counts.append(sum(int(np.isfinite(answer.values).sum()) for answer in (clean, changed) if answer))
    assert counts == sorted(set(counts))


@pytest.fixture
def ran(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many variants each batch held."""
    return too_large(monkeypatch, 10**6, MemoryError())


@pytest.mark.parametrize("edits", [(), ("scale L0H0 x0.5",)])
@pytest.mark.parametrize("line", SWEEPS)
def test_the_plan_says_how_many_runs_there_are(model: Model, line: str, edits: tuple[str, ...], ran: list[int]) -> None:
    engine = Engine(model)
    clean, edited = final(engine, f"{line} plan", *edits)
    assert sum(ran) <= variants.SAMPLE, "one small batch was timed"
    ran.clear()
    final(engine, line, *edits)
    planned = [answer.left for answer in (clean, edited) if answer is not None]
    assert sum(left.runs for left in planned if left) == sum(ran)
    for answer in (clean, edited):
        if answer is not None:
            assert answer.left is not None
            assert answer.left.done == 0
            assert answer.left.bytes > 0
            assert (answer.left.seconds or 0) > 0
            assert np.isnan(answer.values).all()
            assert answer.values.shape == (len(answer.rows), len(answer.columns))


def test_a_batch_is_timed_once_for_a_length(model: Model, ran: list[int]) -> None:
    engine = Engine(model)
    final(engine, "zero L*H* plan")
    assert len(ran) == 1
    final(engine, "zero L*H* plan", "scale L0H0 x0.5")
    final(engine, "mean L*.mlp plan")
    assert len(ran) == 1


@pytest.mark.parametrize("line", SWEEPS)
def test_an_interrupted_sweep_goes_on_where_it_was(model: Model, line: str, small: None, ran: list[int]) -> None:
    whole, _ = final(Engine(model), line)
    engine = Engine(model)
    parts: list[SweepAnswer] = []
    ran.clear()
    with pytest.raises(Cancelled):
        parts.extend(clean for clean, _, _ in asked(engine, line, cancelled=lambda: len(parts) > 2))
    done = int(np.isfinite(parts[-1].values).sum())
    assert 0 < done < whole.values.size
    # The screen asks other things in between.
    *_, _ = engine.open(session_of()).answer(parse_question("attention L1H1"))
    planned, _ = final(engine, f"{line} plan")
    assert planned.left is not None
    assert planned.left.done == done
    np.testing.assert_array_equal(planned.values, parts[-1].values)
    answers = [clean for clean, _, _ in asked(engine, line)]
    assert np.isfinite(answers[0].values).sum() == done, "what was computed is there at once"
    np.testing.assert_allclose(answers[-1].values, whole.values, atol=1e-5)
    # The batch that had begun when it was stopped ran again, no other.
    assert sum(ran) <= whole.values.size + max(ran)
    ran.clear()
    final(engine, line)
    assert ran == []


def test_another_target_or_source_begins_anew(model: Model) -> None:
    engine = Engine(model)
    final(engine, "patch L*H* @-1")
    texts = [token.text for token in engine.open(session_of()).tokens]
    for change in (
        {"answer": texts[1], "foil": texts[2]},
        {"source": "When John and Mary went to the store, John gave a book to"},
    ):
        opened = engine.open(session_of(**change))
        *_, (clean, _, _) = opened.answer(parse_question("sweep patch L*H* @-1"))
        fresh = Engine(model).open(session_of(**change))
        *_, (expected, _, _) = fresh.answer(parse_question("sweep patch L*H* @-1"))
        assert isinstance(clean, SweepAnswer)
        assert isinstance(expected, SweepAnswer)
        np.testing.assert_allclose(clean.values, expected.values, atol=1e-5)
        assert clean.baseline == pytest.approx(expected.baseline, abs=1e-5)


ERRORS = (
    torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"),
    RuntimeError("[enforce fail at alloc_cpu.cpp:117] DefaultCPUAllocator: can't allocate memory: you tried 8 bytes"),
    MemoryError(),
)


def too_large(patch: pytest.MonkeyPatch, rows: int, error: BaseException) -> list[int]:
    """From now on a batch of more rows runs out of memory; the sizes that are tried."""
    tried: list[int] = []
    real = variants._Batch.logits

    def logits(batch: Any, position: int) -> torch.Tensor:
        tried.append(len(batch.variants))
        if len(batch.variants) > rows:
            raise error
        return real(batch, position)

    patch.setattr(variants._Batch, "logits", logits)
    return tried


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
@pytest.mark.parametrize("line", ["zero L*H*", "patch L*.pre"])
def test_out_of_memory_halves_the_batch(
    model: Model, line: str, error: BaseException, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, _ = final(Engine(model), line)
    tried = too_large(monkeypatch, 1, error)
    halved, _ = final(Engine(model), line)
    np.testing.assert_allclose(halved.values, whole.values, atol=1e-5)
    assert tried.count(1) == whole.values.size
    assert max(tried) > 1


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
def test_a_run_that_is_too_large_alone_is_told_in_one_sentence(
    model: Model, error: BaseException, monkeypatch: pytest.MonkeyPatch
) -> None:
    too_large(monkeypatch, 0, error)
    with pytest.raises(SessionError, match=r"memory is too short for a single run of .* tokens.*shorter prompt"):
        final(Engine(model), "zero L*H*")


def test_another_error_is_not_taken_for_too_little_memory(model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    too_large(monkeypatch, 0, RuntimeError("a mistake"))
    with pytest.raises(RuntimeError, match="a mistake"):
        final(Engine(model), "zero L*H*")


def test_of_a_large_model_a_batch_holds_fewer_tokens() -> None:
    from types import SimpleNamespace

    from mechtui.session.document import ModelShape

    def tokens(**shape: int) -> int:
        given = {"n_layers": 12, "n_heads": 12, "n_kv_heads": 12, "d_head": 64, "d_vocab": 50257, "n_ctx": 1024}
        engine = SimpleNamespace(model=SimpleNamespace(shape=ModelShape(**{**given, **shape})))
        return variants.batch_tokens(engine)  # type: ignore[arg-type]

    assert tokens(d_model=768, d_mlp=3072) == variants.BATCH_TOKENS
    assert variants.LEAST_TOKENS < tokens(n_layers=48, d_model=1600, d_mlp=6400) < 128
    assert tokens(n_layers=80, d_model=8192, d_mlp=28672) == variants.LEAST_TOKENS


def test_a_moved_cursor_does_not_begin_a_sweep_anew(model: Model, small: None, ran: list[int]) -> None:
    """In the model process: what is asked meanwhile goes first, and the sweep goes on; so it does after esc."""
    sweep, attention = parse_question("sweep patch L*.pre"), parse_question("attention L1H1")
    session = session_of()
    sent: list[Reply] = []

    class Wire:
        def send(self, reply: Reply, number: int) -> None:
            sent.append(reply)
            parts = [cells(each) for each in sent if isinstance(each, Answered) and each.generation == reply_of(reply)]
            if reply_of(reply) == 1 and len(parts) == 3:
                worker.inbox.put(Ask(2, session, (attention, sweep)))
            if reply_of(reply) == 2 and len(parts) == 4:
                worker.inbox.stop_asks()

    def reply_of(reply: Reply) -> int:
        return getattr(reply, "generation", 0)

    def cells(answered: Answered) -> int:
        return int(np.isfinite(answered.clean.values).sum()) if isinstance(answered.clean, SweepAnswer) else -1

    worker = Worker(Wire())  # type: ignore[arg-type]
    worker.engine = Engine(model)

    def work() -> None:
        while (found := worker.inbox.take(True, 0.0)) is not None:
            assert isinstance(found[0], Ask)
            worker.answer(found[0], found[1])

    worker.inbox.put(Ask(1, session, (sweep,)))
    work()
    first, second = ([r for r in sent if isinstance(r, Answered) and r.generation == which] for which in (1, 2))
    assert [reply.question for reply in second[:2]] == [attention, sweep]
    assert 0 < cells(first[-1]) <= cells(second[1]) < cells(second[-1]), "with the cells that it had"
    assert any(isinstance(reply, Finished) and reply.ran == "cancelled" for reply in sent)
    worker.inbox.put(Ask(3, session, (sweep,)))
    work()
    third = [reply for reply in sent if isinstance(reply, Answered) and reply.generation == 3]
    assert cells(third[0]) == cells(second[-1])
    whole = final(Engine(model), "patch L*.pre")[0]
    last = third[-1].clean
    assert isinstance(last, SweepAnswer)
    assert not third[-1].partial
    np.testing.assert_allclose(last.values, whole.values, atol=1e-5)
    # Each cell once, but for the batches that had begun when they were stopped, and the whole one just now.
    assert sum(ran) <= 2 * whole.values.size + 2 * max(ran)


@pytest.mark.parametrize("line", ["zero L*H*", "patch L*.pre", "patch L*H* ig4"])
def test_estimates_come_first_and_what_they_promise_most_runs_first(
    model: Model, line: str, small: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compute, "LEAST_FIRST", 2)
    first, *parts = [clean for clean, _, _ in asked(Engine(model), line)]
    assert first.estimates is not None
    assert np.isfinite(first.estimates).all()
    assert np.isnan(first.values).all()
    assert all(np.array_equal(part.estimates, first.estimates) for part in parts)
    size = np.abs(first.estimates)
    count = max(size.size // compute.FIRST, 2)
    early = next(part for part in parts if np.isfinite(part.values).sum() >= count)
    there = np.isfinite(early.values)
    assert set(np.argsort(-size.ravel(), kind="stable")[:count]) <= set(np.flatnonzero(there))
    whole = parts[-1]
    assert whole.agreement is not None
    assert whole.agreement.cells == whole.values.size
    only, edited = final(Engine(model), f"{line} estimate")
    np.testing.assert_allclose(only.estimates, first.estimates, atol=1e-6)
    assert np.isnan(only.values).all()
    assert (only.left, only.agreement, edited) == (None, None, None)
    assert "values" not in only.json()
    assert only.json()["estimated_by"].startswith("integrated" if "ig4" in line else "gradient")


def test_estimates_follow_an_edit_and_come_back_without_it(model: Model) -> None:
    engine = Engine(model)
    before, _ = final(engine, "zero L*H* estimate")
    clean, edited = final(engine, "zero L*H* estimate", "zero L0H1")
    assert edited is not None
    assert edited.estimates is not None
    np.testing.assert_array_equal(clean.estimates, before.estimates)
    assert np.abs(edited.estimates - before.estimates).max() > 1e-3
    assert edited.estimates[0, 1] == 0, "what is zero already stays so"
    again, _ = final(engine, "zero L*H* estimate")
    np.testing.assert_array_equal(again.estimates, before.estimates)


def test_a_model_without_gradients_is_swept_without_estimates(model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    whole, _ = final(Engine(model), "zero L*H*")

    def none(*_: object) -> np.ndarray:
        raise NoGradientError("nothing is estimated of m")

    monkeypatch.setattr(gradients, "estimates", none)
    without, _ = final(Engine(model), "zero L*H*")
    assert (without.estimates, without.refused) == (None, "nothing is estimated of m")
    assert {"estimates", "agreement", "estimated_by"}.isdisjoint(without.json())
    np.testing.assert_allclose(without.values, whole.values, atol=1e-5)
