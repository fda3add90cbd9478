"""What views say, against numpy on the plain Hugging Face model's own outputs."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from msgspec.structs import replace

from mechtui.engine.api import Engine
from mechtui.session.grammar.edits import parse_edit
from mechtui.views import parse_question
from tests.engine.reference import run
from tests.engine.twin import CLOSE, PROMPT, Twin, make_twin, session_of

EDITS = ("zero L0H1", "scale L1.mlp @-1 x2")


@pytest.fixture(scope="module", params=["gpt2", "llama"])
def twin(request: pytest.FixtureRequest, blocks: str) -> Twin:
    return make_twin(request, blocks)


def sides(twin: Twin, session: Any) -> list[tuple[np.ndarray, dict[Any, np.ndarray]]]:
    """Clean, then edited: logits and activations by the reference, as float64."""
    answer = twin.tokens(session)
    ids = answer.ids
    found = []
    for edits in ((), session.edits):
        logits, kept = run(twin.plain, ids, edits)
        found.append((logits.double().numpy(), {place: x.detach().double().numpy() for place, x in kept.items()}))
    return found


def log_softmax(logits: np.ndarray) -> np.ndarray:
    shifted = logits - logits.max(axis=-1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))


def test_next_tokens(twin: Twin) -> None:
    session = session_of(*EDITS)
    for line, position in (("next_tokens top5", -1), ("next_tokens @3 top5", 3)):
        both = twin.answers(session, line)[0]
        for answer, (logits, _) in zip(both, sides(twin, session), strict=True):
            row = logits[position]
            order = np.argsort(-row)
            log_p = log_softmax(row)
            assert len(answer.top) == 5
            for rank, candidate in enumerate(answer.top):
                # Two logits closer than the tolerance may trade places.
                assert row[candidate.token.id] == pytest.approx(row[order[rank]], abs=2 * CLOSE)
                assert candidate.logit == pytest.approx(row[candidate.token.id], abs=CLOSE)
                assert candidate.prob == pytest.approx(np.exp(log_p[candidate.token.id]), abs=CLOSE)
                assert candidate.rank == rank
            assert answer.entropy == pytest.approx(-(np.exp(log_p) * log_p).sum(), abs=1e-3)


def test_answer_and_foil(twin: Twin) -> None:
    texts = [twin.tokenizer.decode([i]) for i in twin.tokens(session_of()).ids]
    answer_text, foil_text = texts[-1], texts[-2]
    ids = [twin.text_ids(text, ()) for text in (answer_text, foil_text)]
    assert all(len(one) == 1 for one in ids)
    session = session_of(*EDITS, answer=answer_text, foil=foil_text)
    (both,) = twin.answers(session, "next_tokens")
    for answer, (logits, _) in zip(both, sides(twin, session), strict=True):
        assert not answer.auto
        for candidate, (token,) in zip((answer.answer, answer.foil), ids, strict=True):
            assert candidate.token.id == token
            assert candidate.logit == pytest.approx(logits[-1, token], abs=CLOSE)
            assert candidate.rank == pytest.approx((logits[-1] > logits[-1, token]).sum(), abs=1)
        assert answer.logit_diff == pytest.approx(logits[-1, ids[0][0]] - logits[-1, ids[1][0]], abs=2 * CLOSE)


def test_history(twin: Twin) -> None:
    texts = [twin.tokenizer.decode([i]) for i in twin.tokens(session_of()).ids]
    session = session_of(*EDITS, answer=texts[-1], foil=texts[-2])
    ids = [twin.text_ids(text, ())[0] for text in (texts[-1], texts[-2])]
    for position in (-1, 2):
        (both,) = twin.answers(session, f"history @{position}")
        for answer, (logits, _) in zip(both, sides(twin, session), strict=True):
            wanted = logits[position, ids[0]] - logits[position, ids[1]]
            assert answer.logit_diff == pytest.approx(wanted, abs=2 * CLOSE)
            assert answer.position == position % len(logits)
    ((clean, _),) = twin.answers(replace(session, foil=""), "history")
    assert clean.logit_diff is None


def test_loss(twin: Twin) -> None:
    session = session_of(*EDITS)
    ids = twin.tokens(session).ids
    (both,) = twin.answers(session, "loss top4")
    for answer, (logits, _) in zip(both, sides(twin, session), strict=True):
        log_p = log_softmax(logits)
        wanted = -np.array([log_p[at - 1, ids[at]] for at in range(1, len(ids))])
        assert np.isnan(answer.loss[0])
        assert np.isnan(answer.rank[0])
        assert answer.best[0] == ()
        np.testing.assert_allclose(answer.loss[1:], wanted, atol=CLOSE)
        assert answer.sum == pytest.approx(wanted.sum(), abs=1e-3)
        assert answer.mean == pytest.approx(wanted.mean(), abs=CLOSE)
        for at in range(1, len(ids)):
            row = logits[at - 1]
            # Two logits closer than the tolerance may trade places.
            assert answer.rank[at] == pytest.approx((row > row[ids[at]]).sum(), abs=1)
            assert len(answer.best[at]) == 4
            for token, prob, most in zip(answer.best[at], answer.probs[at], np.sort(row)[::-1], strict=False):
                assert row[token.id] == pytest.approx(most, abs=2 * CLOSE)
                assert prob == pytest.approx(np.exp(log_p[at - 1, token.id]), abs=CLOSE)


def test_residual(twin: Twin) -> None:
    session = session_of(*EDITS)
    (both,) = twin.answers(session, "residual")
    n_layers = twin.plain.config.num_hidden_layers
    for answer, (_, kept) in zip(both, sides(twin, session), strict=True):
        assert list(answer.sites) == [f"L{i}.pre" for i in range(n_layers)] + [f"L{n_layers - 1}.post"]
        places = [("pre", i) for i in range(n_layers)] + [("post", n_layers - 1)]
        np.testing.assert_allclose(answer.norm, [np.linalg.norm(kept[p], axis=-1) for p in places], atol=CLOSE)
        for name, array in (("attn", answer.attn), ("mlp", answer.mlp)):
            wanted = [np.linalg.norm(kept[name, i], axis=-1) for i in range(n_layers)]
            np.testing.assert_allclose(array, wanted, atol=CLOSE)


def test_attention(twin: Twin) -> None:
    session = session_of(*EDITS)
    lines = ("attention L1H1", "attention L1H1 scores", "attention L1H1 value")
    answers = twin.answers(session, *lines)
    for side, (_, kept) in enumerate(sides(twin, session)):
        pattern, scores, value = (both[side].table for both in answers)
        unseen = np.triu(np.ones(pattern.shape, dtype=bool), 1)
        for table in (pattern, scores, value):
            assert np.isnan(table[unseen]).all()
        group = kept["z", 1].shape[1] // kept["v", 1].shape[1]
        length = np.linalg.norm(kept["v", 1][:, 1 // group], axis=-1)
        weighted = kept["pattern", 1][1] * length
        weighted = weighted / weighted.sum(axis=-1, keepdims=True)
        np.testing.assert_allclose(pattern[~unseen], kept["pattern", 1][1][~unseen], atol=CLOSE)
        np.testing.assert_allclose(scores[~unseen], kept["scores", 1][1][~unseen], atol=CLOSE)
        np.testing.assert_allclose(value[~unseen], weighted[~unseen], atol=CLOSE)


def test_attention_of_a_text_that_grows(twin: Twin) -> None:
    """The table is put together from rows of the earlier run and rows of the new tokens."""
    engine = Engine(twin.engine.model)
    lines = [parse_question(line) for line in ("attention L1H2", "attention L0H1 scores", "attention L1H1 value")]
    fresh = Engine(twin.engine.model)
    for count in (4, 6, 9, 7):
        session = session_of(*EDITS[:1], prompt=" ".join(PROMPT.split()[:count]))
        opened = engine.open(session, questions=lines)
        fresh.forget()
        for line in lines:
            ((*resumed, _),) = opened.answer(line)
            ((*afresh, _),) = fresh.open(session).answer(line)
            for one, other in zip(resumed, afresh, strict=True):
                np.testing.assert_allclose(one.table, other.table, atol=CLOSE)
    assert opened.ran != "blocks 0..1"


def head_writes(twin: Twin, z: np.ndarray, layer: int) -> np.ndarray:
    """[pos, head, d_model]: what each head writes, without the output bias."""
    if hasattr(twin.plain, "transformer"):
        w = twin.plain.transformer.h[layer].attn.c_proj.weight.detach().double().numpy()
    else:
        w = twin.plain.model.layers[layer].self_attn.o_proj.weight.detach().double().numpy().T
    return np.einsum("phd,hdm->phm", z, w.reshape(z.shape[1], z.shape[2], -1))


@pytest.mark.parametrize("position", [-1, 4])
def test_heads(twin: Twin, position: int) -> None:
    session = session_of(*EDITS)
    lines = [f"heads {summary} @{position}" for summary in ("entropy", "first", "norm")]
    answers = twin.answers(session, *lines)
    n_layers = twin.plain.config.num_hidden_layers
    for side, (_, kept) in enumerate(sides(twin, session)):
        rows = np.stack([kept["pattern", i][:, position] for i in range(n_layers)])
        entropy = -np.where(rows > 0, rows * np.log(np.where(rows > 0, rows, 1)), 0).sum(axis=-1)
        norm = np.stack(
            [np.linalg.norm(head_writes(twin, kept["z", i], i)[position], axis=-1) for i in range(n_layers)]
        )
        for both, wanted in zip(answers, (entropy, rows[..., 0], norm), strict=True):
            np.testing.assert_allclose(both[side].values, wanted, atol=CLOSE)


def test_tokens(twin: Twin) -> None:
    session = session_of(*EDITS)
    (answer, edited), *_ = twin.answers(session, "tokens")
    assert edited is None  # surprise is the clean run's
    logits = sides(twin, session)[0][0]
    ids = [token.id for token in answer.tokens]
    bos = ids[: answer.bos]
    assert ids == twin.text_ids(session.prompt, bos)
    assert [token.id for token in answer.source] == twin.text_ids(session.source, bos)
    log_p = log_softmax(logits)
    assert np.isnan(answer.surprise[0])
    wanted = [-log_p[i - 1, token] for i, token in enumerate(ids)][1:]
    np.testing.assert_allclose(answer.surprise[1:], wanted, atol=2 * CLOSE)


def test_sweep(twin: Twin) -> None:
    """Each cell against a reference run with that one edit; patching in shares of the source's effect."""
    texts = [twin.tokenizer.decode([i]) for i in twin.tokens(session_of()).ids]
    a, b = (twin.text_ids(text, ())[0] for text in (texts[-1], texts[-2]))
    session = session_of(answer=texts[-1], foil=texts[-2])
    config = twin.plain.config
    zeroed, patched = (both[0] for both in twin.answers(session, "sweep zero L*H*", "sweep patch L*H*"))

    def logit_diff(logits: torch.Tensor) -> float:
        return float(logits[-1, a] - logits[-1, b])

    baseline = logit_diff(twin.expected(session))
    source = logit_diff(twin.clean(twin.tokens(session).source)[0])
    for layer in range(config.num_hidden_layers):
        for head in range(config.num_attention_heads):
            zero, patch = (
                logit_diff(twin.expected(session, edits=[parse_edit(f"{op} L{layer}H{head}")]))
                for op in ("zero", "patch")
            )
            assert zeroed.values[layer, head] == pytest.approx(zero - baseline, abs=4 * CLOSE)
            share = (patch - baseline) / (source - baseline)
            assert patched.values[layer, head] == pytest.approx(share, abs=4 * CLOSE / abs(source - baseline))


