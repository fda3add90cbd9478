"""In tmux, one detaches and attaches with another window; in it and in screen, what is copied comes out."""

from __future__ import annotations

import base64
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress

import pytest

from tests.end_to_end.waiting import wait_for
from tests.terminal import Terminal

READY = "no model is loaded"


def clipboard(terminal: Terminal) -> bytes:
    """What the terminal was told last to put there."""
    return base64.b64decode(re.findall(rb"\x1b\]52;\w*;([A-Za-z0-9+/=]+)", terminal.written)[-1])


class Tmux:
    """A server of its own, whose first window is the app."""

    def __init__(self, home: dict[str, str]) -> None:
        size = {"COLUMNS": "80", "LINES": "24"}  # as a shell may have exported it: no size of these windows
        self.home = {**os.environ, **home, **size, "TERM": "xterm-256color", "LC_ALL": "C.UTF-8"}
        self.name = f"mechtui-{os.getpid()}"
        program = f"{sys.executable} -m mechtui --model /nowhere --prompt When"
        self.ask("-f", "/dev/null", "new-session", "-d", "-x", "120", "-y", "40", program)

    def ask(self, *words: str) -> str:
        done = subprocess.run(
            ["tmux", "-L", self.name, *words], capture_output=True, text=True, check=True, env=self.home, timeout=60
        )
        return done.stdout

    def attached(self, size: tuple[int, int]) -> Terminal:
        """A terminal of this size that shows it."""
        words = ("tmux", "-u", "-L", self.name, "attach")
        return Terminal((), size, self.home, ("-c", f"import os; os.execvp('tmux', {words!r})"))

    @property
    def text(self) -> str:
        return self.ask("capture-pane", "-p")


@pytest.fixture
def tmux(home: dict[str, str]) -> Iterator[Tmux]:
    server = Tmux(home)
    yield server
    with suppress(subprocess.CalledProcessError):
        server.ask("kill-server")


@pytest.mark.skipif(shutil.which("tmux") is None, reason="there is no tmux")
def test_one_leaves_and_comes_back_and_copies_through_it(tmux: Tmux) -> None:
    first = tmux.attached((120, 40))
    first.until(READY)
    first.keys("gy")
    first.until(r"Copied .* through tmux")
    copied = tmux.ask("show-buffer").encode()
    assert copied.startswith(b"mechtui run ")
    # tmux's own default, under which a program's OSC 52 goes no further than it.
    assert tmux.ask("show-options", "-sv", "set-clipboard").strip() == "external"
    assert clipboard(first) == copied
    first.keys("i and")
    first.until(re.escape("When and"))
    first.chunk("\x02d")
    wait_for(lambda: not tmux.ask("list-clients"), first)
    first.close()
    again = tmux.attached((80, 24))
    again.until(r"When and[\s\S]*no model is loaded")
    assert again.screen.display[-2].split()[:2] == ["esc", "done"]
    again.keys(" went")
    again.until(re.escape("When and went"))
    again.hang_up()  # the connection drops
    wait_for(lambda: not tmux.ask("list-clients"))
    assert "When and went" in tmux.text
    tmux.ask("send-keys", "Escape")
    wait_for(lambda: "NORMAL" in tmux.text)  # else it would be one key with the next
    tmux.ask("send-keys", "C-z")
    wait_for(lambda: "There is no shell to go back to" in tmux.text)
    tmux.ask("send-keys", "q")
    wait_for(lambda: not _lives(tmux))
    again.close()


def _lives(tmux: Tmux) -> bool:
    try:
        return bool(tmux.ask("list-sessions"))
    except subprocess.CalledProcessError:
        return False


@pytest.mark.skipif(shutil.which("screen") is None, reason="there is no screen")
def test_what_is_copied_comes_out_of_screen_whole(home: dict[str, str]) -> None:
    text = "word" * 300  # more than screen passes on at once
    program = (sys.executable, "-m", "mechtui", "--model", "/nowhere", "--prompt", text)
    words = ("screen", "-U", "-c", "/dev/null", *program)
    terminal = Terminal((), (120, 40), home, ("-c", f"import os; os.execvp('screen', {words!r})"))
    try:
        terminal.until(READY)
        terminal.keys("gy")
        terminal.until("Copied .* through screen")
        assert text.encode() in clipboard(terminal)
        assert "52;c" not in terminal.text
        terminal.keys("q")
        assert terminal.wait() == 0
    finally:
        terminal.close()
