"""The model process's end of the wire."""

from __future__ import annotations

import os
import socket
import sys
import threading
from contextlib import suppress

from mechtui.link.frames import encode
from mechtui.link.messages import Reply

CHUNK = 1 << 16


def take_over() -> tuple[int, int]:
    """What were file descriptors 0 and 1. Both are taken away from everybody else: what a library prints goes to
    stderr, what it reads is empty."""
    sys.stdout.flush()
    streams = os.dup(0), os.dup(1)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    os.dup2(2, 1)
    sys.stdout = sys.stderr
    return streams


class Wire:
    """Frames over two pipes."""

    def __init__(self, streams: tuple[int, int]) -> None:
        self._in, self._out = streams
        self._lock = threading.Lock()

    def read(self) -> bytes:
        """Some bytes; none at all when the UI is gone."""
        return os.read(self._in, CHUNK)

    def send(self, reply: Reply, ask: int | None = None) -> None:
        """Blocks while the pipe is full. Ends the process when nobody is left to read it. ask: the number of the Ask
        that this is said of."""
        view = memoryview(encode(reply))
        with self._lock:
            while view:
                try:
                    view = view[os.write(self._out, view) :]
                except OSError:
                    os._exit(0)


class SocketWire(Wire):
    """Frames over a socket, whose other end may go and another come. What is said while nobody is there, or of an Ask
    of one who has gone, is said to nobody."""

    def __init__(self, line: socket.socket) -> None:
        self._lock = threading.Lock()
        self._line: socket.socket | None = line
        self._earlier = 0  # Asks up to this number are of an app that has gone

    def read(self) -> bytes:
        with suppress(OSError):
            return self._line.recv(CHUNK) if self._line is not None else b""
        return b""

    def send(self, reply: Reply, ask: int | None = None) -> None:
        data = encode(reply)
        with self._lock:
            if ask is None or ask > self._earlier:
                self._say(data)

    def let_go(self) -> None:
        """The app has gone, or says what cannot be read."""
        self._shut()  # whoever waits to send something is woken
        with self._lock:
            if self._line is not None:
                self._line.close()
            self._line = None

    def take(self, line: socket.socket, first: Reply, earlier: int) -> None:
        """Another app is here. first: what is said to it first. earlier: how many Asks came before it."""
        with self._lock:
            self._line, self._earlier = line, earlier
            self._say(encode(first))

    def _say(self, data: bytes) -> None:
        try:
            if self._line is not None:
                self._line.sendall(data)
        except OSError:
            self._shut()  # the thread that reads sees the end of it

    def _shut(self) -> None:
        with suppress(OSError):
            if self._line is not None:
                self._line.shutdown(socket.SHUT_RDWR)
