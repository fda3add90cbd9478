"""Training of the toy models: one for each sparsity, all on the same draws, step by step."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

from mechtui.engine.api import Answers, Need, OpenSession
from mechtui.views.toy import Toy, ToyAnswer

# Examples of a step, Adam's rate at the first step (it falls evenly to 0) and its averages, and examples of the loss
# that is told.
BATCH, RATE, BETAS, SMALL = 256, 0.02, (0.9, 0.999), 1e-8
EXAMPLES = 4096
# Answers on the way.
PARTS = 25
# Trainings that are kept, so that one that was stopped goes on.
KEPT = 4


def needs(question: Toy, opened: OpenSession) -> list[Need]:
    return []


def answers(question: Toy, opened: OpenSession) -> Answers:
    sizes = question.features, question.dims, question.importance, question.seed, question.steps, question.linear
    training, steps = _training(*sizes, question.sparsities), question.steps
    if training.step:
        yield training.answer(question), None, training.step < steps
    while training.step < steps:
        opened.check_cancelled()
        training.advance()
        if training.step == steps or training.step % max(steps // PARTS, 1) == 0:
            opened.progress(training.step / steps)
            yield training.answer(question), None, training.step < steps


@lru_cache(KEPT)
def _training(
    features: int,
    dims: int,
    importance: float,
    seed: int,
    steps: int,
    linear: bool,
    sparsities: tuple[float, ...],
) -> Training:
    """The training of these models, as far as it went."""
    return Training(features, dims, importance, seed, steps, linear, sparsities)


class Training:
    """Models of these sparsities, [model, ...], in float64: the same on every machine to well under what is shown.
    step: how many of `steps` were made."""

    def __init__(
        self,
        features: int,
        dims: int,
        importance: float,
        seed: int,
        steps: int,
        linear: bool,
        sparsities: tuple[float, ...],
    ) -> None:
        self.features, self.dims, self.steps, self.linear = features, dims, steps, linear
        self.step = 0
        self.sparsities = torch.tensor(sparsities, dtype=torch.float64)[:, None, None]
        self.importance = importance ** torch.arange(features, dtype=torch.float64)
        self._rng = np.random.default_rng(seed)
        first = self._rng.normal(0, (2 / (features + dims)) ** 0.5, (dims, features))
        self.weights = torch.from_numpy(first).repeat(len(sparsities), 1, 1)
        self.bias = torch.zeros(len(sparsities), 1, features, dtype=torch.float64)
        # Of each of both: Adam's means of the gradient and of its square.
        self._means = [[torch.zeros_like(each) for _ in range(2)] for each in (self.weights, self.bias)]
        ranks = np.random.default_rng([seed, 1]).permuted(np.tile(np.arange(EXAMPLES), (features, 1)), axis=1)
        self._ranks = torch.from_numpy(ranks.T.astype(np.float64))

    def gradients(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Of the mean loss of these examples [model, example, feature], by weights and by bias."""
        hidden = x @ self.weights.mT
        before = hidden @ self.weights + self.bias
        out = before if self.linear else before.relu()
        slope = 2 / x.shape[1] * self.importance * (out - x)
        if not self.linear:
            slope = slope * (before > 0)
        by_weights = hidden.mT @ slope + (slope @ self.weights.mT).mT @ x
        return by_weights, slope.sum(1, keepdim=True)

    @torch.inference_mode()
    def advance(self) -> None:
        """One step of Adam, on new examples: a feature is on where a draw says so, with another draw as its value."""
        draws = torch.from_numpy(self._rng.random((2, BATCH, self.features)))
        x = torch.where(draws[0] < 1 - self.sparsities, draws[1], 0.0)
        rate = RATE * (1 - self.step / self.steps)
        self.step += 1
        parameters = self.weights, self.bias
        for parameter, gradient, (mean, square) in zip(parameters, self.gradients(x), self._means, strict=True):
            mean.lerp_(gradient, 1 - BETAS[0])
            square.lerp_(gradient**2, 1 - BETAS[1])
            size = (square / (1 - BETAS[1] ** self.step)).sqrt() + SMALL
            parameter.sub_(rate / (1 - BETAS[0] ** self.step) * mean / size)

    @torch.inference_mode()
    def losses(self) -> Tensor:
        """[model]: over examples in which each feature is on as often as it should be, with evenly spaced values."""
        found = []
        for sparsity, weights, bias in zip(self.sparsities.ravel().tolist(), self.weights, self.bias, strict=True):
            count = max(round(EXAMPLES * (1 - sparsity)), 1)
            x = torch.where(self._ranks < count, (self._ranks + 0.5) / count, 0.0)
            out = x @ weights.mT @ weights + bias
            out = out if self.linear else out.relu()
            found.append((self.importance * (x - out) ** 2).sum(1).mean())
        return torch.stack(found)

    def answer(self, question: Toy) -> ToyAnswer:
        on = 1 - self.sparsities.ravel()
        spread = (on / 3 - on**2 / 4)[:, None] * self.importance

        def small(values: Tensor) -> np.ndarray:
            return np.asarray(values.float().numpy())

        return ToyAnswer(
            question.sparsities,
            question.sparsities.index(question.sparsity),
            small(self.importance),
            small(self.weights),
            small(self.bias[:, 0]),
            small(self.losses()),
            small(spread[:, self.dims :].sum(1)),
            small(spread.sum(1)),
            self.step,
            self.steps,
        )
