"""Kill the app while it is used, many times: `python -m tests.end_to_end.kills [TIMES] [SEED]`.

Each time it goes on with the session of the time before, is typed into, edited or swept, and is killed with SIGKILL at
a random moment. Then its files must load, and of what had stood on the screen for `ALLOWED` seconds nothing may be
missing where the next program goes on: letters of the prompt, edits, steps of the history.
"""

from __future__ import annotations

import os
import random
import re
import signal
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from unittest.mock import patch

from mechtui.app import opening
from mechtui.session.storage import load
from tests.terminal import Terminal

ALLOWED = 0.25
LETTERS = "abcdefghijklmnopqrstuvwxyz"


@dataclass
class Seen:
    """What stood on the screen, and since when: the letters typed this time, the edits."""

    typed: str = ""
    letters: dict[int, float] = field(default_factory=dict)
    edits: list[tuple[float, int]] = field(default_factory=list)
    waits: bool = False  # whether the edit that was asked for last does not stand there yet

    @property
    def count(self) -> int:
        """Edits that stand there."""
        return self.edits[-1][1] if self.edits else 0

    def look(self, terminal: Terminal) -> None:
        now, text = time.monotonic(), "".join(terminal.screen.display)
        shown = re.sub(r"\s", "", text)
        most = max(self.letters, default=0)
        for count in range(most + 1, len(self.typed) + 1):
            if f"zq{self.typed[:count]}" in shown:
                self.letters[count] = now
        if found := re.search(r"(\d+)/(\d+) on", text):
            count = int(found[2])
            if not self.edits or self.count != count:
                self.edits.append((now, count))

    def lately(self, since: float) -> set[int]:
        """How many edits stood there from that moment on."""
        before = [count for when, count in self.edits if when <= since]
        return {*before[-1:], *(count for when, count in self.edits if when > since)}


@dataclass(frozen=True)
class Loss:
    """What one kill cost: seconds for which the newest letter that is missing had stood on the screen (0: none is)."""

    what: str
    seconds: float


def kills(times: int, seed: int, environment: Mapping[str, str], state: Path) -> Iterator[Loss]:
    """What each kill cost. Raises AssertionError for what may not be lost."""
    dice = random.Random(seed)
    steps = 0
    for number in range(times):
        what = ("typing", "editing", "sweeping")[number % 3]
        flags = () if number else ("--model", "demo", "--prompt", "When Mary and John")
        terminal = Terminal(flags, environment=environment)
        try:
            terminal.until("live")
            with patch.dict(os.environ, environment):
                loss, steps = _once(terminal, what, dice, state, steps)
        finally:
            terminal.close()
        yield loss


def _once(terminal: Terminal, what: str, dice: random.Random, state: Path, steps: int) -> tuple[Loss, int]:
    seen = Seen()
    (file,) = state.glob("*.toml")
    end = time.monotonic() + dice.uniform(0.2, 3.0)
    keys = _keys(what, dice, seen)
    while time.monotonic() < end:
        terminal.chunk(key := next(keys))
        before, seen.waits = seen.count, key in "zm"
        terminal.read(dice.uniform(0, 0.08))
        seen.look(terminal)
        # The next edit comes once this one stands there: at the end one, and no more, may be on its way.
        while seen.waits and time.monotonic() < end:
            terminal.read(0.02)
            seen.look(terminal)
            seen.waits = seen.count == before
    killed = time.monotonic()
    os.kill(terminal.pid, signal.SIGKILL)
    terminal.wait()
    load(file)  # whole, whatever it was doing
    opened = opening.kept(file.stem)
    opened.kept.release()
    after, tree = opened.session, opened.tree
    assert tree is not None
    assert len(tree.steps) >= min(steps, 900), "steps of the history are gone"
    _, typed, kept = after.prompt.rpartition("zq")
    missing = [since for count, since in seen.letters.items() if not (typed and kept.startswith(seen.typed[:count]))]
    lost = max((killed - since for since in missing), default=0.0)
    assert lost <= ALLOWED, f"letters had stood there for {lost:.3f} s and are missing: {seen.typed} -> {after.prompt}"
    # Of the edits as many as in the file stood there at the end, or came after that; the one on its way may be kept.
    if seen.edits:
        at_end = seen.lately(killed - ALLOWED)
        more = {seen.count - 1, seen.count + 1} if seen.waits else set()
        assert len(after.edits) in at_end | more, f"{at_end} stood, {len(after.edits)} kept"
    return Loss(what, lost), len(tree.steps)


def _keys(what: str, dice: random.Random, seen: Seen) -> Iterator[str]:
    """Keys of someone who types, edits or sweeps, for ever."""
    if what == "typing":
        yield "i"
        yield "\x15"  # ctrl+u: the line is empty
        yield "zq"
        while True:
            letter = dice.choice(LETTERS)
            seen.typed += letter
            yield letter
    if what == "sweeping":
        yield from ("2", "g", "s", ".")
    else:
        yield from ("1", "g", "h")
    while True:
        yield dice.choice(("z", "l", "j", "k", "m", "h", "]", "["))


def main() -> None:
    times, seed = (int(sys.argv[at]) if len(sys.argv) > at else default for at, default in ((1, 50), (2, 1)))
    with tempfile.TemporaryDirectory() as folder:
        names = ("CONFIG", "STATE", "CACHE", "DATA")
        home = {f"XDG_{name}_HOME": f"{folder}/{name}" for name in names} | {"HF_HUB_OFFLINE": "1"}
        losses = []
        for loss in kills(times, seed, {**os.environ, **home}, Path(folder, "STATE", "mechtui", "sessions")):
            losses.append(loss)
            print(f"{len(losses)} {loss.what}: {loss.seconds * 1000:.0f} ms", flush=True)
    worst = max(losses, key=lambda loss: loss.seconds)
    print(f"{len(losses)} kills; the most that was lost had stood on the screen for {worst.seconds * 1000:.0f} ms")
    print(f"{sum(loss.seconds == 0 for loss in losses)} lost nothing that had stood there")


if __name__ == "__main__":
    main()
