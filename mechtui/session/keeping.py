"""Kept sessions: in the state folder, each a file NAME.toml with its history beside it, NAME.history.

A program has the session that it shows to itself: it holds a lock, NAME.lock, which the system lets go of when the
program ends, however it ends.
"""

from __future__ import annotations

import errno
import fcntl
import os
import re
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from glob import escape
from pathlib import Path
from typing import NamedTuple

from msgspec.structs import replace

from mechtui.session import journal
from mechtui.session.document import Session
from mechtui.session.grammar.words import LineError, nearest
from mechtui.session.history import Tree
from mechtui.session.paths import private_folder, read_some, reason, state_dir, write_private
from mechtui.session.storage import MOST_BYTES, StorageError, loads, save

FOLDER = "sessions"
# Sessions that stay; those that nobody has come back to for longest go first.
MOST = 500
# Characters of a name that is made, and of one that is given: a file's name may have 255 bytes.
MADE, GIVEN = 28, 60
# Bytes from which on a history is written anew, once it is so many times longer than it need be.
LONG, TIMES = 1 << 18, 8
# Bytes of a history that are read: what `journal.MOST` characters can take.
MOST_HISTORY = 1 << 30
# Seconds after which nobody writes a temporary file any more.
LEFT = 24 * 3600

_NUMBER = re.compile(r"-([0-9]{1,6})$")


def automatic(session: Session) -> str:
    """The name that a new session gets: of its model and its prompt."""
    model = Path(session.model.rstrip("/")).name.removesuffix(".gguf")
    return "-".join(_words(f"{model} {session.prompt}", MADE)) or "session"


def _words(text: str, room: int) -> Iterator[str]:
    """The words of a text, in small letters, as far as there is room for them."""
    for word in re.findall(r"[^\W_]+", text.lower()):
        room -= len(word) + 1
        if room < 0:
            return
        yield word[:MADE]


def named(name: str) -> str:
    """The name that a user gives a session. Raises StorageError where it can be none."""
    name = name.strip()
    if not name:
        raise StorageError("a session's name should stand here")
    if wrong := next((char for char in name if not (char.isalnum() or char in "-_.")), ""):
        raise StorageError(f"a session's name is made of letters, digits, - _ and ., and {wrong!r} is none of them")
    if not name[0].isalnum():
        raise StorageError(f"a session's name begins with a letter or a digit, not with {name[0]}")
    if len(name) > GIVEN or len(name.encode()) > 3 * GIVEN:
        raise StorageError(f"a session's name has at most {GIVEN} letters, and this one has {len(name)}")
    return name


class About(NamedTuple):
    """What a list says of a kept session. when: seconds since the epoch at its last change. problem: why it cannot be
    read; empty where it can, and session is then without its sweeps."""

    name: str
    path: Path
    when: float
    session: Session
    problem: str
    running: bool


