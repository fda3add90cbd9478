"""The client: newest wins, old replies are dropped, a process that dies comes back."""

from __future__ import annotations

import asyncio
import os
import stat
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from mechtui.link.client import Client, Life, Outbox, why
from mechtui.link.messages import Ask, Attached, Cancel, Failed, Fetch, Finished, Load, Models, Reply, Started
from mechtui.session.document import Session
from tests.app.answering import ready

SCRIPT = [sys.executable, str(Path(__file__).with_name("scripted_worker.py"))]
PATIENCE = 30.0


def ask(generation: int, prompt: str) -> Ask:
    return Ask(generation, Session(prompt=prompt), ())


class Heard:
    """What the client hands on, and a way to wait for it."""

    def __init__(self) -> None:
        self.replies: list[Reply | Life] = []
        self._more = asyncio.Event()

    def __call__(self, reply: Reply | Life) -> None:
        self.replies.append(reply)
        self._more.set()

    async def until(self, wanted: Callable[[Reply | Life], bool]) -> Reply | Life:
        """The first reply, past or future, that is wanted."""
        async with asyncio.timeout(PATIENCE):
            while True:
                for reply in self.replies:
                    if wanted(reply):
                        return reply
                self._more.clear()
                await self._more.wait()

    async def finished(self, ran: str) -> None:
        await self.until(lambda reply: isinstance(reply, Finished) and reply.ran == ran)

    async def life(self, state: str) -> Life:
        reply = await self.until(lambda reply: isinstance(reply, Life) and reply.state == state)
        assert isinstance(reply, Life)
        return reply


@pytest.fixture
def heard() -> Heard:
    return Heard()


@pytest.fixture
async def client(heard: Heard, tmp_path: Path) -> AsyncIterator[Client]:
    client = Client(heard, command=SCRIPT, log=tmp_path / "log")
    await client.start()
    yield client
    await client.close()


async def test_an_ask_is_answered(client: Client, heard: Heard) -> None:
    client.send(ask(1, "hello"))
    await heard.finished("hello")


async def test_replies_to_older_asks_are_dropped(client: Client, heard: Heard) -> None:
    client._deliver(Finished(0, 1.0, "nobody asked yet"))
    client.send(ask(5, "newest"))
    client._deliver(Started(4))
    client._deliver(Finished(4, 1.0, "old"))
    client._deliver(Failed("ask", "old", 4))
    await heard.finished("newest")
    generations = [reply.generation for reply in heard.replies if isinstance(reply, Started | Finished | Failed)]
    assert generations == [0, 5, 5]


async def test_the_outbox_holds_one_ask_and_keeps_the_order() -> None:
    outbox = Outbox()
    for request in (ask(1, "a"), Models(), ask(2, "b"), Cancel("ask"), ask(3, "c")):
        outbox.put(request)
    assert [await outbox.take() for _ in range(3)] == [Models(), Cancel("ask"), ask(3, "c")]


async def test_a_flood_of_asks_ends_with_the_last(client: Client, heard: Heard) -> None:
    for generation in range(1, 2001):
        client.send(ask(generation, f"{generation}"))
    await heard.finished("2000")
    assert len([reply for reply in heard.replies if isinstance(reply, Finished)]) < 10


async def test_a_killed_process_comes_back_with_model_and_question(client: Client, heard: Heard) -> None:
    client.send(Load("m"))
    client.send(ask(1, "hello"))
    await heard.finished("hello")
    first = client.pid
    heard.replies.clear()
    os.kill(first, 9)
    life = await heard.life("restarting")
    assert life.sentence == "The model process was killed (SIGKILL), probably because memory ran out."
    await heard.finished("hello")
    loads = [reply.sentence for reply in heard.replies if isinstance(reply, Failed)]
    assert loads == [f"m {client.pid}"]
    assert client.pid != first


async def test_what_is_sent_while_it_is_dead_arrives(client: Client, heard: Heard) -> None:
    os.kill(client.pid, 11)
    client.send(ask(1, "typed meanwhile"))
    await heard.finished("typed meanwhile")
    assert "crashed in native code (SIGSEGV)" in (await heard.life("restarting")).sentence


async def test_a_crash_loop_stops_and_a_load_starts_it_again(client: Client, heard: Heard) -> None:
    client.send(ask(1, "exit 7"))
    life = await heard.life("stopped")
    assert (life.sentence, life.deaths) == ("The model process ended by itself with exit status 7.", 3)
    assert client.pid == 0
    assert len([each for each in heard.replies if isinstance(each, Life) and each.state == "restarting"]) == 2
    client.send(ask(2, "harmless"))
    client.send(Load("another"))
    await heard.finished("harmless")


async def test_a_process_that_cannot_be_started_again_says_so(client: Client, heard: Heard) -> None:
    client.send(ask(1, "exit 7"))
    await heard.life("stopped")
    heard.replies.clear()
    client._command = ["/nowhere/mechtui"]
    client.send(Load("another"))
    assert "cannot be started" in (await heard.life("stopped")).sentence


