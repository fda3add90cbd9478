"""One kind, many inputs: each is read, or refused in one sentence."""

from __future__ import annotations

import resource
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any


@dataclass(frozen=True)
class Kind:
    """What is read. make: an input. take: reads it. refusals: what may be raised, with a sentence. share: inputs of it
    among a count of all: those of whole models are fewer. begin: does once what is no cost of any input."""

    name: str
    make: Callable[[Random], Any]
    take: Callable[[Any], object]
    refusals: tuple[type[BaseException], ...] = ()
    share: float = 1.0
    begin: Callable[[], object] = lambda: None


@dataclass(frozen=True)
class Cost:
    """What one input cost. seconds: of the processor. grown: bytes by which this process has become larger than it
    ever was."""

    number: int
    refused: bool
    seconds: float
    grown: int


class FaultError(AssertionError):
    """What an input must not do; how to have it again."""


def each(kind: Kind, count: int, seed: int = 1, first: int = 0) -> list[Cost]:
    """What `count` inputs cost, from number `first` on. Raises FaultError."""
    return [_one(kind, seed, number) for number in range(first, first + count)]


def _one(kind: Kind, seed: int, number: int) -> Cost:
    made = kind.make(Random(f"{kind.name} {seed} {number}"))
    again = f"python -m tests.fuzz 1 --only {kind.name} --seed {seed} --first {number}"
    size, begun, refused = _size(), time.process_time(), False
    before = signal.signal(signal.SIGALRM, _hangs)
    signal.alarm(PATIENCE)
    try:
        kind.take(made)
    except kind.refusals as error:
        refused = True
        if fault := _unsaid(error):
            raise FaultError(f"{again}: {fault}: {str(error)[:400]!r}") from error
    except BaseException as error:
        if isinstance(error, KeyboardInterrupt):
            raise
        raise FaultError(f"{again}: {type(error).__name__}: {str(error)[:400]}\n{repr(made)[:400]}") from error
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)
    return Cost(number, refused, time.process_time() - begun, _size() - size)


def _unsaid(error: BaseException) -> str:
    """What a refusal lacks; empty where it says one sentence."""
    said = getattr(error, "problem", str(error))
    if not said.strip():
        return "it says nothing"
    if "\n" in said:
        return "it says several lines"
    return f"it says {len(said)} characters" if len(said) > MOST_SAID else ""


# Characters of a sentence; seconds after which what is read is given up.
MOST_SAID, PATIENCE = 2000, 60


class HangError(Exception):
    """It is read for ever."""


def _hangs(*_: object) -> None:
    raise HangError(f"it is still read after {PATIENCE} s")


@contextmanager
def limited(more: int) -> Iterator[None]:
    """Within, this process may not map more than so many bytes besides what it has: what takes all of the memory is a
    fault of its own and not the end of the machine."""
    before = resource.getrlimit(resource.RLIMIT_AS)
    mapped = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (mapped + more, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)


def _size() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss << 10
