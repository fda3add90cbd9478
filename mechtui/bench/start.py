"""From a command to the first numbers: `mechtui run` in a fresh process, beside a process that does nothing but import
torch."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable

from mechtui.bench.timing import summary

PROMPT = "When Mary and John went to the store, John gave a drink to"
# The wish: this many times as long as the import of torch, and so many seconds.
TIMES, MORE_SECONDS = 1.3, 0.5


def start(model: str, device: str, repeats: int) -> dict[str, float]:
    """Seconds, medians of `repeats` turns after one that does not count; in that the self-check leaves its verdict, and
    a .gguf file its weights. Raises RuntimeError where the program fails."""
    program = [sys.executable, "-m", "mechtui", "run", "--model", model, "--device", device, "--prompt", PROMPT]
    commands = {"torch": [sys.executable, "-c", "import torch"], "mechtui": [*program, "--view", "next_tokens"]}
    taken: dict[str, list[float]] = {name: [] for name in commands}
    for repeat in range(repeats + 1):
        for name, command in commands.items():
            seconds = _seconds(command)
            if repeat:
                taken[name].append(seconds)
    torch, mechtui = (summary(taken[name]).median for name in commands)
    wished = TIMES * torch + MORE_SECONDS
    return {"import_torch_s": torch, "start_to_numbers_s": mechtui, "start_to_numbers_wished_s": wished}


def _seconds(command: list[str], clock: Callable[[], float] = time.perf_counter) -> float:
    began = clock()
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"the program failed: {(done.stderr.strip().splitlines() or ['no message'])[-1]}")
    return clock() - began
