"""Composition scores against whole matrices in numpy, of transformers' own weights."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mechtui.engine import circuits
from mechtui.engine.api import Cancelled, Engine
from mechtui.session.document import Session
from mechtui.views import parse_question
from mechtui.views.composition import KINDS as INPUTS
from mechtui.views.composition import CompositionAnswer
from tests.engine.conftest import load_now
from tests.engine.test_cards import KINDS, make, plain_of


def weight(module: Any) -> np.ndarray:
    return np.asarray(module.weight.detach().double().numpy())


def heads_of(plain: Any, kind: str) -> list[tuple[int, np.ndarray, np.ndarray]]:
    """Per head its layer, W_QK and W_OV, whole: [d_model, d_model] each, reading through the norm before attention."""
    found = []
    if kind == "gpt2":
        width, heads = 32, 4
        size = width // heads
        centre = np.eye(width) - np.full((width, width), 1 / width)
        for layer, block in enumerate(plain.transformer.h):
            norm = centre @ np.diag(weight(block.ln_1))
            query, key, value = np.split(weight(block.attn.c_attn), 3, axis=1)
            out = weight(block.attn.c_proj)
            for head in range(heads):
                part = slice(head * size, (head + 1) * size)
                qk = norm @ query[:, part] @ (norm @ key[:, part]).T
                found.append((layer, qk, norm @ value[:, part] @ out[part]))
        return found
    heads, group = 6, 3
    for layer, block in enumerate(plain.model.layers):
        norm, attention = np.diag(weight(block.input_layernorm)), block.self_attn
        size = weight(attention.q_proj).shape[0] // heads
        for head in range(heads):
            own, shared = (slice(at * size, (at + 1) * size) for at in (head, head // group))
            query, key, value = (
                norm @ weight(module)[part].T
                for module, part in ((attention.q_proj, own), (attention.k_proj, shared), (attention.v_proj, shared))
            )
            found.append((layer, query @ key.T, value @ weight(attention.o_proj).T[own]))
    return found


@pytest.fixture(scope="module", params=KINDS)
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path]:
    return request.param, make(tmp_path_factory.mktemp(request.param), request.param)


@pytest.mark.parametrize("at_once", [circuits.AT_ONCE, 500])
def test_all_pairs(folder: tuple[str, Path], at_once: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(circuits, "AT_ONCE", at_once)  # in one piece, or stripe by stripe
    kind, path = folder
    heads = heads_of(plain_of(path), kind)
    engine = Engine(load_now(path))
    for each in INPUTS:
        question = parse_question(f"composition {each}")
        ((answer, edited, more),) = engine.open(Session(prompt="a"), questions=(question,)).answer(question)
        assert isinstance(answer, CompositionAnswer)
        assert (edited, more) == (None, False)
        assert answer.values.shape == (len(heads), len(heads))
        for later, (late, qk, ov) in enumerate(heads):
            reads = {"Q": qk, "K": qk.T, "V": ov}[each]
            for earlier, (early, _, wrote) in enumerate(heads):
                value = answer.values[later, earlier]
                if early >= late:
                    assert np.isnan(value)
                    continue
                wanted = np.linalg.norm(wrote @ reads) / np.linalg.norm(wrote) / np.linalg.norm(reads)
                assert value + answer.baseline == pytest.approx(wanted, abs=2e-5)


def test_random_heads_have_none() -> None:
    """By other random matrices, with whole products."""
    rng = np.random.default_rng(3)
    values = []
    for _ in range(200):
        v, o, q, k = (rng.normal(size=(64, 8)) for _ in range(4))
        wrote, reads = v @ o.T, q @ k.T
        values.append(np.linalg.norm(wrote @ reads) / np.linalg.norm(wrote) / np.linalg.norm(reads))
    mean, spread = circuits.random_composition(64, 8)
    assert mean == pytest.approx(np.mean(values), abs=4 * np.std(values) / len(values) ** 0.5)
    assert spread == pytest.approx(np.std(values), rel=0.3)


def test_it_is_computed_once_and_ends_when_it_is_not_wanted(folder: tuple[str, Path]) -> None:
    engine = Engine(load_now(folder[1]))
    with pytest.raises(Cancelled):
        engine.composition("K", lambda: True)
    shares: list[float] = []
    first = engine.composition("K", progress=shares.append)
    assert shares
    assert shares == sorted(shares)
    assert shares[-1] == 1
    assert engine.composition("K", lambda: True)[0] is first[0]


def test_the_induction_circuit_of_the_embedded_model_stands_on_top() -> None:
    """Head 0.7 of attn-only-2l looks at the token before, and the induction heads of layer 1 read what it writes."""
    engine = Engine(load_now("attn-only-2l"))
    values = engine.composition("K")[0]
    best = np.argsort(-np.nan_to_num(values, nan=-1), axis=None)[:3]
    assert {int(at) % len(values) for at in best} == {7}
    opened = engine.open(Session(prompt="a"))
    *_, (cards, _) = opened.head_cards()
    assert np.argmax(np.array(cards.previous)[0]) == 7
    for at in best:
        assert cards.induction[1][int(at) // len(values) - 8] > 0.5
