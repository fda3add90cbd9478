"""How far behind the screen is over a slow line: `python -m tests.end_to_end.slow_link [--model M]`.

The program runs in a terminal of 120x40 behind a line that, as ssh does, takes whatever is written at once, and
delivers it at 80 KB a second, 200 ms later; keys and the terminal's answers take 200 ms as well. Keys are held for 3 s,
and a key is pressed now and then while a sweep's numbers come. Prints for each what was sent, how far behind the screen
was at most, and how long after the last key it still changed. Exit status 1 where the screen was more than 300 ms
behind what was written, of which the line's own delay is 200, or half of the keys waited 150 ms longer than on a line
that has no limit but its delay.
"""

from __future__ import annotations

import argparse
import os
import pty
import re
import select
import shutil
import signal
import statistics
import struct
import sys
import tempfile
import termios
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from fcntl import ioctl

import pyte

# So many tokens that a key that is held never comes to the end of them.
PROMPT = "When Mary and John went to the store, John gave a drink to Mary. " * 7 + "Then Mary gave it to"
SIZE = (120, 40)
SPEED, DELAY, FAST = 80_000, 0.2, 1e9
HELD, REPEATS = 3.0, 30
MOST_BEHIND, MOST_WAIT = 0.3, 0.15
# Presses while a sweep's numbers come, and seconds between them.
PRESSES, PAUSE = 12, 0.4
PATIENCE, QUIET = 120.0, 1.5


class Screen(pyte.Screen):
    """One whose answers go to a function."""

    def __init__(self, answer: Callable[[bytes], None]) -> None:
        super().__init__(*SIZE)
        self._answer = answer

    def write_process_input(self, data: str) -> None:
        self._answer(data.encode())


@dataclass
class Seen:
    """What the line saw while something was done. behind: seconds from writing to showing, of every piece."""

    sent: int = 0
    behind: list[float] = field(default_factory=list)
    last: float = 0.0  # when the screen changed last


class Line:
    """The program at the other end of the line."""

    def __init__(self, arguments: tuple[str, ...], speed: float, delay: float) -> None:
        self.speed, self.delay = speed, delay
        self.seen = Seen()
        self.screen = Screen(self.type)
        self._stream = pyte.ByteStream(self.screen)
        self._down: deque[tuple[float, float, bytes]] = deque()  # when it shows, when it was written, what
        self._up: deque[tuple[float, bytes]] = deque()
        self._free = 0.0
        self.pid, self._fd = pty.fork()
        if self.pid == 0:
            ioctl(0, termios.TIOCSWINSZ, struct.pack("HHHH", SIZE[1], SIZE[0], 0, 0))
            told = {"TERM": "xterm-256color", "COLORTERM": "truecolor", "LC_ALL": "C.UTF-8"}
            try:
                os.execvpe(sys.executable, [sys.executable, "-m", "mechtui", *arguments], {**os.environ, **told})
            finally:
                os._exit(127)

    def type(self, data: bytes) -> None:
        """At this end; it comes to the program later."""
        self._up.append((time.monotonic() + self.delay, data))

    def go_on(self, seconds: float) -> None:
        """Let so much time pass."""
        end = time.monotonic() + seconds
        while (now := time.monotonic()) < end:
            while self._up and self._up[0][0] <= now:
                os.write(self._fd, self._up.popleft()[1])
            while self._down and self._down[0][0] <= now:
                due, written, data = self._down.popleft()
                self._stream.feed(data)
                self.seen.behind.append(due - written)
                self.seen.last = due
            events = [end, *(queue[0][0] for queue in (self._up, self._down) if queue)]
            if select.select([self._fd], [], [], max(min(events) - time.monotonic(), 0.0))[0]:
                data = os.read(self._fd, 1 << 16)
                now = time.monotonic()
                for at in range(0, len(data), 512):
                    piece = data[at : at + 512]
                    self._free = max(self._free, now) + len(piece) / self.speed
                    self._down.append((self._free + self.delay, now, piece))
                    self.seen.sent += len(piece)

    @property
    def text(self) -> str:
        return "\n".join(self.screen.display)

    def until(self, wanted: Callable[[], bool], what: str) -> float:
        """-> when it was so. Raises TimeoutError."""
        end = time.monotonic() + PATIENCE
        while not wanted():
            if time.monotonic() > end:
                raise TimeoutError(f"{what} never came:\n{self.text}")
            self.go_on(0.005)
        return time.monotonic()

    def shows(self, pattern: str) -> None:
        self.until(lambda: bool(re.search(pattern, self.text)), pattern)

    def settle(self) -> None:
        """Until nothing has come for a while."""
        while self._down or self._up or time.monotonic() - self.seen.last < QUIET:
            self.go_on(0.05)

    def begin(self) -> Seen:
        self.settle()
        self.seen = Seen(last=time.monotonic())
        return self.seen

    def close(self) -> None:
        os.kill(self.pid, signal.SIGTERM)
        try:
            while True:
                os.read(self._fd, 1 << 16)
        except OSError:
            os.waitpid(self.pid, 0)


