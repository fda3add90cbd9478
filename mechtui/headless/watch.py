"""Again whenever a file changes."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

from mechtui.headless.ending import Stop, say
from mechtui.session.paths import PathError, expanded

# How often the files are looked at.
SECONDS = 0.2


class Watched:
    """Files by their names, as a user writes them. One that is not there, or not any more, may come."""

    def __init__(self, names: Sequence[str]) -> None:
        self.names = names
        self._stamps = self._now()

    def _now(self) -> list[tuple[int, int, int] | None]:
        return [_stamp(name) for name in self.names]

    async def changed(self) -> None:
        """Returns once one of them is another than at the last return, or than at the beginning."""
        while (now := self._now()) == self._stamps:
            await asyncio.sleep(SECONDS)
        self._stamps = now


def _stamp(name: str) -> tuple[int, int, int] | None:
    """Another whenever the file was written; None where there is none."""
    try:
        about = os.stat(expanded(name))
    except (OSError, PathError):
        return None
    return about.st_ino, about.st_size, about.st_mtime_ns


async def again_and_again(once: Callable[[], Coroutine[Any, Any, None]], watched: Watched) -> None:
    """Do it now and after every change, until the user stops it. A change ends what is under way. What cannot be done
    is said, and the next change may mend it."""
    while True:
        work = asyncio.create_task(once(), name="answers")
        change = asyncio.create_task(watched.changed(), name="files")
        await asyncio.wait({work, change}, return_when=asyncio.FIRST_COMPLETED)
        if not work.done():
            work.cancel()
            await asyncio.wait({work})
        if not work.cancelled():
            try:
                work.result()
            except Stop as stop:
                say(stop.status, stop.shown)
        await change
