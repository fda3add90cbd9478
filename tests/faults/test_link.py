"""Whatever a read from or a write to the model process does, the link lives on and says what was."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mechtui import __version__
from mechtui.link import client as module
from mechtui.link.client import LATER_AND_LATER, Life
from mechtui.link.frames import encode
from mechtui.link.messages import Ask, Finished, Heartbeat, Hello, Load, Models, ModelsFound, Reply, Stage
from mechtui.session.document import Session
from tests.app.answering import ready
from tests.faults.injector import broken, until_green
from tests.faults.link import GARBAGE, Heard, Made, started, talks


@pytest.mark.parametrize("said", [None, b"", *GARBAGE], ids=["raises", "ends", "half", "noise", "no message", "other"])
def test_whichever_await_fails_the_link_lives(said: bytes | None) -> None:
    assert until_green(talks(said), broken) > 10


def run(what: Callable[[Heard], object], pauses: tuple[float, ...] = LATER_AND_LATER) -> None:
    async def go() -> None:
        heard = Heard(pauses)
        try:
            await what(heard)  # type: ignore[misc]
        finally:
            await heard.client.close()

    with started(Made):
        asyncio.run(go())


def lives(heard: Heard, state: str) -> list[Life]:
    return [each for each in heard.replies if isinstance(each, Life) and each.state == state]


def test_killed_ten_times_in_a_row_it_comes_later_and_later_and_a_key_brings_it_back(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    waited: list[float] = []

    async def pause(client: module.Client, seconds: float) -> None:
        waited.append(seconds)

    monkeypatch.setattr(module.Client, "_pause", pause)

    async def go(heard: Heard) -> None:
        await heard.client.start()
        heard.client.send(Load("demo"))
        for count in range(1, 11):
            await heard.until(lambda r, c=count: len(lives(heard, "starting") + lives(heard, "restarting")) == c)  # type: ignore[misc]
            Made.made[-1].signal(9)
            await heard.until(lambda r, c=count: isinstance(r, Life) and r.deaths == c)  # type: ignore[misc]
        await heard.until(lambda r: isinstance(r, Life) and r.state == "stopped")
        assert waited == [each for each in LATER_AND_LATER if each]
        assert heard.talk.ended
        assert heard.talk.idle
        said = heard.told
        assert "It died 3 times in a row and is started again in 1 s; restart starts it now." in said[2]
        assert (
            "It died 10 times in a row and stays down; restart starts it again, models with another model." in said[-1]
        )
        heard.replies.clear()
        heard.talk.restart()
        await heard.until(lambda r: r == ready("demo"))
        assert not heard.talk.ended
        assert heard.talk.ready == ready("demo")
        Made.made[-1].signal(9)
        await heard.until(lambda r: isinstance(r, Life) and r.deaths == 1)

    run(go)


def test_what_is_waited_for_is_started_by_a_key_at_once() -> None:
    async def go(heard: Heard) -> None:
        await heard.client.start()
        heard.client.send(Load("demo"))
        await heard.until(lambda r: r == ready("demo"))
        Made.made[-1].signal(9)
        await heard.until(lambda r: isinstance(r, Life) and r.state == "waiting")
        assert heard.talk.pause is not None
        heard.replies.clear()
        heard.talk.restart()
        await heard.until(lambda r: r == ready("demo"))
        assert heard.talk.pause is None

    run(go, (1e6,))


def test_what_is_asked_for_while_it_is_down_brings_it_back() -> None:
    async def go(heard: Heard) -> None:
        await heard.client.start()
        heard.client.send(Load("demo"))
        await heard.until(lambda r: r == ready("demo"))
        Made.made[-1].signal(9)
        await heard.until(lambda r: isinstance(r, Life) and r.state == "stopped")
        heard.replies.clear()
        heard.client.send(Models())
        await heard.until(lambda r: isinstance(r, ModelsFound))
        await heard.until(lambda r: r == ready("demo"))

    run(go, ())


def test_one_that_lived_for_long_did_not_die_in_a_row(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "STEADY", 0.0)

    async def go(heard: Heard) -> None:
        await heard.client.start()
        for count in range(1, 6):
            Made.made[-1].signal(9)
            await heard.until(lambda r, c=count: len(lives(heard, "restarting")) == c)  # type: ignore[misc]
        assert {each.deaths for each in lives(heard, "restarting")} == {1}

    run(go, (0.0,))


def test_a_process_that_says_nothing_is_told_of_and_so_is_that_it_speaks_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LOOK", 0.001)

    async def go(heard: Heard) -> None:
        await heard.client.start()
        heard.client.send(Load("demo"))
        await heard.until(lambda r: isinstance(r, Life) and r.state == "silent")
        assert heard.talk.silent
        assert heard.told[-1].endswith("; restart starts another one in its place.")
        Made.made[-1]._said.put_nowait(encode(Heartbeat(1, 1, False)))
        await heard.until(lambda r: isinstance(r, Life) and r.state == "heard")
        assert not heard.talk.silent
        assert heard.told[-1] == "The model process answers again."
        heard.replies.clear()
        heard.talk.restart()
        await heard.until(lambda r: r == ready("demo"))
        assert len(Made.made) == 2
        assert lives(heard, "restarting")[0].deaths == 0, "it did not die by itself"

    run(go)


def test_a_process_of_another_mechtui_is_told_of_once_and_not_started_again() -> None:
    async def go(heard: Heard) -> None:
        await heard.client.start()
        Made.made[-1]._said.put_nowait(encode(Hello(__version__)))
        Made.made[-1]._said.put_nowait(encode(Hello("9.9.9")))
        await heard.until(lambda r: isinstance(r, Life) and r.state == "stopped")
        assert len(Made.made) == 1
        (sentence,) = heard.told
        assert sentence.startswith(f"The model process is of mechtui 9.9.9, and this is {__version__}: ")

    run(go)


FRAMES: tuple[Reply, ...] = (Hello(__version__), Stage("load", "importing torch"), ready("demo"), Heartbeat(1, 2, True))


@settings(max_examples=60)
@given(
    st.lists(st.sampled_from(FRAMES), max_size=4),
    st.lists(st.tuples(st.integers(0, 400), st.binary(max_size=6)), max_size=3),
    st.lists(st.integers(1, 80), max_size=12),
)
def test_whatever_a_process_says_however_it_is_cut_it_is_replaced_or_understood(
    replies: list[Reply], changes: list[tuple[int, bytes]], cuts: list[int]
) -> None:
    stream = bytearray(b"".join(map(encode, replies)))
    for at, data in changes:
        stream[at : at + len(data)] = data

    async def go(heard: Heard) -> None:
        await heard.client.start()
        at, process = 0, Made.made[0]
        for cut in cuts:
            if at < len(stream):
                process._said.put_nowait(bytes(stream[at : at + cut]))
            at += cut
        if at < len(stream):
            process._said.put_nowait(bytes(stream[at:]))
        process._end(0)
        await heard.until(lambda r: isinstance(r, Life) and r.state in ("restarting", "stopped"))
        heard.talk.restart()
        heard.client.send(Load("demo"))
        heard.client.send(Ask(1, Session(prompt="a"), ()))
        await heard.until(lambda r: isinstance(r, Finished))
        assert all("\n" not in sentence for sentence in heard.told)

    run(go)
