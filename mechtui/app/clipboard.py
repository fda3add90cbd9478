"""What may go to the terminal's clipboard by OSC 52, which works through ssh and never asks the machine; and what of it
tmux and screen, which stand between, let through."""

from __future__ import annotations

import base64
import subprocess
from collections.abc import Iterator, Mapping
from enum import Enum

# xterm takes 100 kB of base64 and drops what is longer without a word; others take as much or more.
LIMIT = 74_000
# Signs of a string that screen passes on; of a longer one it drops the rest.
SCREEN_LIMIT = 240
# Seconds that tmux has to answer.
PATIENCE = 2.0


class TooLongError(ValueError):
    """The text is longer than what terminals take."""


class Between(Enum):
    """What stands between the program and the terminal."""

    NOTHING = ""
    TMUX = "tmux"  # one that can be asked
    SCREEN = "screen"
    FAR = "tmux or screen"  # at the other end of ssh: all that is known is what it calls itself


def between(environ: Mapping[str, str]) -> Between:
    """As the variables say that tmux, screen and ssh set."""
    term = environ.get("TERM", "")
    if environ.get("TMUX"):
        return Between.TMUX
    if environ.get("STY"):
        return Between.SCREEN
    return Between.FAR if term.startswith(("tmux", "screen")) else Between.NOTHING


def fitting(text: str) -> str:
    """The text with lone surrogates escaped. Raises TooLongError."""
    data = text.encode("utf-8", "backslashreplace")
    if len(data) > LIMIT:
        raise TooLongError(f"That is {len(data):,} bytes and terminals take {LIMIT:,}; copy a part of it.")
    return data.decode("utf-8")


def sequences(text: str, where: Between) -> Iterator[str]:
    """What the terminal is sent: each of them whole. text: see `fitting`."""
    plain = f"\x1b]52;c;{base64.b64encode(text.encode()).decode()}\a"
    if where is not Between.SCREEN:
        yield plain
    if where is Between.TMUX:
        # It lets this through unread where allow-passthrough is on, as all before 3.3 do.
        yield f"\x1bPtmux;{plain.replace(chr(27), chr(27) * 2)}\x1b\\"
    if where in (Between.SCREEN, Between.FAR):  # tmux passes over it
        for at in range(0, len(plain), SCREEN_LIMIT):
            yield f"\x1bP{plain[at : at + SCREEN_LIMIT]}\x1b\\"


def said(where: Between) -> str:
    """What is said behind `Copied ...`: how far it may have come."""
    match where:
        case Between.TMUX:
            return "; tmux passes it on where set-clipboard is on"
        case Between.FAR:
            return "; tmux passes it on where set-clipboard is on, screen where the terminal takes OSC 52"
        case Between.SCREEN:
            return " through screen, where the terminal takes OSC 52"
    return ""


def to_tmux(text: str) -> str:
    """Put the text into a buffer of tmux, and let tmux send it to the terminal, which its own copies may be also where
    those of programs are not -> what is said behind `Copied ...`. It waits for tmux: not for the thread that answers
    keys."""
    pastes = "tmux's prefix and ] paste it"
    if (allowed := _tmux("load-buffer", "-w", "-", ";", "show-options", "-sv", "set-clipboard", text=text)) is not None:
        if allowed.strip() == "off":
            return f" into tmux alone, whose set-clipboard is off: {pastes}"
        return f" through tmux; where the terminal takes none, {pastes}"
    if _tmux("load-buffer", "-", text=text) is not None:  # before 3.2
        return f" into tmux: {pastes}"
    return said(Between.TMUX)


def _tmux(*words: str, text: str) -> str | None:
    """What tmux says; None where it does not do it."""
    try:
        done = subprocess.run(["tmux", *words], input=text.encode(), capture_output=True, timeout=PATIENCE, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.decode("utf-8", "replace")
