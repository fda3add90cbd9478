"""Live processes: model processes that stay when their app goes, each with a socket that the next app finds.

A live process has two files in the folder `live` of the state folder: a socket, which only the user can open, and a
page beside it that says what it holds (`Live`). The runtime folder (/run/user) would not do: it goes with the user's
last login, which is when the process is to stay.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import platform
import signal
import socket
import stat
import struct
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import msgspec

import mechtui
from mechtui.link.frames import HEADER, LIMIT, BrokenFrameError, decode_reply, encode
from mechtui.link.messages import Attach, Attached, Load, Quit
from mechtui.session.paths import private_folder, reason, state_dir, write_private

FOLDER = "live"
SOCKET, PAGE = ".sock", ".json"
# Bytes that a socket's address may have; Linux allows 107, macOS 103.
LONGEST = 100
# A page says a few names.
PAGE_LIMIT = 100_000
# Seconds until a process that does not answer is passed over, or ended by a signal.
PATIENCE = 3.0
# What decides, besides the program itself, what a process computes and where.
VARIABLES = (
    "CUDA_VISIBLE_DEVICES", "HF_ENDPOINT", "HF_HOME", "HF_HUB_CACHE", "HF_HUB_OFFLINE", "MECHTUI_VIEWS",
    "MKL_NUM_THREADS", "OMP_NUM_THREADS",
)  # fmt: skip


class Live(msgspec.Struct, frozen=True):
    """What a live process says of itself. load: the model that it was told to load last. place: see `place`. left:
    when its app went, seconds since the epoch; 0 while it has one. seconds: how long it stays after that."""

    pid: int
    host: str
    version: str
    build: str
    load: Load
    place: str = ""
    left: float = 0.0
    seconds: float = 0.0


class UnsafeError(OSError):
    """A socket or its folder that others may have made or can open; a sentence."""


# Which process fits


def build() -> str:
    """What must be the same on both ends: mechtui's version and files, the interpreter, the user's own views, and the
    variables that decide where models are and run. A hash, as text."""
    folders = [Path(mechtui.__file__).parent]
    folders += [Path(folder).expanduser() for folder in os.environ.get("MECHTUI_VIEWS", "").split(os.pathsep) if folder]
    told = [mechtui.__version__, sys.version, sys.prefix]
    told += [f"{name}={os.environ.get(name, '')}" for name in VARIABLES]
    for folder in folders:
        told += [_stamp(file) for file in sorted(folder.rglob("*.py"))]
    return _hash(told)


def place(model: str) -> str:
    """For a model that is a folder or a file: which one, and its state, so that one whose files have changed is not
    taken for the old one. Empty for a name."""
    try:
        path = Path(model).expanduser().resolve(strict=True) if model else None
        if path is None:
            return ""
        files = sorted(path.iterdir()) if path.is_dir() else [path]
        return _hash([str(path), *(_stamp(file) for file in files)])
    except (OSError, RuntimeError, ValueError):
        return ""


def _stamp(file: Path) -> str:
    try:
        about = file.stat()
    except OSError:
        return str(file)
    return f"{file} {about.st_size} {about.st_mtime_ns}"


def _hash(told: list[str]) -> str:
    return hashlib.sha256("\0".join(told).encode("utf-8", "surrogateescape")).hexdigest()[:32]


# The files


def folder() -> Path:
    """Where live processes are found, made if it is missing, private. Raises OSError."""
    return private_folder(state_dir() / FOLDER)


def here() -> str:
    """This machine, as the beginning of a file's name: a home folder may be shared by several."""
    return hashlib.sha256(platform.node().encode()).hexdigest()[:8]


def page_of(path: Path) -> Path:
    return path.with_suffix(PAGE)


def write(path: Path, live: Live) -> None:
    """Say what the process behind this socket holds. Raises OSError."""
    write_private(page_of(path), msgspec.json.encode(live))


def remove(path: Path) -> None:
    """Take away a socket that nobody listens to, its page, and what was being written of that."""
    page = page_of(path)
    for file in (path, page, *page.parent.glob(f".{page.name}.*")):
        with suppress(OSError):
            file.unlink(missing_ok=True)


def check(path: Path) -> None:
    """Raises UnsafeError unless socket and folder are this user's and nobody else can open them."""
    for file, kind, is_kind in ((path.parent, "folder", stat.S_ISDIR), (path, "socket", stat.S_ISSOCK)):
        about = file.lstat()
        if not is_kind(about.st_mode):
            raise UnsafeError(f"{file} is no {kind}")
        if about.st_uid != os.geteuid():
            raise UnsafeError(f"{file} belongs to another user")
        if about.st_mode & 0o077:
            raise UnsafeError(f"{file} is open to other users: its mode should be {'700' if kind == 'folder' else 600}")


@contextmanager
def address(path: Path) -> Iterator[str]:
    """What to bind or connect to. Raises OSError where the path is too long for one."""
    if len(os.fsencode(path)) <= LONGEST:
        yield str(path)
        return
    if sys.platform != "linux":
        raise OSError(f"the name of the folder {path.parent} is too long for a socket")
    handle = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        yield f"/proc/self/fd/{handle}/{path.name}"
    finally:
        os.close(handle)


