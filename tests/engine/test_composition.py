"""Composition scores against whole matrices in numpy, of transformers' own weights; what a pair does on a prompt,
against transformers' own attention with the part taken out of what it reads."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from mechtui.engine import circuits
from mechtui.engine.api import Cancelled, Engine
from mechtui.session.document import Session
from mechtui.session.grammar.edits import parse_edit
from mechtui.views import parse_question
from mechtui.views.composition import KINDS as INPUTS
from mechtui.views.composition import CompositionAnswer
from tests import tiny
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


PROMPT = "When Mary and John went to the store, John gave a drink to"
SOURCE = "When John and Mary went to the store, Mary gave a drink to"
QUERY, KEY, OTHER = 9, 5, 3


class Plain:
    """A plain model, of which one layer's attention reads something else at one position."""

    def __init__(self, folder: Path) -> None:
        self.model = plain_of(folder)
        self.llama = hasattr(self.model, "model")
        self.layers = self.model.model.layers if self.llama else self.model.transformer.h
        self.norms = [layer.input_layernorm if self.llama else layer.ln_1 for layer in self.layers]
        self.heads = self.model.config.num_attention_heads

    def run(self, ids: list[int], layer: int = 0, position: int = 0, read: Tensor | None = None) -> tuple[Any, ...]:
        """Of a run: what enters each block [pos, d_model], z of each layer [pos, head, d_head], and of `layer` the
        pattern [head, query, key] and the values [pos, group, d_head]. read [d_model]: what its attention reads at the
        position, in place of what the norm gives."""
        z: list[Tensor] = []
        values: list[Tensor] = []
        hooks = []
        for block in self.layers:
            out = block.self_attn.o_proj if self.llama else block.attn.c_proj
            hooks.append(out.register_forward_pre_hook(lambda _, given: z.append(given[0][0])))

        def put(_module: Any, _given: Any, normed: Tensor) -> Tensor:
            normed = normed.clone()
            if read is not None:
                normed[0, position] = read
            return normed

        hooks.append(self.norms[layer].register_forward_hook(put))
        own = self.layers[layer]
        value = own.self_attn.v_proj if self.llama else own.attn.c_attn
        hooks.append(value.register_forward_hook(lambda _, __, given: values.append(given[0])))
        with torch.no_grad():
            gave = self.model(torch.tensor([ids]), output_attentions=True, output_hidden_states=True)
        for hook in hooks:
            hook.remove()
        width = z[0].shape[-1] // self.heads
        value = values[0] if self.llama else values[0][:, -self.model.config.hidden_size :]
        return (
            [each[0] for each in gave.hidden_states],
            [each.view(len(ids), self.heads, width) for each in z],
            gave.attentions[layer][0].double(),
            value.view(len(ids), -1, width).double(),
        )

    def write(self, z: list[Tensor], layer: int, head: int, position: int) -> Tensor:
        """[d_model]"""
        block, width = self.layers[layer], z[layer].shape[-1]
        out = block.self_attn.o_proj.weight.T if self.llama else block.attn.c_proj.weight
        return (z[layer][position, head] @ out[head * width : (head + 1) * width]).detach()

    def without(self, layer: int, stream: Tensor, part: Tensor) -> Tensor:
        """What the norm makes of the stream without this part, with the scale that it has of the whole."""
        norm = self.norms[layer]
        with torch.no_grad():
            if self.llama:
                scale = (stream.pow(2).mean() + norm.variance_epsilon).sqrt()
                return norm(stream) - part * norm.weight / scale
            scale = (stream.var(correction=0) + norm.eps).sqrt()
            return norm(stream) - (part - part.mean()) * norm.weight / scale


