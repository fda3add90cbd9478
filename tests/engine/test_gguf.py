"""A GGUF file that is whole loads; one that is cut off, lacks a tensor or holds no numbers is one sentence."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest

from mechtui.worker.models import ModelError
from tests.engine.conftest import load_now

LAYERS, WIDTH, HEADS, MLP, CONTEXT = 2, 32, 4, 64, 64
WORDS = ["<s>", "ab", *"abcdefghijklmnopqrstuvwxyz", "\u0120"]


def _tensors() -> Iterator[tuple[str, tuple[int, ...]]]:
    yield "token_embd.weight", (len(WORDS), WIDTH)
    yield "output_norm.weight", (WIDTH,)
    yield "output.weight", (len(WORDS), WIDTH)
    for layer in range(LAYERS):
        for name in ("attn_q", "attn_k", "attn_v", "attn_output"):
            yield f"blk.{layer}.{name}.weight", (WIDTH, WIDTH)
        for name in ("ffn_gate", "ffn_up"):
            yield f"blk.{layer}.{name}.weight", (MLP, WIDTH)
        yield f"blk.{layer}.ffn_down.weight", (WIDTH, MLP)
        for name in ("attn_norm", "ffn_norm"):
            yield f"blk.{layer}.{name}.weight", (WIDTH,)


def _written(path: Path, without: str = "", nan: str = "", layers: int = LAYERS) -> Path:
    """A llama of random weights. without, nan: a tensor that is left out, one that holds a NaN."""
    writer: Any = gguf.GGUFWriter(path, "llama")
    writer.add_block_count(layers)
    writer.add_context_length(CONTEXT)
    writer.add_embedding_length(WIDTH)
    writer.add_feed_forward_length(MLP)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(HEADS)
    writer.add_rope_dimension_count(WIDTH // HEADS)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_vocab_size(len(WORDS))
    writer.add_tokenizer_model("gpt2")
    writer.add_token_list(WORDS)
    writer.add_token_merges(["a b"])
    writer.add_bos_token_id(0)
    writer.add_eos_token_id(0)
    random = np.random.default_rng(0)
    for name, shape in _tensors():
        if name == without:
            continue
        values = random.standard_normal(shape).astype(np.float32)
        if name == nan:
            values.flat[0] = np.nan
        writer.add_tensor(name, values)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def test_a_whole_file_loads(tmp_path: Path) -> None:
    shape = load_now(_written(tmp_path / "whole.gguf")).shape
    assert (shape.n_layers, shape.n_heads, shape.d_model) == (LAYERS, HEADS, WIDTH)


@pytest.mark.parametrize("share", [0.0, 0.001, 0.01, 0.1, 0.5, 0.99])
def test_a_file_that_is_cut_off_is_one_sentence(share: float, tmp_path: Path) -> None:
    path = _written(tmp_path / "cut.gguf")
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * share)])
    with pytest.raises(ModelError, match=r"cannot be read as a GGUF language model .*it may be cut off") as told:
        load_now(path)
    assert "\n" not in str(told.value)
    assert "Error" not in str(told.value)
    assert not list((tmp_path / "cache").rglob("config.json")), "nothing of it is kept"


BROKEN = {
    "lacks a tensor": ({"without": "blk.1.ffn_up.weight"}, r"lack 1 of \d+ tensors \(model\.layers\.1\.mlp\.up_proj"),
    "lacks a layer": ({"layers": 3}, r"lack 9 of \d+ tensors \(model\.layers\.2\..* and 6 more\)"),
    "holds a NaN": ({"nan": "blk.1.ffn_up.weight"}, r"not finite \(model\.layers\.1\.mlp\.up_proj\.weight\)"),
    "asks for a million layers": ({"layers": 10**6}, r"asks for 1,000,000 layers and its weights hold 21 tensors"),
}


@pytest.mark.parametrize("what", BROKEN)
def test_a_file_that_is_not_whole_is_refused(what: str, tmp_path: Path) -> None:
    options, sentence = BROKEN[what]
    with pytest.raises(ModelError, match=sentence):
        load_now(_written(tmp_path / "broken.gguf", **options))  # type: ignore[arg-type]
    assert not list((tmp_path / "cache").rglob("config.json")), "nothing of it is kept"
