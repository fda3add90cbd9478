"""The real model process is killed at every stage, ten times in a row, stopped, and given too little memory."""

from __future__ import annotations

import os
import re
import resource
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from mechtui.link.client import LATER_AND_LATER, Life
from mechtui.link.messages import Answered, Ask, Checked, Failed, Finished, Load, Progress, Reply, Stage, Started
from mechtui.session.document import Session
from mechtui.session.grammar.edits import parse_edit
from mechtui.views import parse_question
from tests.end_to_end.talk import Talk

PROMPT = "When Mary and John went to the store, John gave a drink to"
LINES = ("next_tokens", "sweep zero L*H*", "generate 40")
Heard = Reply | Life

# By the name of a stage: what is heard once it is reached.
STAGES: dict[str, Callable[[Heard], bool]] = {
    "start": lambda reply: isinstance(reply, Life) and reply.state == "starting",
    "import": lambda reply: isinstance(reply, Stage) and reply.stage == "importing torch",
    "load": lambda reply: isinstance(reply, Stage) and reply.stage == "reading weights",
    "first run": lambda reply: isinstance(reply, Stage) and reply.stage == "first run",
    "run": lambda reply: isinstance(reply, Started),
    "sweep": lambda reply: isinstance(reply, Progress) and reply.question.line().startswith("sweep"),
    "generate": lambda reply: isinstance(reply, Answered) and reply.partial and reply.question.line()[:3] == "gen",
    "check": lambda reply: isinstance(reply, Finished),
}


def asked(generation: int) -> Ask:
    session = Session(prompt=PROMPT, answer=" Mary", foil=" John", edits=(parse_edit("zero L3H0"),))
    return Ask(generation, session, tuple(map(parse_question, LINES)))


@asynccontextmanager
async def talking(model: str = "demo") -> AsyncIterator[Talk]:
    with TemporaryDirectory() as folder:
        talk = Talk(Path(folder, "log"), pauses=LATER_AND_LATER)
        await talk.client.start()
        talk.client.send(Load(model))
        try:
            yield talk
        finally:
            await talk.client.close()


def numbers(talk: Talk) -> dict[str, str]:
    """The last answer to each question, as `mechtui run` prints it."""
    return {
        reply.question.line(): str([each.json() for each in (reply.clean, reply.edited) if each is not None])
        for reply in talk.heard
        if isinstance(reply, Answered)
    }


def ended(reply: Heard) -> bool:
    return isinstance(reply, Finished)


async def killed_at_each_stage() -> None:
    async with talking() as talk:
        talk.client.send(asked(1))
        await talk.until(ended)
        wanted = numbers(talk)
        await talk.until(lambda reply: isinstance(reply, Checked))
    for stage, reached in STAGES.items():
        async with talking() as talk:
            talk.client.send(asked(1))
            await talk.until(reached)
            talk.heard.clear()
            talk.client.kill()
            await talk.until(lambda reply: isinstance(reply, Life))
            await talk.until(ended)
            (life,) = (reply for reply in talk.heard if isinstance(reply, Life))
            assert numbers(talk) == wanted, stage
            print(f"killed at {stage}: {life.sentence} The same numbers again.", flush=True)


async def killed_ten_times_in_a_row() -> None:
    async with talking() as talk:
        talk.client.send(asked(1))
        for count in range(1, 11):
            await talk.until(lambda reply: isinstance(reply, Stage))
            talk.heard.clear()
            talk.client.kill()
            life = await talk.until(lambda reply: isinstance(reply, Life))
            assert isinstance(life, Life)
            print(f"death {count}: {life.state}, {life.seconds:.0f} s", flush=True)
        assert life.state == "stopped"
        talk.heard.clear()
        talk.client.restart()
        await talk.until(ended)
        print("started again by a key: all is answered", flush=True)


async def stopped() -> None:
    async with talking() as talk:
        talk.client.send(asked(1))
        await talk.until(ended)
        wanted = numbers(talk)
        os.kill(talk.client.pid, signal.SIGSTOP)
        silent = await talk.until(lambda reply: isinstance(reply, Life) and reply.state == "silent")
        assert isinstance(silent, Life)
        os.kill(talk.client.pid, signal.SIGCONT)
        await talk.until(lambda reply: isinstance(reply, Life) and reply.state == "heard")
        os.kill(talk.client.pid, signal.SIGSTOP)
        talk.heard.clear()
        await talk.until(lambda reply: isinstance(reply, Life) and reply.state == "silent")
        talk.client.restart()
        await talk.until(ended)
        assert numbers(talk) == wanted
        print(f"stopped: told after {silent.seconds:.0f} s; another one gives the same numbers", flush=True)


async def short_of_memory() -> None:
    """With less and less room above what it holds, until there is enough for all that is asked."""
    for room in (1, 4, 16, 64, 256, 1024):
        async with talking() as talk:
            await talk.until(lambda reply: isinstance(reply, Checked))
            pid = talk.client.pid
            status = Path(f"/proc/{pid}/status").read_text()
            found = re.search(r"VmSize:\s+(\d+) kB", status)
            assert found is not None
            limit = (int(found[1]) << 10) + (room << 20)
            resource.prlimit(pid, resource.RLIMIT_AS, (limit, resource.RLIM_INFINITY))
            talk.heard.clear()
            session = Session(prompt=PROMPT * 12, source=PROMPT * 12, answer=" Mary", foil=" John")
            lines = ("next_tokens", "sweep patch L*.pre", "heads", "neurons L1", "attention L3H0")
            talk.client.send(Ask(1, session, tuple(map(parse_question, lines))))
            await talk.until(
                lambda reply: isinstance(reply, Finished | Life) or (isinstance(reply, Failed) and not reply.question)
            )
            said = list(dict.fromkeys(reply.sentence for reply in talk.heard if isinstance(reply, Failed | Life)))
            print(f"{room} MiB to spare: {' | '.join(said) or 'all is answered'}", flush=True)
            assert all("by a mistake" not in sentence for sentence in said)
            # With room again the same process, or the next one, answers what is asked then.
            if talk.client.pid == pid:
                resource.prlimit(pid, resource.RLIMIT_AS, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
            talk.heard.clear()
            talk.client.send(asked(2))
            await talk.until(lambda reply: isinstance(reply, Finished) and reply.generation == 2)
            failed = [reply.sentence for reply in talk.heard if isinstance(reply, Failed)]
            if failed:
                # oneDNN keeps in mind that something could not be made: ctrl+t starts a process that does not.
                assert {sentence.partition(":")[0] for sentence in failed} == {"Out of memory"}
                print("  it says so until it is started anew", flush=True)
                talk.heard.clear()
                talk.client.restart()
                await talk.until(lambda reply: isinstance(reply, Finished) and reply.generation == 2)
                assert not [reply for reply in talk.heard if isinstance(reply, Failed)]


ALL = {
    "kills": killed_at_each_stage,
    "stop": stopped,
    "row": killed_ten_times_in_a_row,
    "limit": short_of_memory,
}
