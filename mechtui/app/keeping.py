"""Keeping the session and its history: written a moment after every change by a thread of its own, which nothing on the
screen can hold up, and at the end."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import NamedTuple

from mechtui.session import keeping
from mechtui.session.document import Session
from mechtui.session.history import Tree
from mechtui.session.keeping import Kept
from mechtui.session.paths import reason
from mechtui.session.storage import StorageError

# Seconds from a change to its being written; with what writing takes, this is what a kill can lose.
SECONDS = 0.2


class State(NamedTuple):
    """What is kept: the session as it is saved, and its history."""

    session: Session
    tree: Tree


class Keeper:
    """Keeps what `put` was given last.

    kept: the session's files; None: nothing is kept. waits: it is kept only once somebody has changed something in it,
    which `begin` says the first state of. problem, named: called from another thread, the one with a sentence
    when writing begins to fail, the other when the session has got its name.
    """

    def __init__(self, kept: Kept | None = None, waits: bool = False) -> None:
        self.problem: Callable[[str], None] = lambda sentence: None
        self.named: Callable[[], None] = lambda: None
        self._kept, self._waits = kept, waits
        self._begun: State | None = None
        # All of it is frozen: another thread reads the last one as it is.
        self._last: State | None = None
        self._written: State | None = None
        # Sessions from before a `switch` that could not be written then.
        self._owed: list[tuple[Kept, State]] = []
        self._failed = ""
        self._changed = threading.Event()
        self._closing = threading.Event()
        self._writing = threading.Lock()
        self._thread: threading.Thread | None = None

    @property
    def name(self) -> str:
        """The session's name, once it is kept under one."""
        return self._kept.name if self._kept is not None and self._kept.held else ""

    @property
    def unkept(self) -> bool:
        """Whether the session as it is cannot be written."""
        return bool(self._failed)

    def begin(self, state: State) -> None:
        """What the session is before anybody changes it."""
        self._begun = state

    def put(self, state: State) -> None:
        """Never waits."""
        if self._kept is None or _same(state, self._last):
            return
        self._last = state
        self._changed.set()
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="keeping the session", daemon=True)
            self._thread.start()

    def now(self, patience: float = -1) -> str:
        """Write what is not written yet -> a sentence where that cannot be done, else nothing.

        patience: seconds to wait for another thread that is at it; -1: as long as it takes.
        """
        if not self._writing.acquire(timeout=patience):
            return _unkept("the disk does not answer")
        try:
            self._write()
        finally:
            self._writing.release()
        return self._failed

    def _write(self) -> None:
        failed = ""
        for owed, last in tuple(self._owed):
            if why := _written(owed, last):
                failed = why
            else:
                owed.release()
                self._owed.remove((owed, last))
        state, kept = self._last, self._kept
        if kept is not None and state is not None and not _same(state, self._written) and not self._untouched(state):
            held = kept.held
            why = _written(kept, state)
            failed = why or failed
            if not why:
                self._written = state
            if kept.held and not held:
                self._failed = failed
                self.named()
        self._failed = failed

    def _untouched(self, state: State) -> bool:
        if self._waits and self._begun is not None:
            self._waits = _done(state) == _done(self._begun)
        # Once it was kept it is, also as it began.
        return self._waits and self._begun is not None

    def switch(self, kept: Kept, waits: bool) -> str:
        """From here on another session is kept, where one is kept at all -> as `now`, of the one before. What cannot be
        written of that stays its own, and is written once it can be."""
        sentence = self.now()
        with self._writing:
            if self._kept is not None:
                if sentence and self._last is not None and not _same(self._last, self._written):
                    self._owed.append((self._kept, self._last))
                else:
                    self._kept.release()
                self._kept = kept
            self._waits = waits
            self._begun = self._last = self._written = None
        return sentence

    def rename(self, name: str) -> None:
        """Give the session a name, and keep it under that. Raises StorageError."""
        with self._writing:
            if self._kept is None:
                raise StorageError("this session is not kept, so that it has no name")
            self._kept.rename(name)
            self._waits = False
            self._write()

    def close(self) -> str:
        """Write once more, and leave the files to the next program -> as `now`."""
        self._closing.set()
        self._changed.set()
        sentence = self.now()
        for kept in (self._kept, *(owed for owed, _ in self._owed)):
            if kept is not None:
                kept.release()
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


def _written(kept: Kept, state: State) -> str:
    """Write this -> a sentence where that cannot be done, else nothing."""
    try:
        kept.write(state.session)
        kept.add(state.tree)
    except StorageError as error:
        return _unkept(str(error))
    except OSError as error:
        # Of the state folder itself, as when somebody takes it away.
        return _unkept(f"the state folder cannot be used: {reason(error)}")
    return ""


def _same(one: State, other: State | None) -> bool:
    return other is not None and one.tree is other.tree and one.session == other.session


def _done(state: State) -> object:
    """What somebody has done: steps, marks, sweeps. Where one looks is none of it, nor which model is the default."""
    steps = [(step.number, step.mark) for step in state.tree.steps.values()]
    return steps, state.tree.at, state.session.sweeps


def _unkept(why: str) -> str:
    return f"The session is not being kept: {why}."


def refused() -> str:
    """A sentence where no session can be kept, else nothing. It asks the disk."""
    why = keeping.refused()
    return _unkept(why) if why else ""
