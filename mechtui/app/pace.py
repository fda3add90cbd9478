"""How much may be sent to the terminal now, so that a slow line shows the newest frame soon and not all of them late.

What was written need not be seen: ssh takes megabytes at once and delivers them when it can. So after what is sent the
terminal is asked how it is (`ASK`), which it answers behind all that came before (`ANSWER`): the time from one answer
to the next says how fast it takes bytes. From then on no more is under way than it takes in `SLACK`; what must wait
waits as cells, of which only the newest is ever sent. A fast line, and a terminal that does not answer, get all.
"""

from __future__ import annotations

import math
from collections import deque
from typing import NamedTuple

# Device status report, which every terminal since the VT100 answers so.
ASK, ANSWER = "\x1b[5n", "\x1b[0n"
# Seconds of output that may be under way besides the line's own delay.
SLACK = 0.06
# Seconds without an answer after which a terminal is sent something all the same.
PATIENCE = 2.0
# Bytes: what is always sent at once, and what says nothing of how fast a line is, unless it came late.
LEAST, TELLING = 1024, 4096
# Bytes that may be under way to a terminal that is so many seconds away, before its speed is known.
FIRST, DISTANT = 8192, 0.02
# Answers of which the speed is taken; seconds below which a difference in time says nothing.
REMEMBERED, TICK = 6, 0.004
# Seconds for which the shortest delay counts: a line may become another one.
PERIOD = 60.0
# Questions without an answer, beyond which no more are asked.
MOST = 64


class Sent(NamedTuple):
    """What is under way: bytes since the one before it, when it was sent, and whether there was no room for more."""

    size: int
    at: float
    full: bool


class Pace:
    """All times are of one clock, in seconds."""

    def __init__(self) -> None:
        self._shortest = self._before = math.inf  # seconds to an answer, in this period and the one before
        self._period = -math.inf
        self._under_way: deque[Sent] = deque()
        self._measured: deque[tuple[int, float]] = deque(maxlen=REMEMBERED)  # bytes, and how long they took
        self._answered = -math.inf
        self._backlog = 0.0  # bytes that the line has not taken at `_counted`, as far as its speed is known
        self._counted = 0.0
        self._last = -math.inf

    @property
    def base(self) -> float:
        """Seconds from a question to its answer when nothing else is under way."""
        return min(self._shortest, self._before)

    @property
    def asks(self) -> bool:
        """Whether the next bytes are to end in a question."""
        return len(self._under_way) < MOST

    @property
    def speed(self) -> float:
        """Bytes a second; infinite as long as nothing else is known."""
        seconds = sum(seconds for _, seconds in self._measured)
        return sum(size for size, _ in self._measured) / seconds if seconds > TICK else math.inf

    def room(self, now: float) -> float:
        """Bytes that may be sent now: infinite, some, or 0."""
        under_way = sum(each.size for each in self._under_way)
        if not self._measured:
            far = DISTANT < self.base < math.inf
            return max(FIRST - under_way, 0) if far else math.inf
        if math.isinf(self.speed):
            return math.inf
        # More than this can only be waiting: the terminal has not told of it for too long.
        if under_way > self.speed * (self.base + 2 * SLACK) + LEAST and now - self._last < PATIENCE:
            return 0
        left = self._left(now)
        room = self.speed * SLACK - left
        return max(room, LEAST) if left <= 0 or room >= self._worth else 0

    def wait(self, now: float) -> float:
        """Seconds after which there may be room again."""
        if math.isinf(self.speed):
            return TICK
        return min(max((self._left(now) - max(self.speed * SLACK - self._worth, 0)) / self.speed, TICK), PATIENCE)

    def sent(self, size: int, now: float, full: bool = False) -> None:
        """So many bytes were sent, and a question behind them if it `asks`. full: there was no room for more."""
        self._backlog, self._counted = self._left(now) + size, now
        self._last = now
        if self.asks:
            self._under_way.append(Sent(size, now, full))

    def answered(self, now: float) -> None:
        """The terminal has answered the oldest question."""
        if not self._under_way:
            return
        size, at, full = self._under_way.popleft()
        late = now - at
        if now - self._period > PERIOD:
            self._before, self._shortest, self._period = self._shortest, math.inf, now
        self._shortest = min(self._shortest, late)
        took = now - max(self._answered, at + self.base)
        self._answered = now
        if full or size >= TELLING or late - self.base > SLACK:
            self._measured.append((size, max(took, 0.0)))
        # What it has taken is known as long ago as its answer was on its way.
        under_way = sum(each.size for each in self._under_way)
        speed = self.speed
        self._backlog, self._counted = 0.0 if math.isinf(speed) else max(under_way - speed * self.base, 0.0), now

    @property
    def _worth(self) -> float:
        """The fewest bytes for which a line that still has some is sent more."""
        return max(self.speed * SLACK / 4, LEAST)

    def _left(self, now: float) -> float:
        speed = self.speed
        return 0.0 if math.isinf(speed) else max(self._backlog - speed * max(now - self._counted, 0.0), 0.0)
