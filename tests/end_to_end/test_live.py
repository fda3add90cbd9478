"""Model processes that outlive their app: real ones, behind the real client and behind the app in a terminal."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest
import pytest_asyncio

from mechtui.link import live
from mechtui.link.client import Life
from mechtui.link.frames import encode
from mechtui.link.messages import (
    Answered,
    Ask,
    Attach,
    Attached,
    Cancel,
    Checked,
    Failed,
    Finished,
    Load,
    Ready,
    Stage,
)
from mechtui.session.document import Session
from mechtui.views import Question, parse_question
from tests.end_to_end.conftest import Program
from tests.end_to_end.talk import Talk
from tests.end_to_end.waiting import PATIENCE, gone, wait_for, wait_until_gone
from tests.terminal import Terminal

DEMO = Load("demo")
SESSION = Session("demo", "When Mary and John went to the store, John gave a drink to", answer=" Mary", foil=" John")
SWEEP = parse_question("sweep zero L*H*").asked()

pytestmark = pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="looks at processes through /proc")


class App(Talk):
    """One that leaves its process behind. load: the model that it wants."""

    def __init__(self, log: Path, keep_alive: float = 600.0, load: Load = DEMO, **more: bool) -> None:
        super().__init__(log, keep_alive, **more)
        self.load = load

    async def begin(self) -> App:
        """Until the model is there."""
        await self.client.start(self.load)
        self.client.send(self.load)
        await self.until(lambda reply: isinstance(reply, Ready | Failed))
        return self

    async def ask(self, *questions: Question) -> list[Answered]:
        self.client.send(Ask(1, SESSION, questions))
        await self.until(lambda reply: isinstance(reply, Finished | Failed))
        return [reply for reply in self.heard if isinstance(reply, Answered)]

    def attached(self) -> Attached | None:
        return next((each for each in self.heard if isinstance(each, Attached)), None)

    def life(self) -> str:
        return next(each.state for each in self.heard if isinstance(each, Life))


@pytest.fixture
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The state folder of a user of its own; what lives there in the end is ended."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    yield tmp_path / "state" / "mechtui"
    for found in live.every():
        os.kill(found.pid, signal.SIGKILL)
        wait_until_gone(found.pid)


async def leave(log: Path) -> int:
    """Start a process with demo and go away -> its id."""
    app = await App(log).begin()
    pid = app.client.pid
    assert app.life() == "starting"
    await app.until(lambda reply: isinstance(reply, Checked))
    await app.client.close()
    assert app.client.left is not None
    assert app.client.left.pid == pid
    return pid


@pytest_asyncio.fixture
async def left(state: Path, tmp_path: Path) -> AsyncIterator[int]:
    """A process with demo, that its app has left -> its id."""
    yield await leave(tmp_path / "log")


@pytest.fixture(scope="module")
def lasting(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[int, dict[str, str]]]:
    """A process that was left, for tests that leave it as it is -> its id, and its user's environment."""
    folder = tmp_path_factory.mktemp("lasting")
    environment = {"XDG_STATE_HOME": str(folder / "state"), "XDG_CONFIG_HOME": str(folder / "config")}
    with pytest.MonkeyPatch.context() as patch:
        for name, value in environment.items():
            patch.setenv(name, value)
        pid = asyncio.run(leave(folder / "log"))
    yield pid, environment
    os.kill(pid, signal.SIGKILL)
    wait_until_gone(pid)


