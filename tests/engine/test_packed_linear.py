"""Packed weights: the same numbers to rounding, and only where they can be relied on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from transformers.pytorch_utils import Conv1D

from mechtui.engine.api import Engine
from mechtui.engine.forward import packed_linear
from mechtui.engine.forward.fast_blocks import kinds
from mechtui.engine.forward.fast_blocks.fast_block import FastBlock
from mechtui.engine.forward.packed_linear import PackedLinear, can_be_packed
from mechtui.engine.model import Model
from mechtui.engine.weights import inner
from tests.engine.conftest import load_now
from tests.engine.test_fast_blocks import EDITS, SHAPES, logits, model_of
from tests.engine.twin import SOURCE, session_of

pytestmark = pytest.mark.skipif(
    not can_be_packed([nn.Linear(2, 2)]), reason="torch has no oneDNN on this machine: nothing is packed"
)


def exact(engine: Engine) -> dict[int, bool | None]:
    """By layer, whether its block is the bridge's to the last bit; None: it is the bridge's own."""
    engine.open(session_of()).clean.logits()
    return exact_of(engine)


def exact_of(engine: Engine) -> dict[int, bool | None]:
    chosen = engine.runner.forward.blocks.chosen
    return {layer: block.exact if isinstance(block, FastBlock) else None for layer, block in chosen.items()}


@settings(deadline=None)
@given(
    st.sampled_from(["Linear", "Conv1D"]),
    st.booleans(),
    st.lists(st.integers(1, 5), min_size=1, max_size=2),
    st.integers(1, 70),
    st.integers(1, 70),
    st.integers(0, 1000),
)
def test_a_product_is_numpys(kind: str, bias: bool, rows: list[int], d_in: int, d_out: int, seed: int) -> None:
    torch.manual_seed(seed)
    module: Any = nn.Linear(d_in, d_out, bias=bias) if kind == "Linear" else Conv1D(d_out, d_in)
    nn.init.normal_(module.weight)
    x = torch.randn(*rows, d_in)
    with torch.inference_mode():
        got = PackedLinear(module)(x)
    weight = module.weight.detach().double().numpy()
    wanted = x.double().numpy() @ (weight.T if kind == "Linear" else weight)
    if module.bias is not None:
        wanted = wanted + module.bias.detach().double().numpy()
    np.testing.assert_allclose(got.numpy(), wanted, atol=1e-4)


@pytest.mark.parametrize("shape", SHAPES)
def test_blocks_give_what_the_bridges_give(shape: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = model_of(shape, tmp_path)
    assert exact(Engine(model)) == {0: False, 1: False}
    texts = ("When", "When Mary and John went", SOURCE)
    ours = [*(logits(model, prompt=text) for text in texts), *(logits(model, edit) for edit in EDITS)]
    with torch.inference_mode():
        for text, got in zip(texts, ours, strict=False):
            whole = model.bridge(torch.tensor([model.encode(text, "auto")]))[0]
            torch.testing.assert_close(got, whole, atol=1e-4, rtol=0)
    monkeypatch.setattr(kinds, "KINDS", {})
    theirs = [*(logits(model, prompt=text) for text in texts), *(logits(model, edit) for edit in EDITS)]
    for got, wanted in zip(ours, theirs, strict=True):
        torch.testing.assert_close(got, wanted, atol=1e-4, rtol=0)


def test_a_first_text_of_one_token_is_trial_enough(gpt2_model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    """One row goes past the packed weights, but what is tried out is them."""
    was = PackedLinear.__call__
    monkeypatch.setattr(
        PackedLinear, "__call__", lambda self, x: was(self, x) * (1 if x.shape[:-1].numel() == 1 else 1.001)
    )
    engine = Engine(gpt2_model)
    opened = engine.open(session_of(prompt="M"))
    engine.run(opened.ids[-1:])
    assert exact_of(engine) == {0: True, 1: True}


def test_a_module_that_computes_something_else_than_its_weights_say(gpt2_model: Model) -> None:
    module = inner(gpt2_model.bridge.blocks[1].mlp.out)
    was = module.forward
    module.forward = lambda hidden: was(hidden) * 1.001
    try:
        assert exact(Engine(gpt2_model)) == {0: False, 1: True}
    finally:
        module.forward = was


def test_a_second_copy_of_the_weights_must_fit(gpt2_model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    products = [
        module for block in Engine(gpt2_model).runner.forward.blocks.candidates for module in block.products.values()
    ]
    size = sum(module.weight.nbytes for module in products)
    monkeypatch.setattr(packed_linear, "free", lambda _: 4 * size)
    assert exact(Engine(gpt2_model)) == {0: False, 1: False}
    monkeypatch.setattr(packed_linear, "free", lambda _: 4 * size - 4)
    assert exact(Engine(gpt2_model)) == {0: True, 1: True}


def test_other_numbers_and_other_modules_stay_as_they_are(gpt2_folder: Path) -> None:
    class Scaled(nn.Linear):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return super().forward(x) * 2

    assert not can_be_packed([nn.Linear(2, 2), Scaled(2, 2)])
    assert not can_be_packed([nn.Linear(2, 2), nn.Identity()])
    assert not can_be_packed([nn.Linear(2, 2, dtype=torch.bfloat16)])
    assert exact(Engine(load_now(gpt2_folder, dtype="bfloat16"))) == {0: True, 1: True}
    assert exact(Engine(load_now("attn-only-2l"))) == {0: None, 1: None}
