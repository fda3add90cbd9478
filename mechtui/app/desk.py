"""What the program's own actions may use of the app, beside what a view's may."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, TypeVar

from mechtui.app.state import Arrangement
from mechtui.app.workspaces import Place, Workspace
from mechtui.app.writing import Wanted
from mechtui.panes import desk

Made = TypeVar("Made")


class Desk(desk.Desk, Protocol):
    """The app, as the program's actions see it."""

    @property
    def arrangement(self) -> Arrangement: ...

    @property
    def workspace(self) -> Workspace:
        """The one that is on the screen."""
        ...

    def aim(self, answer: str, foil: str) -> None:
        """Make these the target. One that the model refuses is taken back, and the line is open again with it."""
        ...

    def lay_out(self, arrangement: Arrangement) -> None: ...

    def go_to_workspace(self, number: int) -> None:
        """number: from 0. Raises CannotError where there is none."""
        ...

    def in_turn(self) -> Place:
        """The views that one goes through pane by pane."""
        ...

    def sharing(self) -> Place:
        """The views that share a place with the one that the keys act on, itself among them."""
        ...

    def ask_where(self) -> None:
        """The next key says which view to go to."""
        ...

    def open_views(self) -> list[str]:
        """Names of the views that are on the screen, in reading order."""
        ...

    def contents(self, wanted: Wanted) -> Callable[[], str | bytes]:
        """What makes the content of a `write` line's file, in whichever thread. Raises CannotError."""
        ...

    def photograph(self, do: Callable[[], None]) -> None:
        """Do this once the command line is closed and the screen painted without it."""
        ...

    def once_all_is_known(self, do: Callable[[], None]) -> None:
        """Do this once all is known that a report says, also what no pane asks for."""
        ...

    def make(self, make: Callable[[], Made], then: Callable[[Made], None]) -> None:
        """Call `make` in another thread, and `then` with what it gives; what cannot be done is told."""
        ...

    def run_command(self) -> str:
        """The command that asks all that is open again."""
        ...

    def into(self) -> None:
        """Look closer at what the cursor stands on. Raises CannotError."""
        ...

    def back(self) -> None:
        """Back to where one looked closer. Raises CannotError."""
        ...
