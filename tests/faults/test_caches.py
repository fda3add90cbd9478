"""What is kept to be quick: broken, of another version or not to be written, it is made again and nobody is told."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest

from mechtui.engine import cards
from mechtui.engine.cards import VERSION, HeadCards
from mechtui.link.messages import Checked
from mechtui.worker import kept_checks
from tests.app.answering import ready
from tests.faults.injector import Fault, broken, files, full, until_green

TABLE = [[0.5, None], [0.25, 1.0]]
CARDS = HeadCards(VERSION, "mark", "demo", "float32", True, (25,), 4, TABLE, TABLE, TABLE, TABLE, TABLE)  # type: ignore[arg-type]
GOOD = Checked("gpt2", {"logits": 1e-5, "z": 2e-5}, 1e-3)


class Cache:
    """One thing that is kept: how it is written, how it is read, and what is read then."""

    def __init__(self, write: Callable[[], None], read: Callable[[], Any], kept: Any) -> None:
        self.write, self.read, self.kept = write, read, kept


def caches(folder: Path) -> dict[str, Cache]:
    (folder / "model.safetensors").write_bytes(b"weights")
    model: Any = SimpleNamespace(ready=ready("gpt2"))
    return {
        "cards": Cache(lambda: cards.write(CARDS), lambda: cards.read("mark", (2, 2)), CARDS),
        "verdict": Cache(lambda: kept_checks.write(model, folder, GOOD), lambda: kept_checks.read(model, folder), GOOD),
    }


@pytest.fixture(params=["cards", "verdict"])
def cache(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Cache:
    for module in (cards, kept_checks):
        monkeypatch.setattr(module, "cache_dir", lambda: tmp_path / "cache")
    return caches(tmp_path)[request.param]


@pytest.mark.parametrize("lasts", [False, True], ids=["once", "from then on"])
def test_whichever_call_fails_it_is_made_again(
    cache: Cache, lasts: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Its name is made of the state of all of the program's files.
    monkeypatch.setattr(kept_checks, "file_for", lambda model, folder: tmp_path / "cache" / "checked" / "mark.json")

    def run(fault: Fault) -> None:
        with files(fault):
            cache.write()
            assert cache.read() in (None, cache.kept)
        fault.heal()
        assert cache.read() in (None, cache.kept)
        cache.write()
        assert cache.read() == cache.kept

    assert until_green(run, full if lasts else broken, lasts=lasts) > 4


def test_a_file_that_is_cut_off_garbage_or_of_another_version_is_none(cache: Cache, tmp_path: Path) -> None:
    cache.write()
    (file,) = (tmp_path / "cache").rglob("*.json")
    held = file.read_bytes()
    other = msgspec.json.encode({**msgspec.json.decode(held), "version": 99, "message": "another"})
    odd = [held[: len(held) * part // 8] for part in range(8)] + [b"\xff" * 64, b"null", b"[" * 100_000, other]
    for data in odd:
        file.write_bytes(data)
        assert cache.read() is None, data[:40]
    file.unlink()
    file.mkdir()
    assert cache.read() is None
    cache.write()  # nor is anybody told that it cannot be written


@pytest.mark.parametrize("home", ["missing", "a file", "none"])
def test_without_a_cache_folder_nothing_is_kept(home: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def cache_dir() -> Path:
        if home == "none":
            raise NotADirectoryError(20, "there is no home folder", "~")
        return Path("/proc/nothing") if home == "missing" else tmp_path / "model.safetensors" / "cache"

    for module in (cards, kept_checks):
        monkeypatch.setattr(module, "cache_dir", cache_dir)
    for cache in caches(tmp_path).values():
        cache.write()
        assert cache.read() is None
