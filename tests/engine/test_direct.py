"""Models that are read without transformers: the same numbers, and only those that are known for sure."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    GPT2Config,
    LlamaConfig,
    MistralConfig,
    PreTrainedConfig,
    Qwen2Config,
)

from mechtui.embedded import MODELS
from mechtui.engine.api import Engine
from mechtui.engine.forward.direct import DirectModel
from mechtui.engine.model import Model
from mechtui.link.messages import Load
from mechtui.worker.models.direct.tokenizer import DirectTokenizer
from mechtui.worker.models.load import load
from tests import folders
from tests.engine.conftest import load_now

SMALL: dict[str, Any] = {
    "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4,
    "num_key_value_heads": 2, "max_position_embeddings": 64, "initializer_range": 0.2, "pad_token_id": None,
}  # fmt: skip
GPT2: dict[str, Any] = {"n_layer": 2, "n_head": 4, "n_embd": 32, "n_positions": 64, "initializer_range": 0.2}
STRETCHED = {
    "rope_type": "llama3", "rope_theta": 1000.0, "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
    "original_max_position_embeddings": 32,
}  # fmt: skip
SHAPES: dict[str, tuple[type[PreTrainedConfig], dict[str, Any]]] = {
    "gpt2": (GPT2Config, GPT2),
    "gpt2, other sizes": (GPT2Config, {**GPT2, "n_inner": 24, "tie_word_embeddings": False, "layer_norm_epsilon": 0.1}),
    "gpt2, scaled by layer": (GPT2Config, {**GPT2, "scale_attn_by_inverse_layer_idx": True}),
    "gpt2, another neuron": (GPT2Config, {**GPT2, "activation_function": "gelu"}),
    "llama": (LlamaConfig, SMALL),
    "llama, tied": (LlamaConfig, {**SMALL, "tie_word_embeddings": True, "head_dim": 16, "rms_norm_eps": 0.1}),
    "llama, biases": (LlamaConfig, {**SMALL, "attention_bias": True, "mlp_bias": True}),
    "llama, stretched": (LlamaConfig, {**SMALL, "rope_parameters": STRETCHED}),
    "mistral": (MistralConfig, {**SMALL, "sliding_window": None}),
    "qwen2": (Qwen2Config, SMALL),
}
TEXT = "When Mary and John went to the store, Mary gave a drink to a big old store"


def make(folder: Path, kind: type[PreTrainedConfig], options: dict[str, Any]) -> Path:
    """A folder with random weights, biases and norms among them."""
    words = folders.tokenizer()
    words.save_pretrained(folder)
    torch.manual_seed(1)
    config = kind(vocab_size=len(words), bos_token_id=words.bos_token_id, eos_token_id=words.eos_token_id, **options)
    model = AutoModelForCausalLM.from_config(config)
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    model.save_pretrained(folder)
    return folder


def directly(folder: Path) -> Model | None:
    """None where it was loaded by the bridge."""
    model = load(Load(str(folder), device="cpu"), lambda *_: None, lambda: False, directly=True)
    return model if isinstance(model.bridge, DirectModel) else None


@pytest.mark.parametrize("shape", SHAPES)
def test_it_is_the_model_that_transformers_reads(shape: str, tmp_path: Path) -> None:
    folder = make(tmp_path, *SHAPES[shape])
    model, bridged = load_now(folder, directly=True), load_now(folder)
    plain = AutoModelForCausalLM.from_pretrained(folder, attn_implementation="eager", dtype=torch.float32).eval()
    ids = model.encode(TEXT, "auto")
    with torch.no_grad():
        theirs = plain(torch.tensor([ids])).logits[0]
    torch.testing.assert_close(Engine(model).run(tuple(ids)).logits(), theirs, atol=2e-5, rtol=1e-5)
    for field in model.ready.__struct_fields__:
        if field != "seconds":
            assert getattr(model.ready, field) == getattr(bridged.ready, field), field
    for mine, its in zip(model.bridge.blocks, bridged.bridge.blocks, strict=True):
        for part, names in {"attn": "W_Q W_K W_V W_O b_Q b_K b_V", "mlp": "W_in W_gate W_out b_in b_gate"}.items():
            for name in names.split():
                one, other = getattr(getattr(mine, part), name), getattr(getattr(its, part), name, None)
                assert (one is None) == (other is None), name
                if one is not None and name in ("W_in", "W_gate", "W_out"):
                    other = other if other.shape == one.shape else other.T
                assert one is None or torch.equal(one, other), name
    assert torch.equal(model.bridge.unembed.W_U, bridged.bridge.unembed.W_U.reshape(model.bridge.unembed.W_U.shape))
    assert model.compared_with is not None  # type: ignore[attr-defined]


@pytest.mark.parametrize("name", [name for name in MODELS if name.startswith("attn-only")])
def test_attention_alone_is_transformerlenss_own(name: str) -> None:
    model, bridged = load_now(name, directly=True), load_now(name)
    ids = model.encode(TEXT, "auto")
    with torch.no_grad():
        theirs = bridged.bridge(torch.tensor([ids]))[0]
    torch.testing.assert_close(Engine(model).run(tuple(ids)).logits(), theirs, atol=2e-5, rtol=1e-5)
    assert (model.shape, model.ready.architecture) == (bridged.shape, bridged.ready.architecture)


UNKNOWN: dict[str, tuple[str, dict[str, Any]]] = {
    "another architecture": ("config", {"architectures": ["GPTNeoXForCausalLM"]}),
    "two architectures": ("config", {"architectures": ["LlamaForCausalLM", "GPT2LMHeadModel"]}),
    "code of its own": ("config", {"auto_map": {"AutoModelForCausalLM": "modeling.Model"}}),
    "quantised": ("config", {"quantization_config": {"bits": 4}}),
    "another kind of model": ("config", {"model_type": "mistral"}),
    "an unknown stretching": ("config", {"rope_parameters": {"rope_type": "yarn", "factor": 4.0, "rope_theta": 1e4}}),
    "a part is turned": ("config", {"rope_parameters": {"partial_rotary_factor": 0.5, "rope_theta": 1e4}}),
    "an unknown neuron": ("config", {"hidden_act": "quick_gelu"}),
    "another size": ("config", {"intermediate_size": 47}),
    "a size that is none": ("config", {"num_hidden_layers": "two"}),
    "heads of uneven width": ("config", {"num_key_value_heads": 4, "num_attention_heads": 6}),
    "a tokenizer of its own class": ("tokenizer_config", {"tokenizer_class": "LlamaTokenizer"}),
    "a tokenizer that adds": ("tokenizer_config", {"add_bos_token": True}),
    "a tokenizer with a blank in front": ("tokenizer_config", {"add_prefix_space": True}),
    "a special token that is none": ("tokenizer_config", {"bos_token": "<none such>"}),
    "more special tokens": ("tokenizer_config", {"extra_special_tokens": ["<a>"]}),
}


def files_of(folder: Path) -> tuple[dict[str, Any], list[Path]]:
    return json.loads((folder / "config.json").read_text()), [folder / "model.safetensors"]


@pytest.mark.parametrize("what", UNKNOWN)
def test_what_is_not_known_for_sure_is_left_to_transformers(what: str, llama_folder: Path, tmp_path: Path) -> None:
    from mechtui.worker.models import direct

    for file in llama_folder.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    cpu = torch.device("cpu")
    assert direct.read(tmp_path, *files_of(tmp_path), cpu, torch.float32) is not None
    name, changed = UNKNOWN[what]
    path = tmp_path / f"{name}.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changed}))
    assert direct.read(tmp_path, *files_of(tmp_path), cpu, torch.float32) is None


@pytest.mark.parametrize("what", ["missing", "more", "other shape", "integers"])
def test_weights_that_are_others_are_left_to_transformers(what: str, gpt2_folder: Path, tmp_path: Path) -> None:
    from mechtui.worker.models import direct

    for file in gpt2_folder.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    file = tmp_path / "model.safetensors"
    weights = load_file(file)
    name = "transformer.h.1.ln_2.bias"
    match what:
        case "missing":
            del weights[name]
        case "more":
            weights["transformer.h.1.ln_3.bias"] = weights[name].clone()
        case "other shape":
            weights[name] = weights[name][:-1].clone()
        case "integers":
            weights[name] = weights[name].to(torch.int32)
    save_file(weights, file)
    assert direct.read(tmp_path, *files_of(tmp_path), torch.device("cpu"), torch.float32) is None
    # Masks that older versions saved are no weights.
    save_file({**load_file(gpt2_folder / file.name), "transformer.h.0.attn.bias": torch.ones(1)}, file)
    assert directly(tmp_path) is not None


@given(st.text(max_size=60))
def test_both_tokenizers_read_the_same(text: str) -> None:
    mine, theirs = both()
    surrogates = any(0xD800 <= ord(char) < 0xE000 for char in text)
    if not surrogates:
        assert mine.encode(text, add_special_tokens=False) == theirs.encode(text, add_special_tokens=False)
        assert mine.encode(text) == theirs.encode(text)


def both(_known: list[Any] = []) -> list[Any]:  # noqa: B006 - made once
    if not _known:
        _known += [DirectTokenizer(MODELS["demo"]), AutoTokenizer.from_pretrained(MODELS["demo"])]
    return _known


def test_both_tokenizers_name_the_same_tokens() -> None:
    mine, theirs = both()
    for id in range(len(theirs)):
        assert mine.convert_ids_to_tokens(id) == theirs.convert_ids_to_tokens(id)
        assert mine.decode([id]) == theirs.decode([id], clean_up_tokenization_spaces=False)
    assert (mine.bos_token, mine.bos_token_id) == (theirs.bos_token, theirs.bos_token_id)
    assert (len(mine), mine.eos_token_id) == (len(theirs), theirs.eos_token_id)
    assert set(mine.all_special_ids) == set(theirs.all_special_ids)
    assert mine.convert_ids_to_tokens(10**6) is None


OBJECT = {
    **{"__type": "AddedToken", "content": folders.END},
    **dict.fromkeys(("lstrip", "rstrip", "normalized", "single_word"), False),
}
BARE: dict[str, dict[str, Any]] = {
    "gpt2": {"model_max_length": 1024},
    "qwen2": {},
    "llama": {"tokenizer_class": "PreTrainedTokenizerFast", "bos_token": None, "eos_token": OBJECT},
}


@pytest.mark.parametrize("kind", BARE)
def test_a_folder_that_says_little_has_its_classs_special_tokens(kind: str, tmp_path: Path) -> None:
    folder = make(tmp_path, *SHAPES[kind])
    (folder / "tokenizer_config.json").write_text(json.dumps(BARE[kind]))
    mine, theirs = DirectTokenizer(folder, kind), AutoTokenizer.from_pretrained(folder)
    for name in ("bos_token", "bos_token_id", "eos_token_id"):
        assert getattr(mine, name) == getattr(theirs, name), name
    assert set(mine.all_special_ids) == set(theirs.all_special_ids)
    assert mine.encode(TEXT + " 12 é", add_special_tokens=False) == theirs.encode(
        TEXT + " 12 é", add_special_tokens=False
    )
    assert directly(folder) is not None


WITHOUT = """
import sys
from mechtui.engine.api import Engine
from mechtui.link.messages import Load
from mechtui.session.document import Session
from mechtui.views import parse_question
from mechtui.worker.models.load import load
model = load(Load({folder!r}, device="cpu"), lambda *_: None, lambda: False, directly=True)
opened = Engine(model).open(Session(prompt="When Mary", answer=" Mary", foil=" John"))
for line in (
    *("next_tokens", "residual", "lens", "attention L0H0", "heads norm", "attribution", "sweep zero L*H*", "scores"),
    *("generate 3", "circuit L0H0", "composition", "neurons", "loss", "path logits", "bigrams", "effects"),
):
    assert list(opened.answer(parse_question(line)))
print(sorted(name for name in ("transformers", "transformer_lens") if name in sys.modules))
"""


def test_answers_need_neither_transformers_nor_transformerlens(llama_folder: Path) -> None:
    program = WITHOUT.format(folder=str(llama_folder))
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.stdout == "[]\n", done.stderr
