"""Keeping the session and its history: written a moment after every change by a thread of its own, which nothing on the
screen can hold up, and at the end."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import NamedTuple

from mechtui.session import keeping
from mechtui.session.document import Session
from mechtui.session.history import Tree
from mechtui.session.keeping import Kept
from mechtui.session.paths import reason
from mechtui.session.storage import StorageError

# Seconds from the beginning of one writing to that of the next, and at least from its end: what is changed while one is
# under way waits for the next, so a kill can lose the longer of SECONDS and a writing, and the line of the history.
SECONDS, REST = 0.1, 0.02
# Seconds until what cannot be written is tried again, where nothing changes.
RETRY = 5.0


class State(NamedTuple):
    """What is kept: the session as it is saved, and its history."""

    session: Session
    tree: Tree


class _Session:
    """A session that is kept, or was shown before. kept: its files; None: nothing is kept. waits: it is kept only once
    somebody has changed something in it, which `begun` is from before. last, written: what it is, and what its files
    hold. All of it is frozen: another thread reads it as it is."""

    def __init__(self, kept: Kept | None, waits: bool) -> None:
        self.kept, self.waits = kept, waits
        self.begun: State | None = None
        self.last: State | None = None
        self.written: State | None = None

    def due(self) -> State | None:
        """What is to be written; None where its files hold it, or need not."""
        state = self.last
        if state is None or _same(state, self.written):
            return None
        if self.waits and self.begun is not None:
            self.waits = _done(state) == _done(self.begun)
            if self.waits:
                return None  # once it was kept it is, also as it began
        return state

    def write(self) -> str:
        """Write what is due -> a sentence where that cannot be done, else nothing."""
        state = self.due()
        if self.kept is None or state is None:
            return ""
        why = _written(self.kept, state)
        if not why:
            self.written = state
        return why


class Keeper:
    """Keeps what `put` was given last.

    kept: the session's files; None: nothing is kept. waits: it is kept only once somebody has changed something in it,
    which `begin` says the first state of. problem, named: called from another thread, the one with a sentence
    when writing begins to fail and with an empty one when it succeeds again, the other when the session has got its
    name.
    """

    def __init__(self, kept: Kept | None = None, waits: bool = False) -> None:
        self.problem: Callable[[str], None] = lambda sentence: None
        self.named: Callable[[], None] = lambda: None
        self._shown = _Session(kept, waits)
        # Sessions from before a `switch`, until they are written.
        self._before: list[_Session] = []
        self._failed = ""
        self._changed = threading.Event()
        self._closing = threading.Event()
        self._writing = threading.Lock()
        self._thread: threading.Thread | None = None

    @property
    def name(self) -> str:
        """The session's name, once it is kept under one."""
        kept = self._shown.kept
        return kept.name if kept is not None and kept.held else ""

    @property
    def unkept(self) -> bool:
        """Whether the session as it is cannot be written."""
        return bool(self._failed)

    def begin(self, state: State) -> None:
        """What the session is before anybody changes it."""
        self._shown.begun = state

    def put(self, state: State) -> None:
        """Never waits."""
        if self._shown.kept is None or _same(state, self._shown.last):
            return
        self._shown.last = state
        self._wake()

    def _wake(self) -> None:
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
        for before in tuple(self._before):
            if why := before.write():
                failed = why
            else:
                self._before.remove(before)
                if before.kept is not None:
                    before.kept.release()
        now = self._shown
        held = now.kept is not None and now.kept.held
        self._failed = now.write() or failed
        if now.kept is not None and now.kept.held and not held:
            self.named()

    def switch(self, kept: Kept, waits: bool) -> None:
        """From here on another session is kept, where one is kept at all. Never waits: the one before is written, and
        left to other programs, a moment later or with the next `now`; what cannot be written stays its own, and is
        written once it can be."""
        before, self._shown = self._shown, _Session(kept if self._shown.kept is not None else None, waits)
        if before.kept is not None:
            self._before.append(before)
            self._wake()

    def rename(self, name: str) -> None:
        """Give the session a name, and keep it under that. It asks the disk. Raises StorageError."""
        with self._writing:
            now = self._shown
            if now.kept is None:
                raise StorageError("this session is not kept, so that it has no name")
            now.kept.rename(name)
            now.waits = False
            self._write()

    def close(self) -> str:
        """Write once more, and leave the files to the next program -> as `now`."""
        self._closing.set()
        self._changed.set()
        sentence = self.now()
        for each in (self._shown, *self._before):
            if each.kept is not None:
                each.kept.release()
        return sentence

    def _run(self) -> None:
        said, took = "", 0.0
        while not self._closing.is_set():
            self._changed.wait(RETRY if said else None)
            # What changes meanwhile is written together.
            self._closing.wait(max(SECONDS - took, REST))
            self._changed.clear()
            begun = time.monotonic()
            sentence = self.now()
            took = time.monotonic() - begun
            if sentence != said and not self._closing.is_set():
                self.problem(sentence)
            said = sentence


def _written(kept: Kept, state: State) -> str:
    """Write this -> a sentence where that cannot be done, else nothing."""
    try:
        kept.keep(state.session, state.tree)
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
