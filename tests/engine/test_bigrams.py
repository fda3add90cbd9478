"""The model without layers, against plain modules and raw weights; and what it says, against counted bigrams."""

from __future__ import annotations

import random
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file
from tokenizers import Tokenizer

from mechtui.embedded import folder
from mechtui.embedded.text.corpus import documents, end_of_text_id
from mechtui.engine.api import Engine
from mechtui.session.document import Session
from mechtui.views import parse_question
from mechtui.views.bigrams import BigramsAnswer
from tests.engine.conftest import load_now
from tests.engine.twin import CLOSE, Twin, make_twin, session_of


@pytest.fixture(scope="module", params=["gpt2", "llama"])
def twin(request: pytest.FixtureRequest) -> Twin:
    return make_twin(request)


def bare(twin: Twin, ids: list[int]) -> torch.Tensor:
    """Logits [pos, vocab] of every embedding, by transformers' own modules."""
    body = getattr(twin.plain, "transformer", None) or twin.plain.model
    table, norm = (body.wte, body.ln_f) if hasattr(body, "wte") else (body.embed_tokens, body.norm)
    with torch.no_grad():
        logits: torch.Tensor = twin.plain.lm_head(norm(table(torch.tensor(ids))))
    return logits


def check(answer: BigramsAnswer, logits: torch.Tensor, full: torch.Tensor, ids: list[int]) -> None:
    """bigrams' logits and the model's, [pos, vocab]."""
    for loss, mean, best, probs, said in (
        (answer.bigrams, answer.mean_bigrams, answer.best, answer.probs, logits),
        (answer.model, answer.mean_model, answer.model_best, answer.model_probs, full),
    ):
        log_p = said.double().log_softmax(-1).numpy()
        wanted = -log_p[np.arange(len(ids) - 1), ids[1:]]
        np.testing.assert_allclose(loss[:-1], wanted, atol=CLOSE)
        assert np.isnan(loss[-1])
        assert mean == pytest.approx(wanted.mean(), abs=CLOSE)
        for at, row in enumerate(log_p):
            np.testing.assert_allclose(probs[at], np.exp(np.sort(row)[::-1][: probs.shape[1]]), atol=CLOSE)
            np.testing.assert_allclose(probs[at], np.exp([row[token.id] for token in best[at]]), atol=CLOSE)
    assert answer.uniform == pytest.approx(np.log(logits.shape[1]))


def test_the_norm_and_the_unembedding_of_each_embedding(twin: Twin) -> None:
    # The edit of an embedding reaches this path, that of a head only the model.
    session = session_of("scale embed @3 x-2", "zero L1H2")
    ids = twin.tokens(session).ids
    ((clean, edited),) = twin.answers(session, "bigrams top5")
    assert isinstance(clean, BigramsAnswer)
    assert isinstance(edited, BigramsAnswer)
    logits = bare(twin, ids)
    check(clean, logits, twin.expected(session, edits=()), ids)
    changed = logits.clone()
    body = getattr(twin.plain, "transformer", None) or twin.plain.model
    table, norm = (body.wte, body.ln_f) if hasattr(body, "wte") else (body.embed_tokens, body.norm)
    with torch.no_grad():
        changed[3] = twin.plain.lm_head(norm(-2 * table.weight[ids[3]][None]))[0]
    check(edited, changed, twin.expected(session), ids)
    # What was taken back is as it was, to the bit.
    ((again, none),) = twin.answers(session_of("# scale embed @3 x-2"), "bigrams top5")
    assert none is None
    assert isinstance(again, BigramsAnswer)
    np.testing.assert_array_equal(again.bigrams, clean.bigrams)
    np.testing.assert_array_equal(again.probs, clean.probs)


def test_mlps_write_and_attention_does_not(twin: Twin) -> None:
    session = session_of("scale L0.mlp @3 x-2")
    ids = twin.tokens(session).ids
    ((clean, edited),) = twin.answers(session, "bigrams mlps")
    silent = ["zero L*.attn", *(["zero pos"] if hasattr(twin.plain, "transformer") else [])]
    for answer, edits in ((clean, ()), (edited, ("scale L0.mlp @3 x-2",))):
        assert isinstance(answer, BigramsAnswer)
        both = (session_of(*edits, *silent), session_of(*edits))
        logits, full = (twin.expected(each) for each in both)
        check(answer, logits, full, ids)


