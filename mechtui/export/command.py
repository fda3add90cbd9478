"""`mechtui export`: a session is answered by the model process, and written as a program that proves the answers."""

from __future__ import annotations

import asyncio
from pathlib import Path

from mechtui.config import Settings
from mechtui.export.file import written
from mechtui.export.program import Exported, ExportError
from mechtui.headless.asking import answer_one
from mechtui.headless.ending import FAILED, INTERRUPTED, MISTAKE, Stop, say
from mechtui.headless.work import items_of
from mechtui.session.document import Session
from mechtui.session.grammar.words import LineError
from mechtui.session.paths import PathError, reason, to_write, write_private
from mechtui.views import Answer
from mechtui.views.tokens import Tokens, TokensAnswer
from mechtui.visible import seen

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
        return say(MISTAKE, error.shown())
    except ExportError as error:
        return say(FAILED, seen(str(error)))
    except Stop as stop:
        return say(stop.status, stop.shown)
    except KeyboardInterrupt:
        return say(INTERRUPTED, "interrupted")
    return 0


async def answered(session: Session, views: tuple[str, ...], settings: Settings) -> Exported:
    """The session with the model process's answers to its questions. Raises LineError and Stop."""
    [item] = items_of([("", session)], views)
    ready, found = await answer_one(item, settings)
    tokens = found[Tokens()][0]
    assert isinstance(tokens, TokensAnswer)
    answers = {line: found[question] for line, question in item.questions.items()}
    return Exported(
        session, ready, tokens, {line: (_said(clean), _said(edited)) for line, (clean, edited) in answers.items()}
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