class Kept:
    """A session's files. Nothing is made before `claim` or the first `write`."""

    def __init__(self, name: str = "", *, existing: bool = False) -> None:
        """name: the one that is wished for; empty: made of the session. existing: there is a session of that name, and
        it is the one."""
        self.name = name
        self.copied = ""  # the session that another program has, so that this is a copy
        self._existing = existing
        self._lock = -1
        self._tree: Tree | None = None  # what the history's file holds
        self._torn = False  # its last line may be
        self._unread = False  # nothing can be made of what the file holds
        self._least = 0  # bytes that it would need

    @property
    def held(self) -> bool:
        """Whether it has its name to itself."""
        return self._lock >= 0

    def claim(self, session: Session | None = None) -> None:
        """Take the name, or one like it: of a session that another program has, this becomes a copy. session: what it
        will hold; a kept one of the same, in which nobody has changed anything, gives its name. Raises StorageError."""
        if self.held:
            return
        try:
            folder = _folder()
            if self._existing:
                lock = _locked(_lock_of(folder, self.name))
                if lock is not None:
                    self._lock = lock
                    self._touch()
                    return
                self.copied, self._existing, self._tree = self.name, False, None
            self.name, self._lock = _claimed(folder, self.name or automatic(session or Session()), session)
            _tidy(folder)
        except OSError as error:
            raise StorageError(_unusable(error)) from error

    def _touch(self) -> None:
        """It is the one that was open last. Of its files the later one stays so. Raises OSError."""
        now, ahead = time.time_ns(), self.ahead
        os.utime(self._path, ns=(now, now))
        if ahead:
            os.utime(_history_of(self._path), ns=(now, now + 10**6))

    @property
    def ahead(self) -> bool:
        """Whether the history was written later than the session's file: what it says is what was kept last."""
        try:
            path = self._path
            return _history_of(path).lstat().st_mtime_ns > path.lstat().st_mtime_ns
        except OSError:
            return False

    def keep(self, session: Session, tree: Tree) -> None:
        """The files hold both now. The history comes first, for it takes least, and is then `ahead`; but a session
        that has no files yet begins with its own. Raises StorageError, after what can be written is."""
        self.claim(session)
        if self._tree is None:
            self.write(session)
            self.add(tree)
            return
        try:
            self.add(tree)
        finally:
            self.write(session)

    def write(self, session: Session) -> None:
        """The file holds this session now. Raises StorageError, and leaves what it held."""
        self.claim(session)
        save(session, self._path)

    def history(self) -> Tree | None:
        """The history that is kept of it, as far as it can be read. One that cannot be stays: `add` puts it aside."""
        try:
            text = _read(_history_of(self._path), MOST_HISTORY, "replace")
        except OSError as error:
            self._unread = not isinstance(error, FileNotFoundError)
            return None
        self._torn = True  # it costs an empty line
        self._tree = journal.read(text)
        self._unread = self._tree is None and bool(text.strip())
        return self._tree

    def add(self, tree: Tree) -> None:
        """The history's file holds this tree now. Raises StorageError, and leaves what it held."""
        self.claim()
        path = _history_of(self._path)
        text = journal.written(self._tree, tree)
        if not text:
            return
        try:
            if self._unread:
                os.rename(path, _aside(path))
                self._unread = False
            if self._tree is None or self._too_long(path):
                text = journal.written(None, tree)
                write_private(path, text)
                self._least = len(text)
            else:
                flags = os.O_WRONLY | os.O_APPEND | os.O_NOFOLLOW
                with os.fdopen(os.open(path, flags), "ab") as file:
                    torn, self._torn = self._torn, True
                    file.write(b"\n" * torn + text.encode())
                    file.flush()
        except FileNotFoundError:
            self._tree, self._unread = None, False
            self.add(tree)
            return
        except OSError as error:
            raise StorageError(f"{path} cannot be written: {reason(error)}") from error
        self._tree, self._torn = tree, False

    def _too_long(self, path: Path) -> bool:
        return path.stat().st_size > max(LONG, TIMES * self._least)

    def rename(self, name: str) -> None:
        """Give it another name. Raises StorageError."""
        name = named(name)
        if name == self.name and self.held:
            return
        self.claim()
        try:
            before = self._path
            after = before.with_name(f"{name}.toml")
            taken = StorageError(f"there is a session {name} already; another name tells them apart")
            lock = _locked(_lock_of(before.parent, name))
            if lock is None:
                raise taken
            try:
                if _taken(after):
                    raise taken
                _move(before, after)
            except (OSError, StorageError):
                _let_go(_lock_of(before.parent, name), lock)
                raise
        except OSError as error:
            raise StorageError(f"{self.name} cannot be renamed: {reason(error)}") from error
        self.release()
        self.name, self._lock = name, lock

    def release(self) -> None:
        """The program ends, or shows another session: others may have this one."""
        if self.held:
            _let_go(_lock_of(self._path.parent, self.name), self._lock)
            self._lock, self._existing = -1, True

    @property
    def _path(self) -> Path:
        return state_dir() / FOLDER / f"{self.name}.toml"


def refused() -> str:
    """Why no session can be kept; empty where it can."""
    try:
        folder = _folder()
    except OSError as error:
        return _unusable(error)
    return "" if os.access(folder, os.W_OK | os.X_OK) else f"{folder} cannot be written to"


