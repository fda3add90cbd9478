"""Weights that are not those that the config.json asks for are refused, by their names; what is the same is not."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from mechtui.embedded import MODELS
from mechtui.engine.errors import ModelError
from tests.engine.conftest import load_now

Weights = dict[str, Tensor]
FC, FC_BIAS, LAST = "transformer.h.0.mlp.c_fc.weight", "transformer.h.0.mlp.c_fc.bias", "transformer.h.1."


def _save(folder: Path, weights: Weights) -> None:
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})


def _changed(folder: Path, change: Callable[[Weights], Any]) -> None:
    weights = load_file(folder / "model.safetensors")
    change(weights)
    _save(folder, weights)


def _without(*parts: str) -> Callable[[Path], None]:
    def break_it(folder: Path) -> None:
        weights = load_file(folder / "model.safetensors")
        _save(folder, {key: weight for key, weight in weights.items() if not any(part in key for part in parts)})

    return break_it


def _with(name: str, weight: Tensor) -> Callable[[Path], None]:
    return lambda folder: _changed(folder, lambda weights: weights.update({name: weight}))


def _one(name: str, value: float) -> Callable[[Path], None]:
    """One number of one tensor is another."""

    def change(weights: Weights) -> None:
        weights[name].view(-1)[0] = value

    return lambda folder: _changed(folder, change)


def _config(**changes: object) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        path = folder / "config.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | changes))

    return change


def _shards(folder: Path, missing: bool = False) -> None:
    weights = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    names = [f"model-0000{number}-of-00002.safetensors" for number in (1, 2)]
    halves: list[Weights] = [{key: w for key, w in weights.items() if (LAST in key) == last} for last in (False, True)]
    for name, half in list(zip(names, halves, strict=True))[: 1 if missing else 2]:
        save_file(half, folder / name, metadata={"format": "pt"})
    placed = {key: name for name, half in zip(names, halves, strict=True) for key in half}
    (folder / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": placed}))


def _shard_missing(folder: Path) -> None:
    _shards(folder, missing=True)


def _index_broken(folder: Path) -> None:
    _shards(folder)
    (folder / "model.safetensors.index.json").write_text('{"weight_map": 3}')


def _index_elsewhere(folder: Path) -> None:
    _shards(folder)
    index = folder / "model.safetensors.index.json"
    index.write_text(index.read_text().replace("model-00001", "../model-00001"))


def _bin(folder: Path) -> None:
    torch.save(load_file(folder / "model.safetensors"), folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()


def _bin_lacks(folder: Path) -> None:
    _without(LAST)(folder)
    _bin(folder)


def _bin_cut(folder: Path) -> None:
    _bin(folder)
    path = folder / "pytorch_model.bin"
    path.write_bytes(path.read_bytes()[:3000])


class _Code:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, (str(_Code.made),)

    made: Path


def _bin_with_code(folder: Path) -> None:
    _Code.made = folder / "made"
    torch.save(load_file(folder / "model.safetensors") | {"x": _Code()}, folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()


def _index_without_end(folder: Path) -> None:
    (folder / "model.safetensors").unlink()
    index = {"weight_map": {"a": "9" * 5000}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))


def _fifo(folder: Path) -> None:
    (folder / "model.safetensors").unlink()
    os.mkfifo(folder / "model.safetensors")


def _zeros(name: str) -> Callable[[Path], None]:
    def link(folder: Path) -> None:
        (folder / name).unlink()
        (folder / name).symlink_to("/dev/zero")

    return link


def _nested(folder: Path) -> None:
    (folder / "config.json").write_text("[" * 10**5)


BROKEN: dict[str, tuple[Callable[[Path], None], str]] = {
    "all missing": (_without("wte", "wpe", "h."), r"lack 27 of 29 tensors \(lm_head.*, .* and 24 more\)"),
    "no tensors": (_without(""), r"asks for 2 layers and its weights hold 0 tensors"),
    "a layer missing": (_without(LAST), r"lack 12 of 29 tensors \(transformer\.h\.1\..* and 9 more\)"),
    "one missing": (_without(FC), rf"lack 1 of 29 tensors \({FC}\)"),
    "another shape": (_with(FC, torch.zeros(3, 4)), rf"{FC} is 3 x 4 and not 32 x 128"),
    "wider": (_config(n_embd=64), r"wte\.weight is .* x 32 and not .* x 64|other shapes"),
    "untied": (_config(tie_word_embeddings=False), r"lack 1 of 29 tensors \(lm_head\.weight\)"),
    "fewer layers": (_config(n_layer=1), r"hold 1[12] tensors that .* has no place for \(transformer\.h\.1\."),
    "left over": (_with("transformer.h.0.gate", torch.zeros(2)), r"no place for \(transformer\.h\.0\.gate\)"),
    "a shard missing": (_shard_missing, r"lacks 1 of its 2 weight files \(model-00002-of-00002\.safetensors\)"),
    "a broken index": (_index_broken, r"model\.safetensors\.index\.json of .* is broken"),
    "an index of other folders": (_index_elsewhere, r"names files that are not beside it \(\.\./model-00001"),
    "a .bin that lacks": (_bin_lacks, r"lack 12 of 29 tensors"),
    "a .bin cut off": (_bin_cut, r"broken or cut off"),
    "a .bin with code": (_bin_with_code, r"pytorch_model\.bin of .* holds more than tensors"),
    "a FIFO": (_fifo, r"model\.safetensors in .* is no ordinary file"),
    "endless weights": (_zeros("model.safetensors"), r"model\.safetensors in .* is no ordinary file"),
    "an endless config": (_zeros("config.json"), r"config\.json in .* is no ordinary file"),
    "far more than it holds": (_config(n_inner=60_000), r"asks for 7,820,640 numbers and its weights hold 37,280"),
    "a million layers": (_config(n_layer=10**6), r"asks for 1,000,000 layers and its weights hold 28 tensors"),
    "a vast vocabulary": (_config(vocab_size=10**12), r"needs 128000\.\d GB of memory"),
    "vast positions": (_config(n_positions=10**12), r"needs \d+\.\d GB of memory"),
    "no heads": (_config(n_head=0), r"cannot be read"),
    "layers that are no number": (_config(n_layer="many"), r"cannot be read"),
    "a nested config": (_nested, r"config\.json of .* is broken"),
    "no names": (_config(architectures=3), r'"architectures" is no list of names'),
    "nothing for names": (_config(architectures=0.0), r'"architectures" is no list of names'),
    "a name without end": (_config(architectures=["9" * 5000]), r"is a 9{77}\.\.\., not a causal"),
    "an index of a name without end": (_index_without_end, r"index\.json of .* is broken \(File name too long"),
}  # fmt: skip


@pytest.mark.parametrize("what", BROKEN)
def test_other_weights_than_the_config_asks_for_are_refused(what: str, gpt2_folder: Path, tmp_path: Path) -> None:
    break_it, sentence = BROKEN[what]
    folder = shutil.copytree(gpt2_folder, tmp_path / "model")
    break_it(folder)
    with pytest.raises(ModelError, match=sentence) as caught:
        load_now(folder)
    assert "\n" not in str(caught.value)
    assert "Error" not in str(caught.value)
    assert not (folder / "made").exists()


SAME: dict[str, Callable[[Path], None]] = {
    "shards": _shards,
    "a .bin": _bin,
    "masks that older versions saved": lambda folder: _changed(
        folder,
        lambda weights: weights.update(
            {f"transformer.h.{layer}.attn.bias": torch.ones(1, 1, 64, 64).tril() for layer in (0, 1)}
            | {f"transformer.h.{layer}.attn.masked_bias": torch.tensor(-1e4) for layer in (0, 1)}
        ),
    ),
    "a value head": _with("v_head.summary.weight", torch.zeros(1, 32)),
}


@pytest.mark.parametrize("what", SAME)
def test_weights_that_are_all_there_load(what: str, gpt2_folder: Path, gpt2_model: Any, tmp_path: Path) -> None:
    folder = shutil.copytree(gpt2_folder, tmp_path / "model")
    SAME[what](folder)
    ids = torch.tensor([[1, 2, 3]])
    with torch.inference_mode():
        assert torch.equal(load_now(folder).bridge(ids), gpt2_model.bridge(ids))


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_a_weight_that_half_precision_cannot_hold_is_refused(dtype: str, gpt2_folder: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(gpt2_folder, tmp_path / "model")
    _one(FC_BIAS, 3.4e38)(folder)
    load_now(folder)
    with pytest.raises(ModelError, match=rf"not finite in {dtype} \({FC_BIAS}\): use --dtype float32"):
        load_now(folder, dtype=dtype)


HEAD = "head.weight"
NATIVE: dict[str, tuple[Callable[[Weights], Any], str]] = {
    "missing": (lambda weights: weights.pop(HEAD), r"beginning with head\.weight"),
    "one number for all": (lambda weights: weights.update({HEAD: torch.zeros(1)}), r"beginning with head\.weight"),
}  # fmt: skip


@pytest.mark.parametrize("what", NATIVE)
def test_an_attention_only_model_is_held_to_the_same(what: str, tmp_path: Path) -> None:
    change, sentence = NATIVE[what]
    folder = shutil.copytree(MODELS["attn-only-1l"], tmp_path / "model")
    _changed(folder, change)
    with pytest.raises(ModelError, match=sentence):
        load_now(folder)


def test_an_attention_only_model_computes_in_the_dtype_that_was_asked_for() -> None:
    model = load_now("attn-only-1l", dtype="bfloat16")
    assert model.ready.dtype == "bfloat16"
    assert {weight.dtype for weight in model.bridge.original_model.parameters()} == {torch.bfloat16}
    ids = torch.tensor([model.encode("When Mary and John went", "auto")])
    with torch.inference_mode():
        half, whole = model.bridge(ids), load_now("attn-only-1l").bridge(ids)
    assert half.dtype == torch.bfloat16
    torch.testing.assert_close(half.float(), whole, atol=0.2, rtol=0.05)
