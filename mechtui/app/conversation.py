"""The talk with the model process: what is asked, what is known, how far loading is. No widgets here."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable
from enum import Flag, auto
from typing import NamedTuple

from mechtui.app.state import Answers, difference
from mechtui.link.client import Life, Link
from mechtui.link.messages import (
    Answered,
    Ask,
    Attached,
    Cancel,
    Checked,
    EditProblem,
    Failed,
    Fetched,
    Finished,
    Heartbeat,
    Load,
    ModelFound,
    ModelsFound,
    Progress,
    Ready,
    Reply,
    Request,
    Saved,
    Sized,
    Stage,
    Started,
)
from mechtui.paint.nans import show_nans
from mechtui.session.document import Session, Swept
from mechtui.session.history import LogitDiff
from mechtui.session.sweeps import add
from mechtui.views import Question, cost_of, spec_of
from mechtui.views.spec import Cost, Follows

# Seconds until numbers of an earlier state are called old: under this, the mark would only flicker.
GRACE = 0.15


class News(Flag):
    """What a reply changed, so that only that is painted again."""

    NOTHING = 0
    STATUS = auto()
    PICTURES = auto()
    MODEL = auto()
    MODELS = auto()
    FETCH = auto()
    SAID = auto()
    JUDGED = auto()  # what the model refuses of the session
    NOT_LOADED = auto()  # a load has failed


class Said(NamedTuple):
    """A sentence for the user, and whether it is bad news. instead: one that was said before and holds no more."""

    sentence: str
    bad: bool = False
    instead: str = ""


# Of the session's problems, those of its target.
TARGET = ("answer", "foil")


class Conversation:
    """One link, and what it has said.

    now: a clock in seconds (time.monotonic), to be replaced in tests. key: the key of an action, as one writes it.
    """

    def __init__(
        self,
        link: Link,
        session: Session,
        now: Callable[[], float] = time.monotonic,
        key: Callable[[str], str] = lambda action: action,
    ) -> None:
        self.link = link
        self.answers = Answers()
        self.ready: Ready | None = None
        self.models: tuple[ModelFound, ...] | None = None
        self.fetch: Stage | None = None
        self.offer: Sized | None = None
        self.said: list[Said] = []  # what was not yet told the user
        self.judged: Session | None = None  # for which session the known problems are
        self.trouble = ""
        self._earlier: Ask | None = None  # of the app that the model process had before
        self.unsound = ""  # what the model's self-check found wrong
        self.checked: Checked | None = None
        self.ms: float | None = None
        self.ran = ""
        self._now = now
        self.key = key
        self._session = session
        self._generation = 0
        self._asked: tuple[Question, ...] = ()
        self._asked_at = 0.0
        self._running = False
        self._down = False
        self.silent = False  # whether the model process does not answer
        self.ended = False  # whether it died too often and stays down
        self._starts: float | None = None  # when the next one is started, where that is waited for
        self._why = ""  # why the one before ended
        self._of_life = ""  # what was said last of how it is
        # Questions that are not asked again of this session, each with the reason where it is its own.
        self._failed: dict[Question, str] = {}
        self._took: dict[Question, float] = {}  # milliseconds of what was asked and is no part of a live run
        self.progress: dict[Question, float] = {}  # of what is under way, 0 to 1
        self.sweeps: tuple[Swept, ...] = ()  # all that were made, whatever the session was; undo does not reach them
        self._load: Load | None = None
        self._loaded = ""  # what the model that runs was asked for as
        self._loading_since: float | None = None
        self.stage: Stage | None = None

    # Asking

    def load(self, request: Load) -> None:
        self._load = request
        self._loading_since = self._now()
        self.stage = None
        self.trouble = ""
        self.link.send(request)

    def ask(self, session: Session, questions: tuple[Question, ...]) -> None:
        """Ask what is not known of this session. Newest wins: what was asked before and is not answered is
        asked again, in the new order."""
        before, self._session = self._session, session
        changed = difference(before, session)
        if changed is not None:
            self._forget(changed)
        if self.ready is None:
            return
        wanted = tuple(q for q in self.answers.wanted(questions) if q not in self._failed)
        # A generation under way would begin anew: its Ask stays as long as nothing else is wanted.
        if not wanted or (changed is None and self._running and wanted == self._still(wanted)):
            return
        self._generation += 1
        self._asked, self._asked_at, self._running = wanted, self._now(), True
        self.progress = {question: share for question, share in self.progress.items() if question in wanted}
        self.link.send(Ask(self._generation, session, wanted))

    def _still(self, wanted: tuple[Question, ...]) -> tuple[Question, ...]:
        return tuple(question for question in wanted if question in self._asked)

    def _forget(self, what: Follows = Follows.MODEL) -> None:
        self.answers.changed(self._generation + 1, what)
        self._failed.clear()
        self.progress.clear()
        self._asked, self._running = (), False
        self._asked_at = self._now()
        self.trouble = ""

    def refusal(self, question: Question) -> str:
        """Why there is no answer to this question of the session as it is; empty where nothing is known of that."""
        return self._failed.get(question, "")

    def another(self) -> None:
        """Another session is shown from now on: what was asked before, and is still to be said, is not of it."""
        self.answers.since = self._generation + 1
        if self._running:
            self.link.send(Cancel("ask"))
        self._asked, self._running = (), False
        self.progress.clear()

    def stop(self) -> None:
        """Stop what is under way. A job that needs no start would begin again at once: it keeps what it has, and waits
        until the session is another, or `again` is called."""
        self.link.send(Cancel("ask"))
        again = [each for each in self._asked if cost_of(each) is Cost.JOB and not each.costly]
        self._failed |= dict.fromkeys(again, "")

    def again(self, view: str) -> None:
        """What was stopped of this view may be asked again."""
        self._failed = {each: why for each, why in self._failed.items() if spec_of(each).name != view}

    def measured(self, session: Session) -> LogitDiff | None:
        """The newest logit difference that is true of this session; None where none is."""
        return self.answers.measured() if session is self._session else None

    def send(self, request: Request) -> None:
        self.link.send(request)

    def restart(self) -> None:
        """Have another model process in the place of the one that there is, or was."""
        self.ended = False
        self.link.restart()

    # Hearing

    def hear(self, reply: Reply | Life) -> News:
        """Take one reply in and say what it changed."""
        match reply:
            case Answered():
                if not self.answers.take(reply):
                    return News.NOTHING
                self._keep(reply)
                if _aside(reply.question):
                    self._took[reply.question] = reply.ms
                return News.PICTURES | News.STATUS
            case Started() if reply.generation >= self.answers.since:
                self.answers.dictionaries |= {about.name: about for about in reply.dictionaries}
                return self._judge(reply.problems)
            case Finished() if reply.generation == self._generation:
                self._running = False
                self.progress.clear()
                # What runs once, or as a job, says nothing of how long the next key will take.
                aside, self.ran = sum(self._took.values()), reply.ran
                self._took.clear()
                self.ms = reply.ms if aside < reply.ms / 2 else None
                return News.STATUS
            case Progress() if reply.generation == self._generation:
                self.progress[reply.question] = reply.fraction
                return News.PICTURES | News.STATUS
            case Failed(task="ask") if reply.generation == self._generation:
                return self._ask_failed(reply)
            case Stage(task="load"):
                self.stage = reply
                return News.STATUS
            case Stage():
                self.fetch = reply
                return News.FETCH
            case Ready():
                return self._ready(reply)
            case Checked() if self.ready is not None and reply.model == self.ready.name:
                self.checked, self.unsound = reply, reply.sentence or self.ready.odd
                return News.STATUS | (self._say(reply.sentence, bad=True) if reply.sentence else News.NOTHING)
            case Failed():
                return self._failed_otherwise(reply)
            case ModelsFound():
                self.models = reply.models
                return News.MODELS
            case Sized():
                self.offer = reply
                return News.FETCH
            case Fetched():
                self.fetch = self.offer = None
                return self._say(f"{reply.model} is here; enter loads it.") | News.FETCH
            case Saved():
                return self._say(f"Saved {', '.join(reply.names)} to {reply.path}.")
            case Life():
                return self._life(reply)
            case Attached():
                self._earlier = reply.asked
                return self._say(reply.trouble, bad=True) if reply.trouble else News.NOTHING
            case Heartbeat() | _:
                return News.NOTHING

    def keep(self, swept: Iterable[Swept]) -> None:
        """Have these, too, as the newest."""
        for each in swept:
            self.sweeps = add(self.sweeps, each)

    def _keep(self, answered: Answered) -> None:
        both = ((answered.clean, True), (answered.edited, False))
        found = (each.kept(answered.question, self._session, clean) for each, clean in both if each is not None)
        self.keep(swept for swept in found if swept is not None)

    def _say(self, sentence: str, bad: bool = False) -> News:
        self.said.append(Said(sentence, bad))
        return News.SAID | News.STATUS

    def _say_of_life(self, sentence: str, bad: bool = False) -> News:
        """How the model process is now: what was said of that before holds no more."""
        self.said.append(Said(sentence, bad, self._of_life))
        self._of_life = sentence
        return News.SAID | News.STATUS

    def hear_out(self) -> list[Said]:
        """What is to be told, each sentence once."""
        said, self.said = list(dict.fromkeys(self.said)), []
        return said

    def _judge(self, problems: tuple[EditProblem, ...]) -> News:
        """Edits that the model refuses now; one that it did not refuse before is told, whichever panes are open."""
        before, self.answers.problems = self.answers.problems, problems
        self.judged = self._session
        if problems == before:
            return News.JUDGED
        new = list((Counter(map(_told, problems)) - Counter(map(_told, before))).elements())
        if not new:
            return News.JUDGED | News.PICTURES
        more = f" (and {len(new) - 1} more)" if len(new) > 1 else ""
        return News.JUDGED | News.PICTURES | self._say(new[0] + more, bad=True)

    def _ready(self, ready: Ready) -> News:
        self.ready = ready
        self._loaded = self.load_name
        self._down = self.silent = False
        self._loading_since, self.stage, self.trouble, self.unsound = None, None, "", ready.odd
        show_nans(bool(ready.odd))
        self.checked = None
        self.answers.dictionaries = {}
        self._forget()
        news = News.MODEL | News.PICTURES | News.STATUS
        if ready.odd:
            news |= self._say(ready.odd, bad=True)
        return news | self._say(ready.note) if ready.note else news

    def _ask_failed(self, failed: Failed) -> News:
        question = getattr(failed, "question", None)
        if isinstance(question, Question):
            # The other questions of this Ask go on.
            self._failed[question] = "" if failed.lacks else failed.sentence
            if failed.lacks:
                return self._lacks(question, failed.lacks)
        else:
            self._running = False
            self._failed |= dict.fromkeys(self._asked, "")
        self.trouble = failed.sentence
        return self._say(failed.sentence, bad=True) | News.PICTURES

    def _lacks(self, question: Question, what: str) -> News:
        """A question that needs a target, without one; where that was refused, this was told already."""
        if any(problem.where in TARGET for problem in self.answers.problems):
            return News.PICTURES
        title = spec_of(question).title
        return self._say(f"{title} needs {what}: {self.key('target')} names the target.", bad=True) | News.PICTURES

    def _failed_otherwise(self, failed: Failed) -> News:
        if failed.task == "load":
            # The model before it, if there was one, stays.
            self._loading_since, self.stage = None, None
            return self._say(failed.sentence, bad=True) | News.NOT_LOADED | News.PICTURES
        if failed.task == "fetch":
            self.fetch = self.offer = None
        return self._say(failed.sentence, bad=True) | News.FETCH | News.PICTURES

    def take_earlier(self) -> Ask | None:
        """Once: what the app before asked last of the model process that was found."""
        earlier, self._earlier = self._earlier, None
        return earlier

    def _life(self, life: Life) -> News:
        if life.state == "attached":
            return self._say(life.sentence)
        if life.state in ("silent", "heard"):
            return self._silence(life)
        self.silent, self.ended, self._starts = False, life.state == "stopped", None
        if life.state == "starting":
            return self._say(life.sentence, bad=True) if life.sentence else News.STATUS
        self._down = True
        self._forget()
        # What is on the screen stays there; it is of a process that is gone.
        self._loading_since = self._now() if life.state == "restarting" else None
        self.stage = None
        self._why = sentence = life.sentence or self._why
        if life.state == "waiting":
            self._starts = self._now() + life.seconds
            sentence += (
                f" It died {life.deaths} times in a row and is started again in {life.seconds:.0f} s; "
                f"{self.key('restart')} starts it now."
            )
        elif life.state == "stopped":
            self.ready = None
            times = f"It died {life.deaths} times in a row and stays down" if life.deaths > 1 else "It stays down"
            sentence += f" {times}; {self.key('restart')} starts it again, {self.key('models')} with another model."
        elif not life.sentence and life.deaths:
            sentence += f" It died {life.deaths} times in a row."
        elif not life.sentence:  # somebody wanted it again
            self._why, sentence = "", "The model process is started again."
        self.trouble = "" if not self._why else sentence
        bad = life.state != "restarting" or life.deaths > 0
        return self._say_of_life(sentence, bad) | News.PICTURES

    def _silence(self, life: Life) -> News:
        self.silent = life.state == "silent"
        if not self.silent:
            return self._say_of_life("The model process answers again.")
        sentence = f"The model process has not answered for {life.seconds:.0f} s; "
        return self._say_of_life(f"{sentence}{self.key('restart')} starts another one in its place.", bad=True)

    # What the screen says of it

    @property
    def loading(self) -> float | None:
        """Seconds since loading began; None when nothing is being loaded."""
        return None if self._loading_since is None else self._now() - self._loading_since

    @property
    def pause(self) -> float | None:
        """Seconds until the next model process is started; None where that is not waited for."""
        return None if self._starts is None else max(self._starts - self._now(), 0.0)

    @property
    def idle(self) -> bool:
        """Whether there is no model, and none on its way."""
        return self.ready is None and self._loading_since is None

    @property
    def load_name(self) -> str:
        return self._load.model if self._load else ""

    @property
    def called(self) -> frozenset[str]:
        """The names that need no loading: of what is on its way; else of what runs and of what was tried last."""
        there = (self.ready.name, self._loaded) if self.ready and self.loading is None else ()
        return frozenset((*there, self.load_name))

    def share(self, job: str) -> float | None:
        """How much of this view's job is computed, 0 to 1; None where it does not say."""
        return next((share for question, share in self.progress.items() if spec_of(question).name == job), None)

    @property
    def running(self) -> bool:
        return self._running

    @property
    def overdue(self) -> bool:
        """Whether what is asked has taken so long that older numbers must be marked."""
        return self.ready is None or self._down or self._now() - self._asked_at >= GRACE


def _aside(question: Question) -> bool:
    """Whether it is a job, reads many texts, or is measured once for a model."""
    return cost_of(question) in (Cost.TEXTS, Cost.JOB) or spec_of(question).follows is Follows.MODEL


def _told(problem: EditProblem) -> str:
    return problem.sentence if problem.index < 0 else f"{problem.where}: {problem.sentence}"
