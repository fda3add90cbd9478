"""The reference itself: equal to Hugging Face's own forward, and to hand-made hooks on its modules."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import GPT2Config, GPT2LMHeadModel, LlamaConfig, LlamaForCausalLM

from mechtui.session.grammar.edits import parse_edit
from tests.engine.reference import logits, run

IDS = [5, 17, 3, 42, 8, 17, 29, 11, 60]
SOURCE = [5, 17, 3, 7, 8, 23, 29, 11, 2]
CLOSE = 2e-5


@pytest.fixture(scope="module")
def gpt2() -> Any:
    torch.manual_seed(0)
    config = GPT2Config(n_layer=3, n_head=4, n_embd=32, vocab_size=64, n_positions=64, initializer_range=0.2)
    return GPT2LMHeadModel._from_config(config, attn_implementation="eager").eval()


@pytest.fixture(scope="module")
def llama() -> Any:
    torch.manual_seed(0)
    config = LlamaConfig(
        num_hidden_layers=3,
        num_attention_heads=4,
        num_key_value_heads=2,
        hidden_size=32,
        intermediate_size=48,
        vocab_size=64,
        max_position_embeddings=64,
        initializer_range=0.2,
    )
    return LlamaForCausalLM._from_config(config, attn_implementation="eager").eval()


@pytest.fixture(params=["gpt2", "llama"])
def model(request: pytest.FixtureRequest) -> Any:
    return request.getfixturevalue(request.param)


@torch.no_grad()
def plain(model: Any, ids: list[int] = IDS, **more: Any) -> Any:
    return model(torch.tensor([ids]), use_cache=False, **more)


@contextmanager
def hooked(module: Any, change: Callable[[Tensor], Tensor], *, at: str) -> Iterator[None]:
    """`change` acts in place on the module's input or output, without its batch axis."""

    def before(_: Any, args: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        return (change(args[0][0].clone())[None], *args[1:])

    def after(_: Any, __: Any, out: Any) -> Any:
        if isinstance(out, tuple):
            return (change(out[0][0].clone())[None], *out[1:])
        return change(out[0].clone())[None]

    handle = module.register_forward_pre_hook(before) if at == "in" else module.register_forward_hook(after)
    try:
        yield
    finally:
        handle.remove()


def layer(model: Any, i: int) -> Any:
    return model.transformer.h[i] if hasattr(model, "transformer") else model.model.layers[i]


def attention(model: Any, i: int) -> Any:
    block = layer(model, i)
    return block.attn if hasattr(block, "attn") else block.self_attn


def out_projection(model: Any, i: int) -> Any:
    return getattr(attention(model, i), "c_proj", None) or attention(model, i).o_proj


def test_unedited_is_hugging_face(model: Any) -> None:
    theirs = plain(model, output_hidden_states=True, output_attentions=True)
    ours, kept = run(model, IDS)
    torch.testing.assert_close(ours, theirs.logits[0], atol=CLOSE, rtol=0)
    for i in range(3):
        torch.testing.assert_close(kept["pre", i], theirs.hidden_states[i][0], atol=CLOSE, rtol=0)
        torch.testing.assert_close(kept["pattern", i], theirs.attentions[i][0], atol=CLOSE, rtol=0)


def test_a_zeroed_head_is_a_zeroed_slice_of_the_output_projection(model: Any) -> None:
    def zero(z: Tensor) -> Tensor:
        z[2:6, 8:16] = 0
        return z

    with hooked(out_projection(model, 1), zero, at="in"):
        theirs = plain(model).logits[0]
    ours = logits(model, IDS, [parse_edit("zero L1H1 @2-5")])
    torch.testing.assert_close(ours, theirs, atol=CLOSE, rtol=0)
    assert (ours - logits(model, IDS)).abs().max() > 1e-3


def test_patched_mlp_and_scaled_residual(model: Any) -> None:
    taken = {}

    def keep(x: Tensor) -> Tensor:
        taken["mlp"] = x
        return x

    def patch(x: Tensor) -> Tensor:
        x[3] = taken["mlp"][3]
        return x

    with hooked(layer(model, 0).mlp, keep, at="out"):
        plain(model, SOURCE)
    with hooked(layer(model, 0).mlp, patch, at="out"), hooked(layer(model, 2), lambda x: x * 0.5, at="out"):
        theirs = plain(model).logits[0]
    edits = [parse_edit("patch L0.mlp @3"), parse_edit("scale L2.post x0.5")]
    ours = logits(model, IDS, edits, source_ids=SOURCE)
    torch.testing.assert_close(ours, theirs, atol=CLOSE, rtol=0)


def test_a_zeroed_key_group(llama: Any) -> None:
    def zero(k: Tensor) -> Tensor:
        k[:, 8:16] = 0
        return k

    with hooked(llama.model.layers[1].self_attn.k_proj, zero, at="out"):
        theirs = plain(llama).logits[0]
    torch.testing.assert_close(logits(llama, IDS, [parse_edit("zero L1H1.k")]), theirs, atol=CLOSE, rtol=0)


def test_a_mean_neuron_and_a_vector(model: Any) -> None:
    block = layer(model, 1)
    down = getattr(block.mlp, "c_proj", None) or block.mlp.down_proj
    vector = torch.linspace(-1, 1, 32)

    def mean(x: Tensor) -> Tensor:
        x[:, 5] = x[:, 5].mean()
        return x

    with hooked(down, mean, at="in"), hooked(block, lambda x: x + 2 * vector, at="in"):
        theirs = plain(model).logits[0]
    edits = [parse_edit("mean L1N5"), parse_edit("add L1.pre v x2")]
    ours = logits(model, IDS, edits, vectors={"v": vector})
    torch.testing.assert_close(ours, theirs, atol=CLOSE, rtol=0)


def test_a_cut_edge_is_a_masked_score(model: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Renormalising what is left of a softmax row is a softmax without the removed key."""
    mask = torch.full((9, 9), torch.finfo(torch.float32).min).triu(1)
    mask[4, 1:3] = torch.finfo(torch.float32).min
    chosen = attention(model, 1)
    original = chosen.forward
    monkeypatch.setattr(chosen, "forward", lambda *a, **k: original(*a, **{**k, "attention_mask": mask[None, None]}))
    theirs = plain(model).logits[0]
    monkeypatch.undo()
    ours = logits(model, IDS, [parse_edit("cut L1H* 4>1-2")])
    torch.testing.assert_close(ours, theirs, atol=CLOSE, rtol=0)


def test_raw_cut_is_values_left_out(gpt2: Any) -> None:
    _, kept = run(gpt2, IDS)
    pattern, v = kept["pattern", 1], kept["v", 1]
    cut = pattern[2].clone()
    cut[4, 1] = 0
    _, changed = run(gpt2, IDS, [parse_edit("cut L1H2 4>1 raw")])
    torch.testing.assert_close(changed["z", 1][:, 2], cut @ v[:, 2], atol=1e-6, rtol=0)