def hold(line: Line, keys: str) -> tuple[Seen, float]:
    """A key, or several in turn, so that each of them changes something -> what was seen, and for how long the screen
    changed after the last key could be seen at the soonest."""
    seen = line.begin()
    for number in range(round(HELD * REPEATS)):
        line.type(keys[number % len(keys)].encode())
        line.go_on(1 / REPEATS)
    released = time.monotonic()
    line.settle()
    return seen, seen.last - released - 2 * line.delay


def press(line: Line, keys: str, where: str) -> list[float]:
    """Keys one after the other, each of which changes what `where` finds on the screen -> seconds that each waited
    besides the line's delays."""
    waits = []
    for number in range(PRESSES):
        before = re.search(where, line.text)
        pressed = time.monotonic()
        line.type(keys[number % len(keys)].encode())

        def other(before: re.Match[str] | None = before) -> bool:
            now = re.search(where, line.text)
            return (now and now[0]) != (before and before[0])

        waits.append(line.until(other, where) - pressed - 2 * line.delay)
        line.go_on(PAUSE)
    return waits


def row(name: str, seen: Seen) -> str:
    return f"{name:38}{seen.sent / 1000:9.1f}{max(seen.behind, default=0.0) * 1000:13.0f} ms"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else "")
    parser.add_argument("--model", default="demo")
    parser.add_argument("--speed", type=float, default=SPEED, help="bytes a second")
    parser.add_argument("--delay", type=float, default=DELAY, help="seconds, each way")
    given = parser.parse_args()
    state = tempfile.mkdtemp()
    os.environ.update({f"XDG_{name}_HOME": state for name in ("STATE", "CONFIG")}, HF_HUB_OFFLINE="1")
    said = ("--prompt", PROMPT, "--answer", " John", "--foil", " Mary", "--edit", "scale L1H1 x0.5")
    line = Line(("--model", given.model, *said), given.speed, given.delay)
    behind: list[float] = []
    try:
        line.shows(r"● live[\s\S]*logit diff .* → \S+\d")
        print(f"{given.model}, {SIZE[0]}x{SIZE[1]}, {given.speed / 1000:g} KB/s, {given.delay * 1000:g} ms each way")
        print(f"{'':38}{'KB sent':>9}{'behind at most':>16}{'changed on for':>16}")
        rows = (
            ("attention: the cursor", "ga", "lh"),
            ("attention: the token", "ga", "k"),
            ("heads: the head", "gh", "jk"),
            ("an edit's coefficient", "ge", "+"),
            ("a letter in the prompt", "i", "a"),
        )
        for name, way, keys in rows:
            line.type(way.encode())
            seen, on = hold(line, keys)
            behind += seen.behind
            print(row(f"{name}, {keys} held for {HELD:g} s", seen) + f"{on * 1000:13.0f} ms")
        line.type(b"\x1b")
        line.settle()
        line.type(b"2")
        line.settle()
        line.type(b"gs")
        line.settle()
        seen = line.begin()
        line.type(b".")
        waits = press(line, "jlkh", r"L\d+H\d+ @\d+")
        print(row("a sweep, keys now and then", seen))
        behind.append(max(seen.behind))
        # What the program takes, beside the model and this terminal on the same processor, is no wait for the line.
        line.type(b"\x1b")
        line.speed = FAST
        line.settle()
        line.type(b".")
        alone = press(line, "jlkh", r"L\d+H\d+ @\d+")
        (middle, most), (middle_alone, most_alone) = (
            (statistics.median(each) * 1000, max(each) * 1000) for each in (waits, alone)
        )
        print(f"besides the line's delays half of these keys waited {middle:.0f} ms, one {most:.0f}")
        print(f"the same on a line without a limit: half {middle_alone:.0f} ms, one {most_alone:.0f}")
        bad = max(behind) > MOST_BEHIND or middle - middle_alone > MOST_WAIT * 1000
    finally:
        line.close()
        shutil.rmtree(state, ignore_errors=True)
    return int(bad)


if __name__ == "__main__":
    sys.exit(main())
