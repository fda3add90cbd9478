"""How a headless run ends: exit statuses, and the sentences that go with them."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence

from mechtui.session.document import Session
from mechtui.session.grammar.words import LineError
from mechtui.session.storage import StorageError
from mechtui.visible import seen, write_over

MISTAKE, NO_MODEL, FAILED, INTERRUPTED = 2, 3, 4, 130


class Stop(Exception):  # noqa: N818 - not every end is an error
    """The end of a headless run, or of one session in it, that has no answers: exit status and what to say on stderr.
    each: the same, fit for a terminal, one for each mistake; a line with a caret under it has three lines."""

    def __init__(self, status: int, sentence: str, each: Sequence[str] | None = None) -> None:
        super().__init__(sentence)
        self.status = status
        self.each = (seen(sentence),) if each is None else tuple(each)

    @classmethod
    def of(cls, error: LineError) -> Stop:
        """Lines that mean nothing."""
        return cls(MISTAKE, str(error), [each.shown() for each in error.each])

    def at(self, place: str) -> Stop:
        """The same, with where it happened in front; nothing in front where the place is empty."""
        if not place:
            return self
        return Stop(self.status, f"{place}: {self}", [f"{seen(place)}: {each}" for each in self.each])

    @property
    def shown(self) -> str:
        return "\nmechtui: ".join(self.each)


def say(status: int, shown: str) -> int:
    """Say something on stderr, fit for a terminal already -> status."""
    write_over("")
    print(f"mechtui: {shown}", file=sys.stderr, flush=True)
    return status


def ended(do: Callable[[], None]) -> int:
    """Do it, and say what stopped it -> status."""
    try:
        do()
    except LineError as error:
        return say(MISTAKE, Stop.of(error).shown)
    except StorageError as error:
        return say(MISTAKE, seen(str(error)))
    except Stop as stop:
        return say(stop.status, stop.shown)
    except KeyboardInterrupt:
        return say(INTERRUPTED, "interrupted")
    return 0


def check_prompt(session: Session, place: str = "") -> None:
    """Raises Stop where there is nothing to run. place: where the session was said, empty for the command line."""
    if not session.prompt and session.bos != "yes":
        raise Stop(MISTAKE, "there is no prompt: --prompt TEXT says one, or a session file that has one").at(place)
