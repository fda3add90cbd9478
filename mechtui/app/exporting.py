"""What the screen shows, gathered for a program that proves it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from mechtui.app.conversation import Conversation
from mechtui.export.program import Exported, Shown
from mechtui.panes.picture import Picture
from mechtui.session.changes import CannotError
from mechtui.session.document import Session
from mechtui.views import Answer, Question, specs, state


def exported(picture: Picture, talk: Conversation, asked: Sequence[Question], seen: Iterable[str]) -> Exported:
    """The session with the answers that are on the screen. asked: what the visible panes ask, seen: their names.
    Raises CannotError."""
    if picture.ready is None or picture.tokens is None:
        raise CannotError("The tokens of this prompt are not known yet.")
    session = picture.document(())
    shown: dict[str, Shown | None] = {}
    for question in asked:
        answered = talk.answers.known(question)
        shown[question.line()] = None if answered is None else (_said(answered.clean), _said(answered.edited))
    of_asked = {type(question) for question in asked}
    for name in seen:
        # A job that is not under way is not asked: what it found before is on the screen all the same.
        kind = specs()[name].question
        if kind not in of_asked:
            question = state(session.views, kind).asked()
            shown.update(_remembered(question, session))
    left_out = {problem.index: problem.sentence for problem in talk.answers.problems if problem.index >= 0}
    dictionaries = tuple(talk.answers.dictionaries.values())
    return Exported(session, picture.ready, picture.tokens, shown, left_out, dictionaries)


def _remembered(question: Question, session: Session) -> dict[str, Shown]:
    """The question line with what the session's sweeps say to it; nothing where they say nothing."""
    clean, edited = (_said(question.remembered(session, run)) for run in (True, False))
    if not session.active_edits():
        edited = None
    return {question.line(): (clean, edited)} if clean or edited else {}


def _said(answer: Answer | None) -> dict[str, object] | None:
    return None if answer is None else answer.json()
