"""What the model process asks of the system: to end with the UI, how much memory it holds, to take some back."""

from __future__ import annotations

import ctypes
import os
import signal
import sys
from contextlib import suppress

PR_SET_PDEATHSIG = 1
M_MMAP_THRESHOLD = -3
# Tensors from this size on are mapped one by one. A short prompt's are smaller, for which that would take longer.
MAPPED_FROM = 1024**2


def die_with_parent() -> None:
    """Linux: have the kernel kill this process when its parent ends, should the end of stdin go unnoticed
    (a native call that keeps the interpreter's lock)."""
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)


def resident_bytes() -> int:
    """Memory that this process holds. Outside Linux the largest that it ever held."""
    try:
        with open("/proc/self/statm", encoding="ascii") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:  # no such file, or too many are open
        import resource

        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return peak if sys.platform == "darwin" else peak * 1024


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
