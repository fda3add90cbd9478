"""Attribution, against plain Hugging Face: its activations, its own W_O, W_out, final norm and unembedding, by hand."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from msgspec.structs import replace
from transformers import GPT2Config, GPT2LMHeadModel, LlamaConfig, LlamaForCausalLM

from mechtui.engine.api import EditError, Engine, SessionError
from mechtui.engine.model import Model
from mechtui.session.document import ModelShape, Token
from mechtui.session.grammar.words import LineError
from mechtui.views import parse_question
from mechtui.views.script import Around, scripts
from tests.engine.conftest import load_now
from tests.engine.reference import run
from tests.engine.test_script import program_answers, same
from tests.engine.twin import CLOSE, Twin, make_twin, session_of
from tests.folders import tokenizer

EDITS = ("zero L0H1", "scale L1.mlp @-1 x2")
# Edits of the stream itself, of a head's output and of its values.
OTHERS = ("scale L1.pre x1.5", "scale L1H2 x-1", "scale L0.attn x0.5", "scale L1H0-1.v x3")

positions = pytest.mark.parametrize("position", [-1, 4, 0])


def spread(model: Any, folder: Path) -> Path:
    """Norms begin as 1 and biases as 0, which hides whoever forgets them: these have numbers of their own."""
    tokenizer().save_pretrained(folder)
    torch.manual_seed(1)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter), alpha=0.2)
    model.save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def spread_gpt2_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    config = GPT2Config(n_layer=2, n_head=4, n_embd=32, vocab_size=len(tokenizer()), n_positions=64)
    return spread(GPT2LMHeadModel(config), tmp_path_factory.mktemp("gpt2"))


@pytest.fixture(scope="session")
def spread_llama_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six heads in two groups, with biases where Llama may have some."""
    config = LlamaConfig(
        num_hidden_layers=2, num_attention_heads=6, num_key_value_heads=2, hidden_size=36, intermediate_size=48,
        vocab_size=len(tokenizer()), max_position_embeddings=64, pad_token_id=None, attention_bias=True, mlp_bias=True,
    )  # fmt: skip
    return spread(LlamaForCausalLM(config), tmp_path_factory.mktemp("llama"))


@pytest.fixture(scope="session")
def spread_gpt2_model(spread_gpt2_folder: Path) -> Model:
    return load_now(spread_gpt2_folder)


@pytest.fixture(scope="session")
def spread_llama_model(spread_llama_folder: Path) -> Model:
    return load_now(spread_llama_folder)


@pytest.fixture(scope="module", params=["spread_gpt2", "spread_llama"])
def twin(request: pytest.FixtureRequest, blocks: str) -> Twin:
    return make_twin(request, blocks)


class Plain:
    """One run of the plain model, read at one position along answer minus foil, with the final norm's scale held."""

    def __init__(self, twin: Twin, session: Any, edits: Any, position: int, answer: int, foil: int | None) -> None:
        self.model, self.gpt2 = twin.plain, hasattr(twin.plain, "transformer")
        logits, kept = run(twin.plain, twin.tokens(session).ids, edits)
        self.kept = {place: x.detach().double().numpy() for place, x in kept.items()}
        self.position = range(len(logits))[position]
        self.logits = logits[position].double().numpy()
        self.total = self.logits[answer] - (0 if foil is None else self.logits[foil])
        w_u = self.weight(twin.plain.lm_head.weight)
        norm = twin.plain.transformer.ln_f if self.gpt2 else twin.plain.model.norm
        column = (w_u[answer] - (0 if foil is None else w_u[foil])) * self.weight(norm.weight)
        last = self.at("post", twin.plain.config.num_hidden_layers - 1)
        if self.gpt2:
            bias = w_u[answer] - (0 if foil is None else w_u[foil])
            self.fixed = float(self.weight(norm.bias) @ bias)
            self.reads = (column - column.mean()) / np.sqrt(last.var() + norm.eps)
        else:
            self.fixed = 0.0
            self.reads = column / np.sqrt((last**2).mean() + norm.variance_epsilon)

    @staticmethod
    def weight(parameter: Any) -> np.ndarray:
        made: np.ndarray = parameter.detach().double().numpy()
        return made

    def at(self, name: str, layer: int) -> np.ndarray:
        return self.kept[name, layer][self.position]

    def w_o(self, layer: int) -> np.ndarray:
        """[head, d_head, d_model]: slices of the plain model's output projection."""
        if self.gpt2:
            w = self.weight(self.model.transformer.h[layer].attn.c_proj.weight)
        else:
            w = self.weight(self.model.model.layers[layer].self_attn.o_proj.weight).T
        return w.reshape(self.model.config.num_attention_heads, -1, w.shape[1])

    def heads(self, layer: int) -> np.ndarray:
        return np.einsum("hd,hdm,m->h", self.at("z", layer), self.w_o(layer), self.reads)

    def sources(self, layer: int, head: int) -> tuple[np.ndarray, float]:
        """Pattern times value times W_O, by token; and what the values' bias gives, whatever is attended to."""
        config = self.model.config
        values = self.kept["v", layer]
        group = head * values.shape[1] // config.num_attention_heads
        if self.gpt2:
            every = self.weight(self.model.transformer.h[layer].attn.c_attn.bias)
            bias = every.reshape(3, config.n_head, -1)[2, head]
        else:
            every = self.weight(self.model.model.layers[layer].self_attn.v_proj.bias)
            bias = every.reshape(config.num_key_value_heads, -1)[group]
        row = self.kept["pattern", layer][head, self.position]
        by_token = [
            weight * float((value - bias) @ self.w_o(layer)[head] @ self.reads)
            for weight, value in zip(row, values[:, group], strict=True)
        ]
        return np.array(by_token), row.sum() * float(bias @ self.w_o(layer)[head] @ self.reads)

    def neurons(self, layer: int) -> tuple[np.ndarray, float]:
        """Activation times a row of W_out, by neuron; and what the output's bias gives."""
        if self.gpt2:
            mlp = self.model.transformer.h[layer].mlp.c_proj
            w, bias = self.weight(mlp.weight), self.weight(mlp.bias)
        else:
            mlp = self.model.model.layers[layer].mlp.down_proj
            w, bias = self.weight(mlp.weight).T, self.weight(mlp.bias)
        return self.at("neuron", layer) * (w @ self.reads), float(bias @ self.reads)


