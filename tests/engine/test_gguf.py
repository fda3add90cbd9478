"""A GGUF file that is whole loads; one that is cut off, lacks a tensor or holds no numbers is one sentence."""

from __future__ import annotations

from pathlib import Path

import pytest

from mechtui.worker.models import ModelError
from tests.engine.conftest import load_now
from tests.folders import GGUF_HEADS, GGUF_LAYERS, GGUF_WIDTH, gguf


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def test_a_whole_file_loads(tmp_path: Path) -> None:
    shape = load_now(gguf(tmp_path / "whole.gguf")).shape
    assert (shape.n_layers, shape.n_heads, shape.d_model) == (GGUF_LAYERS, GGUF_HEADS, GGUF_WIDTH)


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
        load_now(gguf(tmp_path / "broken.gguf", **options))  # type: ignore[arg-type]
    assert not list((tmp_path / "cache").rglob("config.json")), "nothing of it is kept"
