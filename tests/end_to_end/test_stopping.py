"""ctrl+z, SIGSTOP, a script around the program, no shell at all, a window that changes its size all the time."""

from __future__ import annotations

import os
import re
import signal
import sys
from collections.abc import Iterator
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
    terminal.close()


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
    terminal.until(rf"\nthe shell {number}2 *\n")
    assert terminal.text.count("$((1+1))") >= 1


@pytest.mark.parametrize("how", ["ctrl+z", "SIGSTOP", "SIGTSTP", "in a script"])
def test_stopped_it_leaves_the_terminal_to_the_shell_and_comes_back(shell: Terminal, how: str) -> None:
    typed(shell, f"sh -c '{PROGRAM}; echo it ended'" if how == "in a script" else f"{PROGRAM}; echo it ended")
    shell.until(READY)
    before = shell.screen.display[1:]
    for count in range(2):
        if how == "SIGSTOP":
            os.kill(pid_of(shell), signal.SIGSTOP)
        elif how == "SIGTSTP":
            os.kill(pid_of(shell), signal.SIGTSTP)
        else:
            shell.chunk("\x1a")
        shell.until("Stopped")
        answers(shell, count)
        typed(shell, "bg")  # in the background it stops again
        answers(shell, count + 5)
        typed(shell, "fg")
        shell.until(lambda: shell.screen.display[1:] == before)
    shell.chunk("i!")  # without an enter
    shell.until(re.escape("When!"))
    shell.keys("<esc>q")
    shell.until("it ended")
    answers(shell, 9)


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
        terminal.keys("i!<esc>")
        terminal.until(re.escape("When!"))
        terminal.keys("q")
        assert terminal.wait() == 0
    finally:
        terminal.close()


def test_the_end_of_a_stopped_program_gives_the_terminal_back(shell: Terminal) -> None:
    """Its terminal goes while it is stopped: it ends, and no process is left."""
    typed(shell, PROGRAM)
    shell.until(READY)
    pid = pid_of(shell)
    shell.chunk("\x1a")
    shell.until("Stopped")
    shell.hang_up()
    wait_for(lambda: not Path(f"/proc/{pid}").exists())
