"""The app: it leads keys to actions, keeps the session and its history, and shows what the model process says."""

from __future__ import annotations

import asyncio
import gc
import signal
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from msgspec.structs import replace
from rich.text import Text
from textual import events
from textual.app import App, ComposeResult
from textual.driver import Driver
from textual.filter import LineFilter
from textual.screen import Screen
from textual.timer import Timer
from textual.worker import WorkerFailed

from mechtui.app import going_on, keeping, opening, status
from mechtui.app.actions import KeyClashError, Registry, run_action, why_not
from mechtui.app.board import Board
from mechtui.app.clipboard import TooLongError, fitting
from mechtui.app.conversation import GRACE, TARGET, Conversation, News
from mechtui.app.ending import Ending
from mechtui.app.errands import Errands
from mechtui.app.keeping import Keeper, State
from mechtui.app.letters import Letters
from mechtui.app.line import CommandLine, Field, Mistake
from mechtui.app.opening import Opened
from mechtui.app.prompt import Prompt
from mechtui.app.screens import arrangement_of, screen_of
from mechtui.app.state import Arrangement, difference
from mechtui.app.turns import Turns
from mechtui.app.workspaces import Place, Workspace, WorkspaceError, with_own
from mechtui.app.writing import Wanted
from mechtui.config import Settings, log_file
from mechtui.console import VisibleConsole
from mechtui.duration import seconds
from mechtui.link.client import Client, Life, Link
from mechtui.link.messages import Cancel, Fetch, Load, Models, Ready, Reply, Request, Saved
from mechtui.panes.boundary import Guarded
from mechtui.panes.kept import Kept
from mechtui.panes.pane import Focus, Pane, Picture
from mechtui.panes.signs import Guard
from mechtui.panes.theme import MECHTUI, THEMES, after, legible_names, palette, unknown
from mechtui.session.changes import CannotError
from mechtui.session.document import Session, surrogate
from mechtui.session.grammar.words import LineError
from mechtui.session.history import Tree
from mechtui.session.keeping import named
from mechtui.session.storage import StorageError
from mechtui.views import Question, for_model, parse_question, put, spec_of, specs, state
from mechtui.views.question import FOLLOWING
from mechtui.visible import seen

if TYPE_CHECKING:
    from mechtui.app.edits_line import Known
    from mechtui.app.sessions import Sessions
    from mechtui.export.program import Exported

TICK = 0.25
# Seconds that a signal waits for a disk.
ENDING_PATIENCE = 2.0
# Answers to one change follow each other closely: painting them one by one would take the model's time.
TOGETHER = 0.012
# Seconds from one painting to the next while more keys wait.
WHILE_KEYS_WAIT = 0.1
# Columns from which on the head says things in full.
WIDE = 100
GUARD = Guard()


Made = TypeVar("Made")


class _Stop(NamedTuple):
    """Where one looked closer: what `back` brings back."""

    arrangement: Arrangement
    here: str
    focus: Focus
    views: tuple[str, ...]


class Main(Guarded, Kept, Screen[None]):
    """Hears every key that no editor has taken, and what panes post.

    Both end here: a message that is posted while the screen handles a key goes no further than the screen.
    """

    app: Mechtui

    def on_key(self, event: events.Key) -> None:
        if self.app.press(event.key):
            event.stop()
            event.prevent_default()

    def on_pane_called(self, event: Pane.Called) -> None:
        event.stop()
        self.app.go(event.view)

    def on_pane_look(self, event: Pane.Look) -> None:
        event.stop()
        self.app.look(event.focus)

    def on_pane_act(self, event: Pane.Act) -> None:
        event.stop()
        self.app.do(event.action)


