"""Toy models against a training in numpy with finite differences, and against what is known in closed form."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from mechtui.engine.api import Cancelled, Engine, OpenSession, SessionError
from mechtui.engine.model import Model
from mechtui.headless.work import items_of
from mechtui.link.messages import Answered, Ask, Checked, Failed, Progress, Started
from mechtui.session.document import Session
from mechtui.views import parse_question
from mechtui.views.toy import Toy, ToyAnswer
from mechtui.views.toy import compute as toys
from mechtui.worker.main import Worker


@pytest.fixture
def opened(gpt2_model: Model) -> Iterator[OpenSession]:
    toys._training.cache_clear()
    yield Engine(gpt2_model).open(Session(prompt="a"))
    toys._training.cache_clear()


def all_of(opened: OpenSession, line: str) -> list[ToyAnswer]:
    found = []
    for clean, edited, more in opened.answer(parse_question(line)):
        assert isinstance(clean, ToyAnswer)
        assert edited is None
        assert more == (clean.step < clean.steps)
        found.append(clean)
    return found


def trained(question: Toy, steps: int) -> tuple[np.ndarray, np.ndarray]:
    """W and b at the line's sparsity, by differences of the loss and Adam as it is written down."""
    features, dims = question.features, question.dims
    rng = np.random.default_rng(question.seed)
    W = rng.normal(0, np.sqrt(2 / (features + dims)), (dims, features))
    theta = np.concatenate([W.ravel(), np.zeros(features)])
    importance = question.importance ** np.arange(features)
    first, second = np.zeros_like(theta), np.zeros_like(theta)

    def loss(theta: np.ndarray, x: np.ndarray) -> float:
        W, b = theta[: dims * features].reshape(dims, features), theta[dims * features :]
        out = (W.T @ (W @ x.T)).T + b
        out = out if question.linear else np.maximum(out, 0)
        return float((importance * (x - out) ** 2).sum() / len(x))

    for step in range(steps):
        on, value = rng.random((2, toys.BATCH, features))
        x = value * (on < 1 - question.sparsity)
        gradient = np.array([(loss(theta + h, x) - loss(theta - h, x)) / 2e-6 for h in 1e-6 * np.eye(len(theta))])
        first = 0.9 * first + 0.1 * gradient
        second = 0.999 * second + 0.001 * gradient**2
        unbiased = first / (1 - 0.9 ** (step + 1)), second / (1 - 0.999 ** (step + 1))
        theta = theta - toys.RATE * (1 - step / question.steps) * unbiased[0] / (np.sqrt(unbiased[1]) + 1e-8)
    return theta[: dims * features].reshape(dims, features), theta[dims * features :]


@pytest.mark.parametrize("line", ["toy 5>2 seed3 steps6", "toy 4>3 sparsity0.35 importance0.9 linear steps6"])
def test_it_learns_as_the_formula_says(opened: OpenSession, line: str) -> None:
    question = parse_question(line)
    assert isinstance(question, Toy)
    answer = all_of(opened, line)[-1]
    weights, bias = trained(question, question.steps)
    assert answer.sparsities[answer.at] == question.sparsity
    np.testing.assert_allclose(answer.weights[answer.at], weights, atol=1e-5)
    np.testing.assert_allclose(answer.bias[answer.at], bias, atol=1e-5)


