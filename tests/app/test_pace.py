"""A slow line is sent what it can take: frames are dropped, not queued, and no more is under way than it shows soon."""

from __future__ import annotations

import math
from collections import deque

import pytest

from mechtui.app.pace import SLACK, Pace

STEP = 1 / 1000


class Line:
    """A line that takes everything at once and delivers it at its speed, after its delay; so do answers come back."""

    def __init__(self, speed: float, delay: float, answers: bool = True) -> None:
        self.speed, self.delay, self.answers = speed, delay, answers
        self.free = 0.0  # when it has delivered all
        self.coming: deque[float] = deque()
        self.behind: list[float] = []

    def take(self, size: int, now: float, asked: bool = True) -> None:
        self.free = max(self.free, now) + size / self.speed
        shown = self.free + self.delay
        self.behind.append(shown - now)
        if self.answers and asked:
            self.coming.append(shown + self.delay)


def opened(line: Line) -> Pace:
    """After the first question, with which the program begins, and its answer."""
    pace = Pace()
    line.take(4, 0.0)
    pace.sent(4, 0.0)
    if line.answers:
        pace.answered(line.coming.popleft())
    return pace


def held(pace: Pace, line: Line, frame: int, seconds: float, start: float = 1.0) -> tuple[int, int]:
    """Frames of so many bytes, 30 a second, of which the newest is sent as far as there is room -> bytes sent, bytes
    that were to be sent."""
    now, waiting, sent, frames = start, 0, 0, 0
    while now < start + seconds:
        if now - start >= frames / 30:
            frames += 1
            waiting = frame  # the newest takes the older one's place
        while line.coming and line.coming[0] <= now:
            line.coming.popleft()
            pace.answered(now)
        room = pace.room(now)
        if waiting and room > 0:
            size = int(min(waiting, room))
            waiting -= size
            line.take(size, now, pace.asks)
            pace.sent(size, now, waiting > 0)
            sent += size
        now += STEP
    return sent, frames * frame


@pytest.mark.parametrize("delay", [0.01, 0.1, 0.2])
@pytest.mark.parametrize("frame", [1_500, 6_000, 20_000])
@pytest.mark.parametrize("speed", [20_000, 80_000, 400_000])
def test_a_slow_line_is_never_far_behind(speed: float, frame: int, delay: float) -> None:
    line = Line(speed, delay)
    pace = opened(line)
    held(pace, line, frame, 2.0)
    begun = len(line.behind)
    sent, wanted = held(pace, line, frame, 5.0, 3.0)
    late = max(line.behind[begun:]) - delay
    assert late < 2 * SLACK + 1024 / speed, "what is under way is shown soon"
    assert sent >= min(0.6 * speed * 5.0, 0.98 * wanted), "and the line is used"


def test_a_fast_line_gets_every_frame_whole() -> None:
    line = Line(20e6, 0.0002)
    pace = opened(line)
    sent, wanted = held(pace, line, 20_000, 2.0)
    assert sent == wanted
    assert max(line.behind) < 0.002


def test_a_terminal_that_does_not_answer_gets_all() -> None:
    line = Line(1e6, 0.01, answers=False)
    pace = opened(line)
    sent, wanted = held(pace, line, 6_000, 10.0)
    assert sent == wanted
    assert math.isinf(pace.room(11.0))
    assert not pace.asks, "it is not asked for ever"


def test_a_line_that_becomes_fast_is_noticed() -> None:
    line = Line(20_000, 0.1)
    pace = opened(line)
    held(pace, line, 6_000, 2.0)
    line.speed = 4e6
    held(pace, line, 6_000, 2.0, 3.0)
    sent, wanted = held(pace, line, 6_000, 2.0, 5.0)
    assert sent >= 0.98 * wanted


def test_a_line_that_stalls_is_not_filled() -> None:
    line = Line(80_000, 0.1)
    pace = opened(line)
    held(pace, line, 6_000, 2.0)
    line.free = 8.0  # nothing is delivered for five seconds
    sent, _ = held(pace, line, 6_000, 5.0, 3.0)
    assert sent < 80_000 * 0.6
