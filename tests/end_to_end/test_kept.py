"""Nothing that was typed is lost, however the program ends."""

from __future__ import annotations

import json
import os
import random
import re
import select
import signal
import stat
import subprocess
import sys
import termios
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from mechtui.session.document import Session
from mechtui.session.storage import load
from tests.end_to_end.conftest import Program
from tests.end_to_end.kills import kills
from tests.end_to_end.waiting import gone, wait_for
from tests.terminal import Terminal, ruler

Start = Callable[..., Terminal]

PROMPT = "When Mary"
ENDING = [signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGTERM, signal.SIGUSR1]


@pytest.fixture
def start(home: dict[str, str]) -> Iterator[Start]:
    """Run the app and wait until it shows a prompt; what it keeps does not depend on a model."""
    begun: list[Terminal] = []

    def start(*arguments: str, **environment: str) -> Terminal:
        terminal = Terminal(arguments, environment={**home, **environment})
        begun.append(terminal)
        terminal.until("Tokens")
        return terminal

    yield start
    for terminal in begun:
        terminal.close()


def files(home: dict[str, str]) -> list[Path]:
    return sorted(Path(home["XDG_STATE_HOME"], "mechtui", "sessions").glob("*.toml"))


def kept(home: dict[str, str]) -> list[Session]:
    return [load(path) for path in files(home)]


def given_back(terminal: Terminal) -> bool:
    """Whether the first screen, the cursor and line by line input with an echo are back."""
    ends = terminal.written.rpartition(b"\x1b[?1049h")[2]
    return b"\x1b[?1049l" in ends and b"\x1b[?25h" in ends and echoes(terminal)


def echoes(terminal: Terminal) -> bool:
    flags = terminal.attributes()[3]
    assert isinstance(flags, int)
    return bool(flags & termios.ECHO and flags & termios.ICANON)


def test_while_one_types_on_and_on_the_kept_session_follows(start: Start, home: dict[str, str]) -> None:
    terminal = start("--prompt", PROMPT)
    terminal.chunk("i")
    typed, followed = "", 0
    seeded = random.Random(5)
    # Never a pause of a second, which an earlier autosave waited for.
    for _ in range(400):
        letter = seeded.choice("abcde")
        terminal.chunk(letter)
        typed += letter
        terminal.read(0.03)
        before = kept(home)
        if before and before[0].prompt not in ("", PROMPT):
            followed += 1
            assert (PROMPT + typed).startswith(before[0].prompt)
            if followed == 60:
                break
    assert followed == 60, "the kept session did not follow while keys came"
    shown_before = kept(home)[0].prompt
    os.kill(terminal.pid, signal.SIGKILL)
    terminal.wait()
    (after,) = kept(home)
    assert after.prompt.startswith(shown_before)
    assert [each.name for each in files(home)[0].parent.iterdir() if each.suffix == ".toml"] == [files(home)[0].name]


@pytest.mark.parametrize("number", ENDING)
def test_a_signal_keeps_the_last_change_and_gives_the_terminal_back(
    start: Start, home: dict[str, str], number: signal.Signals
) -> None:
    terminal = start("--prompt", PROMPT)
    children = terminal.children()
    terminal.chunk("i and John")
    wait_for(lambda: "and John" in terminal.text, terminal)
    os.kill(terminal.pid, number)
    wait_for(lambda: gone(terminal.pid), terminal)
    while terminal.read(0):
        pass
    assert terminal.wait() == 128 + number
    assert [each.prompt for each in kept(home)] == [f"{PROMPT} and John"]
    assert all(gone(child) for child in children)
    assert given_back(terminal)


@pytest.mark.parametrize("number", ENDING[:4])
def test_a_terminal_that_nobody_reads_stops_neither_keeping_nor_the_end(
    start: Start, home: dict[str, str], number: signal.Signals
) -> None:
    terminal = start("--prompt", PROMPT)
    wait_for(lambda: bool(terminal.children()), terminal)
    children = terminal.children()
    # From here on nothing that it writes is read: its writes fill the terminal, and then wait.
    terminal.chunk("i")
    for _ in range(300):
        terminal.chunk("x")
        time.sleep(0.005)
    wait_for(lambda: any("x" in each.prompt for each in kept(home)))
    os.kill(terminal.pid, number)
    wait_for(lambda: gone(terminal.pid))
    assert terminal.wait() == 128 + number
    assert "x" in kept(home)[0].prompt
    wait_for(lambda: all(gone(child) for child in children))
    assert echoes(terminal)


