"""The socket by which the next app finds a model process that its app has left."""

from __future__ import annotations

import os
import platform
import secrets
import socket
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from msgspec.structs import replace

from mechtui import __version__
from mechtui.link import live
from mechtui.link.frames import HEADER, BrokenFrameError, decode_request
from mechtui.link.messages import Attach, Load, Quit, Request

# Of the first frame, which names a model and a folder.
FIRST_LIMIT = 1 << 16
# Seconds that a peer has to say it.
FIRST_SECONDS = 2.0
# Seconds that one who comes waits for the one before to be seen to have gone.
OVERLAP = 0.5


class Door:
    """One app at a time: `wait` returns the next one. A peer that says anything but Attach or Quit is shown out.

    seconds: how long to wait when the app goes. end: ends this process. Made in any thread; `wait` is for the thread
    that reads. Raises OSError where there can be no socket.
    """

    def __init__(self, seconds: float, end: Callable[[], None]) -> None:
        self._end = end
        self._closed = False
        self._change = threading.Condition()
        self._alone = False
        self._came: tuple[socket.socket, Attach] | None = None
        self._path = live.folder() / f"{live.here()}-{secrets.token_hex(4)}{live.SOCKET}"
        self._page = live.Live(os.getpid(), platform.node(), __version__, live.build(), Load(""), seconds=seconds)
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            with live.address(self._path) as where:
                self._listener.bind(where)
            self._path.chmod(0o600)  # nobody can reach it before: the folder is private
            live.check(self._path)
            self._listener.listen(8)
            live.write(self._path, self._page)
        except OSError:
            self.close()
            raise
        threading.Thread(target=self._receive, name="door", daemon=True).start()

    @property
    def alone(self) -> bool:
        """Whether there is no app."""
        return self._alone

    def loads(self, load: Load) -> None:
        """This model is wanted from now on."""
        self._say(load=load, place=live.place(load.model))

    def wait(self, useless: Callable[[], bool]) -> tuple[socket.socket, Attach] | None:
        """Without an app: the next one's connection and Attach; None when the time is over. useless: whether there is
        nothing to come back to, asked when nobody can be taken for the app any more."""
        with self._change:
            self._alone = True
            self._change.notify_all()
            if useless():
                return None
            self._say(left=time.time())
            self._change.wait_for(lambda: self._came is not None, self._page.seconds)
            came, self._came, self._alone = self._came, None, False
        if came is not None:
            self._say(left=0.0, seconds=came[1].seconds)
        return came

    def close(self) -> None:
        """Nobody can come any more."""
        with self._change:
            self._closed = True
            live.remove(self._path)
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)  # for the thread that waits there
        self._listener.close()

    def _say(self, **new: Any) -> None:
        """Change the page. Two threads do, each what it knows."""
        with self._change:
            if self._closed:
                return
            self._page = replace(self._page, **new)
            try:
                live.write(self._path, self._page)
            except OSError as error:
                with suppress(OSError):  # the log may be on the same disk
                    print(f"mechtui worker: {live.trouble(error)}", file=sys.stderr, flush=True)

    def _receive(self) -> None:
        while True:
            try:
                line, _ = self._listener.accept()
            except OSError:
                if self._listener.fileno() < 0:
                    return
                time.sleep(OVERLAP)  # too many files are open, say
                continue
            try:
                live.check_peer(line)
                taken = self._answer(line, self._first(line))
            except (OSError, BrokenFrameError):
                taken = False
            if not taken:
                line.close()

    def _first(self, line: socket.socket) -> Request:
        """What a peer says first. Raises OSError and BrokenFrameError."""
        until = time.monotonic() + FIRST_SECONDS

        def exactly(count: int) -> bytes:
            data = b""
            while len(data) < count:
                line.settimeout(max(until - time.monotonic(), 0.001))
                more = line.recv(count - len(data))
                if not more:
                    raise ConnectionResetError("it has gone")
                data += more
            return data

        (length,) = HEADER.unpack(exactly(HEADER.size))
        if length > FIRST_LIMIT:
            raise BrokenFrameError(f"the first frame says it has {length} bytes; the limit is {FIRST_LIMIT}")
        request = decode_request(exactly(length))
        line.settimeout(None)
        return request

    def _answer(self, line: socket.socket, request: Request) -> bool:
        """Whether the one who came is the app now."""
        match request:
            case Quit():
                with self._change:
                    if self._alone and self._came is None:
                        self._end()
            case Attach() if self._fits(request):
                with self._change:
                    if self._change.wait_for(lambda: self._alone and self._came is None, OVERLAP):
                        self._came = line, request
                        self._change.notify_all()
                        return True
            case _:
                pass
        return False

    def _fits(self, attach: Attach) -> bool:
        page = self._page
        return (attach.build, attach.load) == (page.build, page.load) and live.place(page.load.model) == page.place


def open_door(seconds: float, end: Callable[[], None]) -> tuple[Door | None, str]:
    """The door, or why there can be none."""
    try:
        return Door(seconds, end), ""
    except OSError as error:
        return None, f"The model process cannot outlive the app: {live.trouble(error)}."
