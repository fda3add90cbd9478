"""The app: it leads keys to actions, keeps the session and its history, and shows what the model process says."""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import sys
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from msgspec.structs import replace
from rich.console import RenderableType
from textual import events
from textual._compositor import CompositorUpdate
from textual.app import App, ComposeResult
from textual.driver import Driver
from textual.filter import LineFilter, Monochrome, NoColor
from textual.screen import Screen
from textual.timer import Timer
from textual.worker import WorkerFailed

from mechtui.app import clipboard, keeping, opening
from mechtui.app.actions import KeyClashError, Registry, run_action, why_not
from mechtui.app.bars import Bars
from mechtui.app.board import Board
from mechtui.app.clipboard import Between, TooLongError
from mechtui.app.conversation import GRACE, Conversation
from mechtui.app.ending import Ending
from mechtui.app.errands import Errands
from mechtui.app.hearing import Hearing
from mechtui.app.keeping import Keeper
from mechtui.app.letters import Letters
from mechtui.app.line import CommandLine, Field, Mistake
from mechtui.app.opening import Opened
from mechtui.app.prompt import Prompt
from mechtui.app.sitting import Sitting
from mechtui.app.state import Arrangement, difference
from mechtui.app.turns import Turns
from mechtui.app.whereabouts import Whereabouts
from mechtui.app.workspaces import Place, Workspace, WorkspaceError, with_own
from mechtui.app.writing import Wanted
from mechtui.config import Settings, log_file
from mechtui.console import VisibleConsole
from mechtui.duration import seconds
from mechtui.link.client import LATER_AND_LATER, Client, Life, Link
from mechtui.link.messages import Cancel, Load, Ready, Reply, Request
from mechtui.paint import plain
from mechtui.paint.palette import Depth, detect, system
from mechtui.panes.boundary import Guarded
from mechtui.panes.kept import Kept
from mechtui.panes.pane import Focus, Pane, Picture
from mechtui.panes.signs import Guard, Plain
from mechtui.panes.theme import OWN, THEMES, after, legible_names, unknown
from mechtui.session.changes import CannotError
from mechtui.session.document import Session, surrogate
from mechtui.session.history import Tree
from mechtui.views import Question, put, spec_of, specs

if TYPE_CHECKING:
    from mechtui.app.edits_line import Known
    from mechtui.export.program import Exported

TICK = 0.25
# Seconds that a signal waits for a disk.
ENDING_PATIENCE = 2.0
# Seconds from one painting to the next while more keys wait.
WHILE_KEYS_WAIT = 0.1
# What Textual does with an empty NO_COLOR, too.
GREYS = (Monochrome, NoColor)
GUARD, PLAIN = Guard(), Plain()


