"""Measuring fairly: contenders take turns, so that a busy moment of the machine hits all of them."""

from __future__ import annotations

import gc
import os
import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch


@dataclass(frozen=True)
class Timing:
    """Milliseconds: the median, and the quartiles around it."""

    median: float
    low: float
    high: float
    repeats: int

    def json(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True)
class Contender:
    """One way to get a case's answers. `prepare` is not timed; both are told the number of the repeat, so that
    each repeat can ask for something new."""

    work: Callable[[int], object]
    prepare: Callable[[int], object] = lambda repeat: None


def summary(milliseconds: list[float]) -> Timing:
    low, _, high = (
        statistics.quantiles(milliseconds, n=4, method="inclusive") if len(milliseconds) > 1 else milliseconds * 3
    )
    return Timing(statistics.median(milliseconds), low, high, len(milliseconds))


def interleaved(
    contenders: Mapping[str, Contender], repeats: int, device: torch.device, warm: int = 1
) -> dict[str, Timing]:
    """Every contender `repeats` times in turn, after `warm` turns that do not count."""
    taken: dict[str, list[float]] = {name: [] for name in contenders}
    gc.collect()
    for repeat in range(warm + repeats):
        for name, contender in contenders.items():
            contender.prepare(repeat)
            wait(device)
            began = time.perf_counter()
            contender.work(repeat)
            wait(device)
            if repeat >= warm:
                taken[name].append((time.perf_counter() - began) * 1000)
    return {name: summary(times) for name, times in taken.items()}


def wait(device: torch.device) -> None:
    """Until the device has done what it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type == "mps":
        torch.mps.synchronize()


def bandwidth(device: torch.device, megabytes: int = 256) -> float:
    """Bytes per second that a sum over a large tensor reads: what the memory gives."""
    tensor = torch.ones(megabytes * 1024 * 1024 // 4, device=device)
    timing = interleaved({"sum": Contender(lambda _: tensor.sum())}, 7, device, warm=2)["sum"]
    return megabytes * 1024 * 1024 / (timing.low / 1000)


def taken_by_others(stat: Path = Path("/proc/stat")) -> float | None:
    """Seconds of processor time that the machines beside this virtual one have taken from it since it started, over
    all processors; None where nobody counts them."""
    try:
        total = stat.read_text(encoding="ascii").split("\n", 1)[0].split()
    except OSError:
        return None
    return int(total[8]) / os.sysconf("SC_CLK_TCK") if len(total) > 8 else None
