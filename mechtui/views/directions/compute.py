"""Cosines of random directions and of the model's, and sparse vectors recovered from few numbers."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import lru_cache

import numpy as np
import torch
from msgspec.structs import replace
from torch import Tensor

from mechtui.engine.api import Answers, Need, OpenSession, SessionError
from mechtui.none import NONE
from mechtui.session.document import Site, Span
from mechtui.views.directions import CLOSEST, RECOVERED, TRIALS, Cosines, Directions, DirectionsAnswer, Pair, called

# Bins of the histogram on either side of the one around 0, and how many times the root mean square it reaches.
BINS, WIDE = 40, 4.5
# Of the least Σ|x|: its steps, and how little x moves at the last one.
ROUNDS, STILL = 1500, 1e-7

# The model's directions that were drawn, [direction, d_model], and how each is called.
Drawn = tuple[Tensor, Callable[[int], str]]


def needs(question: Directions, opened: OpenSession) -> list[Need]:
    return []


def answers(question: Directions, opened: OpenSession) -> Answers:
    made = _cosines(question, opened)
    recovery = _recovery(question.active, question.features, question.seed, question.numbers)

    def answer() -> DirectionsAnswer:
        table = recovery.table()
        return replace(made, error=table[0], low=table[1], high=table[2], recovered=table[3])

    yield answer(), None, not recovery.done
    while not recovery.done:
        opened.check_cancelled()
        recovery.advance(opened.check_cancelled)
        opened.progress(len(recovery.rows) / len(recovery.numbers))
        yield answer(), None, not recovery.done


# The model's directions: a new kind is a function here, and a name in `OFS` and `NAMES`.


def _tokens(weight: Tensor, opened: OpenSession, rng: np.random.Generator, count: int) -> Drawn:
    """weight: [d_vocab, d_model]."""
    ids = np.sort(rng.choice(len(weight), min(count, len(weight)), replace=False))
    rows = weight[torch.from_numpy(ids).to(weight.device)].float() - weight.mean(0, dtype=torch.float32)
    return rows, lambda at: opened.token(int(ids[at])).text


def _unembed(opened: OpenSession, rng: np.random.Generator, count: int) -> Drawn:
    return _tokens(opened.W_U().detach().T, opened, rng, count)


def _embed(opened: OpenSession, rng: np.random.Generator, count: int) -> Drawn:
    return _tokens(opened.W_E(), opened, rng, count)


def _neurons(opened: OpenSession, rng: np.random.Generator, count: int) -> Drawn:
    opened.check_site(Site("neuron", Span(0, 0), Span(0, 0)))
    shape = opened.shape
    picks = np.sort(rng.choice(shape.n_layers * shape.d_mlp, min(count, shape.n_layers * shape.d_mlp), replace=False))
    places = [divmod(int(pick), shape.d_mlp) for pick in picks]
    rows = [opened.W_out(layer)[neuron].detach().float() for layer, neuron in places]
    return torch.stack(rows), lambda at: "L{}N{}".format(*places[at])


def _features(opened: OpenSession, rng: np.random.Generator, count: int, name: str) -> Drawn:
    """Of a dictionary: what its features write."""
    dictionary = opened.dictionary(name)
    picks = np.sort(rng.choice(dictionary.n_features, min(count, dictionary.n_features), replace=False))
    return dictionary.directions(picks.tolist()), lambda at: f"{name}F{picks[at]}"


DRAWS: dict[str, Callable[[OpenSession, np.random.Generator, int], Drawn]] = {
    "unembed": _unembed,
    "embed": _embed,
    "neurons": _neurons,
}


@torch.inference_mode()
def _cosines(question: Directions, opened: OpenSession) -> DirectionsAnswer:
    """All but the recovery. Raises SessionError, EditError."""
    count, dims = question.count, question.dims or opened.shape.d_model
    rng = np.random.default_rng(question.seed)
    draw = DRAWS.get(question.of)
    own, named = _features(opened, rng, count, question.of) if draw is None else draw(opened, rng, count)
    random = torch.from_numpy(rng.standard_normal((count, dims), dtype=np.float32))
    own = own.cpu()
    there = (own.isfinite().all(-1) & (torch.linalg.vector_norm(own, dim=-1) > 0)).nonzero()[:, 0]
    if len(there) < 2:
        raise SessionError(f"{opened.ready.name} has no two {called(question.of)} that point anywhere")
    opened.check_cancelled()
    pairs = [_pairs(random), _pairs(own[there])]
    opened.check_cancelled()
    most = max(min(float(each.abs().max()), WIDE * float(each.square().mean().sqrt())) for each in pairs)
    edges = np.linspace(-most, most, 2 * BINS + 2)
    said = []
    for each, rows in zip(pairs, (count, len(there)), strict=True):
        found = each.numpy()
        shares = np.histogram(np.clip(found, -most, most), edges)[0] / len(found)
        largest = float(found[np.abs(found).argmax()])
        said.append(Cosines(rows, tuple(shares.tolist()), float(found.mean()), float(found.std()), largest))
    first, second = torch.triu_indices(len(there), len(there), 1)
    best = pairs[1].abs().topk(min(CLOSEST, len(pairs[1]))).indices
    closest = [
        Pair(named(int(there[first[at]])), named(int(there[second[at]])), float(pairs[1][at])) for at in best.tolist()
    ]
    none = np.full(len(question.numbers), NONE, dtype=np.float32)
    return DirectionsAnswer(
        dims,
        question.of,
        tuple(edges.tolist()),
        said[0],
        said[1],
        math.sqrt(2 * math.log(count * (count - 1)) / dims),
        tuple(closest),
        question.numbers,
        none,
        none,
        none,
        none,
        question.rule,
    )


def _pairs(rows: Tensor) -> Tensor:
    """[pair] float32: the cosines of all pairs of rows, the first row's first."""
    unit: Tensor = rows / torch.linalg.vector_norm(rows, dim=-1, keepdim=True)
    first, second = torch.triu_indices(len(unit), len(unit), 1)
    table: Tensor = unit @ unit.T
    return table[first, second]


