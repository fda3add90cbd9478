"""What of the process's memory goes back to the system, and when. On Linux; elsewhere nothing is done."""

from __future__ import annotations

import ctypes
import gc
import os
import re
import sys
from collections.abc import Iterator
from contextlib import suppress

M_MMAP_THRESHOLD = -3
MADV_DONTNEED = 4
# Tensors from this size on are mapped one by one. A short prompt's are smaller, for which that would take longer.
MAPPED_FROM = 1024**2
# A process that holds so much more than the files that it reads its weights from holds much.
MUCH = 800_000_000
# Files below this size are not worth looking at.
LEAST_FILE = 16 * 1024**2


def map_large() -> None:
    """Have the allocator map what is large piece by piece, so that it goes back to the system when it is freed. Left
    to itself glibc soon takes even 32 MB from its heap, and what torch frees there, aligned as it asks for it, is
    hardly ever taken up again: by gigabytes. glibc only."""
    if sys.platform == "linux":
        with suppress(AttributeError):
            ctypes.CDLL(None).mallopt(M_MMAP_THRESHOLD, MAPPED_FROM)


def hand_back() -> None:
    """Give back memory that was freed and that the allocator holds on to: after runs of a long prompt, hundreds of
    megabytes. glibc only; others do it by themselves or not at all."""
    if sys.platform == "linux":
        with suppress(AttributeError):
            ctypes.CDLL(None).malloc_trim(0)


def tidy() -> None:
    """Give back all that can be had again, when nothing waits: what only refers to itself, what the allocator holds on
    to, and, where the process holds much, pages of weights as they lie in their files: of most weights there is a
    packed copy, and whoever reads them has them back."""
    gc.collect()
    hand_back()
    if sys.platform == "linux":
        with suppress(OSError, AttributeError):
            _leave_files()


def _leave_files() -> None:
    files = list(_files())
    with open("/proc/self/statm", encoding="ascii") as file:
        holds = int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    if holds < sum(size for _, size in files) + MUCH:
        return
    leave = ctypes.CDLL(None, use_errno=True).madvise
    leave.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)
    for begin, size in files:
        leave(begin, size, MADV_DONTNEED)


def _files() -> Iterator[tuple[int, int]]:
    """(begin, size) of every large file of weights that is mapped and was never written to in memory. The hub's cache
    calls them by their digests, in a folder `blobs`."""
    with open("/proc/self/smaps", encoding="utf-8", errors="replace") as file:
        maps = re.split(r"^(?=[0-9a-f]+-[0-9a-f]+ )", file.read(), flags=re.MULTILINE)
    for each in maps:
        head, _, rest = each.partition("\n")
        found = re.match(
            r"([0-9a-f]+)-([0-9a-f]+) r\S+ \S+ \S+ \d+ +(/.*(?:\.safetensors|/blobs/[0-9a-f]{40,}))$", head
        )
        own = re.search(r"^Anonymous: +(\d+) kB$", rest, re.MULTILINE)  # pages that were written to
        if found is not None and own is not None and own[1] == "0":
            begin, end = (int(number, 16) for number in found.group(1, 2))
            if end - begin >= LEAST_FILE:
                yield begin, end - begin
