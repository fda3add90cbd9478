"""How much memory there is."""

from __future__ import annotations

from pathlib import Path

import torch


def free(device: torch.device) -> int:
    """Bytes that could be allocated on the device now."""
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    meminfo = Path("/proc/meminfo")
    if meminfo.exists():
        for line in meminfo.read_text().splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    return 4 * 1024**3


# Two traces of GPT-2 small at its 1,024 tokens. More would rarely be resumed from, and the process is to stay within
# the weights and 1.2 GB on a laptop.
ON_A_LAPTOP = 256 * 1024**2


def budget(device: torch.device) -> int:
    """Bytes for traces: a quarter of what is free, on a CPU at most `ON_A_LAPTOP`."""
    quarter = free(device) // 4
    return min(quarter, ON_A_LAPTOP) if device.type == "cpu" else quarter


def ran_out(error: BaseException) -> bool:
    """Whether an error says that memory ran out: torch has no kind of its own for a CPU's."""
    return isinstance(error, (MemoryError, torch.OutOfMemoryError)) or "DefaultCPUAllocator" in str(error)