@lru_cache(4)
def _recovery(active: int, features: int, seed: int, numbers: tuple[int, ...]) -> Recovery:
    """As far as it went: it is the same whatever the model."""
    return Recovery(active, features, seed, numbers)


class Recovery:
    """Sparse vectors, TRIALS for each count of numbers. rows: of the counts that are done, the median error, its
    quartiles, and the share that was recovered."""

    def __init__(self, active: int, features: int, seed: int, numbers: tuple[int, ...]) -> None:
        self.active, self.features, self.seed, self.numbers = active, features, seed, numbers
        self.rows: list[tuple[float, float, float, float]] = []

    @property
    def done(self) -> bool:
        return len(self.rows) == len(self.numbers)

    def table(self) -> np.ndarray:
        """[4, number] float32: NaN for those to come."""
        found = np.full((4, len(self.numbers)), NONE, dtype=np.float32)
        for at, row in enumerate(self.rows):
            found[:, at] = row
        return found

    @torch.inference_mode()
    def advance(self, check: Callable[[], None]) -> None:
        """The next count. check: is called now and then, and may raise what stops it."""
        count = self.numbers[len(self.rows)]
        rng = np.random.default_rng([self.seed, count])
        x = np.zeros((TRIALS, self.features))
        for row in x:
            places = rng.choice(self.features, self.active, replace=False)
            row[places] = rng.standard_normal(self.active)
        vectors = torch.from_numpy(x)
        combinations = torch.from_numpy(rng.standard_normal((TRIALS, count, self.features)))
        found = least(combinations, (combinations @ vectors[..., None])[..., 0], check)
        error = ((found - vectors).norm(dim=-1) / vectors.norm(dim=-1)).numpy()
        low, median, high = np.quantile(error, (0.25, 0.5, 0.75))
        self.rows.append((float(median), float(low), float(high), float((error < RECOVERED).mean())))


def least(combinations: Tensor, y: Tensor, check: Callable[[], None] = lambda: None) -> Tensor:
    """[trial, feature]: the x of least Σ|x| with combinations x = y, float64, by the alternating direction method
    (Boyd et al. 2011, section 6.2). combinations [trial, number, feature], y [trial, number]."""
    # Rows of length 1 at right angles say the same.
    q, r = torch.linalg.qr(combinations.mT)
    y = torch.linalg.solve_triangular(r.mT, y[..., None], upper=False)
    start = q @ y
    step = start.abs().amax(1, keepdim=True)
    z: Tensor = start
    u = torch.zeros_like(start)
    for number in range(ROUNDS):
        if number % 50 == 0:
            check()
        x = z - u
        x = x - q @ (q.mT @ x) + start
        before = z
        z = x + u
        z = z.sign() * (z.abs() - step).clamp_min(0)
        u = u + x - z
        if float(((z - before).abs() / step.clamp_min(1e-300)).max()) < STILL and float((x - z).abs().max()) < STILL:
            break
    return z[..., 0]
