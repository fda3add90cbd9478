"""Head cards: the numbers against plain Hugging Face attention and full matrices in numpy, and the file they are kept
in."""

from __future__ import annotations

import json
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from msgspec.structs import replace
from transformers import AutoModelForCausalLM, GPT2Config, GPT2LMHeadModel, LlamaConfig, LlamaForCausalLM

from mechtui.engine.api import Cancelled, Engine, SessionError
from mechtui.engine.cards import VERSION, fingerprint
from mechtui.engine.model import Model
from mechtui.engine.repeats import COUNT, LENGTHS, lengths_for, ordinary, repeats
from mechtui.session import paths
from mechtui.session.document import Session, Swept
from mechtui.session.grammar.edits import parse_edit
from mechtui.session.grammar.words import LineError
from mechtui.session.sweeps import made_of
from mechtui.views import parse_question
from mechtui.views.heads import HeadsAnswer
from mechtui.views.scores import Scores, ScoresAnswer, labels
from tests import folders, tiny
from tests.engine.conftest import load_now
from tests.engine.reference import head_scores

SESSION = Session(prompt="When Mary")
SHARES = ("induction", "previous", "duplicate", "first")
KINDS = ("gpt2", "llama")


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr("mechtui.engine.cards.cache_dir", paths.cache_dir)
    return tmp_path / "cache" / "mechtui" / "heads"


