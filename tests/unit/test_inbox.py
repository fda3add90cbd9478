"""The model process's inbox: newest wins."""

from __future__ import annotations

import threading

from mechtui.link.messages import Ask, Load, SaveVectors
from mechtui.session.document import Session
from mechtui.worker.inbox import Inbox


def ask(generation: int) -> Ask:
    return Ask(generation, Session(), ())


def test_the_newest_ask_replaces_the_one_that_waits() -> None:
    inbox = Inbox()
    for generation in range(3):
        inbox.put(ask(generation))
    taken, _ = inbox.take(ready=True)
    assert taken == ask(2)


def test_a_load_goes_first_and_asks_wait_for_it() -> None:
    inbox = Inbox()
    inbox.put(ask(1))
    inbox.put(SaveVectors(Session(), "f"))
    inbox.put(Load("a"))
    inbox.put(Load("b"))
    assert inbox.take(ready=False)[0] == Load("b")
    assert inbox.take(ready=True)[0] == SaveVectors(Session(), "f")
    assert inbox.take(ready=True)[0] == ask(1)


def test_without_a_model_an_ask_is_kept_until_a_load_comes() -> None:
    inbox = Inbox()
    taken: list[object] = []
    inbox.put(ask(1))
    thread = threading.Thread(target=lambda: taken.append(inbox.take(ready=False)[0]))
    thread.start()
    inbox.put(Load("a"))
    thread.join(10)
    assert taken == [Load("a")]


def test_work_is_overtaken_by_a_newer_ask_a_load_or_a_stop() -> None:
    inbox = Inbox()
    inbox.put(ask(1))
    _, number = inbox.take(ready=True)
    assert not inbox.overtaken(number)
    inbox.put(ask(2))
    assert inbox.overtaken(number)
    _, number = inbox.take(ready=True)
    assert not inbox.overtaken(number)
    inbox.put(Load("a"))
    assert inbox.overtaken(number)
    inbox.take(ready=True)
    inbox.stop_asks()
    assert inbox.overtaken(number)
    assert inbox.stopped(number)


def test_a_stop_holds_for_the_ask_that_waits_and_not_for_the_next() -> None:
    inbox = Inbox()
    inbox.put(ask(1))
    inbox.stop_asks()
    _, number = inbox.take(ready=True)
    assert inbox.stopped(number)
    inbox.put(ask(2))
    _, number = inbox.take(ready=True)
    assert not inbox.stopped(number)
    assert not inbox.overtaken(number)


def test_a_wait_for_so_long_ends_with_nothing() -> None:
    inbox = Inbox()
    assert inbox.take(ready=True, seconds=0.01) is None
    inbox.put(ask(1))
    assert inbox.take(ready=False, seconds=0.01) is None
    assert inbox.take(ready=True, seconds=0.01) == (ask(1), 1)
