"""`mechtui export report`: a session is answered by the model process, and what it says becomes a page."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Iterable
from pathlib import Path

from mechtui.config import Settings, log_file
from mechtui.export import report_html, report_markdown
from mechtui.export.report import Report, Shown
from mechtui.export.run_command import run_command
from mechtui.link.client import Client, Life
from mechtui.link.messages import (
    Answered,
    Ask,
    Checked,
    EditProblem,
    Failed,
    Finished,
    Load,
    Ready,
    Reply,
    Stage,
    Started,
)
from mechtui.session.document import Session
from mechtui.session.grammar.words import LineError
from mechtui.session.paths import PathError, reason, to_write, write_private
from mechtui.session.storage import StorageError
from mechtui.views import Answer, Question, parse_question
from mechtui.views.tokens import Tokens, TokensAnswer
from mechtui.visible import seen, write_over

MISTAKE, NO_MODEL, FAILED, INTERRUPTED = 2, 3, 4, 130
PAGES = {".html": report_html.page, ".md": report_markdown.page}
# What a session shows that names no views; with edits also what each of them does.
DEFAULT_VIEWS = ("next_tokens", "heads", "lens", "attribution")
WITH_EDITS = ("effects",)


def run_report(session: Session, views: tuple[str, ...], output: str, settings: Settings) -> int:
    """Write the report -> exit status. views: question lines besides the session's own. output: a file's name, - for
    Markdown on the standard output."""
    try:
        page = PAGES[_ending(output)]
        if not session.prompt and session.bos != "yes":
            raise ReportError(MISTAKE, "there is no prompt: --prompt TEXT says one, or a session file that has one")
        text = page(asyncio.run(gathered(session, views, settings)))
        if output == "-":
            print(text, end="")
        else:
            _write(text, output)
    except LineError as error:
        return _say(MISTAKE, error.shown())
    except StorageError as error:
        return _say(MISTAKE, seen(str(error)))
    except ReportError as error:
        return _say(error.status, seen(str(error)))
    except KeyboardInterrupt:
        return _say(INTERRUPTED, "interrupted")
    return 0


class ReportError(Exception):
    """There is no report: one sentence, and the exit status."""

    def __init__(self, status: int, sentence: str) -> None:
        super().__init__(sentence)
        self.status = status


def _say(status: int, sentence: str) -> int:
    print(f"mechtui: {sentence}", file=sys.stderr)
    return status


def _ending(output: str) -> str:
    """Before the model runs, not after. Raises ReportError."""
    if output == "-":
        return ".md"
    ending = Path(output).suffix.lower()
    if ending not in PAGES:
        raise ReportError(MISTAKE, f"--output {output} should end in .html or .md, or be - for the standard output")
    try:
        to_write(output)
    except PathError as error:
        raise ReportError(MISTAKE, f"--output {error}") from error
    return ending


async def gathered(session: Session, views: tuple[str, ...], settings: Settings) -> Report:
    """The session with the model process's answers to its questions. Raises LineError and ReportError."""
    default = DEFAULT_VIEWS + (WITH_EDITS if session.edits else ())
    lines = session.views + views or default
    questions = {line: parse_question(line) for line in lines}
    asked = tuple(dict.fromkeys((Tokens(), *(question.asked() for question in questions.values()))))
    heard = await _Asked(session, asked, settings).answers()
    assert heard.ready is not None
    tokens = heard.answered[Tokens()][0]
    assert isinstance(tokens, TokensAnswer)
    shown = tuple(Shown(question, *heard.answered[question.asked()]) for question in questions.values())
    command = run_command(session, lines, settings)
    position = _position(session, questions.values())
    return Report(session, heard.ready, tokens, shown, command, position, heard.checked)


class _Asked:
    """A session's questions to a model process of its own, and what is heard of it."""

    def __init__(self, session: Session, questions: tuple[Question, ...], settings: Settings) -> None:
        self._session, self._questions = session, questions
        self._load = Load(
            session.model,
            settings.device,
            settings.dtype,
            settings.device_map,
            settings.fold_ln,
            settings.trust_remote_code,
        )
        self._client = Client(log=log_file(settings))
        self._replies: asyncio.Queue[Reply | Life] = asyncio.Queue()
        self._finished = False
        self.ready: Ready | None = None
        self.checked: Checked | None = None
        self.answered: dict[Question, tuple[Answer | None, Answer | None]] = {}

    async def answers(self) -> _Asked:
        """Wait for all answers and for the self-check. Raises LineError and ReportError."""
        self._client.on_reply = self._replies.put_nowait
        write_over("starting the model process")
        await self._client.start()
        try:
            self._client.send(self._load)
            self._client.send(Ask(1, self._session, self._questions))
            while not self._finished or self.checked is None:
                self._hear(await self._replies.get())
        finally:
            await self._client.close()
            write_over("")
        return self

    def _refuse(self, problems: Iterable[EditProblem]) -> None:
        """What cannot be applied is a mistake here: nobody would see that it was left out."""
        for problem in problems:
            if problem.index < 0 or self._session.edits[problem.index].on:
                raise ReportError(
                    MISTAKE, f"{problem.where}: {problem.sentence}" if problem.where else problem.sentence
                )

    def _hear(self, reply: Reply | Life) -> None:
        match reply:
            case Stage():
                write_over(f"{reply.stage} {reply.detail}".rstrip())
            case Ready():
                self.ready = reply
            case Checked():
                self.checked = reply
            case Started():
                self._refuse(reply.problems)
            case Answered(partial=False):
                self.answered[reply.question] = (reply.clean, reply.edited)
                write_over(f"computed {reply.question.line()}")
            case Finished():
                self._finished = True
            case Failed(task="load"):
                raise ReportError(NO_MODEL, reply.sentence)
            case Failed(question=question) if question is not None:
                raise LineError(question.line(), 0, reply.sentence)
            case Failed():
                raise ReportError(MISTAKE if reply.mistake else FAILED, reply.sentence)
            case Life(state="starting", sentence=sentence) if sentence:
                _say(0, seen(sentence))
            case Life(state="restarting" | "stopped"):
                raise ReportError(FAILED, reply.sentence)
            case _:
                pass


def _position(session: Session, questions: Iterable[Question]) -> int:
    """The token that the session looks at; -1 for the last."""
    if session.focus is not None:
        return session.focus.position
    named = (getattr(question, "position", -1) for question in questions)
    return next((position for position in named if position != -1), -1)


def _write(text: str, output: str) -> None:
    try:
        # It holds prompts, so that nobody else may read it; an older one stays until the new one is whole.
        write_private(to_write(output), text)
    except PathError as error:
        raise ReportError(FAILED, str(error)) from error
    except OSError as error:
        raise ReportError(FAILED, f"{output} cannot be written: {reason(error)}") from error
