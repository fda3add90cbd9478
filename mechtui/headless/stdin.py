"""A session or a prompt from the standard input."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

from mechtui.headless.ending import MISTAKE, Stop, say
from mechtui.session.paths import read_some
from mechtui.session.storage import MOST_BYTES


def read_stdin(files: Sequence[str], given: dict[str, Any], watch: bool = False) -> dict[str, str]:
    """The text of the session file `-`, if there is one; and in `given` the prompt in the place of `-`, without its
    last line feed. Whatever is wrong ends the program."""
    prompt = given.get("prompt") == "-"
    times = list(files).count("-") + prompt
    try:
        if times > 1:
            raise Stop(MISTAKE, "- stands for the standard input, which can be read only once")
        if watch and (times or not files):
            raise Stop(MISTAKE, "--watch needs a session file, which it can read again: mechtui run --watch FILE.toml")
        if not times:
            return {}
        text = _read()
    except Stop as stop:
        sys.exit(say(stop.status, stop.shown))
    if prompt:
        given["prompt"] = text.removesuffix("\n")
        return {}
    return {"-": text}


def _read() -> str:
    try:
        held = read_some(sys.stdin.buffer, MOST_BYTES)
        if len(held) > MOST_BYTES:
            raise Stop(MISTAKE, f"the standard input is larger than the {MOST_BYTES >> 20} MiB that are read")
        return held.decode()
    except UnicodeDecodeError as error:
        raise Stop(MISTAKE, f"the standard input is no text: byte {error.start} is not UTF-8") from error
