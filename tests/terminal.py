"""The program in a terminal of its own: a pseudo-terminal, and a screen in memory that reads what is written to it."""

from __future__ import annotations

import os
import pty
import re
import select
import signal
import struct
import sys
import termios
import time
from collections.abc import Callable, Mapping
from fcntl import ioctl
from pathlib import Path
from termios import ECHO, tcgetattr

import pyte

PATIENCE = 120.0  # seconds, for a machine that has much else to do
KEYS = {"<enter>": "\r", "<esc>": "\x1b", "<tab>": "\t"}


def ruler(text: str) -> str:
    """A pattern for words as the ruler of tokens shows them, each with its position."""
    return r"\s+".join(rf"\d+:?·?{re.escape(word)}" for word in text.split(" "))


def _set_size(terminal: int, size: tuple[int, int]) -> None:
    ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", size[1], size[0], 0, 0))


class Terminal:
    """`mechtui ARGUMENTS` in a terminal of `size` columns and rows, its environment changed by `environment`.

    program: what python runs in mechtui's place.
    """

    def __init__(
        self,
        arguments: tuple[str, ...],
        size: tuple[int, int] = (120, 40),
        environment: Mapping[str, str] = {},
        program: tuple[str, ...] = ("-m", "mechtui"),
    ) -> None:
        self.screen = pyte.Screen(*size)
        self.written = b""
        self._stream = pyte.ByteStream(self.screen)
        self.pid, self._fd = pty.fork()
        if self.pid == 0:
            _set_size(0, size)
            told = {"TERM": "xterm-256color", "COLORTERM": "truecolor", "LC_ALL": "C.UTF-8"}
            # Without the size that a runner may have been started with.
            own = {name: value for name, value in os.environ.items() if name not in ("COLUMNS", "LINES")}
            of_it = {**own, **told, **environment}
            try:
                os.execvpe(sys.executable, [sys.executable, *program, *arguments], of_it)
            finally:
                os._exit(127)  # else this copy of the test run would go on beside it

    def read(self, seconds: float) -> bool:
        """Take what the program writes; False when it wrote nothing for that long, or has ended."""
        ready, _, _ = select.select([self._fd], [], [], seconds)
        if ready:
            try:
                data = os.read(self._fd, 1 << 16)
                self.written += data
                self._stream.feed(data)
            except OSError:  # nobody is at the other end any more
                return False
        return bool(ready)

    def settle(self) -> None:
        """Until half a second passes in which nothing is written."""
        while self.read(0.5):
            pass

    @property
    def text(self) -> str:
        return "\n".join(self.screen.display)

    def until(self, wanted: str | Callable[[], bool]) -> None:
        """Until this pattern is on the screen, or this is so, and nothing more is written. Raises TimeoutError."""
        end = time.monotonic() + PATIENCE
        while not (re.search(wanted, self.text) if isinstance(wanted, str) else wanted()):
            if time.monotonic() > end:
                raise TimeoutError(f"{wanted!r} never came:\n{self.text}")
            self.read(0.2)
        self.settle()

    def keys(self, text: str) -> None:
        """Type; `<enter>`, `<esc>` and `<tab>` are keys."""
        for key in re.findall(r"<\w+>|.", text):
            os.write(self._fd, KEYS.get(key, key).encode())
            self.read(0.05)
        self.settle()

    def chunk(self, data: str | bytes) -> None:
        """Type all of it in one write, as it comes over a slow line or from a paste."""
        os.write(self._fd, data.encode() if isinstance(data, str) else data)

    def resize(self, columns: int, rows: int) -> None:
        """The window has this size from now on."""
        if (columns, rows) == (self.screen.columns, self.screen.lines):
            return
        self.screen.resize(rows, columns)
        self.screen.erase_in_display(2)  # what is seen from now on was painted for this size
        self.set_size(columns, rows)
        self.settle()

    def set_size(self, columns: int, rows: int) -> None:
        """The same, and nothing is read meanwhile."""
        _set_size(self._fd, (columns, rows))

    def attributes(self) -> list[object]:
        """The terminal's settings, as `stty` shows them."""
        return termios.tcgetattr(self._fd)

    def hold(self, key: str, times: int) -> None:
        """Type a key as fast as the terminal takes it, reading on meanwhile."""
        for _ in range(times):
            os.write(self._fd, key.encode())
            self.read(0)

    def echoes(self) -> bool:
        """Whether the terminal shows what is typed by itself, as it does while no program has it."""
        return bool(tcgetattr(self._fd)[3] & ECHO)

    def picture(self) -> list[list[tuple[str, str, str, bool]]]:
        """Character, ink, paper and reversal of every cell."""
        buffer = self.screen.buffer
        return [
            [(c.data, c.fg, c.bg, c.reverse) for c in (buffer[y][x] for x in range(self.screen.columns))]
            for y in range(self.screen.lines)
        ]

    def children(self) -> list[int]:
        """The processes that the program has started and that live."""
        return [int(pid) for pid in Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text().split()]

    def hang_up(self) -> None:
        """The terminal goes away."""
        os.close(self._fd)
        self._fd = -1

    def wait(self) -> int:
        """The exit status, once the program has ended."""
        return os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])

    def close(self) -> None:
        """End the program if it still runs."""
        try:
            os.kill(self.pid, signal.SIGTERM)
            os.waitpid(self.pid, 0)
        except (ProcessLookupError, ChildProcessError):
            pass  # it has ended, and somebody has asked how
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1
