"""What the window knows besides the session: which answers are fresh, and how the panes are laid out."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec
from msgspec.structs import replace

from mechtui.app.workspaces import RAIL
from mechtui.link.messages import Answered, EditProblem
from mechtui.session.dictionaries import About
from mechtui.session.document import Session
from mechtui.session.history import LogitDiff
from mechtui.views import Question, spec_of
from mechtui.views.spec import Follows

KEPT = 48


class Arrangement(msgspec.Struct, frozen=True):
    """How the user arranged the panes. workspace: its number, from 0. recent: the views that were called in it, the
    latest first: of those that share a place it is in front. elsewhere: the same of the other workspaces, by number.
    guest: a view that stands in no workspace and was called all the same; empty for none. maximised: a pane's name,
    empty for none. wider: columns that the right side lends to the left. job: the view whose many runs were asked for;
    empty for none."""

    workspace: int = 0
    recent: tuple[str, ...] = ()
    guest: str = ""
    maximised: str = ""
    wider: int = 0
    job: str = ""
    elsewhere: tuple[tuple[int, tuple[str, ...]], ...] = ()

    def at(self, workspace: int) -> Arrangement:
        """In this workspace, with what was in front when one was there last; the rail is the same in all of them."""
        left = {**dict(self.elsewhere), self.workspace: self.recent}
        rail = tuple(view for view in self.recent if view in RAIL)
        recent = (*(view for view in left.pop(workspace, ()) if view not in RAIL), *rail)
        return replace(self, workspace=workspace, recent=recent, elsewhere=tuple(sorted(left.items())))

    def with_front(self, view: str) -> Arrangement:
        """With this view to the front, where views share a place."""
        recent = (view, *(each for each in self.recent if each != view))
        return replace(self, recent=recent, maximised=view if self.maximised else "")


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
        self.dictionaries: dict[str, About] = {}  # by what lines called them last

    def changed(self, generation: int, what: Follows) -> None:
        """From this generation on `what` is another: only what does not follow it stays fresh."""
        self.since = generation
        self._fresh = {q: answered for q, answered in self._fresh.items() if spec_of(q).follows < what}

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

    def fresh(self, question: Question) -> bool:
        """Whether there is an answer, or a part of one, to the session as it is now."""
        return question in self._fresh

    def known(self, question: Question) -> Answered | None:
        """The whole answer to the session as it is now; None where there is none."""
        return self._fresh[question] if self.whole(question) else None

    def measured(self) -> LogitDiff | None:
        """The logit difference of the session as it is, after the last token; where that is not known, the newest."""
        found = [each for each in map(_measured, self._fresh.values()) if each is not None]
        return next((each for each in found if each.position == -1), found[-1] if found else None)

    def wanted(self, questions: Iterable[Question]) -> tuple[Question, ...]:
        """Those without a whole answer, each once, in their order."""
        return tuple(question for question in dict.fromkeys(questions) if not self.whole(question))

    def before(self, pane: str, questions: tuple[Question, ...]) -> tuple[Answered, ...]:
        """What the pane was given last in answer to these, of whatever session."""
        return tuple(each for each in self._last.get(pane, ()) if each.question in questions)

    def of(self, pane: str, questions: tuple[Question, ...]) -> tuple[tuple[Answered, ...], bool]:
        """What a pane can paint, and whether that is older than what it asks for."""
        found = tuple(self._fresh[question] for question in questions if question in self._fresh)
        if questions and not found:
            return self._last.get(pane, ()), True
        # Some of the new answers are in: the older ones stand in for the rest, as far as there are any.
        missing = {question.unfocused() for question in questions if question not in self._fresh}
        older = tuple(a for a in self._last.get(pane, ()) if a.question.unfocused() in missing)
        if not older:
            self._last[pane] = found
        return found + older, bool(older)


def _measured(answered: Answered) -> LogitDiff | None:
    clean, edited = (each.measured() if each is not None else None for each in (answered.clean, answered.edited))
    return None if clean is None else LogitDiff(clean, edited, getattr(answered.question, "position", -1))


def difference(before: Session, after: Session) -> Follows | None:
    """What the answers to a session follow and is another in the other: the first of model, texts, session. None
    where all answers are equal."""
    before, after = (replace(session, views=()) for session in (before, after))
    if before == after:
        return None
    if before.model != after.model:
        return Follows.MODEL
    before, after = (
        replace(session, edits=(), vectors=(), saes=(), references=(), answer="", foil="", linear=False)
        for session in (before, after)
    )
    return Follows.SESSION if before == after else Follows.TEXTS
