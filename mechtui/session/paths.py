"""Where files lie: the user's config and state folders (XDG on Linux), private to the user."""

from __future__ import annotations

import errno
import os
import stat
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import platformdirs

from mechtui.session.grammar.words import short

NAME = "mechtui"
# Bytes of a text that is read as a whole.
MOST_TEXT = 1 << 26


def config_file() -> Path:
    return _of_user(platformdirs.user_config_dir, "~/.config") / "config.toml"


def state_dir() -> Path:
    """The folder for logs and kept sessions, made when it is missing. Raises OSError."""
    folder = _of_user(platformdirs.user_state_dir, "~/.local/state")
    if not folder.is_absolute():
        raise NotADirectoryError(errno.ENOTDIR, "there is no home folder", str(folder))
    return private_folder(folder)


def cache_dir() -> Path:
    """The folder for what can be made anew; nothing makes it here. Raises OSError where there is no home folder."""
    folder = _of_user(platformdirs.user_cache_dir, "~/.cache")
    if not folder.is_absolute():
        raise NotADirectoryError(errno.ENOTDIR, "there is no home folder", str(folder))
    return folder


def _of_user(where: Callable[[str], str], usual: str) -> Path:
    """The user's folder of this kind; one that begins with ~ where nobody knows the user's home."""
    try:
        return Path(where(NAME))
    except RuntimeError:
        return Path(usual, NAME)


def private_folder(folder: Path) -> Path:
    """This folder, with mode 0700 and the user's own; it and those above it are made where they are missing.
    Raises OSError."""
    for missing in reversed([each for each in (folder, *folder.parents) if not each.exists()]):
        missing.mkdir(mode=0o700, exist_ok=True)
    about = folder.stat()
    if not stat.S_ISDIR(about.st_mode):
        raise NotADirectoryError(errno.ENOTDIR, "it is no folder", str(folder))
    if about.st_uid != os.geteuid():
        raise PermissionError(errno.EPERM, "it belongs to another user", str(folder))
    if about.st_mode & 0o077:
        folder.chmod(0o700)
    return folder


class PathError(ValueError):
    """A file that cannot be read or written: one sentence that names it and says why."""


def expanded(name: str) -> Path:
    """The path that a user wrote, with ~ for a home folder. Raises PathError."""
    if not name.strip():
        raise PathError("a file's name should stand here")
    if "\0" in name:
        raise PathError(f"{short(name)!r} is no name of a file: it holds a NUL")
    try:
        return Path(name).expanduser()
    except RuntimeError as error:
        raise PathError(f"there is no user {short(Path(name).parts[0][1:])}, so {short(name)} is nowhere") from error


def to_read(name: str) -> Path:
    """The file of this name, which is a regular one: a pipe or a device may never end. Raises PathError."""
    path = expanded(name)
    try:
        mode = path.stat().st_mode
    except FileNotFoundError as error:
        raise PathError(f"there is no file {short(name)}") from error
    except OSError as error:
        raise PathError(f"{short(name)} cannot be read: {reason(error)}") from error
    _check_regular(name, mode)
    return path


def read_text(name: str, most: int | None = None) -> str:
    """What the text file of this name, as a user writes it, holds, a line feed at the end of each of its lines. most:
    bytes that it may have. Raises PathError."""
    return decoded(name, most).replace("\r\n", "\n").replace("\r", "\n")


def decoded(name: str, most: int | None = None) -> str:
    """The same with the ends of its lines as they are; a byte order mark is none of the text. Of a file that has more
    bytes than `most` no more are read. Raises PathError."""
    try:
        with to_read(name).open("rb") as opened:
            held = read_some(opened, most)
        if most is not None and len(held) > most:
            raise PathError(f"{short(name)} is larger than the {most >> 20} MiB of text that are read")
        return held.decode("utf-8").removeprefix("\ufeff")
    except OSError as error:
        raise PathError(f"{short(name)} cannot be read: {reason(error)}") from error
    except UnicodeDecodeError as error:
        raise PathError(f"{short(name)} is no text: byte {error.start} is not UTF-8") from error


def read_some(file: BinaryIO, most: int | None) -> bytes:
    """All that the file holds; of one that holds more than `most` bytes the first of them, and more than `most`. It
    takes no more memory than it reads. Raises OSError."""
    if most is None:
        return file.read()
    pieces, held = [], 0
    while held <= most and (piece := file.read(1 << 20)):
        pieces.append(piece)
        held += len(piece)
    return b"".join(pieces)


def to_write(name: str) -> Path:
    """Where a file of this name is to be written, links followed. Raises PathError."""
    path = expanded(name)
    try:
        path = path.resolve()
        if path.exists():
            _check_regular(name, path.stat().st_mode)
        elif name.endswith(os.sep):
            raise PathError(f"{short(name)} names a folder; a file's name should stand behind it")
        elif not path.parent.is_dir():
            raise PathError(f"{short(name)} cannot be written: there is no folder {short(str(expanded(name).parent))}")
    except (OSError, RuntimeError) as error:
        why = reason(error) if isinstance(error, OSError) else "it links to itself"
        raise PathError(f"{short(name)} cannot be written: {why}") from error
    return path


def _check_regular(name: str, mode: int) -> None:
    if stat.S_ISDIR(mode):
        raise PathError(f"{short(name)} is a folder; a file's name should stand here")
    if not stat.S_ISREG(mode):
        raise PathError(f"{short(name)} is no regular file, but a device, a pipe or a socket")


def reason(error: OSError) -> str:
    """Why the system refused something, as the end of a sentence."""
    why = error.strerror or "it cannot be had"
    return why[:1].lower() + why[1:]


def write_private(path: Path, content: str | bytes) -> None:
    """Write all of `content` or nothing: a new file of mode 0600 takes the old one's place. Raises OSError."""
    with private_file(path) as file:
        file.write(content.encode() if isinstance(content, str) else content)


@contextmanager
def private_file(path: Path) -> Iterator[BinaryIO]:
    """A new file of mode 0600, which takes the old one's place when all of it is written. Raises OSError."""
    # mkstemp makes it 0600. A name may have 255 bytes: the temporary one has only the beginning of it.
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name[:40]}.")
    try:
        with os.fdopen(handle, "w+b") as file:
            yield file
            file.flush()
            # A file system may put the new name on the disk before the text: after a power cut, a good file
            # would be an empty one.
            os.fsync(handle)
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