def test_without_superposition_it_keeps_the_most_important(opened: OpenSession) -> None:
    """The linear model, and the dense one: Wᵀ W is the projection on them, the others' bias is their mean (Elhage et
    al. 2022), so the loss is the variance of the others."""
    linear = all_of(opened, "toy 6>2 linear steps1500")[-1]
    projection = np.diag([1.0, 1, 0, 0, 0, 0])
    for model, sparsity in enumerate(linear.sparsities):
        if sparsity <= 0.9:
            np.testing.assert_allclose(linear.gram[model], projection, atol=0.05)
            on = 1 - sparsity
            spread = on / 3 - on**2 / 4
            importance = 0.7 ** np.arange(6)
            np.testing.assert_allclose(linear.apart[model], spread * importance[2:].sum(), rtol=1e-5)
            np.testing.assert_allclose(linear.nothing[model], spread * importance.sum(), rtol=1e-5)
            np.testing.assert_allclose(linear.loss[model], linear.apart[model], rtol=0.02)
            np.testing.assert_allclose(linear.bias[model], np.where(np.arange(6) < 2, 0, on / 2), atol=0.02)
    dense = all_of(opened, "toy 6>2 sparsity0 steps1500")[-1]
    assert dense.at == 0
    np.testing.assert_allclose(dense.gram[0], projection, atol=0.1)
    np.testing.assert_allclose(dense.loss[0], dense.apart[0], rtol=0.02)
    # Where features are rarely on together, more of them have a direction, and less is lost.
    sparse = dense.sparsities.index(0.99)
    assert dense.represented[0] == 2 < dense.represented[sparse]
    assert dense.loss[sparse] < 0.6 * dense.apart[sparse]
    # What a feature's direction reads of others, and its share of a dimension, by hand.
    gram = dense.gram[sparse].astype(np.float64)
    unit = gram / np.sqrt(np.diag(gram))[:, None]
    known = dense.norms[sparse] > 0.1
    others = (unit**2).sum(1) - np.diag(unit) ** 2
    np.testing.assert_allclose(dense.interference[sparse][known], others[known], rtol=1e-4, atol=1e-6)
    share = np.diag(gram) / (unit**2).sum(1)
    np.testing.assert_allclose(dense.dimensionality[sparse][known], share[known], rtol=1e-4)
    assert np.isnan(dense.interference[0][2:]).all()  # they point nowhere


def test_a_training_that_was_stopped_goes_on_where_it_was(opened: OpenSession) -> None:
    line = "toy 6>2 steps80"
    whole = all_of(opened, line)
    assert [answer.step for answer in whole] == [*range(3, 81, 3), 80]
    toys._training.cache_clear()
    calls = iter(range(1000))
    told: list[float] = []
    opened.progress = told.append
    opened.cancelled = lambda: next(calls) >= 30
    before = []
    answers = opened.answer(parse_question(line))
    with pytest.raises(Cancelled):
        before.extend(clean for clean, _, _ in iter(lambda: next(answers), None))
    opened.cancelled = lambda: False
    after = all_of(opened, line)
    assert [answer.step for answer in before] == list(range(3, 31, 3))  # type: ignore[union-attr]
    assert [answer.step for answer in after] == [30, *range(33, 81, 3), 80]
    assert told == [step / 80 for step in (*range(3, 81, 3), 80)]
    for mine, other in zip(after[-1].__struct_fields__, whole[-1].__struct_fields__, strict=True):
        np.testing.assert_array_equal(getattr(after[-1], mine), getattr(whole[-1], other))
    # All of it is known now.
    [again] = all_of(opened, line)
    assert again.step == 80
    assert (all_of(opened, "toy 6>2 steps80 seed1")[-1].weights != again.weights).any()


class Wire:
    """Keeps what the model process says."""

    def __init__(self) -> None:
        self.said: list[Any] = []

    def send(self, reply: Any, number: int | None = None) -> None:
        self.said.append(reply)


def test_it_needs_no_prompt(gpt2_model: Model) -> None:
    """Beside what needs one, it is answered first, and then the prompt is asked for."""
    wire: Any = Wire()
    worker = Worker(wire)
    worker.engine = Engine(gpt2_model)
    empty, toy = Session(bos="no"), parse_question("toy 3>2 steps2")
    worker.inbox.put(ask := Ask(1, empty, (parse_question("tokens"), toy)))
    found = worker.inbox.take(True)
    assert found is not None
    worker.answer(ask, found[1])
    *answers, failed = [reply for reply in wire.said if not isinstance(reply, Progress | Started)]
    assert [(reply.question, reply.partial) for reply in answers] == [(toy, True), (toy, False)]
    assert all(isinstance(reply, Answered) for reply in answers)
    assert isinstance(failed, Failed)
    assert failed.sentence.startswith("the prompt is empty")
    with pytest.raises(SessionError, match="the prompt is empty"):
        worker.engine.open(empty, questions=(parse_question("tokens"), toy))
    # `mechtui run` asks for no tokens then.
    [item] = items_of([("", empty)], ("toy 3>2 steps2",))
    assert item.asked == (toy,)
    *_, (clean, edited, _) = worker.engine.open(empty, questions=item.asked).answer(toy)
    result = item.result(gpt2_model.ready, Checked("m"), {toy: (clean, edited)})
    assert result["tokens"] == []
    assert result["clean"]["toy 3>2 steps2"]["step"] == 2
    for views in (("toy", "tokens"), ()):
        [item] = items_of([("", empty)], views)
        assert not item.without_prompt
