"""How much memory there is."""

from __future__ import annotations

import errno
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


# How torch and the libraries below it say so of a CPU's memory, for which they have no kind of error, and of a GPU's.
ON_CPU = ("DefaultCPUAllocator", "could not create a primitive", "could not create a memory", "bad_alloc")
ON_GPU = ("CUBLAS_STATUS_ALLOC_FAILED", "CUDNN_STATUS_ALLOC_FAILED", "CUDA out of memory")


def ran_out(error: BaseException) -> bool:
    """Whether an error says that memory ran out."""
    return ran_out_on_cpu(error) or ran_out_on_gpu(error)


def ran_out_on_cpu(error: BaseException) -> bool:
    if isinstance(error, OSError):
        return error.errno == errno.ENOMEM
    said = isinstance(error, RuntimeError) and any(each in str(error) for each in ON_CPU)
    return isinstance(error, MemoryError) or said


def ran_out_on_gpu(error: BaseException) -> bool:
    said = isinstance(error, RuntimeError) and any(each in str(error) for each in ON_GPU)
    return isinstance(error, torch.OutOfMemoryError) or said
