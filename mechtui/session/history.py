"""Undo and redo of whole sessions. They are frozen and share what they have in common, so keeping many is cheap."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable

from mechtui.session.document import Session

LIMIT = 1000
# Seconds after which a change that is no typing does not join the one before.
PAUSE = 1.5


class History:
    """The present session, those before it, and those that undo left behind.

    limit: how many steps can be undone; older ones are forgotten. clock: seconds, from any time on.
    """

    def __init__(self, session: Session, limit: int = LIMIT, clock: Callable[[], float] = time.monotonic) -> None:
        self._present = session
        self._past: deque[Session] = deque(maxlen=limit)
        self._future: list[Session] = []
        self._merge = ""
        self._typing = ""
        self._clock = clock
        self._when = clock()

    @property
    def present(self) -> Session:
        return self._present

    def change(self, session: Session, merge: str = "") -> None:
        """Make `session` the present one. Redo is forgotten.

        merge: changes that follow each other closely with the same key are one step ("prompt" for what is typed,
        "nudge 3" for a number held down). What is typed may come in pieces of any length; a new step begins with
        a word, and where typing turns into deleting. So no step ends within a word that is being typed.
        """
        if session == self._present:
            return
        typing, now = _typing(self._present, session), self._clock()
        joins = merge != "" and merge == self._merge
        if typing:
            joins &= typing != "new" and bool(self._typing) and (typing, self._typing) != ("delete", "insert")
        else:
            joins &= not self._typing and now - self._when < PAUSE
        if not joins:
            self._past.append(self._present)
        # The first letter of a word begins a step that the letters after it join.
        self._merge, self._typing, self._when = merge, "insert" if typing == "new" else typing, now
        self._present = session
        self._future.clear()

    def rest(self) -> None:
        """The next change begins a step, however soon it comes."""
        self._merge = ""

    def undo(self) -> Session | None:
        """The session before the last step, now the present one; None when there is no step."""
        if not self._past:
            return None
        self._future.append(self._present)
        self._present = self._past.pop()
        self._merge = ""
        return self._present

    def redo(self) -> Session | None:
        """The session that the last undo left, now the present one; None when there is none."""
        if not self._future:
            return None
        self._past.append(self._present)
        self._present = self._future.pop()
        self._merge = ""
        return self._present


def _typing(old: Session, new: Session) -> str:
    """What kind of typing led from one to the other: "insert", "delete", "new" (an insertion that begins with
    another word), or "" for a change that is no typing."""
    for before, after in ((old.prompt, new.prompt), (old.source, new.source)):
        if before != after:
            return _text_change(before, after)
    return ""


def _text_change(before: str, after: str) -> str:
    if len(after) < len(before):
        return "delete"
    start = next((i for i, (old, new) in enumerate(zip(before, after, strict=False)) if old != new), len(before))
    end = start + len(after) - len(before)
    if before[start:] != after[end:]:
        return "new"  # replaced
    into_word = start > 0 and not after[start - 1].isspace() and not after[start].isspace()
    return "insert" if into_word or after[start:end].isspace() else "new"
