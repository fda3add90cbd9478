"""From the command to the first numbers on the screen: `python -m tests.end_to_end.start [MODEL] [TURNS]`.

The app in a pseudo-terminal by the wall clock, in turns with a process that does nothing but import torch: the first
start of a user with an empty cache, the second, and one that finds the model process of the one before still there.
Medians of the turns, so that what others do on the machine falls on all alike.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

from mechtui.bench.start import MORE_SECONDS, PROMPT, TIMES
from tests.terminal import Terminal

PATIENCE = 120.0
# The entropy of the next tokens, below them.
NUMBERS = r"entropy +\d*\.\d+ nats"


def imported() -> float:
    """Seconds that a process takes for `import torch`."""
    began = time.perf_counter()
    subprocess.run([sys.executable, "-c", "import torch"], check=True)
    return time.perf_counter() - began


def shown(model: str, folder: Path, *flags: str) -> float:
    """Seconds until the app shows numbers; it is left then."""
    home = {f"XDG_{name}_HOME": f"{folder}/{name}" for name in ("CONFIG", "STATE", "CACHE", "DATA")}
    began = time.perf_counter()
    terminal = Terminal(("--model", model, "--prompt", PROMPT, *flags), environment=home)
    try:
        while not re.search(NUMBERS, terminal.text):
            assert time.perf_counter() - began < PATIENCE, terminal.text
            terminal.read(0.02)
        seconds = time.perf_counter() - began
        terminal.until("live")
        terminal.chunk("q")
        terminal.settle()
    finally:
        terminal.close()
    return seconds


def main() -> None:
    model = sys.argv[1] if len(sys.argv) > 1 else "demo"
    taken: dict[str, list[float]] = {name: [] for name in ("import torch", "first", "second", "kept")}
    for _ in range(int(sys.argv[2]) if len(sys.argv) > 2 else 5):
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            taken["import torch"].append(imported())
            for start in ("first", "second"):
                taken[start].append(shown(model, folder))
            kept = ("--keep-alive", "30s")
            shown(model, folder, *kept)
            taken["kept"].append(shown(model, folder, *kept))
    torch = median(taken["import torch"])
    for name, each in taken.items():
        print(f"{name}: {median(each):.2f} s (", " ".join(f"{value:.2f}" for value in each), ")")
    print(
        f"the first is {median(taken['first']) / torch:.2f} x import torch; wished {TIMES * torch + MORE_SECONDS:.2f} s"
    )


if __name__ == "__main__":
    main()
