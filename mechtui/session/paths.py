"""Where files lie: the user's config and state folders (XDG on Linux), private to the user."""

from __future__ import annotations

import errno
import os
import stat
import tempfile
from collections.abc import Callable
from pathlib import Path

import platformdirs

NAME = "mechtui"


def config_file() -> Path:
    return _of_user(platformdirs.user_config_dir, "~/.config") / "config.toml"


def state_dir() -> Path:
    """The folder for logs and kept sessions, made when it is missing. Raises OSError."""
    folder = _of_user(platformdirs.user_state_dir, "~/.local/state")
    if not folder.is_absolute():
        raise NotADirectoryError(errno.ENOTDIR, "there is no home folder", str(folder))
    return private_folder(folder)


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


def write_private(path: Path, text: str) -> None:
    """Write all of `text` or nothing: a new file of mode 0600 takes the old one's place. Raises OSError."""
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")  # mkstemp makes it 0600
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            # A file system may put the new name on the disk before the text: after a power cut, a good file
            # would be an empty one.
            os.fsync(handle)
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
