"""A session's edits over many prompts: what each does to the logit difference after the prompt's last token.

What was measured stays with the engine, by the very run that it is of: edits that come back, and a job that was
stopped, cost nothing again.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Protocol

import numpy as np

from mechtui.engine.batches import Text, parts_of, run_ahead
from mechtui.engine.errors import Cancelled, SessionError
from mechtui.engine.model import Model
from mechtui.engine.overlap import in_order
from mechtui.engine.runner import Runner
from mechtui.engine.variants import batch_tokens
from mechtui.link.messages import EditProblem
from mechtui.session.case_templates import family_of, make
from mechtui.session.cases import Case, CasesError, load
from mechtui.session.document import Session
from mechtui.session.grammar.cases import MOST, parse_cases
from mechtui.session.grammar.words import LineError
from mechtui.session.hook_edits import HookEdits, Ids

# Numbers that are kept; the oldest go first.
MOST_KEPT = 50_000
# Of texts that take values from other runs so many run at once: their sources' runs are kept meanwhile.
MOST_TAKING = 12
# Tokens of a batch: the smaller, the sooner there is something to see and the sooner it can be stopped.
TOKENS = 512
NO_TARGET = "it names no answer and foil"

# A run's tokens and edits, and the two tokens whose logits are compared.
Key = tuple[Ids, HookEdits, int, int]


def cases_of(session: Session, model: Model) -> tuple[Case, ...]:
    """The cases that a session names, made for this model where they are made. Raises SessionError."""
    if not session.cases:
        raise SessionError("the session names no cases: :cases ioi 64 makes some")
    try:
        wanted = parse_cases(session.cases)
        if wanted.family:
            family = family_of(wanted.family, wanted.file)
            return make(
                family,
                wanted.family,
                wanted.count,
                wanted.seed,
                lambda text: model.encode(text, "no"),
                model.ready.name,
            )
        found = load(wanted.file)
    except (LineError, CasesError) as error:
        raise SessionError(f"cases: {error}") from error
    if len(found) > MOST:
        raise SessionError(f"cases: {wanted.file} holds {len(found):,} cases, and {MOST:,} is the most")
    return found


class Opened(Protocol):
    """A case's session on the model, as `mechtui.engine.api.OpenSession` has it."""

    ids: Ids
    targets: tuple[int | None, int | None]

    @property
    def problems(self) -> tuple[EditProblem, ...]: ...

    def hook_edits(self, number: int) -> HookEdits | None: ...


