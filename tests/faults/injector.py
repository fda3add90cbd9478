"""The n-th call fails: of the system's functions for files, of torch's, of whatever else is wrapped."""

from __future__ import annotations

import errno
import fcntl
import io
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

# What a disk, or the system for it, can refuse. What is asked of names alone (stat) does not fail on a disk that works.
FILES = ("open", "fsync", "replace", "rename", "unlink", "mkdir", "utime", "scandir")


class Fault:
    """number: which call fails, from 1; it and, where it lasts, all after it, until it is healed. Calls of other
    threads than the one that made it are none of its business.

    hit: the call that failed first, in words; empty where none did.
    """

    def __init__(self, number: int, error: Callable[[], BaseException], *, lasts: bool = False) -> None:
        self.number, self.lasts = number, lasts
        self.count = 0
        self.hit = ""
        self._error = error
        self._healed = False
        self._thread = threading.get_ident()

    def heal(self) -> None:
        self._healed = True

    def check(self, what: str) -> None:
        """A call of this. Raises the error where it is its turn."""
        if self._healed or threading.get_ident() != self._thread:
            return
        self.count += 1
        if self.count == self.number or (self.lasts and self.count > self.number):
            self.hit = self.hit or f"{what}, call {self.count}"
            raise self._error()


def full() -> OSError:
    return OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def broken() -> OSError:
    return OSError(errno.EIO, os.strerror(errno.EIO))


class File:
    """A file of which reads and writes can fail; of a write that fails half is written."""

    def __init__(self, file: Any, fault: Fault) -> None:
        self._file, self._fault = file, fault

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)

    def __enter__(self) -> File:
        return self

    def __exit__(self, *error: object) -> None:
        self._file.close()

    def read(self, *size: int) -> Any:
        self._fault.check("read")
        return self._file.read(*size)

    def write(self, data: Any) -> int:
        try:
            self._fault.check("write")
        except BaseException:
            self._file.write(data[: len(data) // 2])
            raise
        return int(self._file.write(data))

    def flush(self) -> None:
        self._file.flush()
        self._fault.check("flush")


@contextmanager
def files(fault: Fault) -> Iterator[None]:
    """Within, what this thread asks of files can fail."""

    def failing(name: str, real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **more: Any) -> Any:
            fault.check(name)
            return real(*arguments, **more)

        return call

    opened = io.open

    def open_file(*arguments: Any, **more: Any) -> Any:
        file = opened(*arguments, **more)
        # What others read meanwhile (a module that is imported) is none of ours.
        return File(file, fault) if threading.get_ident() == fault._thread else file

    with pytest.MonkeyPatch.context() as patch:
        for name in FILES:
            patch.setattr(os, name, failing(name, getattr(os, name)))
        patch.setattr(fcntl, "flock", failing("flock", fcntl.flock))
        patch.setattr(io, "open", open_file)
        yield


def until_green(
    run: Callable[[Fault], None], error: Callable[[], BaseException], *, lasts: bool = False, every: int = 1
) -> int:
    """Run with the first call failing, then the second (or the next of `every`), until a run has none that fails ->
    how many runs had one."""
    number = runs = 0
    while True:
        number, runs = number + (every if number else 1), runs + 1
        fault = Fault(number, error, lasts=lasts)
        try:
            run(fault)
        except BaseException as problem:
            problem.add_note(f"with this fault: {fault.hit or 'none'}, {error().__class__.__name__}")
            raise
        if not fault.hit:
            return runs - 1
