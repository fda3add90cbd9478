"""Fast blocks give what the bridge's give, to the last bit; where they would not, the bridge's run. What packed
weights change is in test_packed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoConfig, AutoModelForCausalLM

from mechtui.engine.api import Engine
from mechtui.engine.forward.bridged import BridgedBlock
from mechtui.engine.forward.fast_blocks import kinds
from mechtui.engine.model import Model
from mechtui.engine.weights import inner
from tests import folders
from tests.engine.conftest import load_now, unpacked
from tests.engine.twin import SOURCE, session_of

# What an architecture may do otherwise than the tiny models of the other tests.
SHAPES: dict[str, tuple[str, dict[str, Any]]] = {
    "gpt2": ("gpt2", {}),
    "another activation": ("gpt2", {"activation_function": "gelu"}),
    "scores scaled by the layer": ("gpt2", {"scale_attn_by_inverse_layer_idx": True}),
    "llama": ("llama", {}),
    "heads of another width": ("llama", {"head_dim": 8}),
    "biases": ("llama", {"attention_bias": True, "mlp_bias": True}),
    "rotation stretched": (
        "llama",
        {"rope_parameters": {"rope_type": "linear", "factor": 2.0, "rope_theta": 10000.0}},
    ),
    "mistral": ("llama", {"model_type": "mistral"}),
    "qwen2": ("llama", {"model_type": "qwen2"}),
}
EDITS = ("zero L1H1.q @-1", "scale L0H0.pattern x0.5", "patch L1.mlp", "scale L0.mid x2", "zero L0N3", "cut L1H0 -1>2")


@pytest.fixture(autouse=True)
def nothing_packed(monkeypatch: pytest.MonkeyPatch) -> None:
    unpacked(monkeypatch)


def model_of(shape: str, folder: Path, **options: object) -> Model:
    kind, changed = SHAPES[shape]
    made = getattr(folders, kind)(folder)
    config = AutoModelForCausalLM.from_pretrained(made).config.to_dict() | changed
    torch.manual_seed(1)
    network = AutoModelForCausalLM.from_config(AutoConfig.for_model(config.pop("model_type"), **config))
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    network.save_pretrained(made)
    return load_now(made, **options)


def logits(model: Model, *edits: str, prompt: str | None = None) -> torch.Tensor:
    """What an engine that has seen nothing gives."""
    session = session_of(*edits, **({} if prompt is None else {"prompt": prompt}))
    opened = Engine(model).open(session)
    assert not opened.problems
    return (opened.edited or opened.clean).logits()


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("shape", SHAPES)
def test_they_give_what_the_bridges_blocks_give(
    shape: str, dtype: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = model_of(shape, tmp_path, dtype=dtype)
    engine = Engine(model)
    engine.open(session_of()).clean.logits()
    assert [type(block).__name__ for block in engine.runner.forward.blocks.chosen.values()] == (
        ["GPT2Block" if SHAPES[shape][0] == "gpt2" else "LlamaBlock"] * 2
    )
    texts = ("When", "When Mary and John went", SOURCE)
    ours = [logits(model, prompt=text) for text in texts]
    edited = [logits(model, edit) for edit in EDITS]
    monkeypatch.setattr(kinds, "KINDS", {})
    for text, got in zip(texts, ours, strict=True):
        assert torch.equal(got, logits(model, prompt=text))
        with torch.inference_mode():
            whole = model.bridge(torch.tensor([model.encode(text, "auto")]))
        assert torch.equal(got, whole[0].float())
    for edit, got in zip(EDITS, edited, strict=True):
        # An edit of the residual in the middle of a block goes another way in the bridge's, and adds up otherwise.
        close = {"atol": 1e-5, "rtol": 0} if dtype == "float32" else {"atol": 0.5, "rtol": 0.05}
        torch.testing.assert_close(got, logits(model, edit), **close)


def test_weights_with_the_norms_folded_in(
    gpt2_folder: Path, llama_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    models = [load_now(folder, fold_ln=True) for folder in (gpt2_folder, llama_folder)]
    ours = [logits(model, edit) for model in models for edit in EDITS]
    monkeypatch.setattr(kinds, "KINDS", {})
    for got, wanted in zip(ours, [logits(model, edit) for model in models for edit in EDITS], strict=True):
        torch.testing.assert_close(got, wanted, atol=1e-4, rtol=0)


def test_text_that_grows_token_by_token(gpt2_model: Model, llama_model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each token on the keys and values of those before it."""
    for model in (gpt2_model, llama_model):

        def grown(model: Model = model) -> list[torch.Tensor]:
            engine, words = Engine(model), SOURCE.split(" ")
            texts = [" ".join(words[:count]) for count in range(2, len(words))]
            return [engine.open(session_of(prompt=text)).clean.logits() for text in texts]

        ours = grown()
        with monkeypatch.context() as patch:
            patch.setattr(kinds, "KINDS", {})
            for got, wanted in zip(ours, grown(), strict=True):
                assert torch.equal(got, wanted)


def test_a_block_that_computes_something_else_runs_as_it_is(gpt2_model: Model) -> None:
    """One of a model's blocks: the others are fast."""
    project = inner(gpt2_model.bridge.blocks[1].mlp)
    was = project.forward
    project.forward = lambda hidden: was(hidden) * 2
    try:
        engine = Engine(gpt2_model)
        got = engine.open(session_of()).clean.logits()
        ids = torch.tensor([gpt2_model.encode(session_of().prompt, "auto")])
        with torch.inference_mode():
            assert torch.equal(got, gpt2_model.bridge(ids)[0])
        fast = {
            layer: not isinstance(block, BridgedBlock) for layer, block in engine.runner.forward.blocks.chosen.items()
        }
        assert fast == {0: True, 1: False}
    finally:
        project.forward = was


def test_an_architecture_without_a_fast_block_runs_as_it_is() -> None:
    model = load_now("attn-only-2l")
    engine = Engine(model)
    engine.open(session_of()).clean.logits()
    assert {type(block) for block in engine.runner.forward.blocks.chosen.values()} == {BridgedBlock}
