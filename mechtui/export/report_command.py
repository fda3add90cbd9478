"""`mechtui export report`: a session is answered by the model process, and what it says becomes a page."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

from mechtui.config import Settings
from mechtui.export import report_html, report_markdown
from mechtui.export.output import ending_of, put
from mechtui.export.report import EFFECTS, Report, Shown
from mechtui.export.run_command import run_command
from mechtui.headless.asking import Asker
from mechtui.headless.ending import check_prompt, ended
from mechtui.headless.work import Item
from mechtui.session.document import Session
from mechtui.views import Question, parse_question
from mechtui.views.tokens import Tokens, TokensAnswer
from mechtui.visible import write_over

PAGES = {".html": report_html.page, ".md": report_markdown.page}
# What a session shows that names no views; with edits also what each of them does.
DEFAULT_VIEWS = ("next_tokens", "heads", "lens", "attribution")
WITH_EDITS = ("effects",)


def run_report(session: Session, views: tuple[str, ...], output: str, settings: Settings) -> int:
    """Write the report -> exit status. views: question lines besides the session's own. output: a file's name, - for
    Markdown on the standard output."""

    def report() -> None:
        page = PAGES[ending_of(output, PAGES) or ".md"]
        check_prompt(session)
        put(page(asyncio.run(gathered(session, views, settings))), output)

    return ended(report)


async def gathered(session: Session, views: tuple[str, ...], settings: Settings) -> Report:
    """The session with the model process's answers to its questions. Raises LineError and Stop."""
    default = DEFAULT_VIEWS + (WITH_EDITS if session.edits else ())
    lines = session.views + views or default
    questions = {line: parse_question(line) for line in lines}
    position = _position(session, questions.values())
    asked = {line: question.asked() for line, question in questions.items()}
    # What each edit does stands beside it, also where no view says it.
    effects = EFFECTS(position)
    item = Item(session, asked | ({effects.line(): effects} if session.edits else {}))
    try:
        async with Asker(settings, write_over) as asker:
            await asker.load(session.model)
            asker.ask(item)
            answered = await asker.answers(item)
            checked = await asker.wait_for_check()
            ready = asker.ready
    finally:
        write_over("")
    assert ready is not None
    tokens = answered[Tokens()][0]
    assert isinstance(tokens, TokensAnswer)
    shown = tuple(Shown(question, *answered[question.asked()]) for question in questions.values())
    return Report(
        session,
        ready,
        tokens,
        shown,
        run_command(session, lines, settings),
        position,
        checked,
        answered[effects][0] if session.edits else None,
    )


def _position(session: Session, questions: Iterable[Question]) -> int:
    """The token that the session looks at; -1 for the last."""
    if session.focus is not None:
        return session.focus.position
    named = (getattr(question, "position", -1) for question in questions)
    return next((position for position in named if position != -1), -1)
