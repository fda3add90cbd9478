"""What the program's own actions may use of the app, beside what a view's may."""

from __future__ import annotations

from typing import Protocol

from mechtui.app.state import Arrangement
from mechtui.panes import desk


class Desk(desk.Desk, Protocol):
    """The app, as the program's actions see it."""

    arrangement: Arrangement

    def lay_out(self, arrangement: Arrangement) -> None: ...
