"""A job that was under way when its app went, and goes on in the model process that stayed."""

from __future__ import annotations

from mechtui.app.state import difference
from mechtui.link.messages import Ask
from mechtui.panes.desk import Desk
from mechtui.views import Question, spec_of, state


def job_of(ask: Ask) -> Question | None:
    """The question of an Ask that costs runs of its own and outlasts what one looks at meanwhile."""
    return next((each for each in ask.questions if each.costly and not spec_of(each).renews), None)


def go_on(desk: Desk, ask: Ask) -> None:
    """Take up the job of the app before, if the session is the one that it is of."""
    question = job_of(ask)
    if question is None or difference(ask.session, desk.session) is not None:
        return
    if state(desk.session.views, type(question)).asked() != question:
        desk.put(question)
    desk.start(spec_of(question).name)