def _unusable(error: OSError) -> str:
    return f"the state folder cannot be used: {reason(error)}"


def read(name: str) -> Session:
    """The kept session of this name. Raises StorageError where there is none, or none that can be read."""
    path = _of(name)
    if path is None:
        names = [each.stem for each in paths()]
        more = nearest(name, names) or ("" if names else "none is kept yet; ")
        raise StorageError(f"there is no session {name}; {more}mechtui sessions lists them")
    try:
        return loads(_read(path), name)
    except (OSError, UnicodeDecodeError) as error:
        why = reason(error) if isinstance(error, OSError) else "it is no text"
        raise StorageError(f"{path} cannot be read: {why}") from error
    except LineError as error:
        raise StorageError(f"{path}: {error.problem}: {error.line}") from error


def exists(name: str) -> bool:
    """Whether there is a kept session of this name."""
    return _of(name) is not None


def _of(name: str) -> Path | None:
    return next((path for path in paths() if path.stem == name), None)


def last() -> str:
    """The name of the session that was open last, of those that can be read; empty where there is none."""
    for about in listed():
        if not about.problem:
            return about.name
    return ""


def listed() -> Iterator[About]:
    """The kept sessions, the newest first."""
    for path in paths():
        session, problem = Session(), ""
        try:
            # Numbers of sweeps, which stand at the end, take long to read.
            text = _read(path)
            begin = text.split("\n[[sweeps]]", 1)[0]
            try:
                session = loads(begin, path.stem)
            except StorageError:
                session = loads(text, path.stem)
        except FileNotFoundError:
            continue  # renamed meanwhile
        except OSError as error:
            problem = reason(error)
        except UnicodeDecodeError:
            problem = "it is no text"
        except LineError as error:
            problem = f"{error.problem}: {error.line}"
        except StorageError as error:
            problem = str(error)
        try:
            when = path.stat().st_mtime
        except OSError:
            continue
        yield About(path.stem, path, when, session, problem, _running(path))


def paths() -> list[Path]:
    """The files of all kept sessions, the newest first; none where there is no state folder."""
    try:
        return _newest_first(list((state_dir() / FOLDER).glob("*.toml")))
    except OSError:
        return []


def _folder() -> Path:
    return private_folder(state_dir() / FOLDER)


def _claimed(folder: Path, wished: str, session: Session | None) -> tuple[str, int]:
    """The wished name, or the first of its numbers that nobody has, and the lock on it."""
    found = _NUMBER.search(wished)
    stem, number = (wished[: found.start()], int(found[1])) if found else (wished, 1)
    for name in (wished, *(f"{stem}-{each}" for each in range(number + 1, number + 10_000))):
        path = folder / f"{name}.toml"
        if _taken(path) and not _untouched(path, session):
            continue
        lock = _locked(_lock_of(folder, name))
        if lock is None:
            continue
        # Another program may have come and gone meanwhile.
        if not _taken(path) or _untouched(path, session):
            return name, lock
        _let_go(_lock_of(folder, name), lock)
    raise OSError(f"thousands of sessions are called {stem}")


def _taken(path: Path) -> bool:
    return os.path.lexists(path) or os.path.lexists(_history_of(path))


def _untouched(path: Path, session: Session | None) -> bool:
    """Whether it is what `session` is, and nobody has ever changed anything in it."""
    if session is None or not path.exists():
        return False
    try:
        tree = journal.read(_read(_history_of(path), MOST_HISTORY))
        there = loads(_read(path))
    except (OSError, UnicodeDecodeError, StorageError, LineError):
        return False
    same = _asked(there) == _asked(session) and there.file == session.file
    return same and not there.sweeps and tree is not None and len(tree.steps) == 1 and not tree.step.mark


def _asked(session: Session) -> Session:
    """The session without what merely looking around changes."""
    return replace(session.work(), views=())


