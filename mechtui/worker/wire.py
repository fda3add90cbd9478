"""The model process's end of the wire."""

from __future__ import annotations

import os
import sys
import threading

from mechtui.link.frames import encode
from mechtui.link.messages import Reply

CHUNK = 1 << 16


class Wire:
    """Frames over what were file descriptors 0 and 1.

    Both are taken away from everybody else: what a library prints goes to stderr, what it reads is empty.
    """

    def __init__(self) -> None:
        sys.stdout.flush()
        self._in = os.dup(0)
        self._out = os.dup(1)
        nothing = os.open(os.devnull, os.O_RDONLY)
        os.dup2(nothing, 0)
        os.close(nothing)
        os.dup2(2, 1)
        sys.stdout = sys.stderr
        self._lock = threading.Lock()

    def read(self) -> bytes:
        """Some bytes; none at all when the UI is gone."""
        return os.read(self._in, CHUNK)

    def send(self, reply: Reply) -> None:
        """Blocks while the pipe is full. Ends the process when nobody is left to read it."""
        view = memoryview(encode(reply))
        with self._lock:
            while view:
                try:
                    view = view[os.write(self._out, view) :]
                except BrokenPipeError:
                    os._exit(0)
