"""How much memory there is."""

from __future__ import annotations

import errno
import resource
from collections.abc import Iterator
from pathlib import Path

import torch


def free(device: torch.device) -> int:
    """Bytes that could be allocated on the device now."""
    return int(torch.cuda.mem_get_info(device)[0]) if device.type == "cuda" else free_on_cpu()


def free_on_cpu() -> int:
    """What the machine has left, or what this process may still take of it."""
    left = [_of_machine(), *_of_groups(), *_of_process()]
    return max(min(left), 0)


def _of_machine() -> int:
    for line in _lines(Path("/proc/meminfo")):
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) * 1024
    return 4 * 1024**3


def _of_groups(system: Path = Path("/sys/fs/cgroup"), own: Path = Path("/proc/self/cgroup")) -> Iterator[int]:
    """What is left of the limits of a container, or of a job on a cluster (control groups, version 2)."""
    here = next((line[3:] for line in _lines(own) if line.startswith("0::")), "")
    for group in (system / here.strip("/"), *(system / here.strip("/")).parents):
        if not group.is_relative_to(system):
            break
        most, holds = (next(iter(_lines(group / f"memory.{name}")), "") for name in ("max", "current"))
        if most.isdigit() and holds.isdigit():
            # What was read of files is held, too, and let go of when it is needed.
            files = (line.split()[1] for line in _lines(group / "memory.stat") if line.startswith("inactive_file "))
            yield int(most) - int(holds) + int(next(files, 0))


def _of_process() -> Iterator[int]:
    """What is left of the process's own limit (ulimit -v)."""
    most = resource.getrlimit(resource.RLIMIT_AS)[0]
    holds = next(iter(_lines(Path("/proc/self/statm"))), "").split()
    if most != resource.RLIM_INFINITY and holds:
        yield most - int(holds[0]) * resource.getpagesize()


def _lines(file: Path) -> list[str]:
    """None where there is no such file."""
    try:
        return file.read_text(encoding="ascii", errors="replace").splitlines()
    except OSError:
        return []


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
