"""Keeping the session: written a moment after every change by a thread of its own, which nothing on the screen can
hold up, and at the end."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TYPE_CHECKING

from msgspec.structs import replace

from mechtui.session.document import Session

if TYPE_CHECKING:
    from mechtui.session.keeping import Kept

# Seconds from a change to its being written; with what writing takes, this is what a kill can lose.
SECONDS = 0.2


class Keeper:
    """Keeps what `put` was given last. A session that is as the program began with it is not kept.

    problem: called once, from another thread, with a sentence when writing begins to fail.
    """

    def __init__(self, begun: Session, problem: Callable[[str], None] = lambda sentence: None) -> None:
        self.problem = problem
        self._begun = begun
        # Both are frozen: another thread reads the last one as it is.
        self._last = self._written = begun
        self._failed = ""
        self._changed = threading.Event()
        self._closing = threading.Event()
        self._writing = threading.Lock()
        self._thread: threading.Thread | None = None
        self._file: Kept | None = None

    def put(self, session: Session) -> None:
        """Never waits."""
        self._last = session
        self._changed.set()
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="keeping the session", daemon=True)
            self._thread.start()

    def now(self, patience: float = -1) -> str:
        """Write what is not written yet -> a sentence where that cannot be done, else nothing.

        patience: seconds to wait for another thread that is at it; -1: as long as it takes.
        """
        from mechtui.session.keeping import Kept
        from mechtui.session.storage import StorageError

        if not self._writing.acquire(timeout=patience):
            return _unkept("the disk does not answer")
        try:
            session = self._last
            if session == self._written:
                return self._failed
            if self._file is None:
                self._file = Kept()
            if session == self._begun:
                self._file.forget()
            else:
                self._file.write(session)
            self._written, self._failed = session, ""
        except StorageError as error:
            self._failed = _unkept(str(error))
        finally:
            self._writing.release()
        return self._failed

    def close(self) -> str:
        """Write once more, and leave the file to the next start -> as `now`."""
        self._closing.set()
        self._changed.set()
        sentence = self.now()
        if self._file is not None:
            self._file.release()
        return sentence

    def _run(self) -> None:
        said = ""
        while not self._closing.is_set():
            self._changed.wait()
            # What changes meanwhile is written together.
            self._closing.wait(SECONDS)
            self._changed.clear()
            sentence = self.now()
            if sentence and sentence != said and not self._closing.is_set():
                self.problem(sentence)
            said = sentence


def _unkept(why: str) -> str:
    return f"The session is not being kept: {why}."


def refused() -> str:
    """A sentence where no session can be kept, else nothing. It asks the disk."""
    from mechtui.session import keeping

    why = keeping.refused()
    return _unkept(why) if why else ""


def demonstration() -> Session:
    """What the program begins with when nothing else is asked for."""
    from mechtui.embedded import DEMO_ANSWER, DEMO_FOIL, DEMO_PROMPT

    return Session(prompt=DEMO_PROMPT, answer=DEMO_ANSWER, foil=DEMO_FOIL)


def worth(session: Session) -> bool:
    """Whether there is anything in it of the user's."""
    return replace(session, model="") not in (Session(), demonstration())


def last() -> Session | None:
    """The session of the program that ended last, if it is worth coming back to."""
    from mechtui.session import keeping

    return keeping.last(worth)


def said(session: Session) -> str:
    """What session this is, in a few words."""
    prompt = " ".join(session.prompt.split())
    shown = prompt if len(prompt) <= 30 else prompt[:29] + "…"
    edits = len(session.edits)
    return f"{shown!r}" + (f", {edits} edit{'' if edits == 1 else 's'}" if edits else "")