@pytest.mark.parametrize("position", [-1, 4])
def test_effects(twin: Twin, position: int) -> None:
    texts = [twin.tokenizer.decode([i]) for i in twin.tokens(session_of()).ids]
    vectors = ['v = diff L1.pre "Love" "Hate"']
    lines = ("zero L0H1", "# scale L1.mlp x2", "patch L1H1.pattern", "add L1.pre v x3", "zero L0H77")
    session = session_of(*lines, vectors=vectors, answer=texts[-1], foil=texts[-2])
    (answer, _), *_ = twin.answers(session, f"effects @{position}")
    a, b = (twin.text_ids(text, ())[0] for text in (texts[-1], texts[-2]))

    def logit_diff(edits: tuple[Any, ...]) -> float:
        logits = twin.expected(session, edits=edits)[position]
        return float(logits[a] - logits[b])

    assert answer.position == range(len(twin.tokens(session).ids))[position]

    from msgspec.structs import replace

    baseline = logit_diff(())
    assert answer.baseline == pytest.approx(baseline, abs=2 * CLOSE)
    for edit, effect in zip(session.edits[:4], answer.effect, strict=False):
        wanted = logit_diff((replace(edit, on=True),)) - baseline
        assert effect == pytest.approx(wanted, abs=4 * CLOSE)
    assert answer.effect[4] is None
    on = tuple(edit for edit in session.edits[:4] if edit.on)
    assert answer.together == pytest.approx(logit_diff(on) - baseline, abs=4 * CLOSE)
    (off, _), *_ = twin.answers(replace(session, edits=tuple(replace(edit, on=False) for edit in on)), "effects")
    assert off.together is None
    tokens = twin.tokens(session)
    resid = twin.clean(tokens.ids)[1]["pre", 1]
    added = 3 * np.linalg.norm(twin.vector(session.vectors[0], tokens.bos))
    assert answer.share[3] == pytest.approx(added / np.median(resid.norm(dim=-1)), rel=1e-3)


def test_vectors(twin: Twin) -> None:
    lines = ['v = diff L1.pre "Love" "Hate"', "w = neuron L1N3", 't = token " Mary" unit']
    session = session_of(vectors=lines)
    (answer, _), *_ = twin.answers(session, "vectors")
    tokens = twin.tokens(session)
    bos = tokens.bos
    w_u = twin.plain.lm_head.weight.detach().double()
    final = twin.plain.transformer.ln_f if hasattr(twin.plain, "transformer") else twin.plain.model.norm
    for meaning, vector in zip(answer.vectors, session.vectors, strict=True):
        assert not meaning.problem
        made = torch.from_numpy(twin.vector(vector, bos)).double()
        assert meaning.norm == pytest.approx(made.norm().item(), rel=1e-4)
        unit = made / made.norm()
        if hasattr(twin.plain, "transformer"):
            unit = unit - unit.mean()  # LayerNorm centres, RMSNorm does not
        raised = w_u @ (final.weight.detach().double() * unit)
        for (token, change), wanted in zip(meaning.raises, raised.sort(descending=True).values, strict=False):
            assert change == pytest.approx(wanted.item(), abs=1e-3)
            assert change == pytest.approx(raised[token.id].item(), abs=1e-3)
