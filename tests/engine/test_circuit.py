"""A head's circuits over the vocabulary against whole tables in numpy, of transformers' own weights."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mechtui.engine import circuits
from mechtui.engine.api import Cancelled, Engine, SessionError
from mechtui.session.document import Session
from mechtui.session.grammar.edits import parse_edit
from mechtui.views import parse_question
from mechtui.views.circuit import DIRECTIONS, EACH, TOP, CircuitAnswer
from tests.engine.conftest import load_now
from tests.engine.test_cards import KINDS, make, plain_of

LAYER, HEAD = 1, 2


def number(tensor: Any) -> np.ndarray:
    return np.asarray(tensor.detach().double().numpy())


def tables(plain: Any, kind: str) -> tuple[np.ndarray, np.ndarray]:
    """[query token, key token]: attention scores less the mean key's; [token, token]: logits that attending to the
    first changes, before the final norm's scale, less their mean. Both of L1H2, whole."""
    if kind == "gpt2":
        width, heads = 32, 4
        size = width // heads
        block, body = plain.transformer.h[LAYER], plain.transformer
        centre = np.eye(width) - np.full((width, width), 1 / width)
        embedding = number(body.wte.weight) @ centre
        eps, gain, shift = block.ln_1.eps, number(block.ln_1.weight), number(block.ln_1.bias)
        part = slice(HEAD * size, (HEAD + 1) * size)
        queries, keys, values = (
            (w[:, part], b[part])
            for w, b in zip(
                np.split(number(block.attn.c_attn.weight), 3, axis=1),
                np.split(number(block.attn.c_attn.bias), 3),
                strict=True,
            )
        )
        out = number(block.attn.c_proj.weight)[part]
        final = centre @ np.diag(number(body.ln_f.weight))
    else:
        heads, group, body = 6, 3, plain.model
        block, size = body.layers[LAYER], 6
        embedding = number(body.embed_tokens.weight)
        eps = body.config.rms_norm_eps
        gain, shift = number(block.input_layernorm.weight), 0.0
        own, shared = (slice(at * size, (at + 1) * size) for at in (HEAD, HEAD // group))
        attention = block.self_attn
        queries, keys, values = (
            (number(module.weight)[part].T, 0.0)
            for module, part in ((attention.q_proj, own), (attention.k_proj, shared), (attention.v_proj, shared))
        )
        out = number(attention.o_proj.weight).T[own]
        final = np.diag(number(body.norm.weight))
    normed = embedding / np.sqrt((embedding**2).mean(1, keepdims=True) + eps) * gain
    query = (normed + shift) @ queries[0] + queries[1]
    key = (normed + shift) @ keys[0] + keys[1]
    scores = query @ key.T / np.sqrt(size)
    logits = normed @ values[0] @ out @ final @ number(plain.lm_head.weight).T
    return scores - scores.mean(1, keepdims=True), logits - logits.mean(1, keepdims=True)


@pytest.fixture(scope="module", params=KINDS)
def both(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Engine, Any]:
    folder: Path = make(tmp_path_factory.mktemp(request.param), request.param)
    engine = Engine(load_now(folder))
    return engine, tables(plain_of(folder), request.param)


def asked(engine: Engine, line: str, prompt: str = "When Mary") -> CircuitAnswer:
    question = parse_question(line)
    ((answer, edited, more),) = engine.open(Session(prompt=prompt), questions=(question,)).answer(question)
    assert isinstance(answer, CircuitAnswer)
    assert (edited, more) == (None, False)
    return answer


def test_of_a_word(both: tuple[Engine, Any]) -> None:
    engine, (scores, logits) = both
    answer = asked(engine, f"circuit L{LAYER}H{HEAD} @0")
    assert answer.token is not None
    id = answer.token.id
    wanted = {
        "attends": scores[id],
        "attended": scores[:, id],
        "raises": logits[id],
        "lowers": -logits[id],
        "raised_by": logits[:, id],
    }
    for name, row in wanted.items():
        found = getattr(answer, name)
        assert len(found) == min(TOP, len(row))
        sign = -1 if name == "lowers" else 1
        # Two numbers closer than the tolerance may trade places.
        np.testing.assert_allclose([sign * each.value for each in found], np.sort(row)[::-1][: len(found)], atol=2e-4)
        np.testing.assert_allclose([sign * each.value for each in found], row[[e.token.id for e in found]], atol=2e-4)
    assert answer.own == pytest.approx(logits[id, id], abs=2e-4)
    assert answer.rank == (logits[id] > logits[id, id] + 1e-6).sum()


@pytest.mark.parametrize("at_once", [circuits.AT_ONCE, 4000])
def test_skip_trigrams(both: tuple[Engine, Any], at_once: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(circuits, "AT_ONCE", at_once)  # all sources together, or a few at a time
    engine, (scores, logits) = both
    strength = np.clip(scores.max(0), 0, None) * np.clip(logits.max(1), 0, None)
    found = asked(engine, f"circuit L{LAYER}H{HEAD} trigrams").trigrams
    best = np.sort(strength)[::-1][: len(found)]
    np.testing.assert_allclose([each.value for each in found], best, rtol=1e-3)
    for each in found[:10]:
        source = each.source.id
        assert each.value == pytest.approx(strength[source], rel=1e-3)
        assert len(each.destinations) == len(each.outs) == EACH
        assert scores[each.destinations[0].id, source] == pytest.approx(scores[:, source].max(), abs=1e-3)
        assert logits[source, each.outs[0].id] == pytest.approx(logits[source].max(), abs=1e-3)


def test_singular_directions(both: tuple[Engine, Any]) -> None:
    engine, (scores, logits) = both
    circuit = engine.circuit(LAYER, HEAD)
    # The table of scores is that of queries and centred keys as it stands; that of logits is centred too.
    for kind, whole in (("QK", scores), ("OV", logits)):
        sizes = np.linalg.svd(whole, compute_uv=False)
        found = circuit.directions(kind, DIRECTIONS)  # type: ignore[arg-type]
        count = len(found)
        np.testing.assert_allclose([each.size for each in found], sizes[:count], rtol=2e-3)
        np.testing.assert_allclose([each.share for each in found], (sizes**2 / (sizes**2).sum())[:count], rtol=5e-3)
        together = sum(np.outer(each.reads.numpy(), each.writes.numpy()) for each in found)
        np.testing.assert_allclose(together, whole, atol=2e-3 * sizes[0])  # they are all there are
        for each in found:
            assert float(each.reads[each.reads.abs().argmax()]) > 0


def test_what_cannot_be_asked_is_said(both: tuple[Engine, Any]) -> None:
    engine = both[0]
    with pytest.raises(SessionError, match=r"tokens .*; the word of a circuit is one token"):
        asked(engine, 'circuit L0H0 " Mary went to"')
    with pytest.raises(SessionError, match="has no L9H0: its layers are 0 to 1"):
        asked(engine, "circuit L9H0")
    with pytest.raises(Cancelled):
        engine.circuit(0, 0).trigrams(5, 2, lambda: True, lambda share: None)


def test_skip_trigrams_of_the_embedded_model_come_true_when_tried() -> None:
    """Of attn-only-1l's strongest trigrams, source and destination as a prompt make this head raise the out: without
    its attention to the source the out's logit is lower."""
    engine = Engine(load_now("attn-only-1l"))
    tried, true = 0, 0
    trigrams = asked(engine, "circuit L0H3 trigrams").trigrams[:10]
    for each in trigrams:
        prompt = each.source.text + each.destinations[0].text
        session = Session(prompt=prompt)
        opened = engine.open(session)
        if opened.ids[-2:] != (each.source.id, each.destinations[0].id):
            continue  # the tokenizer reads both together as other tokens
        cut = parse_edit(f"cut L0H3 {len(opened.ids) - 1}>{len(opened.ids) - 2}")
        edited = engine.open(Session(prompt=prompt, edits=(cut,)))
        assert edited.edited is not None
        tried += 1
        out = each.outs[0].id
        change = [run.logits([-1])[0] - run.logits([-1])[0].mean() for run in (edited.clean, edited.edited)]
        true += float(change[0][out]) > float(change[1][out])
    assert tried >= 5
    assert true >= 0.8 * tried
