"""What the model process has still to do: one Load, one Ask, the newest of each."""

from __future__ import annotations

import threading
from collections import deque

from mechtui.link.messages import Ask, Load, SaveVectors


class Inbox:
    """Filled by the thread that reads the wire, emptied by the one that runs the model."""

    def __init__(self) -> None:
        self._change = threading.Condition()
        self._load: Load | None = None
        self._load_stopped = False
        self._ask: Ask | None = None
        self._saves: deque[SaveVectors] = deque()
        self._asks = 0  # how many have arrived
        self._stopped = 0  # the first that many were cancelled by the user

    def put(self, request: Load | Ask | SaveVectors) -> None:
        with self._change:
            match request:
                case Load():
                    self._load = request
                case Ask():
                    self._ask = request
                    self._asks += 1
                case SaveVectors():
                    self._saves.append(request)
            self._change.notify()

    def stop_asks(self) -> None:
        """Cancel the Ask under way and the one that waits."""
        with self._change:
            self._stopped = self._asks

    def stop_load(self) -> Load | None:
        """Cancel the Load under way and the one that waits -> the one that waited."""
        with self._change:
            waiting, self._load, self._load_stopped = self._load, None, True
            return waiting

    def take(self, ready: bool, seconds: float | None = None) -> tuple[Load | Ask | SaveVectors, int] | None:
        """The next thing to do, and the number of the newest Ask. Waits for one; where seconds are given and nothing
        arrives for so long, None. Without a model (`ready` False) only a Load can be done; the rest keeps waiting."""
        with self._change:
            while True:
                if self._load is not None:
                    load, self._load, self._load_stopped = self._load, None, False
                    return load, self._asks
                if ready and self._saves:
                    return self._saves.popleft(), self._asks
                if ready and self._ask is not None:
                    ask, self._ask = self._ask, None
                    return ask, self._asks
                if not self._change.wait(seconds):
                    return None

    @property
    def asks(self) -> int:
        """How many Asks have arrived."""
        return self._asks

    @property
    def load_waits(self) -> bool:
        return self._load is not None

    def overtaken(self, number: int) -> bool:
        """Whether work begun when `number` Asks had arrived is stale: a newer Ask or a Load waits, or the user
        stopped it. Takes no lock: it is called between blocks."""
        return self._load is not None or self._asks > number or self._stopped >= number

    def stopped(self, number: int) -> bool:
        """Whether the user stopped that Ask."""
        return self._stopped >= number

    @property
    def waits(self) -> bool:
        """Whether there is anything to do. Takes no lock: it is called between blocks."""
        return self._load is not None or self._ask is not None or bool(self._saves)

    @property
    def load_stale(self) -> bool:
        """Whether a load under way need not go on: another waits, or the user stopped it."""
        return self._load is not None or self._load_stopped
