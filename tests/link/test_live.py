"""Live processes: who can reach one, which one fits, what its door lets in. No model here."""

from __future__ import annotations

import os
import signal
import socket
import stat
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import msgspec
import pytest

from mechtui.link import live
from mechtui.link.frames import HEADER, Splitter, decode_reply, encode
from mechtui.link.messages import Attach, Attached, Fetched, Finished, Heartbeat, Load, Models, Quit
from mechtui.worker.door import FIRST_LIMIT, Door, open_door
from mechtui.worker.wire import SocketWire

DEMO = Load("demo")
PATIENCE = 10.0


@pytest.fixture(autouse=True)
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    return tmp_path / "state" / "mechtui" / "live"


class Host:
    """A door whose app has gone, in this process, and who comes to it."""

    def __init__(self, seconds: float = 60.0, load: Load = DEMO) -> None:
        self.ended = threading.Event()
        self.came: list[tuple[socket.socket, Attach] | None] = []
        self.door = Door(seconds, self.ended.set)
        self.door.loads(load)
        self._thread = threading.Thread(target=lambda: self.came.append(self.door.wait(lambda: False)))

    def leave(self) -> None:
        self._thread.start()
        until(lambda: self.door.alone and live.every()[0].live.left > 0)

    def taken(self) -> Attach | None:
        self._thread.join(PATIENCE)
        (came,) = self.came
        return came[1] if came else None

    def close(self) -> None:
        self.door.close()
        if self._thread.is_alive():
            with self.door._change:
                self.door._came = socket.socket(), Attach("", DEMO, 0, "")
                self.door._change.notify_all()
        if self.came and self.came[0]:
            self.came[0][0].close()


def until(what: Callable[[], bool]) -> None:
    waited = threading.Event()
    for _ in range(1000):
        if what():
            return
        waited.wait(0.01)
    raise AssertionError("it never came to that")


@pytest.fixture
def host(state: Path) -> Iterator[Host]:
    host = Host()
    yield host
    host.close()


def socket_of(state: Path) -> Path:
    (path,) = state.glob(f"*{live.SOCKET}")
    return path


def knock(state: Path, data: bytes) -> bytes:
    """Say this to the door -> what comes back before the connection ends."""
    line, _ = live.connect(socket_of(state))
    with line:
        line.settimeout(PATIENCE)
        line.sendall(data)
        line.shutdown(socket.SHUT_WR)
        try:
            return line.recv(100)
        except ConnectionError:
            return b""


def attach(load: Load = DEMO, build: str = "") -> Attach:
    return Attach(build or live.build(), load, 5.0, "/")


# Who can reach it


def test_socket_and_page_are_private_whatever_the_umask(state: Path) -> None:
    before = os.umask(0)
    try:
        host = Host()
    finally:
        os.umask(before)
    modes = {path.suffix: stat.S_IMODE(path.stat().st_mode) for path in (state, *state.iterdir())}
    host.close()
    assert modes == {"": 0o700, live.SOCKET: 0o600, live.PAGE: 0o600}


@pytest.mark.parametrize("who", ["folder", "socket"])
@pytest.mark.parametrize("mode", [0o040, 0o004, 0o020, 0o001])
def test_what_others_can_open_is_not_connected_to(host: Host, state: Path, who: str, mode: int) -> None:
    path = state if who == "folder" else socket_of(state)
    path.chmod(path.stat().st_mode | mode)
    with pytest.raises(live.UnsafeError, match="is open to other users"):
        live.connect(socket_of(state))
    assert live.every() == []


