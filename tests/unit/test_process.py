"""What the model process asks of the system."""

from __future__ import annotations

import platform
import subprocess
import sys
from mmap import ACCESS_COPY, mmap
from pathlib import Path

import pytest

from mechtui import allocator
from mechtui.allocator import MAPPED_FROM, hand_back
from mechtui.worker.process import resident_bytes


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another allocator")
def test_memory_that_was_freed_goes_back() -> None:
    # Too small to be mapped one by one, with something in use behind them: so the allocator keeps them.
    blocks = [b"." * 100_000 for _ in range(2_000)]
    last = blocks.pop()
    blocks.clear()
    before = resident_bytes()
    hand_back()
    assert before - resident_bytes() > 150_000_000
    assert len(last) == 100_000


FREED = """
import sys
from mechtui.allocator import MAPPED_FROM, map_large
from mechtui.worker.process import resident_bytes

if sys.argv[1] == "mapped":
    map_large()
# From here on, left to itself, glibc takes all that is smaller than this from its heap.
large = b"." * 30_000_000
del large
blocks = [b"." * (2 * MAPPED_FROM) for _ in range(50)]
last = blocks.pop()
before = resident_bytes()
blocks.clear()
print(before - resident_bytes())
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another allocator")
def test_what_is_large_goes_back_when_it_is_freed() -> None:
    said = [
        subprocess.run([sys.executable, "-c", FREED, each], stdout=subprocess.PIPE, check=True).stdout
        for each in ("mapped", "left")
    ]
    mapped, left = map(int, said)
    assert mapped > 90 * MAPPED_FROM
    assert left < 10 * MAPPED_FROM


@pytest.mark.skipif(sys.platform != "linux", reason="files are mapped otherwise")
@pytest.mark.parametrize("hub", [False, True])
def test_pages_of_weights_go_and_come_back_but_not_those_that_were_changed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, hub: bool
) -> None:
    size = 4 * allocator.LEAST_FILE
    held = tmp_path / "model.safetensors"
    if hub:  # as the hub's cache has it
        (tmp_path / "blobs").mkdir()
        held.symlink_to(tmp_path / "blobs" / ("0123456789abcdef" * 4))
    held.write_bytes(b"w" * size)
    with (tmp_path / "model.safetensors").open("rb") as file, mmap(file.fileno(), 0, access=ACCESS_COPY) as weights:

        def gone() -> int:
            """How many bytes go, all having been read."""
            weights[:]
            before = resident_bytes()
            allocator.tidy()
            return before - resident_bytes()

        monkeypatch.setattr(allocator, "MUCH", 10**15)
        gone()
        assert gone() < size // 4, "it holds little"
        monkeypatch.setattr(allocator, "MUCH", -(10**15))
        assert gone() > size // 2
        assert weights[:] == b"w" * size
        weights[9] = ord("x")
        assert gone() < size // 4
        assert weights[8:11] == b"wxw"
