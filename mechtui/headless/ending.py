"""How a headless run ends: exit statuses, and the sentences that go with them."""

from __future__ import annotations

import sys

from mechtui.session.grammar.words import LineError
from mechtui.visible import seen, write_over

MISTAKE, NO_MODEL, FAILED, INTERRUPTED = 2, 3, 4, 130


class Stop(Exception):  # noqa: N818 - not every end is an error
    """The end of a headless run, or of one session in it, that has no answers: exit status and what to say on stderr.
    shown: the same, fit for a terminal; a line with a caret under it has three lines."""

    def __init__(self, status: int, sentence: str, shown: str | None = None) -> None:
        super().__init__(sentence)
        self.status = status
        self.shown = seen(sentence) if shown is None else shown

    @classmethod
    def of(cls, error: LineError) -> Stop:
        """A line that means nothing."""
        return cls(MISTAKE, str(error), error.shown())

    def at(self, place: str) -> Stop:
        """The same, with where it happened in front; nothing in front where the place is empty."""
        return Stop(self.status, f"{place}: {self}", f"{seen(place)}: {self.shown}") if place else self


def say(status: int, shown: str) -> int:
    """Say something on stderr, fit for a terminal already -> status."""
    write_over("")
    print(f"mechtui: {shown}", file=sys.stderr, flush=True)
    return status
