"""`mechtui export`: a session is answered by the model process, and written as a program that proves the answers."""

from __future__ import annotations

import asyncio

from mechtui.config import Settings
from mechtui.export.file import written
from mechtui.export.output import ending_of, put
from mechtui.export.program import Exported, ExportError
from mechtui.headless.asking import answer_one
from mechtui.headless.ending import FAILED, Stop, check_prompt, ended
from mechtui.headless.work import items_of
from mechtui.session.document import Session
from mechtui.views import Answer
from mechtui.views.tokens import Tokens, TokensAnswer

# By the word behind `export`, what a file's name ends in.
ENDINGS = {"script": ".py", "notebook": ".ipynb"}


def run_export(session: Session, views: tuple[str, ...], kind: str, output: str, settings: Settings, tool: str) -> int:
    """Write the session as a program -> exit status. views: question lines besides the session's own. kind: of
    ENDINGS. output: a file's name, - for the standard output. tool: the library that the program uses."""

    def export() -> None:
        ending_of(output, (ENDINGS[kind],))
        check_prompt(session)
        try:
            put(written(asyncio.run(answered(session, views, settings)), ENDINGS[kind], tool), output)
        except ExportError as error:
            raise Stop(FAILED, str(error)) from error

    return ended(export)


async def answered(session: Session, views: tuple[str, ...], settings: Settings) -> Exported:
    """The session with the model process's answers to its questions. Raises LineError and Stop."""
    [item] = items_of([("", session)], views)
    ready, found, dictionaries = await answer_one(item, settings)
    tokens = found[Tokens()][0]
    assert isinstance(tokens, TokensAnswer)
    answers = {line: found[question] for line, question in item.questions.items()}
    shown = {line: (_said(clean), _said(edited)) for line, (clean, edited) in answers.items()}
    return Exported(session, ready, tokens, shown, dictionaries=dictionaries)


def _said(answer: Answer | None) -> dict[str, object] | None:
    return None if answer is None else answer.json()
