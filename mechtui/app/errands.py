"""What was asked for and is done a moment later: what needs an answer that no pane asks for, and what another thread
makes, so that no key waits for it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Protocol, TypeVar

from mechtui.app.conversation import Conversation
from mechtui.session.changes import CannotError
from mechtui.views import Question

Made = TypeVar("Made")


class Doer(Protocol):
    """The app, as far as it matters here."""

    talk: Conversation

    @property
    def up_to_date(self) -> bool: ...
    def repaint(self) -> None: ...
    def say(self, sentence: str, *, bad: bool = False) -> None: ...
    def went_wrong(self, error: Exception) -> None: ...


class Errands:
    """questions: what is asked besides the panes' own."""

    def __init__(self, app: Doer) -> None:
        self.questions: tuple[Question, ...] = ()
        self._app = app
        self._then: list[Callable[[], None]] = []
        self._tasks: set[asyncio.Task[None]] = set()

    def once_known(self, question: Question, do: Callable[[], None]) -> None:
        """Do this once the question is answered, or will not be; at once where it is answered. What waits already is
        done, too. do: raises CannotError where it cannot be done, which is told."""
        talk = self._app.talk
        if talk.ready is None or talk.answers.whole(question):
            do()
            return
        self.questions = tuple(dict.fromkeys((*self.questions, question)))
        self._then.append(do)
        self._app.repaint()
        self.heard()

    def heard(self) -> None:
        """The model process has said something."""
        talk = self._app.talk
        known = self._app.up_to_date and all(map(talk.answers.whole, self.questions))
        if self._then and (known or not talk.running):
            due, self._then, self.questions = self._then, [], ()
            for do in due:
                try:
                    do()
                except CannotError as error:
                    self._app.say(str(error), bad=True)

    def make(self, make: Callable[[], Made], then: Callable[[Made], None]) -> None:
        """Call `make` in another thread, and `then` with what it gives. Either may raise CannotError, which is told."""
        task = asyncio.get_running_loop().create_task(self._make(make, then))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _make(self, make: Callable[[], Made], then: Callable[[Made], None]) -> None:
        try:
            then(await asyncio.to_thread(make))
        except CannotError as error:
            self._app.say(str(error), bad=True)
        except Exception as error:  # noqa: BLE001 - it is told of, and the program goes on
            self._app.went_wrong(error)

    async def done(self) -> None:
        """Returns when no thread is at work."""
        while self._tasks:
            await asyncio.wait(tuple(self._tasks))
