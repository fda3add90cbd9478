"""Type while the disk is full, and while it can only be read: `python -m tests.end_to_end.full_disk`, as root.

The state folder lies on a disk of 256 kB of its own. Each time one sentence stands on the screen, typing goes on, and
once there is room again, all of it is kept, though nothing more is typed.
"""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from unittest.mock import patch

from mechtui.app import opening
from tests.end_to_end.waiting import wait_for
from tests.terminal import Terminal

KILOBYTES = 256
SENTENCE = "The session is not being kept: "


@contextmanager
def disk(folder: Path) -> Iterator[None]:
    """A small one in the place of this folder."""
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={KILOBYTES}k", "none", str(folder)], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


@contextmanager
def full(folder: Path) -> Iterator[None]:
    """Within, nothing more goes there."""
    filler = folder / "filler"
    with filler.open("wb", buffering=0) as file:
        try:
            while True:
                file.write(bytes(4096))
        except OSError as error:
            if error.errno != errno.ENOSPC:
                raise
    yield
    filler.unlink()


@contextmanager
def read_only(folder: Path) -> Iterator[None]:
    """Within, nothing can be changed there."""
    # The lock is open for writing, so that the disk itself stays as it is: what can only be read is mounted over it.
    subprocess.run(["mount", "--bind", str(folder), str(folder)], check=True)
    subprocess.run(["mount", "-o", "remount,bind,ro", str(folder)], check=True)
    yield
    subprocess.run(["umount", "-l", str(folder)], check=True)


def main() -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name, "STATE")
        folder.mkdir()
        home = {f"XDG_{each}_HOME": f"{name}/{each}" for each in ("CONFIG", "STATE", "CACHE", "DATA")}
        with disk(folder):
            terminal = Terminal(("--model", "demo", "--prompt", "When"), environment={**home, "HF_HUB_OFFLINE": "1"})
            try:
                _typed(terminal, folder, home)
            finally:
                terminal.close()


def _typed(terminal: Terminal, folder: Path, home: dict[str, str]) -> None:
    terminal.until("live")
    (file,) = (folder / "mechtui" / "sessions").glob("*.toml")

    def kept() -> str:
        """The prompt with which the next program would go on."""
        with patch.dict(os.environ, home):
            opened = opening.kept(file.stem)
            opened.kept.release()
        return opened.session.prompt

    def within(trouble: Callable[[Path], AbstractContextManager[None]], said: str, words: str) -> None:
        with trouble(folder):
            terminal.chunk(words)
            wait_for(lambda: SENTENCE in terminal.text and said + words in terminal.text, terminal)
            assert terminal.text.count(SENTENCE) == 1, terminal.text
            print(trouble.__name__, next(row.strip() for row in terminal.screen.display if SENTENCE in row), sep=": ")
            print(f"  kept meanwhile: {kept()!r}")
        wait_for(lambda: SENTENCE not in terminal.text, terminal)
        print(f"  kept once there was room, though nothing was typed: {kept()!r}")
        assert kept() == said + words

    terminal.chunk("i")
    within(full, "When", " Mary and")
    within(read_only, "When Mary and", " John went")
    os.kill(terminal.pid, signal.SIGKILL)
    terminal.wait()
    assert kept() == "When Mary and John went"


if __name__ == "__main__":
    sys.exit(main())