def _move(before: Path, after: Path) -> None:
    """Give a session's files another name: both of them or, where that raises OSError, none."""
    history = _history_of(before).exists()
    if history:
        os.rename(_history_of(before), _history_of(after))
    try:
        if before.exists():
            os.rename(before, after)
    except OSError:
        if history:
            os.rename(_history_of(after), _history_of(before))
        raise


def _locked(path: Path) -> int | None:
    """A lock that no other program has; None where one has it. Raises OSError."""
    while True:
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
        try:
            if not _flock(handle):
                os.close(handle)
                return None
            if _stands(handle, path):
                return handle
        except BaseException:
            os.close(handle)
            raise
        os.close(handle)  # another program let go of it, and took the file away


def _flock(handle: int) -> bool:
    """Whether nobody else has the file now. Others look whether somebody has it, for a moment: they are waited for."""
    while True:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        except BlockingIOError:
            pass
        except OSError:
            return True  # a file system without locks
        try:
            fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return False


def _stands(handle: int, path: Path) -> bool:
    """Whether the open file is the one that lies there now."""
    try:
        return os.path.samestat(os.fstat(handle), path.lstat())
    except FileNotFoundError:
        return False


def _let_go(path: Path, handle: int) -> None:
    with suppress(OSError):
        path.unlink(missing_ok=True)
    os.close(handle)


def _lock_of(folder: Path, name: str) -> Path:
    return folder / f"{name}.lock"


def _history_of(path: Path) -> Path:
    return path.with_suffix("").with_name(f"{path.name.removesuffix('.toml')}.history")


def _aside(history: Path) -> Path:
    """Where a history that cannot be read is put: NAME.history.unread, or that with a number."""
    free = history.with_name(f"{history.name}.unread")
    number = 1
    while os.path.lexists(free):
        number += 1
        free = history.with_name(f"{history.name}.unread-{number}")
    return free


def _running(path: Path) -> bool:
    """Whether a program has this session now."""
    try:
        handle = os.open(_lock_of(path.parent, path.stem), os.O_RDONLY | os.O_NOFOLLOW)
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


def _newest_first(found: list[Path]) -> list[Path]:
    """Those of the paths that are files of this user's, by when they were written. A link is none."""
    own = []
    for path in found:
        with suppress(OSError):
            about = path.lstat()
            if stat.S_ISREG(about.st_mode) and about.st_uid == os.geteuid():
                own.append((about.st_mtime_ns, path))
    return [path for _, path in sorted(own, reverse=True)]


def _read(path: Path, most: int = MOST_BYTES, errors: str = "strict") -> str:
    """Raises OSError, also where there are more bytes than `most`."""
    with os.fdopen(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK), "rb") as file:
        held = read_some(file, most)
    if len(held) > most:
        raise OSError(errno.EFBIG, f"it is larger than the {most >> 20} MiB that are read", str(path))
    return held.decode("utf-8", errors)


@contextmanager
def _at_rest(lock: Path) -> Iterator[bool]:
    """Whether no program has what this lock is of. Until the end of the block none can take it, which then waits; the
    lock is gone afterwards. Raises OSError."""
    handle = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
            free = _stands(handle, lock)
        except BlockingIOError:
            free = False
        yield free
        if free:
            lock.unlink(missing_ok=True)
    finally:
        os.close(handle)


def _tidy(folder: Path) -> None:
    """Keep the newest sessions that no program has, and nothing of those that are gone."""
    ended = [path for path in _newest_first(list(folder.glob("*.toml"))) if not _running(path)]
    for path in ended[MOST:]:
        history = _history_of(path)
        with suppress(OSError), _at_rest(_lock_of(folder, path.stem)) as free:
            if free:
                for each in (path, history, *folder.glob(f"{escape(history.name)}.unread*")):
                    each.unlink(missing_ok=True)
    for lock in folder.glob("*.lock"):
        if not _running(lock):
            with suppress(OSError), _at_rest(lock):
                pass
    for path in _newest_first(list(folder.glob(".*"))):
        # What a program left that ended while it wrote.
        with suppress(OSError):
            if time.time() - path.stat().st_mtime > LEFT:
                path.unlink()