Made = TypeVar("Made")


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

    def on_pane_moved(self, event: Pane.Moved) -> None:
        event.stop()
        self.app.repaint_soon()

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
        plain.use(plain.wanted(settings.signs, os.environ))
        self.depth = detect(os.environ)
        super().__init__()
        # Where there are no colours none of a theme is sent, and nothing of what Textual makes of them: greys in the
        # place of colours and of dim text.
        self.no_color = self.depth == Depth.NONE
        self._filters = [] if self.no_color else [each for each in self._filters if not isinstance(each, GREYS)]
        # Before the first frame: a theme that is set later styles everything a second time.
        for theme in OWN:
            self.register_theme(theme)
        self.theme = settings.theme or THEMES[0]
        self.settings = settings
        self._log_file = log_file(settings)
        self.registry = registry or Registry(settings.keys)
        self.talk = Conversation(link, session.work(), key=self.registry.key)
        self.where = Whereabouts(self, with_own(settings.workspaces))
        self.sitting = Sitting(self, keeper or Keeper())
        self.hearing = Hearing(self)
        self.bars = Bars(self, told)
        self.letters = Letters(self)
        self.take_up(session, tree)
        self._was = self.session
        self.last_search = ""
        self.board = Board(self.session)
        self.board.put_places(session.screen)
        self.line = CommandLine(self._line_closed)
        # What Textual prints after the end, tracebacks above all.
        self.error_console = VisibleConsole(sys.stderr, markup=False, highlight=False)
        self.errands = Errands(self)
        # What went wrong last, by a mistake of ours; and, when that ended the program, what is said of it on stderr.
        self.fault: BaseException | None = None
        self._trace = ""
        self.last_words = ""
        self._grace_timer: Timer | None = None
        self._turns = Turns(self, super().on_event, lambda: self.focused if self.typing else None, self._repaint_due)
        self._running_loop: asyncio.AbstractEventLoop | None = None
        self._leaving = False
        self._due = False
        self._painted = 0.0
        self.older = False  # whether something that is shown is of an earlier state
        for pane in self.board.panes.values():
            pane.on_look = self.look

    def take_up(self, session: Session, tree: Tree | None) -> None:
        """Go on with a session as it was kept, and its history."""
        self.history = opening.resumed(session.work(), tree)
        self.talk.another()
        self.talk.sweeps = self._swept = session.sweeps  # as they were kept last
        self.sitting.take_up(session, self.history.tree)
        self.where.take_up(session)

    def show_taken_up(self, session: Session) -> None:
        """Show a session that was taken up while another one was on the screen."""
        self.board.put_places(session.screen)
        self.hearing.opened(self.session)
        self._changed()
        self.board.opened(self.session)
        if self.here not in self.board.seen():
            self.go(self.here)
        self.screen.set_focus(self.pane())

    # Life

    def get_driver_class(self) -> type[Driver]:
        found = super().get_driver_class()
        if found.__name__ != "LinuxDriver":
            return found
        from mechtui.app.driver import Terminal

        return Terminal

    def _display(self, screen: Screen[Any], renderable: RenderableType | None) -> None:
        """As Textual's, but the terminal is sent what has changed."""
        from mechtui.app.driver import Terminal

        driver = self._driver
        if not isinstance(driver, Terminal) or not isinstance(renderable, CompositorUpdate):
            super()._display(screen, renderable)
        elif self._running and not self._closed and not self._batch_count:
            cursor = self.screen.outer_size.clamp_offset(self.cursor_position)
            driver.paint(renderable, self.size, system(self.depth), cursor)
            self.post_display_hook()

    def redraw(self) -> None:
        """Send the terminal all of the screen again."""
        from mechtui.app.driver import Terminal

        if isinstance(self._driver, Terminal):
            self._driver.repaint()

    def get_line_filters(self) -> list[LineFilter]:
        return [*super().get_line_filters(), GUARD, *([PLAIN] if plain.only_ascii() else [])]

    def get_default_screen(self) -> Screen[None]:
        return Main(id="main")

    def get_css_variables(self) -> dict[str, str]:
        variables = super().get_css_variables()
        if self.depth == Depth.NONE:
            variables["input-cursor-text-style"] = "reverse"
        return variables | legible_names(self.current_theme)

    def compose(self) -> ComposeResult:
        yield self.bars.status
        yield self.bars.places
        yield self.board
        yield self.bars.message
        yield self.line
        yield self.bars.footer

    async def on_mount(self) -> None:
        self._tick = self.set_interval(TICK, self.paint_status)
        self.arrange()
        self.screen.set_focus(self.pane())
        self._running_loop = asyncio.get_running_loop()
        self.sitting.hear()
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
        # Where there is no process, the link tries again.
        self.load(self.session.model)
        if unkept := await asyncio.to_thread(keeping.refused):
            self.say_too(unkept, bad=True)
        await self.sitting.read_file()

    def load(self, model: str) -> None:
        self.talk.load(self._wanted(model))
        self.paint_status()

    def tick(self, on: bool) -> None:
        if on:
            self._tick.resume()
        else:
            self._tick.pause()

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
        self.sitting.keep()
        await asyncio.to_thread(self.sitting.keeper.now)
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
        self.sitting.keeper.now()
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
        if (
            isinstance(event, events.Key)
            and not event.is_printable
            and event.key in self.registry.by_name["redraw"].keys
        ):
            self.redraw()  # over whatever screen there is
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

    def restart(self) -> None:
        self.talk.restart()

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
        self.said = ("", False)
        why = why_not(action, self)
        if why:
            self.say(why, bad=True)
            return
        try:
            run_action(action, self)
        except (CannotError, TooLongError) as error:
            self.say(str(error), bad=True)
        self.bars.paint_footer()

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
    def arrangement(self) -> Arrangement:
        return self.where.arrangement

    @property
    def here(self) -> str:
        return self.where.here

    @property
    def focus(self) -> Focus:
        return self.where.focus

    @property
    def workspaces(self) -> tuple[Workspace, ...]:
        return self.where.workspaces

    @property
    def workspace(self) -> Workspace:
        return self.where.workspace

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
            self.end_job()  # another job begins with its own key
        self.change(put(self.session, question), f"view {view.name}")

    def aim(self, answer: str, foil: str) -> None:
        self.hearing.aim(answer, foil)

    def document(self) -> Session:
        return self.sitting.document()

    def open(self, session: Session, path: Path) -> None:
        self.sitting.go_on(opening.new(session, str(path)))

    @property
    def file(self) -> Path | None:
        return self.sitting.file

    @property
    def own(self) -> set[Path]:
        return self.sitting.own

    def saved(self, path: Path) -> None:
        self.sitting.saved(path)

    def jump(self, number: int) -> None:
        self.history.jump(number)
        self._changed()

    def mark(self, name: str, number: int) -> None:
        self.history.mark(name, number)
        self.sitting.keep()
        self.repaint()

    def undo(self) -> None:
        if self.history.undo() is None:
            raise CannotError("There is nothing to undo.")
        self._changed()

    def redo(self) -> None:
        if self.history.redo() is None:
            raise CannotError("There is nothing to redo.")
        self._changed()

    def restore(self, tree: Tree) -> None:
        """Have this history in the place of the one that there is, with the same to be seen."""
        self.history.restore(tree)
        self._was = self.session

    def open_sessions(self) -> None:
        self.sitting.open_sessions()

    @property
    def session_name(self) -> str:
        return self.sitting.keeper.name

    def rename(self, name: str) -> None:
        self.sitting.rename(name)

    def run_safely(self, do: Callable[..., Awaitable[None]], *what: object) -> None:
        """Begin something that takes a while; what goes wrong in it is told."""
        self.run_worker(self._safe(do)(*what))

    def look(self, focus: Focus) -> None:
        self.where.look(focus)
        self.repaint_soon()

    def lay_out(self, arrangement: Arrangement) -> None:
        self.where.lay_out(arrangement)

    def say(self, sentence: str, *, bad: bool = False) -> None:
        self.bars.say(sentence, bad=bad)

    def say_too(self, sentence: str, *, bad: bool = False, instead: str = "") -> None:
        self.bars.say_too(sentence, bad=bad, instead=instead)

    @property
    def said(self) -> tuple[str, bool]:
        return self.bars.said

    @said.setter
    def said(self, said: tuple[str, bool]) -> None:
        self.bars.said = said

    def paint_status(self) -> None:
        self.bars.paint_status()

    def called(self) -> tuple[str, bool]:
        return self.sitting.called()

    def end_job(self) -> None:
        self.where.end_job()

    def look_within(self, layers: int, heads: int) -> None:
        self.where.look_within(layers, heads)

    def go(self, view: str) -> None:
        self.where.go(view)

    def go_to_workspace(self, number: int) -> None:
        self.where.go_to_workspace(number)

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
        return not (self.older or self._due)

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
        self.where.into()

    def back(self) -> None:
        self.where.back()

    def write(self, which: str) -> None:
        self.board.writing = which
        self.arrange()
        self.screen.set_focus(self.board.editors[which])

    def open_line(self, kind: str, text: str = "", index: int = -1) -> None:
        from mechtui.app import kinds  # whatever the first frame does not need is imported when it is needed

        made = kinds.of(kind, self, self._known, self.registry, self.do, index)
        self.line.open(made, *kinds.start_text(kind, self, text))
        self.paint_status()

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
        where = clipboard.between(os.environ)
        copied = f"Copied {text if len(text) <= 40 else text[:39] + '…'!r}"
        self.say(copied + clipboard.said(where))
        if where is Between.TMUX:
            self.make(partial(clipboard.to_tmux, self.clipboard), lambda how: self.say(copied + how))

    def copy_to_clipboard(self, text: str) -> None:
        """Exactly the text: in OSC 52 it is base64, and nothing in it acts on this terminal. Raises TooLongError."""
        self._clipboard = clipboard.fitting(text)
        if self._driver is not None:
            for part in clipboard.sequences(self._clipboard, clipboard.between(os.environ)):
                self._driver.write(part)

    def open_help(self) -> None:
        from mechtui.app.help import Help

        self.push_screen(Help(self.pane().VIEW, self.registry))

    def open_models(self, fetch: str = "") -> None:
        self.hearing.open_models(fetch)

    def next_theme(self) -> None:
        self.theme = after(self.theme, self.available_themes)
        self.paint_status()
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
        changed, job = difference(self._was, session), self.job
        if job and not specs()[job].renews and changed is not None and specs()[job].follows >= changed:
            self.end_job()
        other_model = self._was.model != session.model
        self._was = session
        # What was said was of the session before; that nothing is kept stays true of this one.
        self.said = (self.sitting.unkept, True) if self.sitting.keeper.unkept else ("", False)
        self.bars.paint_footer()
        for name, editor in self.board.editors.items():
            editor.take(getattr(session, name))
        self.hearing.follow(session, other_model)
        self.look(self.focus)
        self.arrange()
        self.sitting.keep()

    def keep_sweeps(self) -> None:
        """Sweeps that were finished or stopped are kept with the session."""
        if self.talk.sweeps is not self._swept:
            self._swept = self.talk.sweeps
            self.sitting.keep()

    def repaint_soon(self) -> None:
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
        self.sitting.keep()  # where one looks, too

    def _show(self) -> None:
        if not self.screen_stack:
            return  # the app has ended while this was due
        if (said := self.talk.measured(self.session)) is not None:
            self.history.note(said)
        picture = self.picture
        self.older = self.board.show(self.talk, picture)
        if self.board.unit() != picture.unit:
            self.repaint_soon()  # a list has its answer, and what follows its cursor asks for another unit
        self.arrange()
        self.paint_status()
        if self._grace_timer is not None:
            self._grace_timer.stop()
            self._grace_timer = None
        if (self.older or self.talk.running) and not self.talk.overdue:
            self._grace_timer = self.set_timer(GRACE, self._show)

    def arrange(self) -> None:
        """Lay the board out, if something has changed that it depends on."""
        self.board.arrange_for(self.arrangement, self.workspace, self.session, self.ready)

    @property
    def settled(self) -> bool:
        """Whether all that was heard and done is shown."""
        return self._turns.empty and not self._due and self.hearing.settled

    # Messages

    def hear(self, reply: Reply | Life) -> None:
        if not self._leaving:
            self.hearing.hear(reply)

    def on_prompt_typed(self, event: Prompt.Typed) -> None:
        self._read_editors()

    def _read_editors(self) -> None:
        """Take into the session what has been typed, also what no message has told of yet."""
        for name, editor in self.board.editors.items():
            text = editor.typed()
            if text is not None:
                self.change(replace(self.session, **{name: text}), name)

    def on_prompt_grown(self, event: Prompt.Grown) -> None:
        self.arrange()

    def on_prompt_left(self, event: Prompt.Left) -> None:
        self.board.writing = ""
        self.arrange()
        self.repaint()  # the ruler has its place again
        self.screen.set_focus(self.pane())

    def _line_closed(self) -> None:
        """The keys go back to the pane, unless what was done with the line has given them to another already."""
        screen = self.line.screen
        if isinstance(screen.focused, Field) or screen.focused is None:
            screen.set_focus(self.pane())

    def on_descendant_focus(self, event: events.DescendantFocus) -> None:
        if isinstance(event.widget, Pane) and event.widget.id:
            self.where.here = event.widget.id
        self.paint_status()
        self.bars.paint_footer()

    def on_resize(self, event: events.Resize) -> None:
        self.redraw()  # a terminal that was resized and back shows what it likes
        self.call_after_refresh(self._fit)

    def _fit(self) -> None:
        """What has the window's new width."""
        self.repaint()
        self.paint_status()
        self.bars.paint_footer()

    # Clicks on the rows around the panes

    def action_do(self, name: str) -> None:
        """A click on an action."""
        self.do(name)

    def action_press(self, key: str) -> None:
        """A click on something that has a key."""
        self.press(key)


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
    link = Client(
        log=log_file(settings),
        keep_alive=seconds(settings.keep_alive),
        keep_found=not settings.keep_alive,
        pauses=LATER_AND_LATER,
    )
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