@pytest.fixture(scope="module")
def of_kind(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Folders of models that read 200 tokens, whose norms have weights of their own."""
    return {kind: make(tmp_path_factory.mktemp(kind), kind) for kind in KINDS}


def make(folder: Path, kind: str, seed: int = 0) -> Path:
    words = folders.tokenizer()
    words.save_pretrained(folder)
    ids = {"bos_token_id": words.bos_token_id, "eos_token_id": words.eos_token_id}
    torch.manual_seed(seed)
    model: Any
    if kind == "gpt2":
        shape = {"n_layer": 2, "n_head": 4, "n_embd": 32, "n_positions": 200}
        model = GPT2LMHeadModel(GPT2Config(vocab_size=len(words), initializer_range=0.2, **shape, **ids))
    else:
        shape = {"num_hidden_layers": 2, "num_attention_heads": 6, "num_key_value_heads": 2, "hidden_size": 36}
        more = {"intermediate_size": 48, "max_position_embeddings": 200, "pad_token_id": None}
        model = LlamaForCausalLM(LlamaConfig(vocab_size=len(words), initializer_range=0.2, **shape, **more, **ids))
    for name, parameter in model.named_parameters():
        if "ln_" in name or "norm" in name:
            parameter.data += 0.4 * torch.randn_like(parameter)
    model.save_pretrained(folder)
    return folder


def plain_of(folder: Path) -> Any:
    return AutoModelForCausalLM.from_pretrained(folder, attn_implementation="eager", dtype=torch.float32).eval()


def asked(model: Model, line: str = "scores", session: Session = SESSION) -> list[Any]:
    """What one question brings, partial answers too."""
    question = parse_question(line)
    return list(Engine(model).open(session, questions=(question,)).answer(question))


def scores_of(model: Model) -> ScoresAnswer:
    answer, edited, more = asked(model)[-1]
    assert isinstance(answer, ScoresAnswer)
    assert (edited, more) == (None, False)
    return answer


def texts(model: Model, length: int) -> np.ndarray:
    first = model.bos_id if model.ready.bos_auto else None
    return repeats(ordinary(model.tokenizer, model.shape.d_vocab), first, length).numpy()


def ov_circuits(plain: Any, kind: str) -> Iterator[np.ndarray]:
    """Per layer the heads' full OV circuits [head, token read, token raised], whole, from transformers' own weights."""

    def weight(module: Any) -> np.ndarray:
        return np.asarray(module.weight.detach().double().numpy())

    if kind == "gpt2":
        body, heads, width = plain.transformer, 4, 32
        centre = np.eye(width) - np.full((width, width), 1 / width)
        embed, final = weight(body.wte), centre @ np.diag(weight(body.ln_f))
        blocks = [
            (centre @ np.diag(weight(b.ln_1)), weight(b.attn.c_attn)[:, 2 * width :], weight(b.attn.c_proj))
            for b in body.h
        ]
        group = 1
    else:
        body, heads = plain.model, 6
        embed, final = weight(body.embed_tokens), np.diag(weight(body.norm))
        blocks = [
            (np.diag(weight(b.input_layernorm)), weight(b.self_attn.v_proj).T, weight(b.self_attn.o_proj).T)
            for b in body.layers
        ]
        group = 3
    unembed = weight(plain.lm_head).T
    unembed = final @ (unembed - unembed.mean(1, keepdims=True))
    for norm, values, out in blocks:
        size = out.shape[0] // heads
        yield np.stack(
            [
                embed
                @ norm
                @ values[:, (h // group) * size : (h // group + 1) * size]
                @ out[h * size : (h + 1) * size]
                @ unembed
                for h in range(heads)
            ]
        )


@pytest.mark.parametrize("kind", KINDS)
def test_scores_are_what_the_papers_define(of_kind: dict[str, Path], kind: str) -> None:
    model, plain = load_now(of_kind[kind]), plain_of(of_kind[kind])
    assert model.ready.bos_auto == (kind == "gpt2")
    answer = scores_of(model)
    assert (answer.lengths, answer.count, answer.bos) == (LENGTHS, COUNT, kind == "gpt2")
    wanted = [head_scores(plain, texts(model, n), n) for n in LENGTHS]
    for name in SHARES:
        got = getattr(answer, name)
        np.testing.assert_allclose(got, np.mean([each[name] for each in wanted], axis=0), atol=1e-5)
        assert got.max() > 1.05 * got.min()


@pytest.mark.parametrize("kind", KINDS)
def test_copying_is_that_of_the_whole_circuit(of_kind: dict[str, Path], kind: str) -> None:
    model, plain = load_now(of_kind[kind]), plain_of(of_kind[kind])
    wanted = []
    for circuit in ov_circuits(plain, kind):
        eigenvalues = np.linalg.eigvals(circuit)
        wanted.append(eigenvalues.sum(-1).real / np.abs(eigenvalues).sum(-1))
    got = scores_of(model).copying
    np.testing.assert_allclose(got, wanted, atol=2e-4)
    assert got.max() - got.min() > 0.2


def test_folded_weights_have_the_same_cards(of_kind: dict[str, Path]) -> None:
    raw, folded = scores_of(load_now(of_kind["gpt2"])), scores_of(load_now(of_kind["gpt2"], fold_ln=True))
    for name in (*SHARES, "copying"):
        np.testing.assert_allclose(getattr(folded, name), getattr(raw, name), atol=1e-4)


def test_the_sample_is_ordinary_tokens_said_twice() -> None:
    words = folders.tokenizer()
    ids = ordinary(words, len(words) + 5)
    assert words.eos_token_id not in ids
    assert int(ids.max()) < len(words)
    with_bos, without = repeats(ids, words.bos_token_id, 32), repeats(ids, None, 32)
    assert with_bos.shape == (COUNT, 65)
    assert set(with_bos[:, 0].tolist()) == {words.bos_token_id}
    assert torch.equal(with_bos[:, 1:], without)
    assert torch.equal(without[:, :32], without[:, 32:])
    assert torch.equal(without, repeats(ids, None, 32))
    assert len({tuple(row) for row in without.tolist()}) == COUNT
    assert not torch.equal(without, repeats(ids, None, 32, seed=1))


@pytest.mark.parametrize(("n_ctx", "lengths"), [(8, ()), (9, (4,)), (64, (31,)), (65, (32,)), (193, (32, 64, 96))])
def test_the_lengths_are_those_that_the_model_reads(n_ctx: int, lengths: tuple[int, ...]) -> None:
    assert lengths_for(n_ctx) == lengths


def test_a_model_that_reads_too_few_tokens_says_so(gpt2_model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpt2_model, "shape", replace(gpt2_model.shape, n_ctx=8))
    for line in ("scores", "heads copying"):
        with pytest.raises(SessionError, match="reads 8 tokens: too few to say random ones twice"):
            asked(gpt2_model, line)


@pytest.mark.parametrize("metric", ["induction", "previous", "duplicate", "copying"])
def test_the_map_shows_the_cards(gpt2_model: Model, metric: str) -> None:
    session = Session(prompt="When Mary and", edits=(parse_edit("zero L0H1"),))
    answer, edited, more = asked(gpt2_model, f"heads {metric}", session)[-1]
    assert isinstance(answer, HeadsAnswer)
    assert (edited, more, answer.summary) == (None, False, metric)
    np.testing.assert_array_equal(answer.values, getattr(scores_of(gpt2_model), metric))


def test_the_map_of_attributions_is_that_of_the_ledger(gpt2_model: Model) -> None:
    session = Session(prompt="When Mary and John", edits=(parse_edit("zero L0H1"),), answer=" Mary", foil=" John")
    for at in ("", " @2"):
        (sides,) = asked(gpt2_model, f"heads attribution{at}", session)
        (wanted,) = asked(gpt2_model, f"attribution{at}", session)
        for mine, ledger in zip(sides[:2], wanted[:2], strict=True):
            np.testing.assert_array_equal(mine.values, ledger.parts.heads)
        assert sides[1].values[0, 1] == 0 != sides[0].values[0, 1]
    other = Session(prompt=session.prompt, answer=" John", foil=" Mary")
    engine, question = Engine(gpt2_model), parse_question("heads attribution")
    one, two = (next(iter(engine.open(each).answer(question)))[0] for each in (session, other))
    np.testing.assert_allclose(one.values, -two.values)


def test_the_map_of_a_sweep_is_the_sessions_last() -> None:
    model = load_now("attn-only-2l")
    session = Session(prompt="When Mary and", model="attn-only-2l")
    with pytest.raises(SessionError, match="no sweep over all heads"):
        asked(model, "heads sweep", session)
    edit = parse_edit("zero L*H*")
    ((swept, _, more),) = list(asked(model, "sweep zero L*H*", session))[-1:]
    values = tuple(map(tuple, swept.values.tolist()))
    made = Swept(edit, made_of(session, edit), swept.rows, swept.columns, swept.metric, values, swept.values.size)
    ((answer, edited, more),) = asked(model, "heads sweep", replace(session, sweeps=(made,)))
    assert (edited, more) == (None, False)
    np.testing.assert_array_equal(answer.values, swept.values)


# The question's line


@pytest.mark.parametrize(
    ("line", "question"),
    [
        ("scores", Scores()),
        ("scores copying", Scores("copying")),
        ("scores entropy up", Scores("entropy", up=True)),
        ('scores attribution "L1H"', Scores("attribution", only="L1H")),
        ('scores up "a \\"b"', Scores(up=True, only='a "b')),
    ],
)
def test_lines_and_questions_are_inverses(line: str, question: Scores) -> None:
    assert parse_question(line) == question
    assert question.line() == line


@pytest.mark.parametrize(
    ("line", "column", "problem"),
    [
        ("scores size", 7, "size should be induction,"),
        ("scores copying L1", 15, "up or a text in double quotes"),
        ('scores ""', 7, "text in double quotes should stand here"),
        ("heads size", 6, "size should be entropy, first, norm, attribution,"),
    ],
)
def test_mistakes_are_shown_where_they_are(line: str, column: int, problem: str) -> None:
    with pytest.raises(LineError) as caught:
        parse_question(line)
    assert caught.value.column == column
    assert problem in caught.value.problem


def test_a_head_is_called_by_what_takes_more_than_half_of_its_attention() -> None:
    scores = {
        "induction": np.array([[0.9, 0.5, 0.2]]),
        "previous": np.array([[0.6, 0.2, 0.51]]),
        "duplicate": np.array([[0.0, 0.5, 0.49]]),
        "first": np.array([[0.0, 0.0, 0.99]]),
    }
    assert labels(scores) == (("induction", "", "previous"),)


# Being measured


def test_answers_come_after_each_length_and_tell_how_far_they_are(of_kind: dict[str, Path]) -> None:
    engine = Engine(load_now(of_kind["gpt2"]))
    question = Scores()
    opened = engine.open(SESSION, questions=(question,))
    told: list[float] = []
    opened.progress = told.append
    found: list[Any] = list(opened.answer(question))
    assert [(answer.lengths, more) for answer, _, more in found] == [
        ((32,), True),
        ((32, 64), True),
        ((32, 64, 96), True),
        ((32, 64, 96), False),
    ]
    assert np.isnan(found[0][0].copying).all()
    assert np.isfinite(found[-1][0].copying).all()
    assert told == sorted(told)
    assert told[-1] == 1
    assert engine.trace_bytes == 0  # nothing of the sample is kept


def test_what_was_measured_before_an_interruption_is_not_measured_again(of_kind: dict[str, Path]) -> None:
    engine, question = Engine(load_now(of_kind["gpt2"])), Scores()
    stop: list[bool] = []
    first: Iterator[Any] = engine.open(SESSION, lambda: bool(stop), (question,)).answer(question)
    assert next(first)[0].lengths == (32,)
    stop.append(True)
    with pytest.raises(Cancelled):
        next(first)
    again = engine.open(SESSION, questions=(question,))
    told: list[float] = []
    again.progress = told.append
    found: list[Any] = list(again.answer(question))
    assert min(told) > 32 / sum(LENGTHS)
    np.testing.assert_array_equal(found[-1][0].induction, scores_of(load_now(of_kind["gpt2"])).induction)


def test_measuring_leaves_the_runs_as_they_are(of_kind: dict[str, Path]) -> None:
    engine, question = Engine(load_now(of_kind["gpt2"])), Scores()
    opened = engine.open(SESSION, questions=(question,))
    before, held = opened.clean.logits().clone(), engine.trace_bytes
    list(opened.answer(question))
    assert engine.trace_bytes == held
    engine.forget()
    assert torch.equal(engine.open(SESSION).clean.logits(), before)


# On the disk


def kept(cache: Path) -> Path:
    (file,) = cache.iterdir()
    return file


def test_cards_are_kept_for_the_next_start(gpt2_model: Model, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = scores_of(gpt2_model)
    assert stat.S_IMODE(kept(cache).stat().st_mode) == 0o600
    assert stat.S_IMODE(cache.stat().st_mode) == 0o700
    assert kept(cache).stem == fingerprint(gpt2_model)
    monkeypatch.setattr("mechtui.engine.cards.repeats.repeats", None)  # nothing can be measured
    again = scores_of(gpt2_model)
    for name in (*SHARES, "copying"):
        np.testing.assert_array_equal(getattr(again, name), getattr(first, name))
    assert len(asked(gpt2_model)) == 1


def whole(text: str, **changes: object) -> str:
    return json.dumps(json.loads(text) | changes)


@pytest.mark.parametrize(
    "broken",
    [
        lambda text: "",
        lambda text: text[: len(text) // 2],
        lambda text: "[]",
        lambda text: whole(text, version=VERSION - 1),
        lambda text: whole(text, fingerprint="another"),
        lambda text: whole(text, copying=[[0.5]]),
        lambda text: whole(text, induction=[["much"]]),
    ],
    ids=["empty", "cut", "no object", "older", "another's", "another shape", "no number"],
)
def test_a_file_that_is_not_whole_is_measured_anew(gpt2_model: Model, cache: Path, broken: Any) -> None:
    first = scores_of(gpt2_model)
    good = kept(cache).read_text()
    kept(cache).write_text(broken(good))
    again = scores_of(gpt2_model)
    np.testing.assert_array_equal(again.induction, first.induction)
    assert kept(cache).read_text() == good


def test_without_a_place_for_the_file_there_are_numbers(
    gpt2_model: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    assert np.isfinite(scores_of(gpt2_model).induction).all()


def test_other_weights_or_another_type_have_cards_of_their_own(of_kind: dict[str, Path], tmp_path: Path) -> None:
    folder = of_kind["gpt2"]
    mark = fingerprint(load_now(folder))
    assert fingerprint(load_now(folder)) == mark
    assert fingerprint(load_now(folder, dtype="float16")) != mark
    assert fingerprint(load_now(make(tmp_path / "tuned", "gpt2", seed=1))) != mark
    other = make(tmp_path / "config", "gpt2")
    assert fingerprint(load_now(other)) == mark
    config = json.loads((other / "config.json").read_text())
    (other / "config.json").write_text(json.dumps(config | {"layer_norm_epsilon": 1e-3}))
    assert fingerprint(load_now(other)) != mark


# Models that have been trained


@pytest.mark.parametrize("name", ["demo", "attn-only-2l"])
def test_the_embedded_models_have_the_heads_of_their_cards(name: str) -> None:
    answer = scores_of(load_now(name))
    card = (Path(folders.__file__).parents[1] / "mechtui" / "embedded" / "weights" / name / "CARD.md").read_text()
    for metric, title in (("induction", "induction"), ("previous", "previous token"), ("duplicate", "duplicate token")):
        (line,) = (line for line in card.splitlines() if line.startswith(f"| {title}: highest scores"))
        for entry in line.split("|")[3].split(","):
            head, value = entry.split()
            layer, number = map(int, head.removeprefix("L").split("H"))
            assert getattr(answer, metric)[layer, number] == pytest.approx(float(value), abs=0.0051), head


def test_a_repeat_to_look_at_is_read_as_it_is_meant() -> None:
    model = load_now("demo")
    answer = scores_of(model)
    ids = model.encode(answer.repeat, "no")
    half = len(ids) // 2
    assert half >= 8
    assert ids[:half] == ids[half:]
    assert len(set(ids[:half])) == half


def test_a_tokenizer_without_words_has_no_repeat_to_look_at(tmp_path: Path) -> None:
    assert scores_of(load_now(tiny.make(tmp_path))).repeat == ""  # one token per byte
