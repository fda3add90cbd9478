"""A question's numbers over a session's cases: each case is a session of its own, asked one after the other.

Nothing is padded, since no two texts share a run: what makes a batch full are the many runs that one case takes. What a
case said stays with the engine, so that a job that was stopped goes on, and edits that come back cost nothing again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Generic, TypeVar

import numpy as np
from msgspec.structs import replace

from mechtui.engine import vector_files
from mechtui.engine.case_runs import NO_TARGET, Kept
from mechtui.engine.errors import Cancelled, SessionError
from mechtui.engine.run import Run
from mechtui.engine.runner import Runner
from mechtui.session.cases import Case
from mechtui.session.document import Session
from mechtui.session.roles import same_everywhere
from mechtui.views import Question

# Tables of one case in one run, by name; every case has them in the same shape.
Numbers = Mapping[str, np.ndarray]
# What is kept of cases, in numbers: 32 MB. The oldest go first.
MOST_NUMBERS = 8_000_000
# Times that there is more to be shown before all is there.
MOST_PARTS = 24
CLEAN, EDITED = 0, 1
# What must be the same for a case to say the same again.
_Key = tuple[Question, Session, tuple[tuple[str, int], ...], tuple[tuple[int, ...], ...]]


class Memory:
    """What cases said, by what decides it; where it is too much the oldest go. runner: for their runs, beside the
    session's own, whose place they do not take; it has those of one case at a time."""

    def __init__(self, runner: Runner) -> None:
        self.runner = runner.aside()
        self._known: dict[_Key, Numbers | str] = {}
        self._size = 0
        self._about: Session | None = None

    def about(self, case: Session | None) -> None:
        """The runs of the other cases are let go of. case: without edits; None: of all."""
        if case != self._about:
            self.runner.store.forget()
        self._about = case

    def get(self, key: _Key) -> Numbers | str | None:
        return self._known.get(key)

    def put(self, key: _Key, found: Numbers | str) -> None:
        self._known[key] = found
        self._size += _size(found)
        while self._size > MOST_NUMBERS and len(self._known) > 1:
            self._size -= _size(self._known.pop(next(iter(self._known))))


def _size(found: Numbers | str) -> int:
    return 0 if isinstance(found, str) else sum(table.size for table in found.values())


# An OpenSession, which stands above this module.
T = TypeVar("T")