def test_a_terminal_that_goes_away_ends_it_also_where_no_signal_tells(home: dict[str, str]) -> None:
    ours, theirs = os.openpty()
    # No session of its own: nobody sends it SIGHUP.
    program = subprocess.Popen(
        [sys.executable, "-m", "mechtui", "--prompt", PROMPT], stdin=theirs, stdout=theirs, stderr=theirs, env=home
    )
    os.close(theirs)
    said = b""

    def heard(what: bytes) -> bool:
        nonlocal said
        if select.select([ours], [], [], 0.1)[0]:
            said += os.read(ours, 1 << 16)
        return what in said

    # A terminal that does not know its size has 80 columns and 24 rows.
    wait_for(lambda: heard(b"Attention"))
    os.write(ours, b"i!")
    wait_for(lambda: heard(b"") and any("!" in each.prompt for each in kept(home)))
    os.close(ours)
    assert program.wait(30) == 128 + signal.SIGHUP
    assert [each.prompt for each in kept(home)] == [f"{PROMPT}!"]


def test_what_nobody_changed_is_not_kept_and_two_windows_keep_two_sessions(start: Start, home: dict[str, str]) -> None:
    first, second = start("--new"), start("--new")
    for terminal, word in ((first, " one"), (second, " two")):
        terminal.keys("i" + word + "<esc>")
        terminal.until(lambda: bool(kept(home)))
    third = start("--new")
    for terminal in (first, second, third):
        terminal.keys("q")
        assert terminal.wait() == 0
    assert sorted(each.prompt.rpartition(" ")[2] for each in kept(home)) == ["one", "two"]
    assert len({path.stem for path in files(home)}) == 2


def test_the_second_program_is_told_and_takes_a_copy(start: Start, home: dict[str, str]) -> None:
    first = start("--prompt", PROMPT)
    first.keys("i and John<esc>")
    first.until(lambda: [each.prompt for each in kept(home)] == [f"{PROMPT} and John"])
    (name,) = (path.stem for path in files(home))
    second = start()
    second.until(rf"{name} is open in another mechtui: this is a copy of it, {name}-2\.")
    second.until(ruler("When Mary and John") + r"\s+│")
    second.keys("i went<esc>")
    second.until(lambda: len(files(home)) == 2)
    first.keys("i sat<esc>")
    for terminal in (first, second):
        terminal.keys("q")
        assert terminal.wait() == 0
    assert {path.stem: load(path).prompt for path in files(home)} == {
        name: f"{PROMPT} and John sat",
        f"{name}-2": f"{PROMPT} and John went",
    }


def test_killed_at_any_moment_it_goes_on(home: dict[str, str]) -> None:
    """A few times; `python -m tests.end_to_end.kills 50` does it more often."""
    state = Path(home["XDG_STATE_HOME"], "mechtui", "sessions")
    assert len(list(kills(3, 7, home, state))) == 3


TIMES = re.compile(r"\s+\d+(\.\d+)? (ms|s)\b")


def rows(terminal: Terminal) -> list[str]:
    """What stands on the screen, but for the times, and the blanks that the head has for lack of them."""
    head, *below = (TIMES.sub("", row) for row in terminal.screen.display)
    return [re.sub(r" {2,}", "  ", head), *below]


def test_it_opens_where_one_left(start: Start, home: dict[str, str]) -> None:
    first = start("--model", "demo", "--prompt", "When Mary and John went to the store, John gave a drink to")
    first.until("live")
    # A prompt that was typed, edits, one of them off, a vector, a sweep, a view, a token and a head to look at.
    first.keys("i Anna and<esc>zjjlmjz")
    first.keys("v")
    first.keys('w = token " Paris"<enter>')
    first.keys("2gs.")
    first.until(r"32 (of 32|runs)|strongest|L\dH\d.*[+-]\d")
    first.until(lambda: "running" not in first.text and " esc " not in first.screen.display[1])
    first.keys("gl[[s")
    first.until(lambda: "live" in first.text and not re.search("running|older|waiting|measuring|reading", first.text))
    before, cells = rows(first), first.picture()
    first.keys("q")
    assert first.wait() == 0
    second = start()
    second.until("live")
    with suppress(TimeoutError):  # what differs says more
        second.until(lambda: rows(second) == before)
    assert rows(second) == before
    # The first row ends in the time of the run, which may be shorter.
    assert second.picture()[1:] == cells[1:]
    undone = "".join(rows(second))
    second.keys("u")
    assert "".join(rows(second)) != undone
    second.keys("q")
    assert second.wait() == 0


