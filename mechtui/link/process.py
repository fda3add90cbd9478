"""The model process as the client holds it: over two pipes, to a process that ends with this one, or over a socket, to
one that can stay (`mechtui.link.live`)."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
from contextlib import suppress
from typing import IO, Protocol

CHUNK = 1 << 16
# Between looks at a process that has closed its end and is about to be gone.
GLANCE = 0.01
# Seconds that it has for that.
GOING = 5.0


class Process(Protocol):
    """One model process. pid: its id; 0 where nobody knows it."""

    pid: int

    async def read(self) -> bytes:
        """Some bytes; none when it has ended."""

    async def write(self, data: bytes) -> None:
        """Returns when the system has taken all of it. Raises ConnectionError."""

    def last_words(self, data: bytes) -> None:
        """Send this, and nothing after it; never waits."""

    async def wait(self) -> int | None:
        """Until it has ended -> its exit status, negative for a signal; None where that is not known."""

    def signal(self, number: int) -> None:
        """Send it a signal, if it is still there."""

    async def leave(self) -> None:
        """Let go of it: it sees that this side is gone."""


class Piped:
    """A child on two pipes. asyncio ends it, at the latest, when the event loop does."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        assert process.stdin is not None
        assert process.stdout is not None
        self._process, self._in, self._out = process, process.stdin, process.stdout
        self.pid = process.pid
        # Nothing is buffered here: while the pipe is full, newer Asks replace the one that waits.
        self._in.transport.set_write_buffer_limits(0)

    @classmethod
    async def start(cls, command: list[str], log: IO[bytes]) -> Piped:
        """Raises OSError."""
        return cls(
            await asyncio.create_subprocess_exec(
                *command,
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=log,
                # ctrl+c and ctrl+z are the UI's to handle.
                start_new_session=True,
            )
        )

    async def read(self) -> bytes:
        return await self._out.read(CHUNK)

    async def write(self, data: bytes) -> None:
        self._in.write(data)
        await self._in.drain()

    def last_words(self, data: bytes) -> None:
        if not self._in.is_closing():
            self._in.write(data)
            self._in.close()

    async def wait(self) -> int:
        return await self._process.wait()

    def signal(self, number: int) -> None:
        with suppress(ProcessLookupError):
            self._process.send_signal(number)

    async def leave(self) -> None:
        self._in.close()


class Socketed:
    """A process at the other end of a socket. child: where this program started it."""

    def __init__(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        pid: int,
        child: subprocess.Popen[bytes] | None = None,
    ) -> None:
        self._reader, self._writer, self._child = reader, writer, child
        self.pid = pid
        writer.transport.set_write_buffer_limits(0)

    @classmethod
    async def over(cls, line: socket.socket, pid: int, child: subprocess.Popen[bytes] | None = None) -> Socketed:
        """One that is there, at the other end of this connection."""
        reader, writer = await asyncio.open_unix_connection(sock=line)
        return cls(reader, writer, pid, child)

    @classmethod
    async def start(cls, command: list[str], log: IO[bytes]) -> Socketed:
        """A new one, that nothing here ends. Raises OSError."""
        ours, theirs = socket.socketpair()
        try:
            with theirs:
                child = subprocess.Popen(
                    command, stdin=theirs.fileno(), stdout=theirs.fileno(), stderr=log, start_new_session=True
                )
        except BaseException:
            ours.close()
            raise
        ours.setblocking(False)
        return await cls.over(ours, child.pid, child)

    async def read(self) -> bytes:
        with suppress(ConnectionError):
            return await self._reader.read(CHUNK)
        return b""

    async def write(self, data: bytes) -> None:
        self._writer.write(data)
        await self._writer.drain()

    def last_words(self, data: bytes) -> None:
        if not self._writer.is_closing():
            self._writer.write(data)
            self._writer.write_eof()

    async def wait(self) -> int | None:
        while await self.read():
            pass
        if self._child is None:
            return None
        for _ in range(round(GOING / GLANCE)):
            if (status := self._child.poll()) is not None:
                return status
            await asyncio.sleep(GLANCE)
        self._child.kill()
        while (status := self._child.poll()) is None:
            await asyncio.sleep(GLANCE)
        return status

    def signal(self, number: int) -> None:
        if self.pid > 0 and (self._child is None or self._child.poll() is None):
            with suppress(ProcessLookupError):
                os.kill(self.pid, number)

    async def leave(self) -> None:
        self._writer.transport.abort()
        with suppress(OSError):
            await self._writer.wait_closed()


def kill(pid: int) -> None:
    """End a process at once, from any thread, where nothing can be waited for."""
    if pid > 0:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
