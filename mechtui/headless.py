"""`mechtui run`: the same session and the same model process as the app's, answers as JSON.

The model runs in its own process here too, so that both ways of asking are one.
"""

from __future__ import annotations

import asyncio
import io
import json
import re
import sys
from pathlib import Path
from typing import Any

import numpy as np

from mechtui.config import Settings, log_file
from mechtui.link.client import Client, Life
from mechtui.link.messages import (
    Answered,
    Ask,
    Checked,
    EditProblem,
    Failed,
    Finished,
    Load,
    Progress,
    Ready,
    Reply,
    Stage,
    Started,
)
from mechtui.session.document import Session
from mechtui.session.grammar.edits import format_edit
from mechtui.session.grammar.places import format_site
from mechtui.session.grammar.words import LineError
from mechtui.session.paths import PathError, reason, to_write, write_private
from mechtui.session.storage import StorageError, to_builtins
from mechtui.views import Answer, Question, parse_question
from mechtui.views.question import plain
from mechtui.views.tokens import Tokens, TokensAnswer
from mechtui.visible import json_escaped, seen, write_over

MISTAKE, NO_MODEL, FAILED, INTERRUPTED = 2, 3, 4, 130
DEFAULT_VIEWS = ("next_tokens",)
FORMATS = (".json", ".npz")


class Stop(Exception):  # noqa: N818 - not every end is an error
    """The end of a headless run that has no answers: exit status and what to say on stderr."""

    def __init__(self, status: int, sentence: str) -> None:
        super().__init__(sentence)
        self.status = status


def run_headless(session: Session, views: tuple[str, ...], output: str, settings: Settings) -> int:
    """Answer the session's questions and those of `views`, write them to `output` -> exit status."""
    try:
        lines = session.views + views or DEFAULT_VIEWS
        questions = {line: parse_question(line).asked() for line in lines}
        _check_output(output)
        if not session.prompt and session.bos != "yes":
            raise Stop(MISTAKE, "there is no prompt: --prompt TEXT says one, or a session file that has one")
        said = asyncio.run(_Run(session, tuple(questions.values()), settings).answers())
        _write(said.result(session, questions), output)
        if said.checked is not None and said.checked.sentence:
            _say(0, said.checked.sentence)
    except LineError as error:
        return _say(MISTAKE, error.shown())
    except StorageError as error:
        return _say(MISTAKE, seen(str(error)))
    except Stop as stop:
        return _say(stop.status, seen(str(stop)))
    except KeyboardInterrupt:
        return _say(INTERRUPTED, "interrupted")
    return 0


def _say(status: int, sentence: str) -> int:
    print(f"mechtui: {sentence}", file=sys.stderr)
    return status


