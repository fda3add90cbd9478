"""What the model process asks of the system."""

from __future__ import annotations

import platform

import pytest

from mechtui.worker.process import hand_back, resident_bytes


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