class EachCase(Generic[T]):
    """cases: the session's. edited: whether an edit is on. runs: how many runs of cases there are to be asked, the
    edited ones counted by themselves."""

    def __init__(
        self,
        session: Session,
        question: Question,
        kept: Kept,
        memory: Memory,
        open: Callable[[Session, Case, Callable[[float], None]], T],
        numbers: Callable[[T, Run], Numbers],
        cancelled: Callable[[], bool],
        progress: Callable[[float], None],
    ) -> None:
        """open: a case's session on the model, from the session, the case, and who is told how far it is; it raises
        SessionError. numbers: what one run of a case says. Raises SessionError where cases cannot be compared."""
        for edit in session.active_edits():
            if why := same_everywhere(edit):
                raise SessionError(why)
        self.of = session.cases
        self.cases: tuple[Case, ...] = kept.cases(session)
        self.edited = bool(session.active_edits())
        self._memory, self._open, self._numbers = memory, open, numbers
        self._cancelled, self._progress = cancelled, progress
        states = tuple(vector_files.state(file) for vector in session.vectors for file in vector.reads)
        edits = session.active_edits()
        alone = [replace(case.alone(session).work(), edits=()) for case in self.cases]
        self._keys: tuple[tuple[_Key, ...], ...] = tuple(
            tuple(
                (question.asked(), replace(each, edits=run_edits), case.roles, states)
                for case, each in zip(self.cases, alone, strict=True)
            )
            for run_edits in ((), edits)
        )
        self._opened: tuple[int, T | str] | None = None

    @property
    def runs(self) -> int:
        return len(self.cases) * (2 if self.edited else 1)

    def missing(self) -> list[tuple[int, int]]:
        """(case, run) that are still to be asked, the cases in their order."""
        which = (CLEAN, EDITED) if self.edited else (CLEAN,)
        every = ((number, run) for number in range(len(self.cases)) for run in which)
        return [(number, run) for number, run in every if self._memory.get(self._keys[run][number]) is None]

    def fill(self) -> Iterator[tuple[int, int]]:
        """Ask what is missing -> after each (how many are known, of so many). Raises Cancelled."""
        missing = self.missing()
        of = self.runs
        try:
            for at, (number, run) in enumerate(missing):
                if self._cancelled():
                    raise Cancelled
                done = of - len(missing) + at
                opened = self.open(number, lambda share, done=done: self._progress((done + share) / of))  # type: ignore[misc]
                self._memory.put(self._keys[run][number], self._ask(opened, run))
                yield done + 1, of
        finally:
            self._opened = None
            self._memory.about(None)

    def parts(self) -> Iterator[tuple[int, int]]:
        """Ask what is missing, and report how far it is -> whenever there is enough more to be shown (how many are
        known, of so many), but not at the end. Raises Cancelled, and SessionError where no case says anything."""
        told = 0.0
        for done, of in self.fill():
            self._progress(done / of)
            if done < of and done / of - told >= 1 / MOST_PARTS:
                told = done / of
                yield done, of
        problems = self.problems(CLEAN)
        if all(problems):
            raise SessionError(f"no case says anything to this: {problems[0]}")

    def open(self, number: int, progress: Callable[[float], None] = lambda share: None) -> T | str:
        """A case on the model, or why it is not. The last one stays open. Raises Cancelled."""
        if self._opened is None or self._opened[0] != number:
            session = self._keys[EDITED if self.edited else CLEAN][number][1]
            self._memory.about(replace(session, edits=()))
            self._opened = number, self._try(session, self.cases[number], progress)
        found = self._opened[1]
        opened: Any = found
        if not isinstance(found, str):
            opened.progress = progress
        return found

    def _try(self, session: Session, case: Case, progress: Callable[[float], None]) -> T | str:
        try:
            made = self._open(session, case, progress)
        except SessionError as error:
            return str(error)
        opened: Any = made
        if None in opened.targets:
            said = {each.where: each.sentence for each in opened.problems if each.index < 0}
            return said.get("answer") or said.get("foil") or NO_TARGET
        return made

    def _ask(self, opened: Any, run: int) -> Numbers | str:
        if isinstance(opened, str):
            return opened
        refused = next((f"{each.where}: {each.sentence}" for each in opened.problems if each.index >= 0), "")
        if run == EDITED and refused:
            return refused
        try:
            which = opened.clean if run == CLEAN else opened.edited
            if which is None:
                return "its edits have no position in it"
            return {name: np.asarray(table, dtype=np.float32) for name, table in self._numbers(opened, which).items()}
        except SessionError as error:
            return str(error)

    def asked(self, run: int) -> int:
        """How many cases have been asked for this run."""
        return sum(self._memory.get(key) is not None for key in self._keys[run])

    def mean(self, run: int, name: str) -> float | None:
        """Of a number that each case has; None where none has it."""
        table = self.table(run, name, ())
        known = table[np.isfinite(table)]
        return float(known.mean()) if len(known) else None

    def problems(self, run: int) -> tuple[str, ...]:
        """Of each case why it has no numbers in this run; empty where it has them, or may."""
        found = (self._memory.get(key) for key in self._keys[run])
        return tuple(each if isinstance(each, str) else "" for each in found)

    def table(self, run: int, name: str, shape: tuple[int, ...]) -> np.ndarray:
        """[case, *shape] float32, NaN where a case has no numbers (yet)."""
        none = np.full(shape, np.nan, dtype=np.float32)
        found = [self._memory.get(key) for key in self._keys[run]]
        return np.stack([none if each is None or isinstance(each, str) else each[name] for each in found])
