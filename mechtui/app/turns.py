"""Keys and pastes act one after another, each where the focus is once those before it have acted.

Textual hands a key to the widget that has the focus when the key comes. A key that the widget does not take climbs
from queue to queue to a binding far above, and one that moves the focus does so by further messages: keys that came
in one chunk would overtake each other on the way.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

from textual import events

if TYPE_CHECKING:
    from textual.app import App
    from textual.widget import Widget

# Seconds that a key waits at most: where messages never end, keys must act all the same.
PATIENCE = 0.25


class Turns:
    """The keys and pastes that wait for their turn.

    act: hands one on, as Textual does. editor: the widget with the text cursor, if there is one. through: called when
    the last of several has had its turn.
    """

    def __init__(
        self,
        app: App[Any],
        act: Callable[[events.Event], Awaitable[None]],
        editor: Callable[[], Widget | None],
        through: Callable[[], None],
    ) -> None:
        self._app, self._act, self._editor, self._through = app, act, editor, through
        self._waiting: deque[events.Event] = deque()
        self._since = 0.0
        # Where the last one went, if it was a character in a text.
        self._writing: Widget | None = None

    def take(self, event: events.Event) -> bool:
        """Whether it may act now; if not, it does in its turn."""
        if not self._waiting and (self._joins(event) or self._quiet()):
            self._note(event)
            return True
        self._waiting.append(event)
        if len(self._waiting) == 1:
            self._wait()
        return False

    @property
    def empty(self) -> bool:
        return not self._waiting

    def _wait(self) -> None:
        self._since = time.monotonic()
        asyncio.get_running_loop().call_soon(self._turn)

    def _turn(self) -> None:
        if self._quiet() or time.monotonic() - self._since > PATIENCE:
            self._next()
            while self._waiting and self._joins(self._waiting[0]):
                self._next()
            if self._waiting:
                self._wait()
            else:
                self._app.call_later(self._through)
        else:
            asyncio.get_running_loop().call_soon(self._turn)

    def _next(self) -> None:
        event = self._waiting.popleft()
        self._note(event)
        self._app.call_later(self._act, event)

    def _note(self, event: events.Event) -> None:
        self._writing = self._editor() if isinstance(event, events.Key) and event.is_printable else None

    def _joins(self, event: events.Event) -> bool:
        """Characters behind characters go to the same text, whose queue keeps their order: they need not wait."""
        printable = isinstance(event, events.Key) and event.is_printable
        return printable and self._writing is not None and self._editor() is self._writing

    def _quiet(self) -> bool:
        """Whether no message is on its way, and every widget is there."""
        return all(
            (pump._is_mounted and pump._message_queue.empty() and not pump._next_callbacks)
            for pump in (self._app, *self._app._registry)
            if not (pump._closing or pump._closed)
        )
