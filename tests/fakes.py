"""Stand-ins for tests. The answers they give are the ones that the test itself puts in."""

from __future__ import annotations

from collections.abc import Callable

from mechtui.link.client import Life
from mechtui.link.messages import Load, Reply, Request


class FakeLink:
    """A `Link` without a process: it keeps what was sent, and says what the test tells it to say.

    respond: called with each request; the replies that it returns are delivered at once.
    """

    def __init__(self, respond: Callable[[Request], list[Reply]] | None = None) -> None:
        self.on_reply: Callable[[Reply | Life], None] = lambda reply: None
        self.sent: list[Request] = []
        self.started = False
        self.closed = False
        self.restarts = 0
        self._respond = respond

    async def start(self, load: Load | None = None) -> None:
        self.started = True
        self.on_reply(Life("starting", pid=1))

    def send(self, request: Request) -> None:
        self.sent.append(request)
        for reply in self._respond(request) if self._respond is not None else []:
            self.on_reply(reply)

    def restart(self) -> None:
        self.restarts += 1

    def reply(self, reply: Reply | Life) -> None:
        """Deliver one reply as if the model process had said it."""
        self.on_reply(reply)

    async def close(self) -> None:
        self.closed = True