def peer(line: socket.socket) -> tuple[int, int] | None:
    """Process and user at the other end; None where the system does not say."""
    if not hasattr(socket, "SO_PEERCRED"):
        return None
    pid, uid, _ = struct.unpack("3i", line.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i")))
    return pid, uid


def check_peer(line: socket.socket) -> int:
    """The process at the other end, 0 where nobody knows. Raises UnsafeError where it is another user's."""
    known = peer(line)
    if known is None:
        return 0
    if known[1] != os.geteuid():
        raise UnsafeError(f"user {known[1]} is at the other end")
    return known[0]


def connect(path: Path) -> tuple[socket.socket, int]:
    """A connection to the process behind this socket, that never blocks, and the process's id, 0 where nobody knows it.
    A socket that nobody listens to is taken away. Raises OSError."""
    check(path)
    line = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        line.setblocking(False)
        with address(path) as where:
            line.connect(where)
        return line, check_peer(line)
    except ConnectionRefusedError:
        line.close()
        remove(path)
        raise
    except BaseException:
        line.close()
        raise


def _pages() -> Iterator[tuple[Path, Live]]:
    """The socket and the page of each process of this machine that says that it lives."""
    try:
        found = sorted((state_dir() / FOLDER).glob(f"{here()}-*{SOCKET}"))
    except OSError:
        return
    for path in found:
        page = _page(path)
        if page is not None:
            yield path, page


def _page(path: Path) -> Live | None:
    """What is said beside this socket; None where nothing sensible is."""
    with suppress(OSError, msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        handle = os.open(page_of(path), os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
        with os.fdopen(handle, "rb") as file:
            return msgspec.json.decode(file.read(PAGE_LIMIT), type=Live)
    return None


# Speaking to them


class Found(msgspec.Struct, frozen=True):
    """A live process that answers. pid: its id here; 0 where it says none that holds here."""

    path: Path
    live: Live
    pid: int


def every() -> list[Found]:
    """The live processes of this user on this machine, those that were left last first."""
    found = []
    for path, live in _pages():
        with suppress(OSError):
            line, pid = connect(path)
            line.close()
            found.append(Found(path, live, pid or live.pid))
    return sorted(found, key=lambda each: -each.live.left)


async def attach(load: Load, seconds: float | None) -> tuple[socket.socket, Attached, Live] | None:
    """A connection to a live process that holds this model and has no app, and what it says first; None where there is
    none. seconds: how long it shall stay when this app goes; None: as long as it was to stay before."""
    request, candidates = await asyncio.to_thread(_fitting, load)
    for path, live in candidates:
        try:
            line, pid = connect(path)
        except OSError:
            continue
        try:
            async with asyncio.timeout(PATIENCE):
                stays = live.seconds if seconds is None else seconds
                attached = await _attached(line, msgspec.structs.replace(request, seconds=stays))
        except (OSError, TimeoutError, BrokenFrameError):
            line.close()
        else:
            return line, msgspec.structs.replace(attached, pid=pid or attached.pid), live
    return None


def _fitting(load: Load) -> tuple[Attach, list[tuple[Path, Live]]]:
    """What to say to a process that is to be this app's, and those that fit, the one that was left last first. It
    looks at every file of the program: not for the thread that answers keys."""
    where = place(load.model)
    candidates = [(path, live) for path, live in _pages() if live.load == load and live.place == where]
    try:
        request = Attach(build() if candidates else "", load, 0.0, os.getcwd())
    except FileNotFoundError:  # this folder is no more
        return Attach("", load, 0.0, ""), []
    candidates = [(path, live) for path, live in candidates if live.build == request.build]
    return request, sorted(candidates, key=lambda each: -each[1].left)


async def _attached(line: socket.socket, request: Attach) -> Attached:
    """Raises OSError where the process does not want this app, and BrokenFrameError."""
    loop = asyncio.get_running_loop()
    await loop.sock_sendall(line, encode(request))

    async def exactly(count: int) -> bytes:
        data = b""
        while len(data) < count:
            more = await loop.sock_recv(line, count - len(data))
            if not more:
                raise ConnectionResetError("the process has an app, or is another")
            data += more
        return data

    (length,) = HEADER.unpack(await exactly(HEADER.size))
    if length > LIMIT:
        raise BrokenFrameError(f"a frame says it has {length} bytes; the limit is {LIMIT}")
    reply = decode_reply(await exactly(length))
    if not isinstance(reply, Attached):
        raise BrokenFrameError("the first frame is no Attached")
    return reply


def end(found: Found) -> bool:
    """End a live process that has no app: ask it, and one that does not go is ended by signals. Whether it is gone; one
    that has an app by now stays. Raises OSError."""
    line, pid = connect(found.path)
    with line:
        line.settimeout(PATIENCE)
        line.sendall(encode(Quit()))
        for sign in (None, signal.SIGTERM, signal.SIGKILL):
            if sign is not None and pid > 0:
                page = _page(found.path)
                if page is not None and not page.left:
                    break  # an app has come
                with suppress(ProcessLookupError):
                    os.kill(pid, sign)
            try:
                line.recv(1)
            except TimeoutError:
                continue
            except ConnectionError:
                pass
            break
    try:
        connect(found.path)[0].close()
    except OSError:
        remove(found.path)
        return True
    return False


def resident_bytes(pid: int) -> int:
    """Memory that a process holds; 0 where the system does not say."""
    try:
        pages = int(Path(f"/proc/{pid}/statm").read_text(encoding="ascii").split()[1])
    except (OSError, IndexError, ValueError):
        return 0
    return pages * os.sysconf("SC_PAGE_SIZE")


def trouble(error: OSError) -> str:
    """Why a process cannot stay, as the end of a sentence."""
    where = f"{error.filename}: " if error.filename else ""
    return where + (reason(error) if error.strerror else str(error))
