"""Kept sessions: one file for each program, private, whole, and no more than a few."""

from __future__ import annotations

import errno
import fcntl
import os
import stat
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from mechtui.app.keeping import Keeper, demonstration, worth
from mechtui.link.client import open_log
from mechtui.session.document import Session
from mechtui.session.keeping import MOST, Kept, last, newest
from mechtui.session.paths import state_dir
from mechtui.session.storage import StorageError, load


@pytest.fixture(autouse=True)
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    return tmp_path / "state" / "mechtui"


def files(state: Path) -> list[Path]:
    return sorted((state / "sessions").glob("*.toml"))


def left(session: Session, at: int = 0) -> None:
    """As a program that has ended left it, `at` seconds after the first ones."""
    kept = Kept()
    kept.write(session)
    kept.release()
    assert kept._path is not None
    os.utime(kept._path, (1e9 + at, 1e9 + at))


def test_what_was_left_last_is_offered_and_nothing_of_a_program_that_runs(state: Path) -> None:
    assert last() is None
    assert newest() == ""
    left(Session(prompt="older"), 1)
    left(Session(prompt="newer"), 2)
    running = Kept()
    running.write(Session(prompt="of a program that runs"))
    assert last() == Session(prompt="newer")
    assert last(lambda session: session.prompt != "newer") == Session(prompt="older")
    running.release()
    assert last() == Session(prompt="of a program that runs")


