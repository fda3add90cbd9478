"""`mechtui export`: a session is answered by the model process, and written as a program that proves the answers."""

from __future__ import annotations

import asyncio
from pathlib import Path

from mechtui.config import Settings
from mechtui.export.file import written
from mechtui.export.program import Exported, ExportError
from mechtui.headless import FAILED, INTERRUPTED, MISTAKE, Stop, _Run, _say
from mechtui.session.document import Session
from mechtui.session.grammar.words import LineError
from mechtui.session.paths import PathError, reason, to_write, write_private
from mechtui.views import Answer, parse_question
from mechtui.views.tokens import Tokens, TokensAnswer
from mechtui.visible import seen

DEFAULT_VIEWS = ("next_tokens",)
# By the word behind `export`, what a file's name ends in.
ENDINGS = {"script": ".py", "notebook": ".ipynb"}


def run_export(session: Session, views: tuple[str, ...], kind: str, output: str, settings: Settings) -> int:
    """Write the session as a program -> exit status. views: question lines besides the session's own. kind: of
    ENDINGS. output: a file's name, - for the standard output."""
    try:
        if output != "-":
            _check_output(output, ENDINGS[kind])
        if not session.prompt and session.bos != "yes":
            raise Stop(MISTAKE, "there is no prompt: --prompt TEXT says one, or a session file that has one")
        exported = asyncio.run(answered(session, views, settings))
        _write(written(exported, ENDINGS[kind]), output)
    except LineError as error:
        return _say(MISTAKE, error.shown())
    except ExportError as error:
        return _say(FAILED, seen(str(error)))
    except Stop as stop:
        return _say(stop.status, seen(str(stop)))
    except KeyboardInterrupt:
        return _say(INTERRUPTED, "interrupted")
    return 0


async def answered(session: Session, views: tuple[str, ...], settings: Settings) -> Exported:
    """The session with the model process's answers to its questions. Raises LineError and Stop."""
    lines = session.views + views or DEFAULT_VIEWS
    questions = {line: parse_question(line).asked() for line in lines}
    run = await _Run(session, tuple(questions.values()), settings).answers()
    assert run.ready is not None
    tokens = run.answered[Tokens()][0]
    assert isinstance(tokens, TokensAnswer)
    answers = {line: run.answered[question] for line, question in questions.items()}
    return Exported(
        session, run.ready, tokens, {line: (_said(clean), _said(edited)) for line, (clean, edited) in answers.items()}
    )


def _said(answer: Answer | None) -> dict[str, object] | None:
    return None if answer is None else answer.json()


def _check_output(output: str, ending: str) -> None:
    """Before the model runs, not after. Raises Stop."""
    if Path(output).suffix != ending:
        raise Stop(MISTAKE, f"--output {output} should end in {ending}, or be - for the standard output")
    try:
        to_write(output)
    except PathError as error:
        raise Stop(MISTAKE, f"--output {output}: {error}") from error


def _write(text: str, output: str) -> None:
    if output == "-":
        print(text, end="")
        return
    try:
        # It holds prompts, so that nobody else may read it; an older one stays until the new one is whole.
        write_private(to_write(output), text)
    except PathError as error:
        raise Stop(FAILED, str(error)) from error
    except OSError as error:
        raise Stop(FAILED, f"{output} cannot be written: {reason(error)}") from error