async def test_a_process_that_speaks_nonsense_is_replaced(client: Client, heard: Heard) -> None:
    client.send(ask(1, "noise"))
    life = await heard.life("restarting")
    assert "said something that cannot be read" in life.sentence
    client.send(ask(2, "sense"))
    await heard.finished("sense")


async def test_what_was_cancelled_does_not_begin_again(client: Client, heard: Heard) -> None:
    client.send(ask(1, "hello"))
    client.send(Cancel("ask"))
    assert client._ask is not None
    assert client._ask.questions == ()


async def test_a_download_that_dies_with_the_process_has_failed(client: Client, heard: Heard) -> None:
    client.send(Fetch("gpt2"))
    client.send(ask(1, "hello"))
    await heard.finished("hello")
    os.kill(client.pid, 9)
    failed = await heard.until(lambda reply: isinstance(reply, Failed) and reply.task == "fetch")
    assert isinstance(failed, Failed)
    assert failed.model == "gpt2"


async def test_a_load_that_never_ends_is_stopped_with_its_process(client: Client, heard: Heard) -> None:
    client.send(ask(1, "hello"))
    await heard.finished("hello")
    first = client.pid
    client.send(Load("endless"))
    client.send(Cancel("load"))
    failed = await heard.until(lambda reply: isinstance(reply, Failed) and reply.task == "load")
    assert isinstance(failed, Failed)
    assert failed.sentence == "Loading endless was stopped."
    client.send(ask(2, "again"))
    await heard.finished("again")
    assert client.pid != first
    assert client._deaths == 0, "it did not die by itself"
    assert client._load is None, "what was stopped does not begin again"


async def test_a_load_that_can_be_stopped_costs_no_process(client: Client, heard: Heard) -> None:
    client.send(ask(1, "hello"))
    await heard.finished("hello")
    first = client.pid
    client.send(Load("polite"))
    client.send(Cancel("load"))
    await heard.until(lambda reply: isinstance(reply, Failed) and reply.sentence == "stopped")
    client._insist(Load("polite"))
    client.send(ask(2, "again"))
    await heard.finished("again")
    assert client.pid == first


async def test_another_model_takes_the_place_of_a_load_that_never_ends(client: Client, heard: Heard) -> None:
    client.send(Load("endless"))
    client.send(Load("another"))
    failed = await heard.until(lambda reply: isinstance(reply, Failed) and reply.task == "load")
    assert isinstance(failed, Failed)
    assert failed.sentence.startswith("another ")


@pytest.mark.parametrize("prompt", ["\ud800", "x" * 1000])
async def test_what_cannot_be_sent_is_refused_and_the_link_lives(
    client: Client, heard: Heard, prompt: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mechtui.link.frames.LIMIT", 500)
    client.send(ask(1, prompt))
    failed = await heard.until(lambda reply: isinstance(reply, Failed))
    assert isinstance(failed, Failed)
    assert failed.generation == 1
    assert failed.sentence.startswith("This cannot be sent to the model process: it h")
    client.send(ask(2, "sense"))
    await heard.finished("sense")


async def test_closing_ends_even_a_process_that_will_not(heard: Heard, tmp_path: Path) -> None:
    client = Client(heard, command=SCRIPT, log=tmp_path / "log")
    await client.start()
    pid = client.pid
    client.send(ask(1, "hang"))
    await heard.until(lambda reply: isinstance(reply, Started))
    await client.close()
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


async def test_a_model_that_is_said_to_be_there_twice_stays_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    killed = []
    monkeypatch.setattr("mechtui.link.client.kill", killed.append)
    client = Client(command=SCRIPT, keep_alive=60.0)
    client._deliver(Attached(7))
    client.abandon()
    assert killed == [0], "without a model it is not worth it"
    client.send(Load("demo"))
    for _ in range(2):
        client._deliver(ready())
    client.abandon()
    assert killed == [0]


async def test_the_log_is_private(client: Client, tmp_path: Path) -> None:
    assert stat.S_IMODE((tmp_path / "log").stat().st_mode) == 0o600


async def test_a_program_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    client = Client(command=["/nowhere/mechtui"], log=tmp_path / "log")
    with pytest.raises(FileNotFoundError):
        await client.start()
    await client.close()


@pytest.mark.parametrize(
    ("returncode", "rss", "sentence"),
    [
        (0, 0, "The model process ended by itself with exit status 0."),
        (-9, 3_200_000_000, "The model process was killed (SIGKILL), probably because memory ran out. It held 3.2 GB."),
        (-15, 0, "The model process was ended by SIGTERM."),
        (-6, 0, "The model process crashed in native code (SIGABRT)."),
    ],
)
def test_why(returncode: int, rss: int, sentence: str) -> None:
    assert why(returncode, rss) == sentence