@pytest.fixture
def stays(lasting: tuple[int, dict[str, str]], monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    """The lasting process's id; that it waits for the next app, also behind the test, is seen to."""
    pid, environment = lasting
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    yield pid
    wait_for(waits)
    assert [each.pid for each in live.every()] == [pid]


def at_rest(pid: int) -> bool:
    """Whether a process computes nothing for half a second."""

    def spent() -> list[str]:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[11:13]

    before = spent()
    time.sleep(0.5)
    return spent() == before


def waits() -> bool:
    """Whether the one live process knows that its app has gone."""
    return [each.live.left > 0 for each in live.every()] == [True]


# The client


async def test_the_next_app_finds_the_model_and_loads_nothing(left: int, tmp_path: Path) -> None:
    app = await App(tmp_path / "log").begin()
    assert (app.client.pid, app.life()) == (left, "attached")
    assert isinstance(app.heard[1], Attached)
    ready = app.heard.index(await app.until(lambda reply: isinstance(reply, Ready)))
    assert not [each for each in app.heard[:ready] if isinstance(each, Stage)]
    checked = await app.until(lambda reply: isinstance(reply, Checked))
    assert isinstance(checked, Checked)
    assert checked.sentence == ""
    (answered,) = await app.ask(parse_question("next_tokens"))
    assert answered.clean is not None
    await app.client.close()
    # It stays for as long as was said last: this one says nothing of it, the next one not at all.
    silent = await App(tmp_path / "log", keep_alive=0.0, keep_found=True).begin()
    assert silent.client.pid == left
    await silent.client.close()
    assert silent.client.left is not None
    assert silent.client.left.seconds == 600.0
    last = await App(tmp_path / "log", keep_alive=0.0).begin()
    assert last.client.pid == left
    await last.client.close()
    assert last.client.left is None
    wait_until_gone(left)
    assert live.every() == []


async def test_a_sweep_goes_on_while_nobody_is_there(state: Path, tmp_path: Path) -> None:
    app = await App(tmp_path / "log").begin()
    pid = app.client.pid
    os.kill(pid, signal.SIGSTOP)
    app.client.send(Ask(57, SESSION, (SWEEP,)))
    # It is in the socket, whose bytes are there when the process goes on.
    while app.client._outbox._waiting:
        await asyncio.sleep(0)
    await asyncio.sleep(0)
    await app.client.close()
    os.kill(pid, signal.SIGCONT)
    wait_for(waits)
    wait_for(lambda: at_rest(pid))
    again = await App(tmp_path / "log").begin()
    attached = again.attached()
    assert attached is not None
    assert attached.asked == Ask(57, SESSION, (SWEEP,))
    first, *_ = await again.ask(SWEEP)
    assert not first.partial, "all cells were computed meanwhile"
    assert first.clean is not None
    assert getattr(first.clean, "left", "") is None
    assert {each.generation for each in again.heard if isinstance(each, Answered | Finished)} == {1}
    await again.client.close()


async def test_a_process_that_is_left_while_it_loads_loads_once(state: Path, tmp_path: Path) -> None:
    app = App(tmp_path / "log")
    await app.client.start(DEMO)
    app.client.send(DEMO)
    await app.until(lambda reply: isinstance(reply, Stage))
    wait_for(lambda: [each.live.load for each in live.every()] == [DEMO])
    pid = app.client.pid
    await app.client.close()
    again = await App(tmp_path / "log").begin()
    assert (again.client.pid, again.life()) == (pid, "attached")
    await again.ask(parse_question("next_tokens"))
    await again.until(lambda reply: isinstance(reply, Checked))
    stages = [reply.stage for reply in again.heard if isinstance(reply, Stage)]
    assert len(stages) == len(set(stages))
    assert not [reply for reply in again.heard if isinstance(reply, Failed)]
    await again.client.close()


async def test_what_was_stopped_is_not_taken_up(stays: int, tmp_path: Path) -> None:
    app = await App(tmp_path / "log").begin()
    await app.ask(SWEEP)
    app.client.send(Cancel("ask"))
    while app.client._outbox._waiting:
        await asyncio.sleep(0)
    await app.client.close()
    wait_for(waits)
    again = await App(tmp_path / "log").begin()
    assert again.attached() == Attached(stays)
    await again.client.close()


async def test_one_process_serves_one_app(left: int, tmp_path: Path) -> None:
    first = await App(tmp_path / "log").begin()
    second = await App(tmp_path / "log").begin()
    assert (first.client.pid, first.life(), second.life()) == (left, "attached", "starting")
    await first.ask(parse_question("next_tokens"))
    await second.ask(parse_question("next_tokens"))
    await first.client.close()
    wait_for(lambda: [each.pid for each in live.every() if each.live.left] == [left])
    await second.client.close()
    wait_for(lambda: all(each.live.left for each in live.every()))
    # The one that was left last.
    third = await App(tmp_path / "log").begin()
    assert third.client.pid == second.client.left.pid  # type: ignore[union-attr]
    await third.client.close()


@pytest.mark.parametrize("other", ["version", "dtype"])
async def test_what_does_not_fit_is_left_alone(
    stays: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, other: str
) -> None:
    load = Load("demo", dtype="float32") if other == "dtype" else DEMO
    if other == "version":
        monkeypatch.setattr("mechtui.__version__", "9.9")
    app = await App(tmp_path / "log", keep_alive=0.0, load=load).begin()
    assert app.life() == "starting"
    assert app.client.pid != stays
    await app.client.close()
    assert not gone(stays)
    assert [each.pid for each in live.every()] == [stays]


async def test_it_ends_when_the_time_is_over(state: Path, tmp_path: Path) -> None:
    app = await App(tmp_path / "log", keep_alive=1.0).begin()
    pid = app.client.pid
    await app.client.close()
    wait_until_gone(pid)
    assert list((state / live.FOLDER).iterdir()) == []


async def test_a_killed_live_process_comes_back_under_the_app(left: int, tmp_path: Path) -> None:
    app = await App(tmp_path / "log").begin()
    app.heard.clear()
    os.kill(left, signal.SIGKILL)
    await app.until(lambda reply: isinstance(reply, Ready))
    lives = [reply for reply in app.heard if isinstance(reply, Life)]
    assert [(each.state, each.sentence) for each in lives] == [
        ("restarting", "The model process, which had been kept, has ended.")
    ]
    assert app.client.pid != left
    await app.client.close()


async def test_garbage_ends_the_connection_and_not_the_process(stays: int, tmp_path: Path) -> None:
    for garbage in (b"\xff" * 64, encode(DEMO)[:-2]):
        found = await live.attach(DEMO, 600.0)
        assert found is not None
        line, attached, _ = found
        assert attached.pid == stays
        line.setblocking(True)
        line.settimeout(PATIENCE)
        line.sendall(garbage)
        if garbage.startswith(b"\xff"):
            while line.recv(1 << 16):
                pass
        line.close()
        wait_for(waits)
    app = await App(tmp_path / "log").begin()
    assert app.client.pid == stays
    await app.client.close()


async def test_a_process_without_a_model_is_not_kept(state: Path, tmp_path: Path) -> None:
    app = await App(tmp_path / "log", load=Load("/nowhere/at/all")).begin()
    pid = app.client.pid
    await app.client.close()
    assert app.client.left is None
    wait_until_gone(pid)


async def test_without_a_state_folder_it_ends_with_the_app_and_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", "/proc/nothing")
    app = await App(tmp_path / "log").begin()
    pid = app.client.pid
    attached = app.attached()
    assert attached is not None
    assert attached.trouble.startswith("The model process cannot outlive the app: ")
    await app.client.close()
    assert app.client.left is None
    wait_until_gone(pid)


async def test_sigterm_ends_it_and_what_is_left_is_tidied(left: int, state: Path) -> None:
    os.kill(left, signal.SIGTERM)
    wait_until_gone(left)
    # Its other threads may take a moment longer; who looks for processes tidies.
    wait_for(lambda: live.every() == [] and not list((state / live.FOLDER).iterdir()))


async def test_info_lists_it_and_stop_ends_it(
    left: int, mechtui: Program, home: dict[str, str], state: Path, tmp_path: Path
) -> None:
    home["XDG_STATE_HOME"] = str(state.parent)
    home["XDG_CONFIG_HOME"] = str(tmp_path / "config")
    assert re.search(rf"models in memory\n  demo  process {left}, .* GB, stays for 9 min", mechtui("info").stdout)
    app = await App(tmp_path / "log").begin()
    assert f"demo  process {left}" in (said := mechtui("info").stdout)
    assert "in use" in said
    assert mechtui("stop").stdout == f"demo (process {left}) is in use: q ends its app\n"
    await app.client.close()
    wait_for(waits)
    done = mechtui("stop", "1")
    assert (done.returncode, done.stderr) == (2, "mechtui: process 1 is no model process that stays in memory\n")
    os.kill(left, signal.SIGSTOP)  # one that does not answer
    assert mechtui("stop").stdout == f"demo (process {left}) has ended\n"
    assert gone(left)
    assert mechtui("stop").stdout == "no model stays in memory\n"


async def test_only_the_first_frame_can_be_attach(stays: int, tmp_path: Path) -> None:
    app = await App(tmp_path / "log").begin()
    app.client.send(Attach(live.build(), DEMO, 0.0, "/"))
    await app.ask(parse_question("next_tokens"))
    await app.client.close()
    wait_for(waits)
    assert [each.live.seconds for each in live.every()] == [600.0]


# The app


@pytest.fixture
def start(home: dict[str, str], state: Path) -> Iterator[Callable[..., Terminal]]:
    """The app in a terminal, until the model has answered."""
    begun: list[Terminal] = []

    def start(*arguments: str) -> Terminal:
        environment = {**home, "XDG_STATE_HOME": str(state.parent), "XDG_CONFIG_HOME": os.environ["XDG_CONFIG_HOME"]}
        terminal = Terminal(("--model", "demo", *arguments), environment=environment)
        begun.append(terminal)
        terminal.until("● live")
        return terminal

    yield start
    for terminal in begun:
        terminal.close()


def end(terminal: Terminal, how: str) -> None:
    if how == "q":
        terminal.chunk("q")
    elif how == "the terminal goes":
        terminal.hang_up()
    else:
        os.kill(terminal.pid, signal.SIGKILL)
    if how == "q":
        terminal.until(lambda: b"in memory" in terminal.written)
    terminal.wait()


def held_by(pid: int) -> list[str]:
    """What a process has open; what it closes meanwhile is none of it."""
    found = []
    for each in Path(f"/proc/{pid}/fd").iterdir():
        with suppress(FileNotFoundError):
            found.append(os.readlink(each))
    return found


def test_it_outlives_the_app_however_that_ends(start: Callable[..., Terminal], state: Path) -> None:
    terminal = start("--keep-alive", "5m")
    (pid,) = terminal.children()
    for how in ("q", "the terminal goes", "kill -9"):
        end(terminal, how)
        if how == "q":
            sentence = f"mechtui: the model stays in memory for 5 min (process {pid}): mechtui comes back to it, "
            assert (sentence + "mechtui stop ends it\r\n").encode() in terminal.written
        wait_for(waits)
        assert not gone(pid)
        held = held_by(pid)
        assert not [each for each in held if "/pts/" in each or "/tty" in each]
        assert Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[4] == "0", "it has no terminal"
        terminal = start("--keep-alive", "5m")
        assert "The model was still in memory" in terminal.text
        assert terminal.children() == []
        assert [each.pid for each in live.every()] == [pid]


def test_a_sweep_under_way_is_whole_when_one_comes_back(start: Callable[..., Terminal], state: Path) -> None:
    terminal = start("--keep-alive", "5m")
    (pid,) = terminal.children()
    terminal.keys("gs")
    terminal.until("32 runs")
    os.kill(pid, signal.SIGSTOP)
    terminal.keys(".")
    end(terminal, "kill -9")
    os.kill(pid, signal.SIGCONT)
    wait_for(waits)
    wait_for(lambda: at_rest(pid))
    again = start("--keep-alive", "5m")
    again.keys("gs")
    # Estimates may stand there first; nobody starts it again.
    again.until(r"L3H7 +-4\.57")
    assert "32 runs" not in again.text


def test_by_default_nothing_stays(start: Callable[..., Terminal], state: Path) -> None:
    terminal = start()
    (pid,) = terminal.children()
    end(terminal, "kill -9")
    wait_until_gone(pid)
    assert not (state / live.FOLDER).exists()
