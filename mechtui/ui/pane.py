"""What every pane is: it says which questions it wants answered, and paints what it is shown.

A pane keeps no model state of its own. It gets a `Picture`, compares it with the one that it painted, and
refreshes only the rows that differ. It changes the session only by posting messages that the app's actions
turn into a new session.
"""

from __future__ import annotations

from typing import ClassVar

import msgspec
from textual.message import Message
from textual.scroll_view import ScrollView

from mechtui.link.messages import Answered, EditProblem, Ready
from mechtui.session.document import Session
from mechtui.views import Question
from mechtui.views.tokens import TokensAnswer


class Focus(msgspec.Struct, frozen=True):
    """What the whole screen looks at: one token (position; -1 is the last), one head, one edit, one key."""

    position: int = -1
    layer: int = 0
    head: int = 0
    key: int = 0
    edit: int = 0
    vector: int = 0


class Picture(msgspec.Struct, frozen=True, eq=False):
    """Everything a pane may paint from. `answered` is the newest answer to the pane's own question, which may
    be older than the session: then `stale` is True and the pane says so."""

    session: Session
    focus: Focus
    ready: Ready | None
    tokens: TokensAnswer | None
    answered: tuple[Answered, ...] = ()
    problems: tuple[EditProblem, ...] = ()
    stale: bool = False

    def position(self) -> int:
        """The focused position as an index from 0; 0 without tokens."""
        count = len(self.tokens.tokens) if self.tokens else 1
        position = self.focus.position
        return max(0, min(position + count if position < 0 else position, count - 1))


class Pane(ScrollView, can_focus=True):
    """Base of all panes. `NAME` is its title, `HELP` one sentence on what it shows and in which unit."""

    NAME: ClassVar[str] = ""
    HELP: ClassVar[str] = ""

    class Look(Message):
        """The user moved the shared focus."""

        def __init__(self, focus: Focus) -> None:
            super().__init__()
            self.focus = focus

    picture: Picture | None = None

    def questions(self, picture: Picture) -> tuple[Question, ...]:
        """What this pane wants answered while it is on the screen."""
        return ()

    def show(self, picture: Picture) -> None:
        """Take a new picture and repaint what changed."""
        self.picture = picture
        self.refresh()