def targets(twin: Twin) -> tuple[dict[str, str], int, int]:
    texts = [twin.tokenizer.decode([i]) for i in twin.tokens(session_of()).ids]
    a, b = (twin.text_ids(text, ())[0] for text in (texts[-1], texts[-2]))
    return {"answer": texts[-1], "foil": texts[-2]}, a, b


def summed(parts: Any) -> float:
    return float(np.nansum(parts.heads) + np.nansum(parts.mlps) + parts.embed + parts.pos + parts.bias + parts.edits)


@positions
@pytest.mark.parametrize("alone", [False, True])
def test_every_write_is_the_plain_models_and_all_add_up(twin: Twin, position: int, alone: bool) -> None:
    named, a, b = targets(twin)
    session = session_of(*EDITS, **named)
    (both,) = twin.answers(session, f"attribution @{position}" + " answer" * alone)
    layers = twin.plain.config.num_hidden_layers
    for answer, edits in zip(both, ((), session.edits), strict=True):
        plain = Plain(twin, session, edits, position, a, None if alone else b)
        assert (answer.position, answer.answer.id) == (plain.position, a)
        assert answer.foil is None if alone else answer.foil.id == b
        assert not answer.auto
        parts = answer.parts
        np.testing.assert_allclose(parts.heads, [plain.heads(i) for i in range(layers)], atol=CLOSE)
        np.testing.assert_allclose(parts.mlps, [plain.at("mlp", i) @ plain.reads for i in range(layers)], atol=CLOSE)
        assert parts.embed == pytest.approx(plain.at("embed", 0) @ plain.reads, abs=CLOSE)
        assert parts.pos == pytest.approx(plain.at("pos", 0) @ plain.reads if plain.gpt2 else 0, abs=CLOSE)
        assert answer.total == pytest.approx(plain.total, abs=1e-3)
        assert summed(parts) == pytest.approx(plain.total, abs=1e-3)
        # Neither edit touches the stream itself.
        assert parts.edits == pytest.approx(0, abs=1e-3)
        if plain.gpt2:
            biases = [block.attn.c_proj.bias for block in twin.plain.transformer.h]
        else:
            biases = [block.self_attn.o_proj.bias for block in twin.plain.model.layers]
        fixed = plain.fixed + sum(float(plain.weight(bias) @ plain.reads) for bias in biases)
        assert parts.bias == pytest.approx(fixed, abs=CLOSE)


