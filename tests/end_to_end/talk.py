"""A client of the model process as the app has one, and what it has heard."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

from mechtui.link.client import Client, Life
from mechtui.link.messages import Reply
from tests.end_to_end.waiting import PATIENCE


class Talk:
    """heard: all that came, in its order. keep_alive: seconds that the process outlives its app; None: not at
    all. more: what the client takes besides."""

    def __init__(self, log: Path, keep_alive: float | None = None, **more: Any) -> None:
        self.heard: list[Reply | Life] = []
        self._more = asyncio.Event()
        self.client = Client(self._hear, log=log, keep_alive=keep_alive, **more)

    def _hear(self, reply: Reply | Life) -> None:
        self.heard.append(reply)
        self._more.set()

    async def until(self, wanted: Callable[[Reply | Life], bool]) -> Reply | Life:
        """The first of what is heard that is wanted, once it has come."""
        async with asyncio.timeout(PATIENCE):
            while True:
                for reply in self.heard:
                    if wanted(reply):
                        return reply
                self._more.clear()
                await self._more.wait()
