"""All keys at random in a terminal whose size changes: `python -m tests.end_to_end.any_keys [SECONDS] [SEED] [MODEL]`.

Keys, lines, pastes (one of 1 MB), sizes from 20x5 to 220x60, for so many seconds (600). A program that a key has ended
is started again. At the end the log may hold no traceback, no program may have ended badly, and the last one, told
to quit, ends within `PATIENCE` seconds.
"""

from __future__ import annotations

import os
import random
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from mechtui.app.actions import ACTIONS
from mechtui.views import specs
from tests.terminal import Terminal

PATIENCE = 60.0
ESCAPES = tuple(f"\x1b{rest}" for rest in ("", *(f"[{key}" for key in "ABCDZHF"), "[5~", "[6~", "[3~"))
# ctrl+c, ctrl+q and ctrl+z end the program or stop it, which other scripts look at.
CONTROLS = tuple(chr(code) for code in range(1, 27) if chr(code + 96) not in "cqz")
SINGLE = tuple(key for action in ACTIONS for key in action.keys if len(key) == 1 and key not in "qF")
SIGNS = tuple('abz019LH.@,-> "#=|\\é漢[]{}()?/:;\x00\x80\x7f')
PASTES = ("9" * 5000, "zero L0H0", '"' * 50, "a\tb\r\nc", "\x1b]52;c;aGk=\x07", "When Mary\nand John")
LARGE = 1 << 20


@dataclass
class Count:
    """What was done. slowest: seconds until the program took the next key."""

    keys: int = 0
    sizes: int = 0
    starts: int = 0
    slowest: float = 0.0


def burst(dice: random.Random) -> str:
    """Some keys that come together, as a terminal sends them."""
    kind = dice.random()
    if kind < 0.05:
        return ":" + dice.choice(tuple(specs()[view].question().line() for view in specs())) + dice.choice("\r\t\x1b")
    if kind < 0.08:
        return f"\x1b[200~{dice.choice(PASTES)}\x1b[201~"
    if kind < 0.2:
        return "g" + dice.choice("abcdefghijklmnopqrstuvwxyzDFGT7")
    keys = SINGLE if kind < 0.6 else SIGNS if kind < 0.75 else (*ESCAPES, *CONTROLS, *"\r\t123456")
    return "".join(dice.choice(keys) for _ in range(dice.randint(1, 5)))


def play(seconds: float, seed: int, model: str, folder: Path) -> Count:
    """Raises AssertionError for what no key may do."""
    dice, count, end = random.Random(seed), Count(), time.monotonic() + seconds
    names = ("CONFIG", "STATE", "CACHE", "DATA")
    home = {f"XDG_{name}_HOME": f"{folder}/{name}" for name in names} | {"HF_HUB_OFFLINE": "1", "HOME": str(folder)}
    terminal: Terminal | None = None
    large = True
    try:
        while time.monotonic() < end:
            if terminal is None:
                flags = () if count.starts else ("--model", model, "--prompt", "When Mary and John went to the store")
                terminal = Terminal(flags, environment=home)
                terminal.until("live|no model")
                count.starts += 1
            if large:
                terminal.chunk("i\x1b[200~")
                for _ in range(LARGE // 4096):
                    terminal.chunk("word " * 819)
                    terminal.read(0)
                terminal.chunk("\x1b[201~\x1b")
                large = False
            if dice.random() < 0.03:
                terminal.set_size(dice.randint(20, 220), dice.randint(5, 60))
                count.sizes += 1
            keys = burst(dice)
            began = time.monotonic()
            terminal.chunk(keys)
            count.keys += len(keys)
            while terminal.read(dice.uniform(0, 0.1)) and time.monotonic() - began < 1.0:
                pass
            count.slowest = max(count.slowest, time.monotonic() - began)
            done, status = os.waitpid(terminal.pid, os.WNOHANG)
            if done:
                assert os.waitstatus_to_exitcode(status) == 0, (
                    f"it ended with {status} after {keys!r}:\n{terminal.text}\n{_logged(folder)}"
                )
                terminal.hang_up()
                terminal = None
        if terminal is not None:
            terminal.resize(119, 40)
            for _ in range(4):
                terminal.chunk("\x1b")
                terminal.settle()
            terminal.resize(120, 40)
            terminal.chunk("q")
            limit = time.monotonic() + PATIENCE
            while not os.waitpid(terminal.pid, os.WNOHANG)[0]:
                assert time.monotonic() < limit, f"it answers no key:\n{terminal.text}"
                terminal.read(0.1)
    finally:
        if terminal is not None:
            terminal.close()
    bad = _logged(folder)
    assert not bad, bad
    return count


def _logged(folder: Path) -> str:
    """The first traceback that a log there holds, with what follows; empty where none does."""
    logs = [log.read_text(errors="replace") for log in folder.rglob("*.log")]
    return next((log[log.index("Traceback") :][:6000] for log in logs if "Traceback" in log), "")


def main() -> None:
    seconds, seed = (int(sys.argv[at]) if len(sys.argv) > at else default for at, default in ((1, 600), (2, 1)))
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        print(play(seconds, seed, sys.argv[3] if len(sys.argv) > 3 else "demo", Path(folder)))


if __name__ == "__main__":
    main()
