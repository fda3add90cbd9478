"""The training script on a tiny network: it learns, stops, goes on, and writes what can be loaded."""

from __future__ import annotations

import io
import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from rich.console import Console
from tokenizers import Tokenizer

from mechtui.embedded import ATTENTION_ONLY, folder, native, train
from mechtui.embedded.network import Shape
from mechtui.embedded.optimiser import orthogonalise

TINY = train.Plan(
    Shape(n_layers=2, n_heads=2, d_model=32, d_mlp=32, n_ctx=128),
    tokens=256,
    layers_first=(0, 1),
    repeats_at_most=4,
    text_at_least=2,
    text_at_most=4,
    settle=4,
    look_every=4,
    warm_up=2,
)
SILENT = Console(file=io.StringIO())


@pytest.fixture(scope="module")
def words() -> Tokenizer:
    return Tokenizer.from_file(str(folder("demo") / "tokenizer.json"))


def test_the_singular_values_become_one() -> None:
    matrices = torch.randn(3, 16, 48, generator=torch.Generator().manual_seed(0))
    values = torch.linalg.svdvals(orthogonalise(matrices, steps=10))
    assert values.min() > 0.6
    assert values.max() < 1.3


def test_a_resumed_training_ends_where_an_unbroken_one_does(words: Tokenizer, tmp_path: Path) -> None:
    whole = train.Training(TINY, words, 0, tmp_path / "whole")
    train.train(whole, console=SILENT)

    train.train(train.Training(TINY, words, 0, tmp_path / "parts"), console=SILENT, stop_at=5)
    second = train.Training(TINY, words, 0, tmp_path / "parts")
    assert second.resume()
    assert second.step == 5
    train.train(second, console=SILENT)

    assert second.done
    assert second.step == whole.step
    for name, weight in whole.network.state_dict().items():
        assert torch.equal(weight, second.network.state_dict()[name]), name
    without_time = [{**entry, "seconds": 0} for entry in whole.log]
    assert without_time == [{**entry, "seconds": 0} for entry in second.log]


def test_phases_follow_one_another(words: Tokenizer, tmp_path: Path) -> None:
    training = train.Training(TINY, words, 0, tmp_path)
    train.train(training, console=SILENT)
    assert [entry["phase"] for entry in training.log] == ["repeats", "text", "settle"]
    assert (tmp_path / "before" / "model.safetensors").exists()


@pytest.mark.parametrize("d_mlp", [32, 0])
def test_what_is_written_computes_the_same(words: Tokenizer, tmp_path: Path, d_mlp: int) -> None:
    from transformers import AutoModelForCausalLM

    plan = replace(TINY, shape=replace(TINY.shape, d_mlp=d_mlp), repeats_at_most=0)
    training = train.Training(plan, words, 0, tmp_path)
    for _ in range(3):
        training.advance()
    training.save_weights(tmp_path / "model")
    tokens = torch.randint(0, 2000, (2, 20), generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        expected = training.network(tokens)
        if d_mlp:
            logits = AutoModelForCausalLM.from_pretrained(tmp_path / "model", dtype=torch.float32)(tokens).logits
        else:
            config = json.loads((tmp_path / "model" / "config.json").read_text())
            assert config["architectures"] == [ATTENTION_ONLY]
            logits = native.load(tmp_path / "model")(tokens)
    # The weights are rounded to float16 on the way.
    assert (logits - expected).abs().max() < 0.01


def test_weights_that_do_not_fit_are_refused(words: Tokenizer, tmp_path: Path) -> None:
    one = train.Training(replace(TINY, shape=replace(TINY.shape, d_mlp=0)), words, 0, tmp_path)
    one.save_weights(tmp_path / "one")
    deeper = replace(TINY.shape, d_mlp=0, n_layers=3)
    train.Training(replace(TINY, shape=deeper), words, 0, tmp_path).save_weights(tmp_path / "three")
    (tmp_path / "three" / "config.json").replace(tmp_path / "one" / "config.json")
    with pytest.raises(RuntimeError, match=r"config\.json"):
        native.load(tmp_path / "one")


def test_layers_that_join_disturb_nothing(words: Tokenizer, tmp_path: Path) -> None:
    training = train.Training(
        replace(TINY, shape=replace(TINY.shape, n_layers=4), layers_first=(0, 3)), words, 0, tmp_path
    )
    for _ in range(3):
        training.advance()
    network = training.network
    assert network.only == (0, 3)
    tokens = torch.randint(0, 2000, (2, 20), generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        alone = network(tokens)
        network.only = ()
        assert torch.equal(network(tokens), alone)
    training.phase = "text"
    training.advance()
    with torch.no_grad():
        network.only = ()
        joined = network(tokens)
        network.only = (0, 3)
        assert not torch.equal(network(tokens), joined)
