"""What the parts of the app use of it: each holds one job of its own, and knows the others by what the app does."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Protocol

from textual.geometry import Size
from textual.screen import Screen
from textual.timer import Timer
from textual.widget import Widget

from mechtui.app.actions import Registry
from mechtui.app.board import Board
from mechtui.app.conversation import Conversation
from mechtui.app.desk import Desk
from mechtui.app.errands import Errands
from mechtui.app.line import CommandLine
from mechtui.app.workspaces import Workspace
from mechtui.panes.pane import Pane
from mechtui.session.document import Session
from mechtui.session.history import History, Tree


class Window(Desk, Protocol):
    """The app, as its parts see it."""

    board: Board
    talk: Conversation
    history: History
    registry: Registry
    line: CommandLine
    errands: Errands
    older: bool  # whether something that is shown is of an earlier state
    said: tuple[str, bool]  # the sentence that stands above the footer, and whether it is bad news

    # Textual's own

    @property
    def size(self) -> Size: ...
    @property
    def screen(self) -> Screen[object]: ...
    @property
    def screen_stack(self) -> list[Screen[Any]]: ...
    @property
    def focused(self) -> Widget | None: ...
    @property
    def app(self) -> Any: ...
    def call_later(self, callback: Callable[..., Any], *args: Any, **kwargs: Any) -> bool: ...
    def call_after_refresh(self, callback: Callable[..., Any], *args: Any, **kwargs: Any) -> bool: ...
    def set_timer(self, delay: float, callback: Callable[[], Any] | None = None) -> Timer: ...
    def push_screen(self, screen: Screen[Any], callback: Callable[[Any], None] | None = None) -> Any: ...

    # What the parts do for each other

    @property
    def workspaces(self) -> tuple[Workspace, ...]: ...
    @property
    def typing(self) -> bool: ...
    def pane(self, name: str = "") -> Pane: ...
    def do(self, name: str) -> None:
        """Run an action, or say why it cannot run."""
        ...

    def end_job(self) -> None:
        """No view's many runs are asked for any more."""
        ...

    def arrange(self) -> None:
        """Lay the board out, if something has changed that it depends on."""
        ...

    def paint_status(self) -> None: ...
    def tick(self, on: bool) -> None:
        """Whether the status is painted again and again, as while a model is loaded."""
        ...

    def say_too(self, sentence: str, *, bad: bool = False, instead: str = "") -> None:
        """News that nobody asked for takes no other's place but `instead`'s; bad news takes that of good."""
        ...

    def called(self) -> tuple[str, bool]:
        """What the session is called, and whether all of it is saved."""
        ...

    def load(self, model: str) -> None: ...
    def look_within(self, layers: int, heads: int) -> None:
        """Look at no head that the model has not."""
        ...

    def restore(self, tree: Tree) -> None:
        """Have this history in the place of the one that there is, with the same to be seen."""
        ...

    def keep_sweeps(self) -> None:
        """Sweeps that were finished or stopped are kept with the session."""
        ...

    def take_up(self, session: Session, tree: Tree | None) -> None:
        """Go on with a session as it was kept, and its history."""
        ...

    def show_taken_up(self, session: Session) -> None:
        """Show a session that was taken up while another one was on the screen."""
        ...

    def run_safely(self, do: Callable[..., Awaitable[None]], *what: object) -> None:
        """Begin something that takes a while; what goes wrong in it is told."""
        ...

    def in_time(self, do: Callable[..., None], *what: Any) -> None:
        """From another thread: have the app do this when it comes to it."""
        ...

    def went_wrong(self, error: Exception) -> None:
        """Tell of what nobody foresaw; the program goes on."""
        ...
