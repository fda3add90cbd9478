"""The model process, asked about one session after the other."""

from __future__ import annotations

import asyncio
import re
import sys
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Self

from mechtui.config import Settings, log_file
from mechtui.headless.ending import FAILED, MISTAKE, NO_MODEL, Stop
from mechtui.headless.work import Answered as Answers
from mechtui.headless.work import Item
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
from mechtui.session.dictionaries import About
from mechtui.session.document import Edit, Session
from mechtui.session.grammar.edits import format_edit
from mechtui.session.grammar.places import format_site
from mechtui.session.grammar.words import LineError, ManyLinesError, named_in
from mechtui.views import Answer, Question
from mechtui.visible import seen, write_over


def load_of(model: str, settings: Settings) -> Load:
    """How a model is loaded."""
    return Load(
        model, settings.device, settings.dtype, settings.device_map, settings.fold_ln, settings.trust_remote_code
    )


class Asker:
    """One model process. A model is loaded once as long as sessions have the same.

    tell: is given a line on what is being done. ready, checked: what is known of the model that is loaded.
    dictionaries: of features, that the session asked about last names.
    """

    def __init__(self, settings: Settings, tell: Callable[[str], None]) -> None:
        self.settings = settings
        self.tell = tell
        self.client = Client(log=log_file(settings))
        self.ready: Ready | None = None
        self.checked: Checked | None = None
        self.dictionaries: tuple[About, ...] = ()
        self._load: Load | None = None
        self._loading: Load | None = None
        self._generation = 0
        self._replies: asyncio.Queue[Reply | Life] = asyncio.Queue()

    async def __aenter__(self) -> Self:
        self.client.on_reply = self._replies.put_nowait
        self.tell("starting the model process")
        await self.client.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.client.close()

    async def load(self, model: str) -> None:
        """Returns when the model is there. Raises Stop."""
        while not self._replies.empty():
            # Of what was asked before, and of a process that was started again meanwhile.
            match self._replies.get_nowait():
                case Ready() as ready if self._loading is not None:
                    # Asked for by one who did not wait for it.
                    self._load, self._loading, self.ready, self.checked = self._loading, None, ready, None
                case Checked() as checked:
                    self.checked = checked
                case Failed(task="load"):
                    self._loading = None
                case Life(state="stopped"):
                    self._load = self._loading = None
                case Life(state="starting", sentence=sentence) if sentence:
                    print(f"mechtui: {seen(sentence)}", file=sys.stderr)
                case _:
                    pass
        wanted = load_of(model, self.settings)
        if wanted == self._load:
            return
        self._load = self.ready = self.checked = None
        if wanted != self._loading:
            self._loading = wanted
            self.client.send(wanted)
        try:
            while self.ready is None:
                self._take(await self._replies.get())
        except Stop:
            self._loading = None
            raise
        self._load, self._loading = wanted, None

    async def wait_for_check(self) -> Checked:
        """What the model's self-check found, which it makes while nothing is asked. Raises Stop."""
        while self.checked is None:
            self.tell("comparing the model with Hugging Face's own")
            self._take(await self._replies.get())
        return self.checked

    def ask(self, item: Item, ahead: Sequence[Item] = ()) -> None:
        """Ask what is asked of it, in place of what was asked before. Does not wait. ahead: what will be asked next."""
        self._ask(item.session, item.asked, tuple(each.session for each in ahead))

    async def check(self, item: Item) -> None:
        """Whether its texts and edits can be read and applied; nothing runs. Raises Stop."""
        if not item.without_prompt:
            self._ask(item.session, ())
            await self.answers(item)

    async def answers(self, item: Item) -> Answers:
        """All answers to what was asked last. Raises Stop."""
        answered: dict[Question, tuple[Answer | None, Answer | None]] = {}
        generation, fraction = self._generation, None
        try:
            while True:
                reply = await self._replies.get()
                match reply:
                    case Started(generation=at) if at == generation:
                        _refuse(item.session, reply.problems)
                        self.dictionaries = reply.dictionaries
                    case Progress(generation=at) if at == generation:
                        fraction = reply.fraction
                    case Answered(generation=at, partial=False) if at == generation:
                        answered[reply.question] = (reply.clean, reply.edited)
                        fraction = None
                    case Finished(generation=at) if at == generation:
                        return answered
                    case Failed(task="ask", generation=at, question=None) if at == generation:
                        raise Stop(MISTAKE if reply.mistake else FAILED, reply.sentence)
                    case Failed(task="ask", generation=at, question=question) if at == generation and question:
                        line = question.line()
                        raise LineError(line, named_in(line, reply.sentence) or 0, reply.sentence)
                    case _:
                        self._take(reply)
                        continue
                self._tell(item, answered, fraction)
        except LineError as error:
            raise Stop.of(error).at(item.place) from error
        except Stop as stop:
            raise stop.at(item.place) if stop.status in (MISTAKE, FAILED) else stop from stop

    def _ask(self, session: Session, questions: tuple[Question, ...], ahead: tuple[Session, ...] = ()) -> None:
        self._generation += 1
        self.client.send(Ask(self._generation, session, questions, ahead))

    def _tell(self, item: Item, answered: Answers, fraction: float | None) -> None:
        """Say what is being computed: the first question that has no answer yet."""
        line = next((question.line() for question in item.questions.values() if question not in answered), "")
        percent = f" {fraction:.0%}" if fraction is not None else ""
        self.tell(f"computing {line}{percent}" if line else "")

    def _take(self, reply: Reply | Life) -> None:
        """What is said of the model and of its process."""
        match reply:
            case Stage():
                percent = f" {reply.fraction:.0%}" if reply.fraction is not None else ""
                self.tell(f"{reply.stage}{percent} {reply.detail}".rstrip())
            case Ready():
                self.ready, self.checked = reply, None
            case Checked():
                self.checked = reply
            case Failed(task="load"):
                raise Stop(NO_MODEL, reply.sentence)
            case Life(state="starting", sentence=sentence) if sentence:
                print(f"mechtui: {seen(sentence)}", file=sys.stderr)
            case Life(state="restarting" | "stopped"):
                raise Stop(FAILED, reply.sentence)
            case _:
                pass


async def answer_one(item: Item, settings: Settings) -> tuple[Ready, Answers, tuple[About, ...]]:
    """The model, by a process of its own, one session's answers, and the dictionaries of features that it names. Raises
    Stop."""
    try:
        async with Asker(settings, write_over) as asker:
            await asker.load(item.session.model)
            asker.ask(item)
            answered = await asker.answers(item)
            assert asker.ready is not None
            return asker.ready, answered, asker.dictionaries
    finally:
        write_over("")


def _refuse(session: Session, problems: tuple[EditProblem, ...]) -> None:
    """What cannot be applied is a mistake here: nobody would see that it was left out."""
    for problem in problems:
        if problem.index < 0:
            raise Stop(MISTAKE, problem.sentence)
    wrong = [problem for problem in problems if session.edits[problem.index].on]
    if wrong:
        errors = [_error(session.edits[problem.index], problem.sentence) for problem in wrong]
        raise errors[0] if len(errors) == 1 else ManyLinesError(errors)


def _error(edit: Edit, sentence: str) -> LineError:
    line = format_edit(edit)
    about_vector = edit.vector and edit.vector in re.split("[ :;]", sentence)
    # The line of a path begins with its sender.
    wrong = f" {edit.vector}" if about_vector else f" {format_site(edit.sender or edit.site)}"
    return LineError(line, line.index(wrong) + 1, sentence)
