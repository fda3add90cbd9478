"""A GGUF file that is whole loads; one that is cut off, lacks a tensor or holds no numbers is one sentence."""

from __future__ import annotations

import errno
import os
import re
from pathlib import Path

import pytest
import torch

from mechtui.engine.errors import ModelError
from tests.engine.conftest import load_now
from tests.folders import GGUF_HEADS, GGUF_LAYERS, GGUF_WIDTH, gguf


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def test_a_whole_file_loads(tmp_path: Path) -> None:
    shape = load_now(gguf(tmp_path / "whole.gguf")).shape
    assert (shape.n_layers, shape.n_heads, shape.d_model) == (GGUF_LAYERS, GGUF_HEADS, GGUF_WIDTH)


def test_a_file_that_holds_a_nan_loads_and_says_where(tmp_path: Path) -> None:
    odd = load_now(gguf(tmp_path / "odd.gguf", nan="blk.1.ffn_up.weight")).ready.odd
    assert re.search(r"1 weight tensor of .* holds .*\(NaN or infinite\): .*layers\.1\.mlp\.up_proj\.weight;", odd)


def test_a_file_that_describes_more_than_it_holds_is_refused_before_that_is_made(tmp_path: Path) -> None:
    path = tmp_path / "large.gguf"
    held = gguf(path).read_bytes()
    key = b"llama.feed_forward_length"
    at = held.index(key) + len(key) + 4  # behind it stands the kind of its value
    path.write_bytes(held[:at] + (1 << 18).to_bytes(4, "little") + held[at + 4 :])
    with pytest.raises(ModelError, match=r"asks for 50,[\d,]+ numbers and its weights hold [\d,]+: check that"):
        load_now(path)


@pytest.mark.parametrize("share", [0.0, 0.001, 0.01, 0.1, 0.5, 0.99])
def test_a_file_that_is_cut_off_is_one_sentence(share: float, tmp_path: Path) -> None:
    path = gguf(tmp_path / "cut.gguf")
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * share)])
    with pytest.raises(ModelError, match=r"cannot be read as a GGUF language model .*it may be cut off") as told:
        load_now(path)
    assert "\n" not in str(told.value)
    assert "Error" not in str(told.value)
    assert not list((tmp_path / "cache").rglob("config.json")), "nothing of it is kept"


def test_a_count_that_the_file_has_no_room_for_is_refused_and_not_read_for_ever(tmp_path: Path) -> None:
    """A list of 2^60 numbers, of which none is there: each read behind the file's end is one of nothing."""
    path = tmp_path / "long.gguf"
    held = gguf(path).read_bytes()
    key = b"llama.feed_forward_length"
    at = held.index(key) + len(key)
    as_list = (9).to_bytes(4, "little") + (4).to_bytes(4, "little") + (1 << 60).to_bytes(8, "little")
    path.write_bytes(held[:at] + as_list + held[at + 8 :])
    with pytest.raises(ModelError, match=r"it has [\d,]+ bytes and says that it goes on to byte [\d,]+.*cut off"):
        load_now(path)


BROKEN = {
    "lacks a tensor": ({"without": "blk.1.ffn_up.weight"}, r"lack 1 of \d+ tensors \(model\.layers\.1\.mlp\.up_proj"),
    "lacks a layer": ({"layers": 3}, r"lack 9 of \d+ tensors \(model\.layers\.2\..* and 6 more\)"),
    "asks for a million layers": ({"layers": 10**6}, r"asks for 1,000,000 layers and its weights hold 21 tensors"),
}


@pytest.mark.parametrize("what", BROKEN)
def test_a_file_that_is_not_whole_is_refused(what: str, tmp_path: Path) -> None:
    options, sentence = BROKEN[what]
    with pytest.raises(ModelError, match=sentence):
        load_now(gguf(tmp_path / "broken.gguf", **options))  # type: ignore[arg-type]
    assert not list((tmp_path / "cache").rglob("config.json")), "nothing of it is kept"


# What is kept of it


@pytest.mark.parametrize("name", ["model.safetensors", "tokenizer.json", "config.json"])
def test_what_is_kept_and_cut_off_is_made_again(name: str, tmp_path: Path) -> None:
    path = gguf(tmp_path / "whole.gguf")
    before = load_now(path).bridge.original_model.state_dict()
    (kept,) = (tmp_path / "cache").rglob(name)
    held = kept.read_bytes()
    kept.unlink()  # the model that was loaded lies on the old one
    kept.write_bytes(held[: len(held) // 2])
    after = load_now(path).bridge.original_model.state_dict()
    assert all(torch.equal(after[key], weight) for key, weight in before.items())
    assert len(kept.read_bytes()) == len(held)
    assert len(list(kept.parent.parent.iterdir())) == 1, "nothing is left beside it"


def test_a_cache_that_cannot_be_written_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = gguf(tmp_path / "whole.gguf")

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", full)
        with pytest.raises(ModelError, match=r"cannot be written \(no space left on device\): make room"):
            load_now(path)
    assert not list((tmp_path / "cache").rglob("config.json")), "nothing of it is kept"
    monkeypatch.setenv("XDG_CACHE_HOME", "/proc/nothing")
    with pytest.raises(ModelError, match=r"whole\.gguf is dequantised into /proc/nothing\S*, which cannot be written"):
        load_now(path)
