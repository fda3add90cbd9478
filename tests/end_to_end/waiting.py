"""Waiting for what other processes do: until it is so, never for a time."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from tests.terminal import Terminal

PATIENCE = 120.0  # seconds, for a machine that has much else to do


def wait_for(what: Callable[[], bool], terminal: Terminal | None = None) -> None:
    """terminal: one that is read meanwhile, and whose screen is told when it never comes to that."""
    end = time.monotonic() + PATIENCE
    while not what():
        assert time.monotonic() < end, f"it never came to that:\n{terminal.text if terminal else ''}"
        if terminal:
            terminal.read(0.02)
        else:
            time.sleep(0.01)


def gone(pid: int) -> bool:
    """Whether this process has ended; one that nobody has waited for yet has."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except (FileNotFoundError, ProcessLookupError):
        return True


def wait_until_gone(pid: int) -> None:
    wait_for(lambda: gone(pid))