class Mechtui(Guarded, App[int]):
    """`Desk` for the actions. session: to begin with, as it was kept. link: the wire to the model process, or a
    stand-in. keeper: keeps the session; None: nobody does. tree: the history that was kept of it. told: a sentence to
    begin with."""

    CSS_PATH = Path(__file__).with_name("mechtui.tcss")
    ENABLE_COMMAND_PALETTE = False
    TITLE = "mechtui"

    def __init__(
        self,
        session: Session,
        settings: Settings,
        link: Link,
        registry: Registry | None = None,
        keeper: Keeper | None = None,
        tree: Tree | None = None,
        told: str = "",
    ) -> None:
        super().__init__()
        # Before the first frame: a theme that is set later styles everything a second time.
        self.register_theme(MECHTUI)
        self.theme = settings.theme or THEMES[0]
        self.settings = settings
        self._log_file = log_file(settings)
        self.registry = registry or Registry(settings.keys)
        self.keeper = keeper or Keeper()
        self.workspaces: tuple[Workspace, ...] = with_own(settings.workspaces)
        self.talk = Conversation(link, session.work(), key=self.registry.key)
        self._take_up(session, tree)
        self._was = self.session
        self.letters = Letters(self)
        self.last_search = ""
        self.board = Board(self.session)
        self.board.put_places(session.screen)
        self.line = CommandLine(self._line_closed)
        self.status_line = status.OneLine("status")
        self.places_line = status.OneLine("places")
        self.message_line = status.Sentence("message")
        self.footer_line = status.OneLine("footer")
        # What Textual prints after the end, tracebacks above all.
        self.error_console = VisibleConsole(sys.stderr, markup=False, highlight=False)
        self.errands = Errands(self)
        self._said: tuple[str, bool] = (seen(told), False)
        # What went wrong last, by a mistake of ours; and, when that ended the program, what is said of it on stderr.
        self.fault: BaseException | None = None
        self._unkept = ""  # what was said when the session could no longer be kept
        self._trace = ""
        self.last_words = ""
        self._news = News.NOTHING
        self._grace_timer: Timer | None = None
        self._turns = Turns(self, super().on_event, lambda: self.focused if self.typing else None, self._repaint_due)
        self._running_loop: asyncio.AbstractEventLoop | None = None
        self._leaving = False
        self._choice = ""  # a model that was chosen: it is the session's once it is there
        self._opened = False  # a session with another model was opened, which is not there yet
        self._aimed: Session | None = None  # the session with a target that the model has not judged yet
        self._due = False
        self._painted = 0.0
        self._older = False
        for pane in self.board.panes.values():
            pane.on_look = self.look

    def _take_up(self, session: Session, tree: Tree | None) -> None:
        """Go on with a session as it was kept, and its history."""
        self.history = opening.resumed(session.work(), tree)
        self.talk.another()
        self.talk.sweeps = self._swept = session.sweeps  # as they were kept last
        self.keeper.begin(State(session, self.history.tree))
        self.focus = session.focus or looked_at(session)
        self.arrangement, self.here = arrangement_of(session.screen, self.workspaces)
        self._trail: list[_Stop] = []
        # The file that it was opened from or saved to, and as which session.
        self._file = Path(session.file) if session.file else None
        self._saved: Session | None = None
        # Files that it was opened from or written to: they are written over unasked.
        self.own: set[Path] = {self._file} if self._file else set()

    # Life

    def get_driver_class(self) -> type[Driver]:
        found = super().get_driver_class()
        if found.__name__ != "LinuxDriver":
            return found
        from mechtui.app.driver import Terminal

        return Terminal

    def get_line_filters(self) -> list[LineFilter]:
        return [*super().get_line_filters(), GUARD]

    def get_default_screen(self) -> Screen[None]:
        return Main(id="main")

    def get_css_variables(self) -> dict[str, str]:
        variables = super().get_css_variables()
        return variables | legible_names(self.current_theme)

    def compose(self) -> ComposeResult:
        yield self.status_line
        yield self.places_line
        yield self.board
        yield self.message_line
        yield self.line
        yield self.footer_line

    async def on_mount(self) -> None:
        self._tick = self.set_interval(TICK, self._paint_status)
        self._arrange()
        self.screen.set_focus(self.pane())
        self._running_loop = asyncio.get_running_loop()
        self.keeper.problem = lambda sentence: self.in_time(self._say_unkept, sentence)
        self.keeper.named = lambda: self.in_time(self._paint_status)
        self.talk.link.on_reply = self.hear
        self.call_after_refresh(self._begin)

    async def _begin(self) -> None:
        """After the first frame, which must not wait for a process to be started."""
        if self.here not in self.board.seen():
            self.go(self.here)  # the window is another than the one it was left in
        self.repaint()
        # What is there by now stays: looking it over for garbage again and again takes 50 ms of a key's time.
        gc.freeze()
        try:
            await self.talk.link.start(self._wanted(self.session.model))
        except OSError as error:
            self.say(f"The model process cannot be started: {error}.", bad=True)
            return
        self._load(self.session.model)
        if unkept := await asyncio.to_thread(keeping.refused):
            self.say_too(unkept, bad=True)
        if self._file is not None:
            self._saved = await asyncio.to_thread(opening.file_says, self._file)
            self._paint_status()

    def _load(self, model: str) -> None:
        self.talk.load(self._wanted(model))
        self._paint_status()

    def _wanted(self, model: str) -> Load:
        set_ = self.settings
        return Load(model, set_.device, set_.dtype, set_.device_map, set_.fold_ln, set_.trust_remote_code)

    def in_time(self, do: Callable[..., None], *what: Any, **more: Any) -> None:
        """From another thread: have the app do this when it comes to it."""
        if self._running_loop is not None:
            with suppress(RuntimeError):  # the loop has ended
                self._running_loop.call_soon_threadsafe(partial(do, *what, **more))

    def end(self, number: int) -> None:
        """A signal asks for it: the model process ends first, then we do."""
        self._read_editors()
        self._leave(128 + number)

    def _leave(self, code: int) -> None:
        if not self._leaving:
            self._leaving = True
            # Unguarded: where leaving goes wrong, the program is to end all the same.
            self.run_worker(self._close(code), exclusive=False)

    async def _close(self, code: int) -> None:
        self._keep()
        await asyncio.to_thread(self.keeper.now)
        await self.talk.link.close()
        self.exit(code)

    def quit(self) -> None:
        self._leave(0)

    def went_wrong(self, error: Exception) -> None:
        """Tell of what nobody foresaw; the program goes on."""
        sentence = f"That failed, by a mistake in mechtui; {self._log_fault(error)}"
        self.say(sentence, bad=True)
        # An open line lies over the footer.
        self.line.complain(Mistake(sentence))

    def _log_fault(self, error: BaseException) -> str:
        from mechtui import fault

        self.fault = error
        where, self._trace = fault.told(error, self._log_file, self._trace)
        return where

    def _handle_exception(self, error: Exception) -> None:
        """What gets as far as Textual ends the program."""
        cause = error.error if isinstance(error, WorkerFailed) else error
        self.last_words = f"mechtui had to end, by a mistake of its own; {self._log_fault(cause)}"
        self.keeper.now()
        super()._handle_exception(error)

    def _fatal_error(self) -> None:
        # Textual would print a traceback with every local, prompts among them.
        self._close_messages_no_wait()

    async def on_event(self, event: events.Event) -> None:
        """Half a character (a lone surrogate) can be neither sent nor kept: it does not come in."""
        typed = event.character if isinstance(event, events.Key) else getattr(event, "text", None)
        if isinstance(typed, str) and surrogate(typed) is not None:
            self.say("Half of a character (a lone surrogate) was left out.", bad=True)
            return
        # A key that comes back from a widget, which had no use for it, has had its turn.
        if isinstance(event, (events.Key, events.Paste)) and not event.is_forwarded and not self._turns.take(event):
            return
        await super().on_event(event)

    async def action_quit(self) -> None:
        self.quit()

    def action_help_quit(self) -> None:
        """ctrl+c, which ends other programs."""
        self.say(f"{self.registry.key('quit')} quits.")

    def suspend_to_shell(self) -> None:
        self.action_suspend_process()

    # Keys

    @property
    def typing(self) -> bool:
        return isinstance(self.focused, (Prompt, Field))

    def press(self, key: str) -> bool:
        """Do what a key is for; whether it is for something."""
        if self.letters.awaited and not self.typing:
            self.letters.take(key)
            return True
        action = self.registry.at(key, self.here)
        if action is None or (self.typing and not action.typing):
            return False
        self.do(action.name)
        return True

    def do(self, name: str) -> None:
        """Run an action, or say why it cannot run."""
        action = self.registry.by_name[name]
        self._read_editors()
        self._said = ("", False)
        why = why_not(action, self)
        if why:
            self.say(why, bad=True)
            return
        try:
            run_action(action, self)
        except (CannotError, TooLongError) as error:
            self.say(str(error), bad=True)
        self._paint_footer()

    # What actions use (Desk)

    @property
    def session(self) -> Session:
        return self.history.present

    @property
    def ready(self) -> Ready | None:
        return self.talk.ready

    @property
    def job(self) -> str:
        return self.arrangement.job

    def start(self, job: str) -> None:
        self.talk.again(job)
        self.lay_out(replace(self.arrangement, job=job))

    def pane(self, name: str = "") -> Pane:
        return self.board.panes[name or self.here]

    @property
    def workspace(self) -> Workspace:
        return self.workspaces[self.arrangement.workspace]

    @property
    def picture(self) -> Picture:
        return self.board.picture(self.talk, self.history.tree, self.focus)

    def position(self) -> int:
        return self.picture.position()

    def count(self) -> int:
        tokens = self.picture.tokens
        return len(tokens.tokens) if tokens else 0

    def change(self, session: Session, what: str = "") -> None:
        self.history.change(session, what)
        self._changed()

    def put(self, question: Question) -> None:
        view = spec_of(question)
        if (
            self.job == view.name
            and not view.renews
            and question.asked() != self.picture.question(type(question)).asked()
        ):
            # Another job begins with its own key.
            self.arrangement = replace(self.arrangement, job="")
        self.change(put(self.session, question), f"view {view.name}")

    def aim(self, answer: str, foil: str) -> None:
        before = self.session
        self.change(replace(before, answer=answer, foil=foil))
        self._aimed = self.session if self.session != before else None

    def _judge_target(self) -> None:
        """Whether the model takes the target that was just named: if not, that from before is back, and the line is
        open with what was written."""
        if self._aimed != self.session:
            self._aimed = None  # something else was done since
        if self._aimed is None or self.talk.judged != self._aimed:
            return
        aimed, self._aimed = self._aimed, None
        refused = next((each for each in self.talk.answers.problems if each.where in TARGET), None)
        if refused is None or self.typing or len(self.screen_stack) > 1:
            return
        self.undo()
        self.open_line("target")
        self.line.put(aimed.answer, aimed.foil, Mistake(refused.sentence), second_is_wrong=refused.where == "foil")

    def document(self) -> Session:
        session = self.picture.document(self.board.seen())
        return replace(
            session,
            focus=self.focus,
            screen=screen_of(self.arrangement, self.here, self.workspaces, self.board.places()),
            file=str(self._file or ""),
        )

    def _keep(self) -> None:
        """What was changed, and where one looks, is kept a moment later."""
        self.keeper.put(State(self.document(), self.history.tree))

    def open(self, session: Session, path: Path) -> None:
        self._go_on(opening.new(session, str(path)))

    @property
    def file(self) -> Path | None:
        return self._file

    def saved(self, path: Path) -> None:
        self._file, self._saved = path, opening.plain(self.session)
        self._keep()
        self._paint_status()

    def _go_on(self, opened: Opened) -> None:
        """Show another session in the place of this one, which is kept."""
        self._keep()
        self.keeper.switch(opened.kept, opened.waits)
        self._take_up(opened.session, opened.tree)
        self.board.put_places(opened.session.screen)
        self._opened = self.session.model not in self.talk.called
        if self._file is not None:
            self._saved = opening.plain(self.session)
        self._changed()
        self.board.opened(self.session)
        if self.here not in self.board.seen():
            self.go(self.here)
        self.screen.set_focus(self.pane())

    def jump(self, number: int) -> None:
        self.history.jump(number)
        self._changed()

    def mark(self, name: str, number: int) -> None:
        self.history.mark(name, number)
        self._keep()
        self.repaint()

    def undo(self) -> None:
        if self.history.undo() is None:
            raise CannotError("There is nothing to undo.")
        self._changed()

    def redo(self) -> None:
        if self.history.redo() is None:
            raise CannotError("There is nothing to redo.")
        self._changed()

    def open_sessions(self) -> None:
        from mechtui.app.sessions import NEW, Sessions

        def chosen(name: str | None) -> None:
            if name == NEW:
                self._go_on(opening.new(Session(model=self.session.model)))
                self.say("A new session; R lists the others.")
            elif name and name != self.keeper.name:
                self.run_worker(self._safe(self._resume)(name))

        picker = Sessions(self.keeper.name)
        self.push_screen(picker, chosen)
        self.run_worker(self._safe(self._list_sessions)(picker))

    async def _list_sessions(self, picker: Sessions) -> None:
        from mechtui.session.keeping import listed

        self._keep()
        await asyncio.to_thread(self.keeper.now)
        picker.listed(await asyncio.to_thread(lambda: tuple(listed())), time.time())

    async def _resume(self, name: str) -> None:
        """Go on with a kept session."""
        try:
            # A session that was shown a moment ago is let go of once it is written.
            await asyncio.to_thread(self.keeper.now)
            opened = await asyncio.to_thread(opening.kept, name)
        except StorageError as error:
            self.say(f"{error}", bad=True)
            return
        self._go_on(opened)
        self.say(opened.told or f"{name} is open; R lists the others.")

    @property
    def session_name(self) -> str:
        return self.keeper.name

    def rename(self, name: str) -> None:
        try:
            named(name)
        except StorageError as error:
            raise CannotError(f"{error}.") from error
        self.run_worker(self._safe(self._rename)(name))

    async def _rename(self, name: str) -> None:
        try:
            await asyncio.to_thread(self.keeper.rename, name)
        except StorageError as error:
            if self.typing or len(self.screen_stack) > 1:
                self.say(f"{error}.", bad=True)
            else:
                self.open_line("rename")
                self.line.put(name, "", Mistake(f"{error}."))
            return
        self._paint_status()
        self.say(f"This session is now {self.keeper.name}.")

    def look(self, focus: Focus) -> None:
        last = max(len(self.session.edits) - 1, 0), max(len(self.session.vectors) - 1, 0)
        self.focus = replace(focus, edit=max(0, min(focus.edit, last[0])), vector=max(0, min(focus.vector, last[1])))
        self.board.refocus(self.focus)
        self._repaint_soon()

    def lay_out(self, arrangement: Arrangement) -> None:
        self.arrangement = arrangement
        self._arrange()
        job = arrangement.job
        if job and specs()[job].renews and job not in self.board.seen():
            # What would begin again with every change ends where nobody sees it.
            self.arrangement = replace(arrangement, job="")
            self._arrange()
        # At once, so that a pane that comes to the front knows the picture that keys count from.
        self.repaint()
        self.call_after_refresh(self.repaint)

    def say(self, sentence: str, *, bad: bool = False) -> None:
        self._said = (seen(sentence), bad)
        self._paint_footer()

    def go(self, view: str) -> None:
        """Bring a view to the front, in the workspace that has room for it, and give it the keys."""
        if view not in self.board.panes:
            raise CannotError(f"There is no pane for {view} yet.")
        self.history.rest()
        now = self.arrangement
        homes = [number for number, workspace in enumerate(self.workspaces) if view in workspace.views]
        ways = [now, *(replace(now.at(number), guest="") for number in homes), replace(now, guest=view)]
        ways = [way.with_front(view) for way in ways]
        way = next((way for way in ways if self.board.shows(view, way, self.workspaces[way.workspace])), ways[-1])
        self._bring(view, way)

    def go_to_workspace(self, number: int) -> None:
        if number >= len(self.workspaces):
            names = ", ".join(f"{at} {each.name}" for at, each in enumerate(self.workspaces, 1))
            raise CannotError(f"There is no workspace {number + 1}; there are {names}.")
        self.history.rest()
        workspace = self.workspaces[number]
        for line in workspace.lines:
            question = parse_question(line)
            if state(self.session.views, type(question)) == type(question)():
                self.put(question)
        there = replace(self.arrangement.at(number), guest="", maximised="")
        view = next((view for view in there.recent if view in workspace.views), workspace.main)
        self._bring(view, there.with_front(view))

    def _bring(self, view: str, arrangement: Arrangement) -> None:
        self.here = view
        if arrangement != self.arrangement:
            self.lay_out(arrangement)
        self.screen.set_focus(self.board.panes[view])

    def in_turn(self) -> Place:
        return self.board.in_turn()

    def sharing(self) -> Place:
        return self.board.sharing(self.here)

    def ask_where(self) -> None:
        self.letters.ask()

    def open_views(self) -> list[str]:
        return self.board.seen()

    @property
    def up_to_date(self) -> bool:
        """Whether all that is shown is of the session as it is."""
        return not (self._older or self._due)

    def contents(self, wanted: Wanted) -> Callable[[], str | bytes]:
        from mechtui.app import contents

        return contents.contents(self, wanted)

    def photograph(self, do: Callable[[], None]) -> None:
        from mechtui.app import contents

        contents.after_line(self, do)

    def once_all_is_known(self, do: Callable[[], None]) -> None:
        from mechtui.app import contents

        contents.once_all_is_known(self, do)

    def make(self, make: Callable[[], Made], then: Callable[[Made], None]) -> None:
        self.errands.make(make, then)

    def run_command(self) -> str:
        from mechtui.app import contents

        return contents.command(self)

    def into(self) -> None:
        from mechtui.app import kinds

        pane = self.pane()
        question = pane.into(pane.picture) if pane.picture is not None else None
        if question is None:
            raise CannotError(f"Nothing in {pane.VIEW.title} has a closer look of its own at this place.")
        stop = _Stop(self.arrangement, self.here, self.focus, self.session.views)
        kinds.look_at(self, question)
        self._trail.append(stop)

    def back(self) -> None:
        if not self._trail:
            raise CannotError("There is nothing to go back to: enter looks closer at what the cursor stands on.")
        stop = self._trail.pop()
        self.look(stop.focus)
        self.change(replace(self.session, views=stop.views))
        self._bring(stop.here, replace(stop.arrangement, job=self.arrangement.job, wider=self.arrangement.wider))

    def write(self, which: str) -> None:
        self.board.writing = which
        self._arrange()
        self.screen.set_focus(self.board.editors[which])

    def open_line(self, kind: str, text: str = "", index: int = -1) -> None:
        from mechtui.app import kinds  # whatever the first frame does not need is imported when it is needed

        made = kinds.of(kind, self, self._known, self.registry, self.do, index)
        self.line.open(made, *kinds.start_text(kind, self, text))
        self._paint_status()

    def _known(self) -> Known:
        from mechtui.app.edits_line import Known

        picture = self.picture
        layer, head = picture.head()
        tokens = picture.tokens.tokens if picture.tokens else ()
        shape = self.ready.shape if self.ready else None
        return Known(self.session, shape, tokens, layer, head, picture.position() if tokens else -1)

    def program(self) -> Exported:
        from mechtui.app.exporting import exported

        picture = self.picture
        shown = self.board.questions(picture, self.here)
        return exported(picture, self.talk, shown, self.board.seen())

    def send(self, request: Request) -> None:
        self.talk.send(request)

    def copy(self, text: str) -> None:
        if not text:
            raise CannotError("There is nothing under the cursor to copy.")
        self.copy_to_clipboard(text)
        begins = text if len(text) <= 40 else text[:39] + "…"
        self.say(f"Copied {begins!r}")

    def copy_to_clipboard(self, text: str) -> None:
        """Exactly the text: in OSC 52 it is base64, and nothing in it acts on this terminal. Raises TooLongError."""
        super().copy_to_clipboard(fitting(text))

    def open_help(self) -> None:
        from mechtui.app.help import Help

        self.push_screen(Help(self.pane().VIEW, self.registry))

    def open_models(self, fetch: str = "") -> None:
        from mechtui.app import recent
        from mechtui.app.models import Models as Picker

        def want(what: str, model: str) -> None:
            self.talk.offer = None
            self.talk.send(Cancel("fetch") if what == "cancel" else Fetch(model, ask=what == "ask"))

        def chosen(model: str | None) -> None:
            if model is not None and not (self.ready and self.ready.name == model == self.session.model):
                self._choice = model
                self._load(model)

        picker = Picker(self.ready.name if self.ready else "", recent.MODELS.read(), want, fetch)
        self.push_screen(picker, chosen)
        if self.talk.models is not None:
            self.call_after_refresh(picker.found, self.talk.models)
        self.talk.send(Models())

    def next_theme(self) -> None:
        self.theme = after(self.theme, self.available_themes)
        self._paint_status()
        self.say(f"theme {self.theme}")

    def leave(self) -> None:
        """Out of the line, out of maximised, and at last out of a run or a load that takes long."""
        if self.line.kind is not None:
            self.line.close()
        elif self.arrangement.maximised:
            self.lay_out(replace(self.arrangement, maximised=""))
        elif self.talk.running:
            self.talk.stop()
            # What was stopped stays so: a moved cursor asks anew for what is not known.
            self.lay_out(replace(self.arrangement, job=""))
            self.say("stopped")
        elif self.talk.loading is not None:
            self.talk.send(Cancel("load"))
            self.say("Stopping the load …")

    # Changes and pictures

    def _changed(self) -> None:
        """The present session is another: editors, panes, model process and the kept copy follow."""
        session = self.session
        self.board.changed(self._was, session)
        if (job := self.job) and not specs()[job].renews and difference(self._was, session) is not None:
            self.arrangement = replace(self.arrangement, job="")
        if self._was.model != session.model:
            self._choice = ""
        self._was = session
        # What was said was of the session before; that nothing is kept stays true of this one.
        self._said = (self._unkept, True) if self.keeper.unkept else ("", False)
        self._paint_footer()
        for name, editor in self.board.editors.items():
            editor.take(getattr(session, name))
        if not self._choice and session.model not in self.talk.called:
            self._load(session.model)
        self.look(self.focus)
        self._arrange()
        self._keep()

    def _repaint_soon(self) -> None:
        """Several keys that came together are shown together."""
        if not self._due:
            self._due = True
            self.call_later(self._repaint_due)

    def _repaint_due(self) -> None:
        """While keys wait, what they change is shown now and then only; the last of them calls this once more."""
        if self._due and (self._turns.empty or time.monotonic() - self._painted > WHILE_KEYS_WAIT):
            self.repaint()

    def repaint(self) -> None:
        """Ask for what the panes want now, and show what is known."""
        self._due = False
        self._painted = time.monotonic()
        if not self.board.size:
            return  # before the first layout nobody knows which panes there are room for
        picture = self.picture
        self.talk.ask(self.session, self.board.questions(picture, self.here, self.errands.questions))
        self._show()
        self._keep()  # where one looks, too

    def _show(self) -> None:
        if not self.screen_stack:
            return  # the app has ended while this was due
        if (said := self.talk.measured(self.session)) is not None:
            self.history.note(said)
        self._older = older = self.board.show(self.talk, self.picture)
        self._arrange()
        self._paint_status()
        if self._grace_timer is not None:
            self._grace_timer.stop()
            self._grace_timer = None
        if (older or self.talk.running) and not self.talk.overdue:
            self._grace_timer = self.set_timer(GRACE, self._show)

    def _arrange(self) -> None:
        self.board.arrange_for(self.arrangement, self.workspace, self.session, self.ready)

    @property
    def settled(self) -> bool:
        """Whether all that was heard and done is shown."""
        return self._turns.empty and not self._due and self._news == News.NOTHING

    # Messages

    def hear(self, reply: Reply | Life) -> None:
        """Take a reply in; those that come together are shown together."""
        if self._leaving:
            return
        first = self._news == News.NOTHING
        if isinstance(reply, Saved):
            self.own.add(Path(reply.path))
        try:
            self._news |= self.talk.hear(reply)
        except Exception as error:  # noqa: BLE001 - the link lives on, whatever one reply does
            self.went_wrong(error)
        if self._news and not self.talk.running:
            self.call_later(self._hear_out)  # nothing more is to come
        elif first and self._news:
            self.set_timer(TOGETHER, self._hear_out)

    def _hear_out(self) -> None:
        news, self._news = self._news, News.NOTHING
        if news == News.NOTHING:
            return
        if self.job and not specs()[self.job].renews and not self.talk.running:
            self.arrangement = replace(self.arrangement, job="")
        if not self.talk.running and self.talk.sweeps is not self._swept:
            self._swept = self.talk.sweeps
            self._keep()
        if News.NOT_LOADED in news:
            self._model_is_not_here()
        if News.MODEL in news:
            self._model_is_here()
            if (earlier := self.talk.take_earlier()) is not None:
                said = self._said
                going_on.go_on(self, earlier)
                self.say(said[0], bad=said[1])  # a change takes it away
        told = self.talk.hear_out()
        for sentence, is_bad in told:
            self.say_too(sentence, bad=is_bad)
        if News.PICTURES in news:
            # New tokens may move the last position, so that other questions are due.
            self.repaint()
        else:
            self._paint_status()
        if news & (News.MODELS | News.FETCH):
            self._tell_picker(news, told[-1].sentence if told else "")
        self.errands.heard()
        if News.JUDGED in news and self._aimed is not None:
            self._judge_target()

    def _say_unkept(self, sentence: str) -> None:
        """sentence: empty where the session is kept again."""
        if not sentence:
            if self._unkept and self._unkept in self._said[0]:
                self.say("The session is kept again.")
            self._unkept = ""
            return
        self._unkept = seen(sentence)
        self.say_too(sentence, bad=True)

    def say_too(self, sentence: str, *, bad: bool = False) -> None:
        """News that nobody asked for takes no other's place; bad news takes that of good."""
        before, was_bad = self._said
        if bad and not was_bad:
            before, was_bad = "", True
        if seen(sentence) not in before:
            self.say(f"{before} {sentence}".lstrip(), bad=was_bad)

    def _model_is_here(self) -> None:
        from mechtui.app import recent

        assert self.ready is not None
        self._opened = False
        if choice := self._choice:
            self._choice = ""
            self.change(for_model(self.session, choice))
        shape = self.ready.shape
        layer, head = min(self.focus.layer, shape.n_layers - 1), min(self.focus.head, shape.n_heads - 1)
        self.focus = replace(self.focus, layer=layer, head=head)
        if self.ready.name and not self.session.model:
            # Another program, or a later one, may have another default.
            self.history.restore(opening.with_model(self.history.tree, self.ready.name))
            self._was = self.session
        if self.ready.name:
            try:
                recent.MODELS.add(self.ready.name)
            except OSError as error:
                self.log(f"the recent models are not kept: {error}")

    def _model_is_not_here(self) -> None:
        """A session names the model that its numbers are of: one that did not come is not chosen, and what was opened
        goes on with the model that runs."""
        opened, self._opened, self._choice = self._opened, False, ""
        if opened and self.ready is not None and self.session.model == self.talk.load_name:
            self.change(replace(self.session, model=self.ready.name))

    def _tell_picker(self, news: News, said: str) -> None:
        from mechtui.app.models import Models as Picker

        picker = self.screen
        if isinstance(picker, Picker):
            if News.MODELS in news and self.talk.models is not None:
                picker.found(self.talk.models)
            if News.FETCH in news:
                if self.talk.offer is not None:
                    picker.sized(self.talk.offer)
                elif self.talk.fetch is not None:
                    picker.progress(self.talk.fetch)
                else:
                    picker.said(said)

    def on_prompt_typed(self, event: Prompt.Typed) -> None:
        self._read_editors()

    def _read_editors(self) -> None:
        """Take into the session what has been typed, also what no message has told of yet."""
        for name, editor in self.board.editors.items():
            text = editor.typed()
            if text is not None:
                self.change(replace(self.session, **{name: text}), name)

    def on_prompt_grown(self, event: Prompt.Grown) -> None:
        self._arrange()

    def on_prompt_left(self, event: Prompt.Left) -> None:
        self.board.writing = ""
        self._arrange()
        self.repaint()  # the ruler has its place again
        self.screen.set_focus(self.pane())

    def _line_closed(self) -> None:
        """The keys go back to the pane, unless what was done with the line has given them to another already."""
        screen = self.line.screen
        if isinstance(screen.focused, Field) or screen.focused is None:
            screen.set_focus(self.pane())

    def on_descendant_focus(self, event: events.DescendantFocus) -> None:
        if isinstance(event.widget, Pane) and event.widget.id:
            self.here = event.widget.id
        self._paint_status()
        self._paint_footer()

    def on_resize(self, event: events.Resize) -> None:
        self.call_after_refresh(self.repaint)

    # Status and footer

    def _paint_status(self) -> None:
        look = palette(self)
        width = self.size.width
        left = status.left(self.talk, self.count(), self.session, look, width < WIDE)
        self.status_line.put(left, status.right(self.talk, self._older, self.typing, look))
        job = (specs()[self.job].title, self.talk.share) if self.job and self.talk.running else None
        places = status.workspaces(self.workspaces, self.arrangement.workspace, look)
        self.places_line.put(places, status.focus(self.picture, job, self._title(), look, width - places.cell_len))
        if self.talk.loading is None:
            self._tick.pause()
        else:
            self._tick.resume()

    def _title(self) -> tuple[str, bool]:
        """What the session is called, and whether all of it is saved: in its file, where it has one."""
        if self._file is not None:
            return self._file.name, self._saved == opening.plain(self.session)
        return self.keeper.name, not self.keeper.unkept

    def _paint_footer(self) -> None:
        look = palette(self)
        sentence, bad = self._said
        self.message_line.display = bool(sentence)
        if sentence:
            self.message_line.put(Text(f" {sentence}", look.bad if bad else look.bold))
        if isinstance(self.focused, Prompt):
            self.footer_line.put(status.typing(self.registry.typing_key("palette"), look))
            return
        actions = self.registry.for_footer(self.here)
        off = frozenset(action.name for action in actions if why_not(action, self))
        self.footer_line.put(status.footer(actions, self.size.width, look, off))

    def action_do(self, name: str) -> None:
        """A click on an action."""
        self.do(name)

    def action_press(self, key: str) -> None:
        """A click on something that has a key."""
        self.press(key)


