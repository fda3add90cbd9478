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


def budget(device: torch.device) -> int:
    """Bytes for traces: a quarter of what is free, at most what a session of a small model can use."""
    return min(free(device) // 4, 1024**3) if device.type == "cpu" else free(device) // 4