@positions
@pytest.mark.parametrize("line", OTHERS)
def test_what_an_edit_adds_to_the_stream_itself_is_its_own_line(twin: Twin, position: int, line: str) -> None:
    named, a, b = targets(twin)
    session = session_of(line, **named)
    ((_, answer),) = twin.answers(session, f"attribution @{position}")
    plain = Plain(twin, session, session.edits, position, a, b)
    layers = twin.plain.config.num_hidden_layers
    np.testing.assert_allclose(answer.parts.heads, [plain.heads(i) for i in range(layers)], atol=CLOSE)
    assert answer.total == pytest.approx(plain.total, abs=1e-3)
    assert summed(answer.parts) == pytest.approx(plain.total, abs=1e-3)
    stream = {"scale L1.pre x1.5": plain.at("pre", 1) / 3, "scale L0.attn x0.5": -plain.at("attn", 0)}
    added = float(stream[line] @ plain.reads) if line in stream else 0.0
    assert answer.parts.edits == pytest.approx(added, abs=1e-3)


@positions
@pytest.mark.parametrize("edits", [EDITS, *((line,) for line in OTHERS)])
def test_a_head_is_what_it_owes_to_each_token(twin: Twin, position: int, edits: tuple[str, ...]) -> None:
    named, a, b = targets(twin)
    session = session_of(*edits, **named)
    heads = twin.plain.config.num_attention_heads
    wanted = [(0, 1), (1, 0), (1, 2), (1, heads - 1)]
    answers = twin.answers(session, *(f"attribution L{layer}H{head} @{position}" for layer, head in wanted))
    plain = [Plain(twin, session, each, position, a, b) for each in ((), session.edits)]
    for (layer, head), both in zip(wanted, answers, strict=True):
        for answer, by_hand in zip(both, plain, strict=True):
            tokens, bias = by_hand.sources(layer, head)
            whole = by_hand.heads(layer)[head]
            np.testing.assert_allclose(answer.parts.tokens, tokens, atol=CLOSE)
            row = by_hand.kept["pattern", layer][head, by_hand.position]
            np.testing.assert_allclose(answer.parts.attention, row, atol=CLOSE)
            assert answer.parts.bias == pytest.approx(bias, abs=CLOSE)
            # What an edit of z changes is owed to no token.
            assert answer.parts.edits == pytest.approx(whole - tokens.sum() - bias, abs=CLOSE)
            assert answer.total == pytest.approx(whole, abs=CLOSE)


@positions
def test_an_mlp_is_what_its_neurons_write(twin: Twin, position: int) -> None:
    named, a, b = targets(twin)
    session = session_of(*EDITS, "zero L1N3", **named)
    both, few = twin.answers(session, f"attribution L1.mlp @{position} top999", f"attribution L1.mlp @{position} top5")
    plain = [Plain(twin, session, each, position, a, b) for each in ((), session.edits)]
    by_run = np.stack([each.neurons(1)[0] for each in plain])
    strength = np.abs(np.concatenate([by_run, by_run[1:] - by_run[:1]])).max(axis=0)
    for number, (answer, short, by_hand) in enumerate(zip(both, few, plain, strict=True)):
        parts = answer.parts
        assert sorted(parts.neurons) == list(range(by_run.shape[1]))
        np.testing.assert_allclose(parts.values, by_run[number][list(parts.neurons)], atol=CLOSE)
        np.testing.assert_allclose(parts.activations, by_hand.at("neuron", 1)[list(parts.neurons)], atol=CLOSE)
        assert parts.rest == pytest.approx(0, abs=CLOSE)
        assert parts.bias == pytest.approx(by_hand.neurons(1)[1], abs=CLOSE)
        assert answer.total == pytest.approx(float(by_hand.at("mlp", 1) @ by_hand.reads), abs=CLOSE)
        # At the last position an edit doubles the whole MLP.
        doubled = by_run[number].sum() + parts.bias if number and position == -1 else 0
        assert parts.edits == pytest.approx(doubled, abs=CLOSE)
        # The strongest of both runs and of their difference, the same in each.
        assert short.parts.neurons == few[0].parts.neurons == parts.neurons[:5]
        assert min(strength[list(short.parts.neurons)]) >= np.sort(strength)[-5] - CLOSE
        assert short.parts.rest + short.parts.values.sum() == pytest.approx(by_run[number].sum(), abs=CLOSE)
        assert short.total == pytest.approx(answer.total, abs=CLOSE)


def test_per_head_is_what_the_view_says(twin: Twin) -> None:
    from mechtui.engine.ledger import direction, per_head

    named, *_ = targets(twin)
    session = session_of(*EDITS, **named)
    (both,) = twin.answers(session, "attribution @4")
    opened = twin.engine.open(session)
    for run_, answer in zip((opened.clean, opened.edited), both, strict=True):
        assert run_ is not None
        np.testing.assert_array_equal(per_head(run_, opened, 4, direction(opened, 4)), answer.parts.heads)


