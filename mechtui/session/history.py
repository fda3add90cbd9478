"""Undo and redo of whole sessions. They are frozen and share what they have in common, so keeping many is cheap."""

from __future__ import annotations

from collections import deque

from mechtui.session.document import Session

LIMIT = 1000


class History:
    """The present session, those before it, and those that undo left behind.

    limit: how many steps can be undone; older ones are forgotten.
    """

    def __init__(self, session: Session, limit: int = LIMIT) -> None:
        self._present = session
        self._past: deque[Session] = deque(maxlen=limit)
        self._future: list[Session] = []
        self._merge = ""
        self._typing = ""

    @property
    def present(self) -> Session:
        return self._present

    @property
    def can_undo(self) -> bool:
        return bool(self._past)

    @property
    def can_redo(self) -> bool:
        return bool(self._future)

    def change(self, session: Session, merge: str = "") -> None:
        """Make `session` the present one. Redo is forgotten.

        merge: changes that follow each other with the same key are one step ("prompt" for keystrokes, "edit 3"
        for a number held down). Keystrokes make a new step at the first letter of a word, for pasted text, and
        where typing turns into deleting.
        """
        if session == self._present:
            return
        typing = _typing(self._present, session)
        joins = merge != "" and merge == self._merge and typing != "new" and typing == self._typing
        if not joins:
            self._past.append(self._present)
        # The first letter of a word begins a step that the letters after it join.
        self._merge, self._typing = merge, "insert" if typing == "new" else typing
        self._present = session
        self._future.clear()

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
    """What kind of typing led from one to the other: "insert", "delete", "new" (an insertion that begins a
    step), or "" for a change that is no typing."""
    for before, after in ((old.prompt, new.prompt), (old.source, new.source)):
        if before != after:
            return _text_change(before, after)
    return ""


def _text_change(before: str, after: str) -> str:
    if len(after) < len(before):
        return "delete"
    shorter = min(len(before), len(after))
    start = next((i for i in range(shorter) if before[i] != after[i]), shorter)
    if len(after) - len(before) != 1 or before[start:] != after[start + 1 :]:
        return "new"  # pasted or replaced
    begins_word = not after[start].isspace() and (start == 0 or after[start - 1].isspace())
    return "new" if begins_word else "insert"