@pytest.mark.parametrize("flags", [("--new",), ("--prompt", "Something else"), ("--model", "demo")])
def test_the_command_line_begins_a_new_session(start: Start, home: dict[str, str], flags: tuple[str, ...]) -> None:
    first = start("--prompt", PROMPT, "--model", "/nowhere")
    first.keys("i and John<esc>q")
    first.wait()
    second = start(*flags)
    second.keys("i<esc>")
    assert not re.search(ruler(f"{PROMPT} and John") + r"\s+│", second.text)
    second.keys("q")
    second.wait()
    assert f"{PROMPT} and John" in [each.prompt for each in kept(home)]


def test_a_session_is_opened_by_its_name(start: Start, home: dict[str, str], mechtui: Program) -> None:
    for words in ("first words", "second words"):
        terminal = start("--prompt", words, "--model", "/nowhere")
        terminal.keys("q")
        terminal.wait()
    listed = json.loads(mechtui("sessions", "--json").stdout)
    assert [(each["name"], each["prompt"]) for each in listed] == [
        ("nowhere-second-words", "second words"),
        ("nowhere-first-words", "first words"),
    ]
    terminal = start("--session", "nowhere-first-words")
    terminal.until("nowhere-first-words")
    terminal.keys("q")
    terminal.wait()
    assert json.loads(mechtui("sessions", "--json").stdout)[0]["prompt"] == "first words"
    done = subprocess.run(
        ["script", "-qec", f"{sys.executable} -m mechtui --session nowhere-frist-words", "/dev/null"],
        capture_output=True, text=True, timeout=60, check=False, env=home,
    )  # fmt: skip
    assert done.returncode == 2
    assert "there is no session nowhere-frist-words; did you mean nowhere-first-words?" in done.stdout


def test_what_is_kept_is_private_whatever_the_umask(start: Start, home: dict[str, str]) -> None:
    before = os.umask(0)
    try:
        terminal = start("--prompt", PROMPT)
    finally:
        os.umask(before)
    terminal.keys("i!<esc>")
    terminal.keys("q")
    terminal.wait()
    state = Path(home["XDG_STATE_HOME"])
    assert files(home)
    for each in [state, *state.rglob("*")]:
        assert stat.S_IMODE(each.stat().st_mode) == (0o700 if each.is_dir() else 0o600), each


@pytest.mark.parametrize("stream", ["0</dev/null", "1>/dev/null", "2>&1 | cat", "| cat", "0<&-"])
def test_without_a_terminal_it_refuses_at_once(home: dict[str, str], stream: str) -> None:
    # A terminal for all streams but the one that is redirected.
    script = f"exec 9>&2; set -o pipefail; {{ {sys.executable} -m mechtui {stream}; }}; echo status $? >&9"
    program = subprocess.run(
        ["script", "-qec", f"bash -c '{script}'", "/dev/null"],
        capture_output=True, text=True, timeout=60, check=False, env=home,
    )  # fmt: skip
    assert "status 2" in program.stdout, program.stdout
    assert not Path(home["XDG_STATE_HOME"]).exists()


@pytest.mark.parametrize("state", ["/proc/nothing", "/dev/null"])
def test_without_a_state_folder_the_app_goes_on(start: Start, tmp_path: Path, state: str) -> None:
    terminal = start("--prompt", PROMPT, XDG_STATE_HOME=state)
    terminal.until("No log is written: ")
    terminal.until("The session is not being kept")
    terminal.keys("i and John<esc>")
    terminal.until(ruler(f"{PROMPT} and John"))
    terminal.keys("q")
    assert terminal.wait() == 0
    assert "The session is not being kept" in terminal.text


@pytest.mark.parametrize("state", ["/proc/nothing", "/dev/null"])
def test_without_a_state_folder_run_and_info_go_on(
    home: dict[str, str], mechtui: Program, tiny: Path, monkeypatch: pytest.MonkeyPatch, state: str
) -> None:
    home.update(XDG_STATE_HOME=state, XDG_CACHE_HOME=state)
    done = mechtui("run", "--model", str(tiny), "--prompt", "a")
    assert done.returncode == 0
    assert done.stdout.startswith('{"session"')
    assert done.stderr.startswith("mechtui: No log is written: ")
    assert done.stderr.count("\n") == 1
    done = mechtui("info")
    assert done.returncode == 0
    assert "neither sessions nor logs are kept" in done.stdout