class Kept:
    """What is known of cases' runs, and the runner that runs them: beside the session's own runs, whose place they do
    not take."""

    def __init__(self, runner: Runner) -> None:
        self.runner = runner.aside()
        self.known: dict[Key, float] = {}
        self.opened: tuple[tuple[Session, ...], tuple[_Case, ...]] = ((), ())
        self.made: tuple[object, tuple[Case, ...]] = (None, ())

    def put(self, key: Key, value: float) -> None:
        self.known[key] = value
        if len(self.known) > MOST_KEPT:
            for old in list(islice(self.known, MOST_KEPT // 10)):
                del self.known[old]


@dataclass(frozen=True)
class _Case:
    """A case on the model. ids: its prompt's. targets: of answer and foil. edits: those of the session's that are on.
    problem: why it has no number at all; edit_problem: why it has none of the edited run. Empty where it has one."""

    ids: Ids = ()
    targets: tuple[int, int] = (0, 0)
    edits: HookEdits = ()
    problem: str = ""
    edit_problem: str = ""


@dataclass(frozen=True)
class Differences:
    """Of each case: the logit difference, NaN where it was not computed (yet), and why it never will be, else
    empty."""

    values: np.ndarray
    problems: tuple[str, ...]


class CaseRuns:
    """A session's cases on the model. edited: whether an edit is on."""

    def __init__(
        self, session: Session, kept: Kept, open: Callable[[Session], Opened], cancelled: Callable[[], bool]
    ) -> None:
        """open: a session on the model; it raises SessionError. Raises SessionError, Cancelled."""
        self._kept, self._cancelled = kept, cancelled
        self.cases = self._cases(session)
        self.edited = any(edit.on for edit in session.edits)
        self._texts = self._all([case.alone(session) for case in self.cases], open)

    def _cases(self, session: Session) -> tuple[Case, ...]:
        wanted = parse_cases(session.cases) if session.cases else None
        if wanted is None or not wanted.family or wanted.file:  # a file may be another by now
            return cases_of(session, self._kept.runner.model)
        if self._kept.made[0] != wanted:
            self._kept.made = wanted, cases_of(session, self._kept.runner.model)
        return self._kept.made[1]

    def _all(self, sessions: Sequence[Session], open: Callable[[Session], Opened]) -> tuple[_Case, ...]:
        """The same sessions as before are not read again."""
        if self._kept.opened[0] != tuple(sessions):
            found = []
            for session in sessions:
                if self._cancelled():
                    raise Cancelled
                found.append(_case(session, open))
            self._kept.opened = tuple(sessions), tuple(found)
        return self._kept.opened[1]

    def clean(self) -> Differences:
        return self._differences(edited=False)

    def of_edited(self) -> Differences:
        """Of the run with the edits that are on."""
        return self._differences(edited=True)

    def _differences(self, edited: bool) -> Differences:
        values = np.full(len(self.cases), np.nan)
        problems = []
        for number, text in enumerate(self._texts):
            problem = text.problem or (text.edit_problem if edited else "")
            value = math.nan if problem else self._kept.known.get(_key(text, edited), math.nan)
            if math.isinf(value):
                problem, value = "its logits are not finite", math.nan
            values[number] = value
            problems.append(problem)
        return Differences(values, tuple(problems))

    def _runs(self) -> list[tuple[_Case, bool]]:
        """All that can be had: a case, and whether its edited run."""
        ways = (False, True) if self.edited else (False,)
        return [
            (text, edited)
            for text in self._texts
            for edited in ways
            if not (text.problem or (edited and text.edit_problem))
        ]

    def fill(self) -> Iterator[float]:
        """Run what is missing -> after each batch the share that is done. Raises Cancelled."""
        every = self._runs()
        missing = {_key(text, edited): (text, edited) for text, edited in every if self._unknown(text, edited)}
        runs, done = len({_key(text, edited) for text, edited in every}), 0
        done = runs - len(missing)
        keys = sorted(missing, key=lambda key: len(key[0]))
        runner, at = self._kept.runner, 0
        while at < len(keys):
            length = len(keys[at][0])
            size = max(1, min(TOKENS, batch_tokens(runner)) // length)
            batch = [key for key in keys[at : at + size] if len(key[0]) == length]
            if any(edit.source_ids for key in batch for edit in key[1]):
                batch = batch[:MOST_TAKING]
                sources = dict.fromkeys(edit.source_ids for key in batch for edit in key[1] if edit.source_ids)
                run_ahead(runner, [(ids, ()) for ids in sources], self._cancelled)
            texts: list[Text] = [(key[0], key[1]) for key in batch]
            for part in parts_of(runner, texts, self._cancelled):
                for number, logits in zip(part.numbers, part.logits, strict=True):
                    key = batch[number]
                    value = float(logits[key[2]] - logits[key[3]])
                    self._kept.put(key, value if math.isfinite(value) else math.inf)
            at += len(batch)
            done += len(batch)
            yield done / runs
        runner.store.forget()

    def _unknown(self, text: _Case, edited: bool) -> bool:
        return _key(text, edited) not in self._kept.known


def _key(text: _Case, edited: bool) -> Key:
    return (text.ids, text.edits if edited else (), *text.targets)


def _case(session: Session, open: Callable[[Session], Opened]) -> _Case:
    try:
        case = open(session)
    except SessionError as error:
        return _Case(problem=str(error))
    answer, foil = case.targets
    general = {problem.where: problem.sentence for problem in case.problems if problem.index < 0}
    if answer is None or foil is None:
        return _Case(problem=general.get("answer") or general.get("foil") or NO_TARGET)
    refused = {problem.index: f"{problem.where}: {problem.sentence}" for problem in case.problems}
    why = next((refused[number] for number, edit in enumerate(session.edits) if edit.on and number in refused), "")
    edits = tuple(
        each for number, edit in enumerate(session.edits) if edit.on for each in case.hook_edits(number) or ()
    )
    return _Case(case.ids, (answer, foil), in_order(edits), "", general.get("source", why) if why else "")
