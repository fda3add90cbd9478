"""The end that comes from outside: a signal, or a terminal that goes away.

A terminal that nobody reads any more stops whoever writes to it, the event loop too, which then hears no signal.
A thread that never writes to the terminal hears them instead, keeps the session and, if need be, ends the program.
"""

from __future__ import annotations

import os
import select
import signal
import termios
import threading
from collections.abc import Callable
from contextlib import suppress
from types import TracebackType
from typing import Self

# All that would end the program as it stands, with the terminal as it is, but for faults of the machine's own.
SIGNALS = (
    signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGTERM,
    signal.SIGALRM, signal.SIGUSR1, signal.SIGUSR2, signal.SIGVTALRM, signal.SIGXCPU,
)  # fmt: skip
GRACE = 1.0
# CAN breaks off a sequence of which only a part got through. Then, as the driver does at an orderly end: mouse,
# pasting, focus and key reports off, lines wrap, text runs both ways, the first screen and the cursor are back.
RESTORED = (
    b"\x18\x1b[?1000l\x1b[?1003l\x1b[?1015l\x1b[?1006l\x1b[?2004l\x1b[?2048l\x1b[?1004l\x1b[?7h\x1b[<u"
    b"\x1b[8h\x1b[?1049l\x1b[?25h"
)


class Ending:
    """While it is entered, each of SIGNALS and the loss of the terminal ends the program, with 128 + the signal.

    keep: called first; keeps the session. ask: asks the app for an orderly end. kill: ends the model process; it is
    called when the app does not end within GRACE seconds. terminal: file descriptor. Enter it in the main thread.
    """

    def __init__(
        self, keep: Callable[[], object], ask: Callable[[int], object], kill: Callable[[], object], terminal: int = 0
    ) -> None:
        self.number = 0
        self._keep, self._ask, self._kill = keep, ask, kill
        self._terminal = terminal
        self._over = threading.Event()

    def __enter__(self) -> Self:
        with suppress(termios.error):
            self._attributes = termios.tcgetattr(self._terminal)
        self._reads, self._writes = os.pipe()
        os.set_blocking(self._writes, False)
        # Python writes the number of every signal that has a handler there, whatever the main thread is doing.
        signal.set_wakeup_fd(self._writes, warn_on_full_buffer=False)
        self._before = {number: signal.signal(number, lambda number, frame: None) for number in SIGNALS}
        threading.Thread(target=self._watch, name="signals", daemon=True).start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._over.set()
        signal.set_wakeup_fd(-1)
        for number, handler in self._before.items():
            signal.signal(number, handler)
        os.close(self._writes)  # the thread reads the end of it, and ends

    def _watch(self) -> None:
        number = self._heard()
        if not number:
            return
        self.number = number
        self._keep()
        self._ask(number)
        if not self._over.wait(GRACE):
            self._kill()
            self._restore()
            os._exit(128 + number)

    def _heard(self) -> int:
        """Wait for the signal that ends the program; 0 when it ended by itself."""
        poll = select.poll()
        poll.register(self._reads, select.POLLIN)
        # Without the signal too, as when the program leads no session: its loss is reported to whoever polls.
        poll.register(self._terminal, 0)
        while True:
            for descriptor, event in poll.poll():
                if descriptor == self._reads:
                    numbers = os.read(self._reads, 64)
                    if not numbers:
                        os.close(self._reads)
                        return 0
                    for number in numbers:
                        if number in SIGNALS:
                            return number
                elif event & (select.POLLHUP | select.POLLERR):
                    return signal.SIGHUP
                else:
                    poll.unregister(descriptor)  # a system that cannot poll terminals

    def _restore(self) -> None:
        """The terminal is as it was, as far as that can be done without waiting for it: one that is full takes its
        settings, and no sequences."""
        with suppress(OSError, termios.error):
            # Opened anew, so that only this way to the terminal does not wait.
            terminal = os.open(os.ttyname(self._terminal), os.O_WRONLY | os.O_NOCTTY | os.O_NONBLOCK)
            termios.tcsetattr(terminal, termios.TCSANOW, self._attributes)
            os.write(terminal, RESTORED)
