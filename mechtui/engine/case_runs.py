"""A session's edits over many prompts: what each does to the logit difference after the prompt's last token.

What was measured stays with the engine, by the very run that it is of: edits that come back, and a job that was
stopped, cost nothing again.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import takewhile
from typing import Protocol

import numpy as np
from torch import Tensor

from mechtui.engine.apply import Givens
from mechtui.engine.batches import parts_of, run_ahead
from mechtui.engine.errors import Cancelled, SessionError
from mechtui.engine.model import Model
from mechtui.engine.overlap import in_order
from mechtui.engine.runner import NOTHING, Runner, Text
from mechtui.engine.variants import batch_tokens
from mechtui.link.messages import EditProblem
from mechtui.session.case_templates import family_of, make
from mechtui.session.cases import Case, CasesError, load
from mechtui.session.document import Session
from mechtui.session.grammar.cases import MOST, parse_cases
from mechtui.session.grammar.words import LineError
from mechtui.session.hook_edits import HookEdits, Ids

# Numbers that are kept, or as many as one job has; the oldest go first.
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
        self.opened: tuple[tuple[Session, ...], tuple[OpenCase, ...]] = ((), ())
        self._made: tuple[object, tuple[Case, ...]] = (None, ())
        # Means over prompts of one length, by what tells the prompts, and whether MLPs have one; by hook.
        self.means: dict[tuple[int, bool], dict[str, Tensor]] = {}

    def cases(self, session: Session) -> tuple[Case, ...]:
        """The session's, see `cases_of`; those that were made last are made once. Raises SessionError."""
        wanted = parse_cases(session.cases) if session.cases else None
        if wanted is None or not wanted.family or wanted.file:  # a file may be another by now
            return cases_of(session, self.runner.model)
        if self._made[0] != wanted:
            self._made = wanted, cases_of(session, self.runner.model)
        return self._made[1]

    def _make_room(self, keys: Sequence[Key], more: int) -> None:
        """So many numbers will be added: where they are too many, the oldest go, but none of these."""
        if len(self.known) + more > MOST_KEPT:
            wanted = set(keys)
            for old in [key for key in self.known if key not in wanted][: max(more, MOST_KEPT // 10)]:
                del self.known[old]

    def run(
        self, keys: Sequence[Key], cancelled: Callable[[], bool], given: Givens = NOTHING
    ) -> Iterator[tuple[int, int]]:
        """Run what is not known of these -> after each batch (how many are, of so many). given: see `parts_of`. Raises
        Cancelled."""
        missing = [key for key in keys if key not in self.known]
        done, at = len(keys) - len(missing), 0
        runner = self.runner
        self._make_room(keys, len(missing))
        try:
            while at < len(missing):
                length = len(missing[at][0])
                size = max(1, min(TOKENS, batch_tokens(runner)) // length)
                batch = list(takewhile(lambda key: len(key[0]) == length, missing[at : at + size]))  # noqa: B023
                if any(edit.source_ids for key in batch for edit in key[1]):
                    batch = batch[:MOST_TAKING]
                    sources = dict.fromkeys(edit.source_ids for key in batch for edit in key[1] if edit.source_ids)
                    run_ahead(runner, [(ids, ()) for ids in sources], cancelled)
                texts: list[Text] = [(key[0], key[1]) for key in batch]
                for part in parts_of(runner, texts, cancelled, given):
                    for number, logits in zip(part.numbers, part.logits, strict=True):
                        key = batch[number]
                        value = float(logits[key[2]] - logits[key[3]])
                        self.known[key] = value if math.isfinite(value) else math.inf
                at, done = at + len(batch), done + len(batch)
                yield done, len(keys)
        finally:
            runner.store.forget()


# A session's runs of a case: without edits, with those that are on, and from here on with each edit alone.
CLEAN, EDITED, ALONE = 0, 1, 2


@dataclass(frozen=True)
class OpenCase:
    """A case on the model. ids: its prompt's. targets: of answer and foil. edits: of each of its runs. problems: why it
    has no number in that run; empty where it has one."""

    ids: Ids
    targets: tuple[int, int]
    edits: tuple[HookEdits, ...]
    problems: tuple[str, ...]

    def key(self, run: int) -> Key:
        return (self.ids, self.edits[run], *self.targets)


@dataclass(frozen=True)
class Differences:
    """Of each case: the logit difference, NaN where it was not computed (yet), and why it never will be, else
    empty."""

    values: np.ndarray
    problems: tuple[str, ...]


class CaseRuns:
    """A session's cases on the model. edited: whether an edit is on. opened: of each case what the model reads."""

    def __init__(
        self, session: Session, kept: Kept, open: Callable[[Session], Opened], cancelled: Callable[[], bool]
    ) -> None:
        """open: a session on the model; it raises SessionError. Raises SessionError, Cancelled."""
        self._kept, self.cancelled = kept, cancelled
        self.cases = kept.cases(session)
        self.edited = bool(session.active_edits())
        self._edits = len(session.edits)
        self.opened = self._all([case.alone(session) for case in self.cases], open)

    def _all(self, sessions: Sequence[Session], open: Callable[[Session], Opened]) -> tuple[OpenCase, ...]:
        """The same sessions as before are not read again, unless a vector's file may be another by now."""
        reads = any(vector.reads for session in sessions[:1] for vector in session.vectors)
        if reads or self._kept.opened[0] != tuple(sessions):
            found = []
            for session in sessions:
                if self.cancelled():
                    raise Cancelled
                found.append(_case(session, open))
            self._kept.opened = tuple(sessions), tuple(found)
        return self._kept.opened[1]

    def clean(self) -> Differences:
        return self._differences(CLEAN)

    def of_edited(self) -> Differences:
        """Of the run with the edits that are on."""
        return self._differences(EDITED)

    def alone(self) -> list[Differences]:
        """Of the runs with each edit of the session alone, on or off."""
        return [self._differences(ALONE + number) for number in range(self._edits)]

    def _differences(self, run: int) -> Differences:
        values = np.full(len(self.cases), np.nan)
        problems = []
        for number, case in enumerate(self.opened):
            problem = case.problems[run]
            value = math.nan if problem else self._kept.known.get(case.key(run), math.nan)
            if math.isinf(value):
                problem, value = "its logits are not finite", math.nan
            values[number] = value
            problems.append(problem)
        return Differences(values, tuple(problems))

    def _keys(self, runs: Sequence[int]) -> list[Key]:
        """Of all that can be had in these runs, each once, the short texts first."""
        found = dict.fromkeys(case.key(run) for case in self.opened for run in runs if not case.problems[run])
        return sorted(found, key=lambda key: len(key[0]))

    def fill(self) -> Iterator[tuple[int, int]]:
        """Run what is missing: clean and edited first, each edit alone behind -> after each batch (runs that are known
        now, of so many). Raises Cancelled."""
        first = self._keys((CLEAN, EDITED) if self.edited else (CLEAN,))
        every = list(dict.fromkeys([*first, *self._keys(range(ALONE, ALONE + self._edits))]))
        yield from self._kept.run(every, self.cancelled)


def _case(session: Session, open: Callable[[Session], Opened]) -> OpenCase:
    edits = session.edits

    def without(problem: str) -> OpenCase:
        count = ALONE + len(edits)
        return OpenCase((), (0, 0), ((),) * count, (problem,) * count)

    try:
        case = open(session)
    except SessionError as error:
        return without(str(error))
    answer, foil = case.targets
    general = {problem.where: problem.sentence for problem in case.problems if problem.index < 0}
    if answer is None or foil is None:
        return without(general.get("answer") or general.get("foil") or NO_TARGET)
    refused = {
        problem.index: general.get("source", f"{problem.where}: {problem.sentence}")
        for problem in case.problems
        if problem.index >= 0
    }
    on = [number for number, edit in enumerate(edits) if edit.on]
    alone = [in_order(case.hook_edits(number) or ()) for number in range(len(edits))]
    together = in_order(each for number in on for each in case.hook_edits(number) or ())
    why = next((refused[number] for number in on if number in refused), "")
    problems = ("", why, *(refused.get(number, "") for number in range(len(edits))))
    return OpenCase(case.ids, (answer, foil), ((), together, *alone), problems)