def test_what_belongs_to_another_is_not_connected_to(host: Host, state: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.geteuid", lambda: 12_345)
    with pytest.raises(live.UnsafeError, match="belongs to another user"):
        live.connect(socket_of(state))


def test_a_link_or_a_file_in_the_place_of_a_socket_is_refused(host: Host, state: Path) -> None:
    link = state / f"{live.here()}-link{live.SOCKET}"
    link.symlink_to(socket_of(state))
    with pytest.raises(live.UnsafeError, match="is no socket"):
        live.connect(link)


def test_a_peer_of_another_user_is_shown_out_on_either_side(
    host: Host, state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    host.leave()
    line = socket.socket(socket.AF_UNIX)
    with line, live.address(socket_of(state)) as where:
        monkeypatch.setattr(live, "peer", lambda line: (1, os.geteuid() + 1))
        line.connect(where)
        with pytest.raises(live.UnsafeError, match="is at the other end"):
            live.check_peer(line)
        line.settimeout(PATIENCE)
        with suppress(ConnectionError):  # it may be closed before anything is said
            line.sendall(encode(attach()))
            assert line.recv(1) == b""
    assert host.door.alone


def test_a_folder_with_a_long_name_has_a_door(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    long = tmp_path / ("x" * 120)
    monkeypatch.setenv("XDG_STATE_HOME", str(long))
    host = Host()
    assert [each.pid for each in live.every()] == [os.getpid()]
    host.close()


# What the door lets in


@pytest.mark.parametrize(
    "said",
    [
        b"",
        b"\x00",
        b"\xff" * 64,
        HEADER.pack(FIRST_LIMIT + 1) + b"x" * 10,
        HEADER.pack(5) + b"\x81\xa7me",
        HEADER.pack(8) + b"half",
        encode(attach())[:-3],
        encode(Load("demo")),
        encode(Models()),
        encode(attach(build="another")),
        encode(attach(Load("demo", dtype="float16"))),
    ],
)
def test_whoever_says_something_else_is_shown_out_and_the_next_comes_in(host: Host, state: Path, said: bytes) -> None:
    host.leave()
    assert knock(state, said) == b""
    assert host.door.alone
    assert not host.ended.is_set()
    line, _ = live.connect(socket_of(state))
    with line:
        line.settimeout(PATIENCE)
        line.sendall(encode(attach()))
        assert host.taken() == attach()


def test_a_silent_peer_keeps_nobody_out(host: Host, state: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Time enough for the second to speak while the first is waited for.
    monkeypatch.setattr("mechtui.worker.door.FIRST_SECONDS", 0.5)
    host.leave()
    silent, _ = live.connect(socket_of(state))
    line, _ = live.connect(socket_of(state))
    with silent, line:
        line.settimeout(PATIENCE)
        line.sendall(encode(attach()))
        assert host.taken() == attach()


async def test_the_next_app_comes_in_and_one_that_comes_second_does_not(host: Host, state: Path) -> None:
    host.leave()
    wire = SocketWire(socket.socket())

    def serve() -> None:
        host._thread.join(PATIENCE)
        (came,) = host.came
        assert came is not None
        wire.take(came[0], Attached(7), 0)

    serving = threading.Thread(target=serve)
    serving.start()
    found = await live.attach(DEMO, 5.0)
    serving.join()
    assert found is not None
    line, attached, page = found
    assert (attached.pid, page.load) == (os.getpid(), DEMO)
    assert await live.attach(DEMO, 5.0) is None
    assert [each.live.left for each in live.every()] == [0.0]
    line.close()


async def test_files_are_looked_over_beside_the_thread_that_answers_keys(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    threads = []
    for name in ("build", "place"):
        monkeypatch.setattr(live, name, lambda *_: threads.append(threading.current_thread()) or "")
    assert await live.attach(DEMO, 5.0) is None
    assert len(threads) == 2
    assert threading.main_thread() not in threads


async def test_only_what_fits_is_attached_to(host: Host, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    host.leave()
    assert await live.attach(Load("demo", device="cuda"), 5.0) is None
    monkeypatch.setattr("mechtui.__version__", "9.9")
    assert await live.attach(DEMO, 5.0) is None
    assert host.door.alone


def test_a_door_that_is_left_alone_closes(state: Path) -> None:
    host = Host(seconds=0.01)
    host._thread.start()
    assert host.taken() is None
    host.close()
    assert list(state.iterdir()) == []


def test_quit_ends_only_a_process_without_an_app(host: Host, state: Path) -> None:
    assert knock(state, encode(Quit())) == b""
    assert not host.ended.is_set()
    host.leave()
    assert knock(state, encode(Quit())) == b""
    assert host.ended.wait(PATIENCE)


@pytest.mark.parametrize("taken", [False, True])
def test_a_process_that_does_not_answer_is_ended_unless_an_app_has_taken_it(
    state: Path, monkeypatch: pytest.MonkeyPatch, taken: bool
) -> None:
    signs: list[int] = []
    monkeypatch.setattr(live.os, "kill", lambda pid, sign: signs.append(sign))
    monkeypatch.setattr(live, "PATIENCE", 0.01)
    path = live.folder() / f"{live.here()}-deaf{live.SOCKET}"
    with socket.socket(socket.AF_UNIX) as deaf, live.address(path) as where:
        deaf.bind(where)
        path.chmod(0o600)
        deaf.listen(8)
        page = live.Live(os.getpid(), "", "", "", DEMO, left=1.0)
        live.write(path, page)
        (found,) = live.every()
        if taken:
            live.write(path, msgspec.structs.replace(page, left=0.0))
        assert not live.end(found)
    assert signs == ([] if taken else [signal.SIGTERM, signal.SIGKILL])


def test_an_app_that_goes_while_a_model_is_noted_is_seen_to_have_gone(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    def slow(model: str) -> str:
        host.leave()
        return ""

    monkeypatch.setattr(live, "place", slow)
    host.door.loads(Load("another"))
    (found,) = live.every()
    assert found.live.load == Load("another")
    assert found.live.left > 0


def test_what_nobody_listens_to_is_tidied_away(state: Path) -> None:
    host = Host()
    host.door._listener.shutdown(socket.SHUT_RDWR)  # as when the process is killed: the files stay
    assert len(list(state.iterdir())) == 2
    assert live.every() == []
    assert list(state.iterdir()) == []


def test_a_page_that_says_nothing_sensible_is_passed_over(host: Host, state: Path) -> None:
    live.page_of(socket_of(state)).write_text("{}")
    assert live.every() == []


@pytest.mark.parametrize("folder", ["/proc/nothing", "/dev/null"])
def test_without_a_state_folder_there_is_no_door_and_a_sentence(monkeypatch: pytest.MonkeyPatch, folder: str) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", folder)
    door, trouble = open_door(5.0, lambda: None)
    assert door is None
    assert trouble.startswith("The model process cannot outlive the app: ")
    assert live.every() == []


# What is said over it


def frames(data: bytes) -> list[object]:
    return [decode_reply(body) for body in Splitter().feed(data)]


def test_what_is_said_while_nobody_is_there_is_said_to_nobody() -> None:
    first, ours = socket.socketpair()
    wire = SocketWire(ours)
    first.close()
    assert wire.read() == b""
    wire.let_go()
    wire.send(Fetched("a"))
    second, ours = socket.socketpair()
    wire.take(ours, Attached(1), earlier=3)
    wire.send(Finished(9, 1.0), 3)
    wire.send(Finished(1, 1.0), 4)
    wire.send(Heartbeat(1, 1, False))
    with second:
        said = frames(second.recv(1 << 16))
    assert said == [Attached(1), Finished(1, 1.0), Heartbeat(1, 1, False)]
    wire.let_go()


def test_a_peer_that_reads_nothing_holds_nobody_up_once_it_is_let_go() -> None:
    deaf, ours = socket.socketpair()
    wire = SocketWire(ours)
    sending = threading.Thread(target=wire.send, args=(Fetched("x" * 10_000_000),))
    with deaf:
        sending.start()
        until(lambda: bool(deaf.recv(1, socket.MSG_PEEK)))
        wire.let_go()
        sending.join(PATIENCE)
        assert not sending.is_alive()


# Which one fits


def test_a_folder_whose_files_changed_is_another_model(tmp_path: Path) -> None:
    weights = tmp_path / "model.safetensors"
    weights.write_bytes(b"1")
    before = live.place(str(tmp_path))
    assert before == live.place(f"{tmp_path}/../{tmp_path.name}")
    os.utime(weights, (1, 1))
    assert live.place(str(tmp_path)) != before
    assert {live.place(name) for name in ("", "demo", "gpt2@main", "no\0name", "~nobody/x")} == {""}


def test_another_program_has_another_build(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    builds = {live.build(), live.build()}
    assert len(builds) == 1
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3")
    builds.add(live.build())
    (tmp_path / "own.py").write_text("")
    monkeypatch.setenv("MECHTUI_VIEWS", str(tmp_path))
    builds.add(live.build())
    (tmp_path / "own.py").write_text("1")
    builds.add(live.build())
    assert len(builds) == 4