def test_without_a_target_the_two_best_of_the_clean_run_stand_in(twin: Twin) -> None:
    (both,) = twin.answers(session_of(*EDITS), "attribution")
    logits = run(twin.plain, twin.tokens(session_of()).ids)[0][-1].numpy()
    best = np.argsort(-logits)[:2]
    for answer in both:
        assert answer.auto
        assert (answer.answer.id, answer.foil.id) == tuple(best)


def test_the_clean_ledger_is_kept_while_edits_change_but_not_while_the_target_does(twin: Twin) -> None:
    named, *_ = targets(twin)
    first = twin.answers(session_of(**named), "attribution")[0][0]
    again = twin.answers(session_of("zero L0H1", **named), "attribution")[0][0]
    assert again is first
    other = twin.answers(session_of(answer=named["foil"], foil=named["answer"]), "attribution")[0][0]
    assert other.total == pytest.approx(-first.total, abs=1e-3)


def test_what_cannot_be_attributed_is_said_in_one_sentence(twin: Twin) -> None:
    named, *_ = targets(twin)

    def refusal(line: str, **more: str) -> str:
        with pytest.raises((SessionError, EditError)) as caught:
            twin.answers(session_of(**more), line)
        return str(caught.value)

    assert refusal("attribution", foil=named["foil"]).endswith("give the session an answer and a foil")
    assert refusal("attribution", answer=named["answer"]).endswith(
        "give the session a foil, or ask: attribution answer"
    )
    assert twin.answers(session_of(answer=named["answer"]), "attribution answer")[0][0].foil is None
    assert "its layers are 0 to 1" in refusal("attribution L7H0", **named)
    assert "its heads are 0 to" in refusal("attribution L1H77", **named)
    assert "its layers are 0 to 1" in refusal("attribution L7.mlp", **named)
    assert "there is no position 99" in refusal("attribution @99", **named)


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("attribution L1H*", "L1H* is not one head"),
        ("attribution L1.pre", "L1.pre is not one head"),
        ("attribution L1H2.q", "L1H2.q is not one head"),
        ("attribution top5", "top5 counts neurons"),
        ("attribution L1H1 top5", "top5 counts neurons"),
        ("attribution logit", "logit should be a head"),
        ("attribution L1H", "L1H is not a site"),
    ],
)
def test_a_line_that_means_nothing_is_refused_at_its_place(line: str, said: str) -> None:
    with pytest.raises(LineError, match=re.escape(said)) as caught:
        parse_question(line)
    assert line[caught.value.column :].startswith(said.split(maxsplit=1)[0])


@pytest.mark.parametrize(
    "line",
    [
        "attribution",
        "attribution @3 answer",
        "attribution L9H9",
        "attribution L9H9 @-2 answer",
        "attribution L9.mlp top7",
    ],
)
def test_a_line_is_what_it_parses_to(line: str) -> None:
    assert parse_question(line).line() == line


@pytest.mark.parametrize("kind", ["spread_gpt2", "spread_llama"])
@pytest.mark.parametrize("target", [{}, {"answer": " st", "foil": " Mar"}, {"answer": " st"}], ids=str)
def test_the_exported_program_says_the_same(kind: str, target: dict[str, str], request: pytest.FixtureRequest) -> None:
    model = request.getfixturevalue(f"{kind}_model")
    lines = ["attribution answer", "attribution L1H3 @4 answer", "attribution L1.mlp answer top999"]
    if target.get("foil") or not target:
        lines += [
            "attribution",
            "attribution @3",
            "attribution L1H2",
            "attribution L0H1 @5",
            "attribution L1.mlp top999",
        ]
    edits = ("scale L0.mlp x2", "scale L1.pre x1.5", "zero L1H2 @-1", "scale L1.mlp x0.5", "scale L0H1-2.pattern x2")
    session = replace(session_of(*edits, bos="yes", **target), views=tuple(lines))
    answers = program_answers(model, session)
    for line, both in zip(lines, Twin(Engine(model), None, None, None).answers(session, *lines), strict=True):
        for run_, answer in zip(("clean", "edited"), both, strict=True):
            same(answers[run_, line], answer.json(), f"{line}, {run_}")


def test_a_program_without_a_target_is_refused() -> None:
    for target, lacks in (({"answer": " st"}, "a foil"), ({"foil": " st"}, "an answer")):
        around = Around(session_of(**target), ModelShape(2, 4, 4, 32, 8, 128, 305, 64), (Token(0, "a"),) * 4)
        assert f"give the session {lacks}" in scripts(["attribution"], around)["attribution"].problem
