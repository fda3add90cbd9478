"""What the window knows besides the session: which answers are fresh, and how the panes are laid out."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from mechtui.link.messages import Answered, EditProblem
from mechtui.session.document import Session
from mechtui.views import Question

KEPT = 48


class View(msgspec.Struct, frozen=True):
    """Layout that the user chose. tab: the pane that shares a place with others and is in front (below the
    attention table); solo: the one beside the next tokens where there is room for one pane only. maximised:
    a pane's name, empty for none. wider: columns that the right side lends to the attention table. generating:
    a generation was asked for by its key, and is renewed with every edit until it is stopped or left."""

    tab: str = "residual"
    solo: str = "attention"
    maximised: str = ""
    wider: int = 0
    generating: bool = False


class Answers:
    """The answers that are true of the session as it is now, and for each pane those it showed last.

    An answer belongs to the current session when the Ask that it answers was sent after the last change
    (`since`); moving the cursor sends a new Ask and leaves the earlier answers as true as they were.
    """

    def __init__(self) -> None:
        self.since = 0
        self._fresh: dict[Question, Answered] = {}
        self._last: dict[str, tuple[Answered, ...]] = {}
        self.problems: tuple[EditProblem, ...] = ()

    def changed(self, generation: int, texts: bool = True) -> None:
        """The session is another from this generation on: nothing known is fresh, but what depends on the texts
        alone where these are the same."""
        self.since = generation
        self._fresh = {q: answered for q, answered in self._fresh.items() if q.OF_TEXTS and not texts}

    def take(self, answered: Answered) -> bool:
        """Keep an answer; False when it is about an older session."""
        if answered.generation < self.since:
            return False
        self._fresh.pop(answered.question, None)
        self._fresh[answered.question] = answered
        while len(self._fresh) > KEPT:
            del self._fresh[next(iter(self._fresh))]
        return True

    def whole(self, question: Question) -> bool:
        """Whether the question needs no asking: its answer is fresh and nothing more of it will come."""
        answered = self._fresh.get(question)
        return answered is not None and not answered.partial

    def wanted(self, questions: Iterable[Question]) -> tuple[Question, ...]:
        """Those without a whole answer, each once, in their order."""
        return tuple(question for question in dict.fromkeys(questions) if not self.whole(question))

    def of(self, pane: str, questions: tuple[Question, ...]) -> tuple[tuple[Answered, ...], bool]:
        """What a pane can paint, and whether that is older than what it asks for."""
        found = tuple(self._fresh[question] for question in questions if question in self._fresh)
        if len(found) == len(questions):
            self._last[pane] = found
            return found, False
        if not found:
            return self._last.get(pane, ()), True
        # Some of the new answers are in: the older ones stand in for the rest.
        kinds = {type(answered.question) for answered in found}
        older = tuple(a for a in self._last.get(pane, ()) if type(a.question) not in kinds)
        return found + older, True


def same_run(before: Session, after: Session) -> bool:
    """Whether two sessions have equal answers to every question."""
    return msgspec.structs.replace(before, views=()) == msgspec.structs.replace(after, views=())


def same_texts(before: Session, after: Session) -> bool:
    """Whether two sessions have equal answers to the questions that depend on the texts alone."""
    others = {"edits": (), "vectors": (), "references": (), "answer": "", "foil": ""}
    return same_run(*(msgspec.structs.replace(session, **others) for session in (before, after)))