def test_a_program_that_was_killed_leaves_its_session(state: Path) -> None:
    script = (
        "import os, signal\n"
        "from mechtui.session.document import Session\n"
        "from mechtui.session.keeping import Kept, last\n"
        "Kept().write(Session(prompt='killed'))\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    subprocess.run([sys.executable, "-c", script], check=False, timeout=60)
    assert last() == Session(prompt="killed")


def test_a_few_are_kept_and_never_fewer_for_a_program_that_runs(state: Path) -> None:
    running = Kept()
    running.write(Session(prompt="runs"))
    for number in range(MOST + 5):
        left(Session(prompt=str(number)), number)
    Kept().write(Session(prompt="and another"))
    prompts = {load(path).prompt for path in files(state)}
    assert prompts == {"runs", "and another", *map(str, range(5, MOST + 5))}
    assert len(list((state / "sessions").glob("*.lock"))) == 2


def test_files_and_folders_are_private_under_any_umask(state: Path) -> None:
    before = os.umask(0)
    try:
        left(Session(prompt="a"))
        with open_log() as log:
            log.write(b"a")
    finally:
        os.umask(before)
    for path in (state.parent, state, *state.rglob("*")):
        assert stat.S_IMODE(path.stat().st_mode) == (0o700 if path.is_dir() else 0o600), path


def test_links_are_not_followed(state: Path, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.write_text('mechtui = 1\nprompt = "elsewhere"\n')
    elsewhere.chmod(0o644)
    (state_dir() / "sessions").mkdir()
    (state / "sessions" / "20300101-000000-1.toml").symlink_to(elsewhere)
    (state / "session.toml").symlink_to(elsewhere)
    (state / "worker.log").symlink_to(elsewhere)
    assert last() is None
    with pytest.raises(OSError, match="symbolic link"):
        open_log()
    assert stat.S_IMODE(elsewhere.stat().st_mode) == 0o644


def test_a_log_that_others_could_read_becomes_private(state: Path) -> None:
    log = state_dir() / "worker.log"
    log.touch()
    log.chmod(0o644)
    open_log().close()
    assert stat.S_IMODE(log.stat().st_mode) == 0o600


def test_a_log_that_is_a_pipe_without_a_reader_does_not_stop_the_start(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(OSError, match="No such device"):
        open_log(tmp_path / "pipe")


def test_a_file_that_means_nothing_is_passed_over(state: Path) -> None:
    left(Session(prompt="good"), 1)
    left(Session(prompt="bad"), 2)
    (bad,) = (path for path in files(state) if "bad" in path.read_text())
    bad.write_bytes(b"\xff not a session")
    os.utime(bad, (1e9 + 2, 1e9 + 2))
    assert last() == Session(prompt="good")


def test_a_full_disk_leaves_what_was_kept_and_the_session_is_kept_once_there_is_room(
    state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    keeper = Keeper(Session())
    keeper.put(Session(prompt="first"))
    assert keeper.now() == ""
    full = True
    sync = os.fsync

    def fsync(handle: int) -> None:
        if full:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        sync(handle)

    monkeypatch.setattr(os, "fsync", fsync)
    told = threading.Event()
    sentences: list[str] = []

    def problem(sentence: str) -> None:
        sentences.append(sentence)
        told.set()

    keeper.problem = problem
    keeper.put(Session(prompt="second"))
    assert told.wait(30)
    assert "no space left on device" in sentences[0]
    assert sentences[0].startswith("The session is not being kept: ")
    (path,) = files(state)
    assert load(path) == Session(prompt="first")
    assert [each.name for each in path.parent.iterdir() if each.name.startswith(".")] == []
    full = False
    assert keeper.close() == ""
    assert load(path) == Session(prompt="second")
    assert sentences == sentences[:1]


def test_the_state_folder_of_another_is_not_used(state: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    state_dir()
    monkeypatch.setattr(os, "geteuid", lambda: 12345)
    with pytest.raises(StorageError, match="it belongs to another user"):
        Kept().write(Session(prompt="a"))


def test_without_a_home_no_folder_is_made_where_the_program_was_started(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_STATE_HOME", "")
    monkeypatch.setattr(os.path, "expanduser", lambda path: path)
    with pytest.raises(OSError, match="there is no home folder"):
        state_dir()
    assert list(tmp_path.iterdir()) == []


def test_the_last_of_many_changes_wins_and_one_thread_writes_at_a_time(
    state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    writing = threading.Lock()
    write = Kept.write

    def alone(kept: Kept, session: Session) -> None:
        assert writing.acquire(blocking=False), "two write at once"
        write(kept, session)
        writing.release()

    monkeypatch.setattr(Kept, "write", alone)
    keeper = Keeper(Session())
    others = [threading.Thread(target=keeper.now) for _ in range(20)]
    for number, other in enumerate(others):
        keeper.put(Session(prompt=str(number)))
        other.start()
    for other in others:
        other.join()
    assert keeper.close() == ""
    assert last() == Session(prompt="19")


def test_what_is_as_it_began_is_not_kept(state: Path) -> None:
    begun = demonstration()
    keeper = Keeper(begun)
    keeper.put(begun)
    keeper.now()
    assert not files(state)
    keeper.put(Session(prompt="mine"))
    keeper.now()
    assert len(files(state)) == 1
    keeper.put(begun)
    keeper.close()
    assert not files(state), "the demonstration would be offered as the last session"
    assert not worth(begun)
    assert worth(Session(prompt="mine"))


def test_a_program_that_is_looked_at_while_it_claims_its_file_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.open

    def looked_at(path: str | Path, flags: int, mode: int = 0o777) -> int:
        handle = real(path, flags, mode)
        if flags & os.O_EXCL and str(path).endswith(".lock"):
            # Another program asks whether this one runs, between the file's making and its locking.
            other = real(path, os.O_RDWR)
            fcntl.flock(other, fcntl.LOCK_SH)
            threading.Timer(0.1, os.close, [other]).start()
        return handle

    kept = Kept()
    with monkeypatch.context() as patch:
        patch.setattr(os, "open", looked_at)
        kept.write(Session(prompt="one"))
    assert last() is None
    kept.release()
    assert last() == Session(prompt="one")


def test_a_lock_that_another_program_tidied_away_is_made_again(monkeypatch: pytest.MonkeyPatch) -> None:
    real, taken = os.open, []

    def tidied(path: str | Path, flags: int, mode: int = 0o777) -> int:
        handle = real(path, flags, mode)
        if flags & os.O_EXCL and str(path).endswith(".lock") and not taken:
            taken.append(path)
            Path(path).unlink()  # between the file's making and its locking
        return handle

    kept = Kept()
    with monkeypatch.context() as patch:
        patch.setattr(os, "open", tidied)
        kept.write(Session(prompt="one"))
    assert taken
    assert last() is None
    kept.release()
    assert last() == Session(prompt="one")