def looked_at(session: Session) -> Focus:
    """The focus that a saved session's lines name: the first head and the first position."""
    found: dict[str, int] = {}
    for line in session.views:
        with suppress(LineError):
            question = parse_question(line)
            fields = {name: getattr(question, name) for name in FOLLOWING if name in question.__struct_fields__}
            if fields.get("position") == -1:
                del fields["position"]
            found = fields | found
    return Focus(**found)


def run(opened: Opened, settings: Settings) -> int:
    """Show the app until the user quits -> exit status."""
    try:
        registry = Registry(settings.keys)
        with_own(settings.workspaces)
    except (KeyClashError, WorkspaceError) as error:
        print(f"mechtui: {error}", file=sys.stderr)
        return 2
    if wrong := unknown(settings.theme):
        print(f"mechtui: {wrong}", file=sys.stderr)
        return 2
    link = Client(log=log_file(settings), keep_alive=seconds(settings.keep_alive), keep_found=not settings.keep_alive)
    keeper = Keeper(opened.kept, opened.waits)
    app = Mechtui(opened.session, settings, link, registry, keeper, opened.tree, opened.told)
    with Ending(partial(keeper.now, ENDING_PATIENCE), partial(app.in_time, app.end), link.abandon) as ending:
        try:
            status = app.run(mouse=settings.mouse)
        finally:
            unkept = keeper.close()
    if unkept:
        print(f"mechtui: {unkept}", file=sys.stderr)
    if app.last_words:
        print(f"mechtui: {app.last_words}", file=sys.stderr)
        return 1
    if link.left is not None and ending.number != signal.SIGHUP:
        print(f"mechtui: {link.left.sentence()}", file=sys.stderr)
    return 128 + ending.number if ending.number else status or 0
