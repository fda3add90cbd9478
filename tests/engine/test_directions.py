"""Cosines by numpy of the raw weights, and the sparse vectors by trying every basis."""

from __future__ import annotations

from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
import torch

from mechtui.engine.api import Engine, SessionError
from mechtui.engine.model import Model
from mechtui.session.document import Sae, Session
from mechtui.views import parse_question
from mechtui.views.directions import DirectionsAnswer
from mechtui.views.directions.compute import least
from tests.dictionaries import saelens
from tests.engine.conftest import load_now
from tests.engine.twin import Twin, make_twin


@pytest.fixture(scope="module", params=["gpt2", "llama"])
def twin(request: pytest.FixtureRequest) -> Twin:
    return make_twin(request)


def answer_of(engine: Engine, line: str) -> DirectionsAnswer:
    *_, (answer, edited, more) = engine.open(Session(prompt="a")).answer(parse_question(line))
    assert isinstance(answer, DirectionsAnswer)
    assert (edited, more) == (None, False)
    return answer


def cosines(rows: np.ndarray) -> np.ndarray:
    rows = rows.astype(np.float64)
    rows = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    return np.array([rows[i] @ rows[j] for i, j in combinations(range(len(rows)), 2)])


@pytest.mark.parametrize("of", ["unembed", "embed", "neurons"])
def test_cosines_are_those_of_the_raw_weights(twin: Twin, of: str) -> None:
    answer = answer_of(twin.engine, f"directions 40 {of} sparse1/4")
    plain = twin.plain
    if of == "neurons":
        blocks = plain.transformer.h if hasattr(plain, "transformer") else plain.model.layers
        mlps = [block.mlp for block in blocks]
        layers = [mlp.c_proj.weight if hasattr(mlp, "c_proj") else mlp.down_proj.weight.T for mlp in mlps]
        weight = torch.cat(layers).detach().numpy()
    else:
        module = plain.get_output_embeddings() if of == "unembed" else plain.get_input_embeddings()
        weight = module.weight.detach().numpy()
    rng = np.random.default_rng(0)
    picks = np.sort(rng.choice(len(weight), 40, replace=False))
    rows = weight[picks] - (0 if of == "neurons" else weight.mean(0))
    own, random = cosines(rows), cosines(rng.standard_normal((40, weight.shape[1]), dtype=np.float32))
    assert answer.dims == weight.shape[1]
    edges = np.array(answer.edges)
    for said, found in ((answer.model, own), (answer.random, random)):
        assert said.count == 40
        assert said.mean == pytest.approx(found.mean(), abs=1e-5)
        assert said.sd == pytest.approx(found.std(), abs=1e-5)
        assert said.largest == pytest.approx(found[np.abs(found).argmax()], abs=1e-5)
        counts = np.histogram(np.clip(found, edges[0], edges[-1]), edges)[0] / len(found)
        assert np.abs(np.cumsum(said.share) - np.cumsum(counts)).max() <= 1.5 / len(found)  # one on an edge
    best = answer.closest[0]
    order = np.abs(own).argmax()
    first, second = list(combinations(range(40), 2))[order]
    name = (lambda at: "L{}N{}".format(*divmod(int(picks[at]), len(layers[0])))) if of == "neurons" else None
    if name is not None:
        assert (best.first, best.second) == (name(first), name(second))
    else:
        texts = [twin.engine.model.token(int(picks[at])).text for at in (first, second)]
        assert [best.first, best.second] == texts
    assert best.cosine == pytest.approx(own[order], abs=1e-5)


def test_random_directions_are_as_far_apart_as_the_formula_says(gpt2_model: Model) -> None:
    answer = answer_of(Engine(gpt2_model), "directions 800>256 sparse1/4")
    assert answer.random.sd == pytest.approx(1 / 16, rel=0.02)
    assert abs(answer.random.mean) < 0.001
    assert answer.bound == pytest.approx(np.sqrt(2 * np.log(800 * 799) / 256))
    assert 0.8 * answer.bound < abs(answer.random.largest) < 1.05 * answer.bound


def test_the_sum_is_least() -> None:
    """Of all solutions the one with the smallest sum has as many numbers as there are combinations: all are tried."""
    rng = np.random.default_rng(5)
    for numbers, features in ((2, 6), (3, 7)):
        A = rng.standard_normal((4, numbers, features))
        x = rng.standard_normal((4, features)) * (rng.random((4, features)) < 0.4)
        y = np.einsum("tnf,tf->tn", A, x)
        found = least(torch.from_numpy(A), torch.from_numpy(y)).numpy()
        np.testing.assert_allclose(np.einsum("tnf,tf->tn", A, found), y, atol=1e-5)
        for trial in range(4):
            tried = [
                np.abs(np.linalg.solve(A[trial][:, list(basis)], y[trial])).sum()
                for basis in combinations(range(features), numbers)
            ]
            assert np.abs(found[trial]).sum() == pytest.approx(min(tried), abs=1e-4)


def test_few_numbers_hold_a_sparse_vector(gpt2_model: Model) -> None:
    answer = answer_of(Engine(gpt2_model), "directions 10 sparse1/12")
    enough = np.array(answer.numbers) >= 1.5 * answer.rule
    few = np.array(answer.numbers) <= 2
    assert enough.any()
    assert (answer.recovered[enough] == 1).all()
    assert (answer.error[enough] < 1e-3).all()
    assert (answer.recovered[few] < 0.5).all()
    assert (answer.low <= answer.error).all()
    assert (answer.error <= answer.high).all()
    # It comes count by count; what is known is known, whatever is asked beside it.
    opened = Engine(gpt2_model).open(Session(prompt="a"))
    parts = [clean.done for clean, _, _ in opened.answer(parse_question("directions 12 sparse1/12"))]  # type: ignore[union-attr]
    assert parts == [len(answer.numbers)]
    parts = [clean.done for clean, _, _ in opened.answer(parse_question("directions 12 sparse1/12 seed9"))]  # type: ignore[union-attr]
    assert parts == list(range(len(answer.numbers) + 1))


def test_the_features_of_a_dictionary_are_directions_too(twin: Twin, tmp_path: Path) -> None:
    made = saelens(tmp_path / "sae", twin.engine.model.shape.d_model)
    session = Session(prompt="a", saes=(Sae("res1", str(made.path)),))
    *_, (answer, _, _) = twin.engine.open(session).answer(parse_question("directions 30 res1 sparse1/4"))
    assert isinstance(answer, DirectionsAnswer)
    picks = np.sort(np.random.default_rng(0).choice(len(made.directions), 30, replace=False))
    found = cosines(made.directions[picks])
    assert answer.model.largest == pytest.approx(found[np.abs(found).argmax()], abs=1e-5)
    first, second = list(combinations(picks.tolist(), 2))[np.abs(found).argmax()]
    assert (answer.closest[0].first, answer.closest[0].second) == (f"res1F{first}", f"res1F{second}")
    with pytest.raises(SessionError, match="res2"):
        list(twin.engine.open(session).answer(parse_question("directions res2")))


def test_a_model_without_neurons_says_so() -> None:
    opened = Engine(load_now("attn-only-1l")).open(Session(prompt="a"))
    with pytest.raises(Exception, match="attn-only-1l has no"):
        list(opened.answer(parse_question("directions neurons")))