def test_one_token_has_no_loss(gpt2_model: object) -> None:
    opened = Engine(gpt2_model).open(Session(prompt="a", bos="no"))  # type: ignore[arg-type]
    [(answer, _, _)] = opened.answer(parse_question("bigrams"))
    assert isinstance(answer, BigramsAnswer)
    assert len(answer.best) == 1
    assert np.isnan([answer.bigrams[0], answer.mean_bigrams, answer.explained]).all()
    assert answer.json()["explained"] is None


# Beside the bigrams of the embedded models' own text


@pytest.fixture(scope="module")
def counted() -> tuple[np.ndarray, str]:
    """counts [token, next] of texts that the generator of the training writes, and some more of them as a prompt."""
    tokenizer = Tokenizer.from_file(str(folder("demo") / "tokenizer.json"))
    end = end_of_text_id(tokenizer)
    counts = np.zeros((tokenizer.get_vocab_size(),) * 2)
    source = documents(random.Random("bigrams"))
    for encoded in tokenizer.encode_batch([document.text for document in islice(source, 6000)]):
        ids = [end, *encoded.ids, end]
        np.add.at(counts, (ids[:-1], ids[1:]), 1)
    return counts, " ".join(document.text for document in islice(source, 6))


def beside(counts: np.ndarray, name: str, line: str, prompt: str) -> dict[str, float]:
    """Over the prompt's different tokens that the text has at least 100 times: "five", of the five tokens that most
    often follow a token in the text the share that is among the five of the view; "first", how often the first is the
    same; "common five" and "common first", the same of the text's most frequent tokens, whatever they follow."""
    opened = Engine(load_now(name)).open(Session(prompt=prompt))
    [(answer, _, _)] = opened.answer(parse_question(line))
    assert isinstance(answer, BigramsAnswer)
    rows = {id: best for id, best in zip(opened.ids, answer.best, strict=True) if counts[id].sum() >= 100}
    assert len(rows) > 30
    common = np.argsort(-counts.sum(0))[:5].tolist()
    found: dict[str, list[float]] = {}
    for id, best in rows.items():
        followers = np.argsort(-counts[id])[:5].tolist()
        for what, said in (("", [token.id for token in best]), ("common ", common)):
            found.setdefault(f"{what}five", []).append(len(set(said) & set(followers)) / 5)
            found.setdefault(f"{what}first", []).append(said[0] == followers[0])
    return {what: float(np.mean(each)) for what, each in found.items()}


def test_where_the_unembedding_is_a_matrix_of_its_own_the_path_is_the_text_s_bigrams(
    counted: tuple[np.ndarray, str],
) -> None:
    found = beside(counted[0], "attn-only-1l", "bigrams top5", counted[1])
    assert found["five"] > max(0.45, 2 * found["common five"])
    assert found["first"] > max(0.5, 2 * found["common first"])


def test_where_it_is_the_embedding_the_path_says_the_token_itself_and_mlps_make_bigrams_of_it(
    counted: tuple[np.ndarray, str],
) -> None:
    """Few: most of what the demo knows of a token's followers needs its attention."""
    counts, prompt = counted
    opened = Engine(load_now("demo")).open(Session(prompt=prompt))
    [(answer, _, _)] = opened.answer(parse_question("bigrams top5"))
    assert isinstance(answer, BigramsAnswer)
    assert all(best[0].id == id for id, best in zip(opened.ids, answer.best, strict=True))
    direct, mlps = (beside(counts, "demo", line, prompt) for line in ("bigrams top5", "bigrams mlps top5"))
    assert direct["five"] < direct["common five"] / 2
    assert mlps["five"] > 5 * direct["five"]
    assert mlps["first"] > 1.5 * mlps["common first"]


@pytest.mark.parametrize(
    ("name", "table", "unembedding", "norm"),
    [
        ("attn-only-2l", "tok_embed.weight", "head.weight", "ln_out"),
        ("demo", "transformer.wte.weight", "transformer.wte.weight", "transformer.ln_f"),
    ],
)
def test_the_embedded_models_by_their_raw_weights(name: str, table: str, unembedding: str, norm: str) -> None:
    path = Path(folder(name))
    weights = {each: value.astype(np.float64) for each, value in load_file(path / "model.safetensors").items()}
    opened = Engine(load_now(name)).open(session_of())
    ids = list(opened.ids)
    [(answer, _, _)] = opened.answer(parse_question("bigrams"))
    assert isinstance(answer, BigramsAnswer)
    x = weights[table][ids]
    x = x - x.mean(-1, keepdims=True)
    x = x / np.sqrt((x**2).mean(-1, keepdims=True) + 1e-5) * weights[f"{norm}.weight"] + weights[f"{norm}.bias"]
    logits = torch.from_numpy(x @ weights[unembedding].T)
    check(answer, logits, opened.clean.logits(), ids)
