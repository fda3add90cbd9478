"""Sessions that running programs keep: each in a file of its own, so that none overwrites another's."""

from __future__ import annotations

import fcntl
import os
import stat
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from mechtui.session.document import Session
from mechtui.session.grammar.words import LineError
from mechtui.session.paths import private_folder, state_dir
from mechtui.session.storage import StorageError, loads, save

FOLDER = "sessions"
# Earlier versions kept one session for all programs; it is read, and never written.
FORMER = "session.toml"
MOST = 20


class Kept:
    """The file of one running program, `<time>-<pid>.toml`. It is made when there is something to keep, and locked
    until the program ends."""

    def __init__(self) -> None:
        self._path: Path | None = None
        self._lock = -1

    def write(self, session: Session) -> None:
        """The file holds this session now. Raises StorageError, and leaves what it held."""
        try:
            folder = _folder()
            if self._path is None:
                self._path, self._lock = _claim(folder)
                _tidy(folder)
        except OSError as error:
            raise StorageError(_unusable(error)) from error
        save(session, self._path)

    def forget(self) -> None:
        """There is nothing to keep any more."""
        if self._path is not None:
            with suppress(OSError):
                self._path.unlink(missing_ok=True)

    def release(self) -> None:
        """The program ends; from now on the next one may offer what the file holds."""
        if self._path is not None and self._lock >= 0:
            with suppress(OSError):
                _lock_of(self._path).unlink(missing_ok=True)
            os.close(self._lock)
            self._lock = -1


def refused() -> str:
    """Why no session can be kept; empty where it can."""
    try:
        folder = _folder()
    except OSError as error:
        return _unusable(error)
    return "" if os.access(folder, os.W_OK | os.X_OK) else f"{folder} cannot be written to"


def _unusable(error: OSError) -> str:
    return f"the state folder cannot be used: {error.strerror or error}"


def last(worth: Callable[[Session], bool] = lambda session: True) -> Session | None:
    """The newest session that a program which has ended left and that is worth it; None where there is none that
    can be read."""
    for path in _all():
        if not _running(path):
            with suppress(OSError, UnicodeDecodeError, StorageError, LineError):
                session = loads(_read(path), str(path))
                if worth(session):
                    return session
    return None


def newest() -> str:
    """Where the newest kept session lies; empty where there is none."""
    return next((str(path) for path in _all()), "")


def _all() -> list[Path]:
    """Every kept session, the newest first; none where there is no state folder."""
    try:
        state = state_dir()
        return _newest_first([*(state / FOLDER).glob("*.toml"), state / FORMER])
    except OSError:
        return []


def _folder() -> Path:
    return private_folder(state_dir() / FOLDER)


def _claim(folder: Path) -> tuple[Path, int]:
    """A name that no other program has, and its lock, which the system lets go of when this program ends."""
    stem = f"{time.strftime('%Y%m%d-%H%M%S')}-{os.getpid()}"
    for number in range(1000):
        path = folder / f"{stem}{f'-{number}' if number else ''}.toml"
        if path.exists():
            continue
        try:
            handle = os.open(_lock_of(path), os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
        except FileExistsError:
            continue
        with suppress(OSError):  # a file system without locks: the file only looks as if its program had ended
            fcntl.flock(handle, fcntl.LOCK_EX)  # it waits only while another program looks whether this one runs
        if _stands(handle, _lock_of(path)):
            return path, handle
        os.close(handle)  # another program took it for one that was left behind, and tidied it away
    raise OSError(f"a thousand programs have the name {stem}")


def _stands(handle: int, path: Path) -> bool:
    """Whether the open file is the one that lies there now."""
    try:
        return os.path.samestat(os.fstat(handle), path.lstat())
    except FileNotFoundError:
        return False


def _lock_of(path: Path) -> Path:
    return path.with_suffix(".lock")


def _running(path: Path) -> bool:
    """Whether the program that keeps this file still runs."""
    try:
        handle = os.open(_lock_of(path), os.O_RDWR | os.O_NOFOLLOW)
    except OSError:
        return False
    try:
        fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    finally:
        os.close(handle)
    return False


def _newest_first(paths: list[Path]) -> list[Path]:
    """Those of the paths that are files of this user's, by when they were written. A link is none."""
    found = []
    for path in paths:
        with suppress(OSError):
            about = path.lstat()
            if stat.S_ISREG(about.st_mode) and about.st_uid == os.geteuid():
                found.append((about.st_mtime_ns, path))
    return [path for _, path in sorted(found, reverse=True)]


def _read(path: Path) -> str:
    with os.fdopen(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK), encoding="utf-8") as file:
        return file.read()


def _tidy(folder: Path) -> None:
    """Keep the newest of what ended programs left, and their locks no longer than that."""
    ended = [path for path in _newest_first(list(folder.glob("*.toml"))) if not _running(path)]
    locks = {path for path in folder.glob("*.lock") if not _running(path)} - {_lock_of(path) for path in ended[:MOST]}
    for path in (*ended[MOST:], *locks):
        with suppress(OSError):
            path.unlink(missing_ok=True)
