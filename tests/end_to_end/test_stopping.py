"""ctrl+z, SIGSTOP, a script around the program, no shell at all, a window that changes its size all the time."""

from __future__ import annotations

import os
import re
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path

import pytest

from tests.end_to_end.waiting import wait_for
from tests.terminal import Terminal

SHELL = ("-c", "import os; os.execvp('bash', ['bash', '--norc', '--noprofile', '-i'])")
PROGRAM = f"{sys.executable} -m mechtui --model /nowhere --prompt When"
READY = "no model is loaded"


@pytest.fixture
def shell(home: dict[str, str]) -> Iterator[Terminal]:
    """A shell with job control, of which nobody knows anything but that it is one."""
    terminal = Terminal((), environment={**home, "PS1": "shell> "}, program=SHELL)
    terminal.until("shell> ")
    yield terminal
    if terminal._fd >= 0:
        terminal.hang_up()
    os.kill(terminal.pid, signal.SIGKILL)  # which is what ends a shell that waits for a job
    terminal.wait()


def typed(terminal: Terminal, line: str) -> None:
    """A line that a program in raw mode would not take for one."""
    terminal.chunk(line + "\n")


def pid_of(terminal: Terminal, name: str = "mechtui") -> int:
    """The process of this name below the shell."""

    def below(pid: int) -> Iterator[int]:
        for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
            yield int(child)
            yield from below(int(child))

    found = [
        pid
        for pid in below(terminal.pid)
        if name in (words := Path(f"/proc/{pid}/cmdline").read_text().split("\0"))
        and "worker" not in words
        and words[0] == sys.executable
    ]
    assert len(found) == 1, found
    return found[0]


def answers(terminal: Terminal, number: int) -> None:
    """The shell has the terminal: it takes a line, and what is typed is seen once."""
    typed(terminal, f"echo the shell {number}$((1+1))")
    terminal.until(rf"\nthe shell {number}2")


def begun(shell: Terminal, line: str) -> list[str]:
    """What stands on the screen once the program is there; the first row says what changes by itself."""
    typed(shell, line)
    shell.until(rf"{READY}[\s\S]*there is no folder")
    shell.keys("l")  # what was said is read
    return list(shell.screen.display[1:])


def stopped_and_back(shell: Terminal, number: int, stop: Callable[[], None], before: list[str]) -> None:
    stop()
    shell.until("Stopped")
    answers(shell, number)
    typed(shell, "bg")  # in the background it stops again
    answers(shell, number + 5)
    typed(shell, "fg")
    with suppress(TimeoutError):  # what differs says more
        shell.until(lambda: shell.screen.display[1:] == before)
    assert shell.screen.display[1:] == before


def test_stopped_it_leaves_the_terminal_to_the_shell_and_comes_back(shell: Terminal) -> None:
    before = begun(shell, PROGRAM)
    for number, how in enumerate((None, signal.SIGTSTP, signal.SIGSTOP)):
        stop = partial(shell.chunk, "\x1a") if how is None else partial(os.kill, pid_of(shell), how)
        stopped_and_back(shell, number, stop, before)
    shell.chunk("i!")  # without an enter
    shell.until(re.escape("When!"))
    shell.keys("<esc>q")
    answers(shell, 9)


def test_in_a_script_all_of_it_stops_and_when_its_terminal_goes_it_ends(shell: Terminal) -> None:
    before = begun(shell, f"sh -c '{PROGRAM}; true'")
    pid = pid_of(shell)
    stopped_and_back(shell, 0, partial(shell.chunk, "\x1a"), before)
    before_that = shell.written.count(b"Stopped")
    shell.chunk("\x1a")
    shell.until(lambda: shell.written.count(b"Stopped") > before_that)
    shell.hang_up()
    wait_for(lambda: not Path(f"/proc/{pid}").exists())


def test_without_a_shell_it_does_not_stop(home: dict[str, str]) -> None:
    terminal = Terminal(("--model", "/nowhere", "--prompt", "When"), environment=home)
    try:
        terminal.until(READY)
        terminal.chunk("\x1a")
        terminal.until("There is no shell to go back to")
        # A storm of sizes: what stands there in the end is of the last.
        wide = terminal.screen.display[-1]
        for count in range(300):
            terminal.set_size(70 + count % 50, 20 + count % 13)
            os.kill(terminal.pid, signal.SIGWINCH)
            terminal.read(0)
        terminal.resize(90, 30)
        terminal.resize(120, 40)
        terminal.until(lambda: terminal.screen.display[-1] == wide)
        terminal.keys("i!")
        terminal.until(re.escape("When!"))
        terminal.keys("<esc>q")
        assert terminal.wait() == 0
    finally:
        terminal.close()