class _Run:
    """One session, asked once."""

    def __init__(self, session: Session, questions: tuple[Question, ...], settings: Settings) -> None:
        self.session = session
        self.questions = questions
        self.load = Load(
            session.model,
            settings.device,
            settings.dtype,
            settings.device_map,
            settings.fold_ln,
            settings.trust_remote_code,
        )
        self.client = Client(log=log_file(settings))
        self.ready: Ready | None = None
        self.checked: Checked | None = None
        self.finished = False
        self.answered: dict[Question, tuple[Answer | None, Answer | None]] = {}
        self._replies: asyncio.Queue[Reply | Life] = asyncio.Queue()

    async def answers(self) -> _Run:
        """Ask everything and wait for all of it. Raises Stop."""
        self.client.on_reply = self._replies.put_nowait
        write_over("starting the model process")
        await self.client.start()
        try:
            self.client.send(self.load)
            self.client.send(Ask(1, self.session, (Tokens(), *self.questions)))
            while self._waits():
                self._take(await self._replies.get())
        finally:
            await self.client.close()
            write_over("")
        return self

    def _waits(self) -> bool:
        return not self.finished or self.checked is None

    def _take(self, reply: Reply | Life) -> None:
        match reply:
            case Stage():
                percent = f" {reply.fraction:.0%}" if reply.fraction is not None else ""
                write_over(f"{reply.stage}{percent} {reply.detail}".rstrip())
            case Ready():
                self.ready = reply
            case Started():
                self._refuse(reply.problems)
                self._tell()
            case Progress():
                self._tell(reply.fraction)
            case Checked():
                self.checked = reply
            case Finished():
                self.finished = True
            case Answered(partial=False):
                self.answered[reply.question] = (reply.clean, reply.edited)
                self._tell()
            case Failed(task="load"):
                raise Stop(NO_MODEL, reply.sentence)
            case Failed(question=None):
                raise Stop(MISTAKE if reply.mistake else FAILED, reply.sentence)
            case Failed(question=question) if question is not None:
                raise LineError(question.line(), 0, reply.sentence)
            case Life(state="starting", sentence=sentence) if sentence:
                print(f"mechtui: {seen(sentence)}", file=sys.stderr)
            case Life(state="restarting" | "stopped"):
                raise Stop(FAILED, reply.sentence)
            case _:
                pass

    def _tell(self, fraction: float | None = None) -> None:
        """Show what is being computed: the first question that has no answer yet, else the self-check."""
        line = next((question.line() for question in self.questions if question not in self.answered), "")
        percent = f" {fraction:.0%}" if fraction is not None else ""
        write_over(f"computing {line}{percent}" if line else "comparing the model with Hugging Face's own")

    def _refuse(self, problems: tuple[EditProblem, ...]) -> None:
        """What cannot be applied is a mistake here: nobody would see that it was left out."""
        for problem in problems:
            if problem.index < 0:
                raise Stop(MISTAKE, problem.sentence)
            edit = self.session.edits[problem.index]
            if edit.on:
                line = format_edit(edit)
                about_vector = edit.vector and edit.vector in re.split("[ :;]", problem.sentence)
                wrong = f" {edit.vector}" if about_vector else f" {format_site(edit.site)}"
                raise LineError(line, line.index(wrong) + 1, problem.sentence)

    def result(self, session: Session, questions: dict[str, Question]) -> dict[str, Any]:
        """What is printed."""
        assert self.ready is not None
        assert self.checked is not None
        ready, checked = self.ready, self.checked
        tokens = self.answered[Tokens()][0]
        assert isinstance(tokens, TokensAnswer)
        pairs = {line: self.answered[question] for line, question in questions.items()}
        edited = {line: pair[1] for line, pair in pairs.items() if pair[1] is not None}
        return {
            "session": to_builtins(session),
            "model": {
                "name": ready.name,
                "source": ready.source,
                "architecture": ready.architecture,
                "n_layers": ready.shape.n_layers,
                "n_heads": ready.shape.n_heads,
                "n_kv_heads": ready.shape.n_kv_heads,
                "d_model": ready.shape.d_model,
                "d_head": ready.shape.d_head,
                "device": ready.device,
                "dtype": ready.dtype,
                "weights": ready.weights,
                "checked": {
                    "differences": plain(checked.differences),
                    "tolerance": checked.tolerance,
                    "problem": checked.sentence,
                },
            },
            "tokens": [{"id": token.id, "text": token.text} for token in tokens.tokens],
            "clean": {line: pair[0].json() for line, pair in pairs.items() if pair[0] is not None},
            "edited": {line: answer.json() for line, answer in edited.items()} if session.active_edits() else None,
        }


def _check_output(output: str) -> None:
    """Before the model runs, not after."""
    if output == "-":
        return
    if Path(output).suffix not in FORMATS:
        raise Stop(MISTAKE, f"--output {output} should end in .json or .npz, or be - for the standard output")
    try:
        to_write(output)
    except PathError as error:
        raise Stop(MISTAKE, f"--output {error}") from error


def _write(result: dict[str, Any], output: str) -> None:
    text = json_escaped(json.dumps(result, ensure_ascii=False, allow_nan=False))
    if output == "-":
        print(text)
        return
    content = f"{text}\n".encode()
    if Path(output).suffix == ".npz":
        file = io.BytesIO()
        np.savez(file, **{"json": np.array(text), **arrays(result)})  # type: ignore[arg-type]
        content = file.getvalue()
    try:
        # It holds prompts, so that nobody else may read it; an older one stays until the new one is whole.
        write_private(to_write(output), content)
    except PathError as error:
        raise Stop(FAILED, str(error)) from error
    except OSError as error:
        raise Stop(FAILED, f"{output} cannot be written: {reason(error)}") from error


def arrays(result: dict[str, Any]) -> dict[str, np.ndarray]:
    """Every table of numbers among the answers, as "clean/attention L9H9/pattern" -> array. null becomes NaN."""
    found: dict[str, np.ndarray] = {}
    for run in ("clean", "edited"):
        for line, answer in (result[run] or {}).items():
            for key, value in answer.items():
                if isinstance(value, list) and _numbers(value):
                    found[f"{run}/{line}/{key}"] = np.array(value, dtype=np.float64)
    return found


def _numbers(value: Any) -> bool:
    """Whether it is a number, null, or a list of nothing else."""
    if isinstance(value, list):
        return bool(value) and all(_numbers(item) for item in value)
    return value is None or (isinstance(value, (int, float)) and not isinstance(value, bool))