def contributed(engine: Engine, line: str, *edits: str, **more: Any) -> tuple[CompositionAnswer, CompositionAnswer]:
    """The clean and the edited run's answer; without an edit the clean one twice."""
    question = parse_question(line)
    session = Session(prompt=PROMPT, bos="no", edits=tuple(map(parse_edit, edits)), **more)
    opened = engine.open(session, questions=(question,))
    assert not opened.problems
    *_, (clean, edited, _) = opened.answer(question)
    edited = clean if edited is None else edited
    assert isinstance(clean, CompositionAnswer)
    assert isinstance(edited, CompositionAnswer)
    return clean, edited


def odds(pattern: Tensor) -> Tensor:
    """[head]: the score from the query to the key less that to the other one."""
    return (pattern[:, QUERY, KEY] / pattern[:, QUERY, OTHER]).log()


@pytest.fixture(scope="module")
def deep(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.make(tmp_path_factory.mktemp("deep"))


@pytest.mark.parametrize("family", ["llama", "gpt2"])
def test_what_a_pair_does_is_what_goes_when_the_write_goes(
    family: str, deep: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """The norm's scale held. With grouped queries and rotary positions, and with three layers."""
    path = deep if family == "gpt2" else make(tmp_path_factory.mktemp("llama"), "llama")
    plain, engine = Plain(path), Engine(load_now(path))
    ids = list(engine.open(Session(prompt=PROMPT, bos="no")).ids)
    heads, layers = plain.heads, len(plain.layers)
    by_keys, by_values = (contributed(engine, f"composition {kind} {QUERY}>{KEY}")[0] for kind in "KV")
    by_queries = [contributed(engine, f"composition Q {QUERY}>{key}")[0] for key in (KEY, OTHER)]
    assert by_keys.contribution.shape == (heads * layers, heads * layers)
    assert np.isnan(by_keys.contribution[:heads]).all()
    for layer in range(1, layers):
        stream, z, pattern, values = plain.run(ids, layer)
        group = heads // values.shape[1]
        own = slice(layer * heads, (layer + 1) * heads)
        scores = [each.score[own] for each in by_queries]
        np.testing.assert_allclose(scores[0] - scores[1], odds(pattern), atol=1e-4)
        assert np.isnan(by_keys.contribution[own, own.start :]).all()
        for earlier in range(own.start):
            place = divmod(earlier, heads)
            # What is read at the key, and what is read at the query.
            reads = {at: plain.without(layer, stream[layer][at], plain.write(z, *place, at)) for at in (KEY, QUERY)}
            _, _, moved, changed = plain.run(ids, layer, KEY, reads[KEY])
            np.testing.assert_allclose(by_keys.contribution[own, earlier], odds(pattern) - odds(moved), atol=1e-4)
            share = 1 - (changed[KEY] * values[KEY]).sum(-1) / values[KEY].square().sum(-1)
            np.testing.assert_allclose(by_values.contribution[own, earlier], share.repeat_interleave(group), atol=1e-4)
            _, _, moved, _ = plain.run(ids, layer, QUERY, reads[QUERY])
            told = by_queries[0].contribution[own, earlier] - by_queries[1].contribution[own, earlier]
            np.testing.assert_allclose(told, odds(pattern) - odds(moved), atol=1e-4)
    assert np.nanmax(np.abs(by_keys.contribution)) > 0.05


def test_what_a_pair_does_follows_every_edit(deep: Path) -> None:
    """And is as it was when they go. Pairs are told by their numbers: 4 heads a layer."""
    engine, line = Engine(load_now(deep)), f"composition K {QUERY}>{KEY}"
    clean, _ = contributed(engine, line)
    zeroed = contributed(engine, line, "zero L0H1")[1].contribution
    assert (zeroed[4:, 1] == 0).all()
    assert not np.allclose(zeroed[8:, 4:8], clean.contribution[8:, 4:8])
    for edit in ("cut-path L0H1>L2H3.k", "cut-path L0.attn>L2H3.k"):
        cut = contributed(engine, line, edit)[1].contribution
        assert cut[11, 1] == pytest.approx(0, abs=1e-6)
        np.testing.assert_array_equal(cut[4:8], clean.contribution[4:8])
    assert np.abs(cut[11, :4]).max() < 1e-6 < np.abs(cut[11, 4:8]).min()
    # A path from the source: its write, through the norm of what is then read.
    plain = Plain(deep)
    _, edited = contributed(engine, line, f"patch-path L0H1>L2H3.k @{KEY}", source=SOURCE)
    texts = [list(engine.open(Session(prompt=text, bos="no")).ids) for text in (PROMPT, SOURCE)]
    (stream, z, *_), (_, others, *_) = (plain.run(ids, 2) for ids in texts)
    write = plain.write(others, 0, 1, KEY)
    whole = stream[2][KEY] - plain.write(z, 0, 1, KEY) + write
    nothing = torch.zeros_like(write)
    with_it, without = (
        odds(plain.run(texts[0], 2, KEY, plain.without(2, whole, part))[2]) for part in (nothing, write)
    )
    assert edited.contribution[11, 1] == pytest.approx(float(with_it[3] - without[3]), abs=1e-4)
    # A stream three times as long where it is read: each write is a third of what the norm gives.
    _, longer = contributed(engine, line, f"scale L2.pre @{KEY} x3")
    np.testing.assert_allclose(longer.contribution[8:], clean.contribution[8:] / 3, atol=1e-4)
    assert np.nanmax(np.abs(clean.contribution[8:])) > 0.01
    # Where an edit gives the key itself, nobody wrote it.
    _, set_there = contributed(engine, line, f"scale L2H3.k @{KEY} x2")
    assert np.isnan(set_there.contribution[11]).all()
    assert not np.isnan(set_there.contribution[10, :8]).any()
    _, elsewhere = contributed(engine, line, f"scale L2H3.k @{OTHER} x2")
    np.testing.assert_array_equal(elsewhere.contribution[11], clean.contribution[11])
    np.testing.assert_array_equal(contributed(engine, line, "# zero L0H1")[1].contribution, clean.contribution)
    # In linear mode no key makes a pattern, and values add up.
    _, held = contributed(engine, line, "zero L0H1", linear=True)
    np.testing.assert_array_equal(held.contribution, clean.contribution)
    _, held = contributed(engine, line.replace("K", "V", 1), "zero L0H1", linear=True)
    assert (held.contribution[4:, 1] == 0).all()


def test_each_head_is_looked_at_where_it_attends_most(deep: Path) -> None:
    engine = Engine(load_now(deep))
    answer, _ = contributed(engine, f"composition V @{QUERY}")
    plain = Plain(deep)
    ids = list(engine.open(Session(prompt=PROMPT, bos="no")).ids)
    patterns = [plain.run(ids, layer)[2][:, QUERY] for layer in range(3)]
    assert answer.keys == tuple(int(each) for each in torch.cat(patterns).argmax(-1))
    assert (answer.query, answer.refused) == (QUERY, "")
    assert answer.json()["score"] == [None] * 12
    late, _ = contributed(engine, "composition K 3>9")
    assert late.refused == "position 3 cannot see position 9, which comes later"
    assert (late.json()["contribution"], late.json()["keys"]) == (None, None)
    np.testing.assert_array_equal(late.values, contributed(engine, "composition K")[0].values)


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
    # On a prompt that says something twice it is so as well, by what is really read there.
    question = parse_question("composition K")
    opened = engine.open(Session(prompt=" the cat sat down on a warm red mat, and the cat sat down on a warm red"))
    *_, (answer, _, _) = opened.answer(question)
    assert isinstance(answer, CompositionAnswer)
    best = np.argsort(-np.nan_to_num(answer.contribution, nan=-np.inf), axis=None)[:3]
    assert {int(at) % len(values) for at in best} == {7}
    for at in best:
        assert cards.induction[1][int(at) // len(values) - 8] > 0.5
