"""Where files lie: the user's config and state folders (XDG on Linux), private to the user."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import platformdirs

NAME = "mechtui"


def config_file() -> Path:
    return Path(platformdirs.user_config_dir(NAME)) / "config.toml"


def state_dir() -> Path:
    """The folder for logs and autosaves, made with mode 0700 when it is missing. Raises OSError."""
    folder = Path(platformdirs.user_state_dir(NAME))
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    if folder.stat().st_mode & 0o077:
        folder.chmod(0o700)
    return folder


def write_private(path: Path, text: str) -> None:
    """Write all of `text` or nothing: a new file of mode 0600 takes the old one's place. Raises OSError."""
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")  # mkstemp makes it 0600
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
