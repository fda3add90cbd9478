"""The client speaks with a model process that is made by hand, and what it awaits of it fails."""

from __future__ import annotations

import asyncio
import os
import re
import signal
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import pytest

from mechtui.app.conversation import Conversation
from mechtui.link import client as module
from mechtui.link.client import Client, Life
from mechtui.link.frames import Splitter, decode_request, encode
from mechtui.link.messages import (
    Ask,
    Fetch,
    Fetched,
    Finished,
    Heartbeat,
    Hello,
    Load,
    Models,
    ModelsFound,
    Quit,
    Reply,
    Saved,
    SaveVectors,
    Started,
)
from mechtui.session.document import Session
from tests.app.answering import ready
from tests.faults.injector import Fault

PATIENCE = 30.0
# What a process that is broken says: half a frame, no frame, one that is too long, one of another version.
GARBAGE = (encode(Heartbeat(1, 1, False))[:-1], b"\xff" * 64, b"\x00\x00\x00\x03abc", encode(Hello("0.0.0")))


def answered(request: object) -> list[Reply]:
    match request:
        case Load(model=model):
            return [ready(model)]
        case Ask(generation=generation):
            return [Started(generation), Heartbeat(1, 1, True), Finished(generation, 1.0, "all")]
        case Models():
            return [ModelsFound(())]
        case Fetch(model=model):
            return [Fetched(model)]
        case SaveVectors(path=path):
            return [Saved(path, ("v",))]
        case _:
            return []


class Made:
    """A `Process` that answers at once. fault: which of its reads, writes and waits fails. broken: what a read gives in
    the place of what was said; None: it raises."""

    made: list[Made] = []  # noqa: RUF012 - emptied for each run

    def __init__(self, fault: Fault | None = None, broken: bytes | None = None) -> None:
        self.pid = 1 << 22  # which no process has
        self.status = 0
        self.ended = asyncio.Event()
        self._fault, self._broken = fault, broken
        self._said: asyncio.Queue[bytes] = asyncio.Queue()
        self._splitter = Splitter()
        Made.made.append(self)

    async def read(self) -> bytes:
        try:
            self._check("read")
        except OSError:
            if self._broken is None:
                raise
            self._end(0)
            return self._broken
        return await self._said.get()

    async def write(self, data: bytes) -> None:
        self._check("write")
        if self.ended.is_set():
            raise BrokenPipeError
        for body in self._splitter.feed(data):
            request = decode_request(body)
            for reply in answered(request):
                self._said.put_nowait(encode(reply))
            if isinstance(request, Quit):
                self._end(0)

    def last_words(self, data: bytes) -> None:
        self._end(0)

    async def wait(self) -> int | None:
        await self.ended.wait()
        return self.status

    def signal(self, number: int) -> None:
        if number != signal.SIGTERM:
            self._end(-number)

    async def leave(self) -> None:
        pass

    def _check(self, what: str) -> None:
        if self._fault is not None:
            self._fault.check(what)

    def _end(self, status: int) -> None:
        if not self.ended.is_set():
            self.status = status
            self.ended.set()
            self._said.put_nowait(b"")


@contextmanager
def started(make: Callable[[], Made]) -> Iterator[None]:
    """Within, clients start these processes."""

    async def start(command: list[str], log: IO[bytes]) -> Made:
        return make()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module.Piped, "start", start)
        Made.made.clear()
        yield


class Heard:
    """A client, what it said, and the conversation that took it in."""

    def __init__(self, pauses: Iterable[float] = (0.0, 0.0)) -> None:
        self.replies: list[Reply | Life] = []
        self._more = asyncio.Event()
        self.client = Client(self.take, command=["made"], log=Path(os.devnull), pauses=tuple(pauses))
        self.talk = Conversation(self.client, Session(prompt="When"))
        self.client.on_reply = self.take

    def take(self, reply: Reply | Life) -> None:
        self.replies.append(reply)
        self.talk.hear(reply)
        self._more.set()

    async def until(self, wanted: Callable[[Reply | Life], bool]) -> None:
        async with asyncio.timeout(PATIENCE):
            while not any(map(wanted, self.replies)):
                self._more.clear()
                await self._more.wait()

    async def finished(self, generation: int) -> None:
        """Until this Ask is answered, or no process will answer it."""
        await self.until(
            lambda reply: (isinstance(reply, Finished) and reply.generation == generation) or self.talk.ended
        )

    @property
    def told(self) -> list[str]:
        return [said.sentence for said in self.talk.hear_out()]


def talks(broken: bytes | None) -> Callable[[Fault], None]:
    """A run: a model is loaded, three Asks are answered, a download and a file are asked for, and all is closed."""

    def run(fault: Fault) -> None:
        with started(lambda: Made(fault, broken)):
            asyncio.run(_talk(fault))

    return run


async def _talk(fault: Fault) -> None:
    heard = Heard()
    client = heard.client
    await client.start()
    client.send(Load("demo"))
    for generation in (1, 2, 3):
        client.send(Ask(generation, Session(prompt="When"), ()))
        if generation == 2:
            client.send(Models())
        await heard.finished(generation)
        if heard.talk.ended:
            # Of another mechtui: it stays down until somebody wants it again.
            heard.talk.restart()
            await heard.finished(generation)
    client.send(Fetch("gpt2"))
    await heard.until(lambda r: isinstance(r, Fetched) or getattr(r, "task", "") == "fetch")
    await client.close()
    assert all(each.ended.is_set() for each in Made.made), "a process is left"
    said = heard.told
    for sentence in said:
        assert sentence.strip() == sentence
        assert "\n" not in sentence
        assert "Error" not in sentence, sentence
        assert len(sentence) < 400
    if len(Made.made) > 1 or heard.talk.ended:
        # A download that ended with the process says the same, and of one that stays down it is said how to start it.
        died = [each for each in said if re.match("The model process (was|is of|ended)", each)]
        assert died
        assert all(each.startswith(died[0]) for each in died), died
