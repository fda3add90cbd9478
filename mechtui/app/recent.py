"""What was used lately, newest first, in short lists in the state folder: models, and the lines that were typed."""

from __future__ import annotations

import fcntl
import json
import os
from pathlib import Path

from mechtui.session.grammar.words import quote
from mechtui.session.paths import state_dir, write_private


class Recent:
    """One list in the state folder, each entry once, at most `most` of them. Two programs that add at once both do."""

    def __init__(self, name: str, most: int) -> None:
        self.name = name
        self.most = most

    def read(self) -> tuple[str, ...]:
        """Nothing where there is no such file or it cannot be read: it is a convenience."""
        try:
            return self._read(state_dir())
        except OSError:
            return ()

    def add(self, entry: str) -> tuple[str, ...]:
        """Put an entry first -> the list as it is now. It may wait for another program. Raises OSError."""
        folder = state_dir()
        handle = os.open(folder, os.O_RDONLY)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX)
            entries = (entry, *(each for each in self._read(folder) if each != entry))[: self.most]
            write_private(folder / self.name, "".join(f"{quote(each)}\n" for each in entries))
        finally:
            os.close(handle)  # lets go of the lock too
        return entries

    def _read(self, folder: Path) -> tuple[str, ...]:
        try:
            lines = (folder / self.name).read_text("utf-8").split("\n")
        except (FileNotFoundError, UnicodeDecodeError):
            return ()
        return tuple(filter(None, map(_entry, lines)))[: self.most]


def _entry(line: str) -> str:
    """An entry as it was written, in JSON's quotes; one without them is an older program's. Empty for neither."""
    if not line.startswith('"'):
        return line.strip()
    try:
        entry = json.loads(line)
    except (ValueError, RecursionError):
        return ""
    return entry if isinstance(entry, str) else ""


MODELS = Recent("recent-models", 8)


# The lines that were typed, by their kind.
LINES = {kind: Recent(f"lines-{kind}", 200) for kind in ("edit", "vector", "command", "search")}
