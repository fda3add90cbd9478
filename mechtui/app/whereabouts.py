"""Where one is: the workspace and how its panes are arranged, the pane that has the keys, what the whole screen looks
at, and the way back from a closer look."""

from __future__ import annotations

from contextlib import suppress
from typing import NamedTuple

from msgspec.structs import replace

from mechtui.app.screens import arrangement_of
from mechtui.app.state import Arrangement
from mechtui.app.window import Window
from mechtui.app.workspaces import Workspace
from mechtui.panes.pane import Focus
from mechtui.session.changes import CannotError
from mechtui.session.document import Session
from mechtui.session.grammar.words import LineError
from mechtui.views import parse_question, specs, state
from mechtui.views.question import FOLLOWING


class _Stop(NamedTuple):
    """Where one looked closer: what `back` brings back."""

    arrangement: Arrangement
    here: str
    focus: Focus
    views: tuple[str, ...]


class Whereabouts:
    """workspaces: those that there are. arrangement, here, focus: where one is."""

    def __init__(self, app: Window, workspaces: tuple[Workspace, ...]) -> None:
        self._app = app
        self.workspaces = workspaces
        self.arrangement = Arrangement()
        self.here = ""
        self.focus = Focus()
        self._trail: list[_Stop] = []

    def take_up(self, session: Session) -> None:
        """Be where one was when the session was kept."""
        self.focus = session.focus or looked_at(session)
        self.arrangement, self.here = arrangement_of(session.screen, self.workspaces)
        self._trail = []

    @property
    def workspace(self) -> Workspace:
        return self.workspaces[self.arrangement.workspace]

    def look(self, focus: Focus) -> None:
        """Look at this; edits and vectors that are gone are not looked at."""
        session = self._app.session
        last = max(len(session.edits) - 1, 0), max(len(session.vectors) - 1, 0)
        self.focus = replace(focus, edit=max(0, min(focus.edit, last[0])), vector=max(0, min(focus.vector, last[1])))
        self._app.board.refocus(self.focus)

    def look_within(self, layers: int, heads: int) -> None:
        """Look at no head that the model has not."""
        layer, head = min(self.focus.layer, layers - 1), min(self.focus.head, heads - 1)
        self.focus = replace(self.focus, layer=layer, head=head)

    def end_job(self) -> None:
        """No view's many runs are asked for any more."""
        self.arrangement = replace(self.arrangement, job="")

    def lay_out(self, arrangement: Arrangement) -> None:
        self.arrangement = arrangement
        self._app.arrange()
        job = arrangement.job
        if job and specs()[job].renews and job not in self._app.board.seen():
            # What would begin again with every change ends where nobody sees it.
            self.end_job()
            self._app.arrange()
        # At once, so that a pane that comes to the front knows the picture that keys count from.
        self._app.repaint()
        self._app.call_after_refresh(self._app.repaint)

    def go(self, view: str) -> None:
        """Bring a view to the front, in the workspace that has room for it, and give it the keys."""
        board = self._app.board
        if view not in board.panes:
            raise CannotError(f"There is no pane for {view} yet.")
        self._app.history.rest()
        now = self.arrangement
        homes = [number for number, workspace in enumerate(self.workspaces) if view in workspace.views]
        ways = [now, *(replace(now.at(number), guest="") for number in homes), replace(now, guest=view)]
        ways = [way.with_front(view) for way in ways]
        way = next((way for way in ways if board.shows(view, way, self.workspaces[way.workspace])), ways[-1])
        self._bring(view, way)

    def go_to_workspace(self, number: int) -> None:
        if number >= len(self.workspaces):
            names = ", ".join(f"{at} {each.name}" for at, each in enumerate(self.workspaces, 1))
            raise CannotError(f"There is no workspace {number + 1}; there are {names}.")
        self._app.history.rest()
        workspace = self.workspaces[number]
        for line in workspace.lines:
            question = parse_question(line)
            if state(self._app.session.views, type(question)) == type(question)():
                self._app.put(question)
        there = replace(self.arrangement.at(number), guest="", maximised="")
        view = next((view for view in there.recent if view in workspace.views), workspace.main)
        self._bring(view, there.with_front(view))

    def _bring(self, view: str, arrangement: Arrangement) -> None:
        self.here = view
        if arrangement != self.arrangement:
            self.lay_out(arrangement)
        self._app.screen.set_focus(self._app.board.panes[view])

    def into(self) -> None:
        """Look closer at what the cursor stands on. Raises CannotError."""
        from mechtui.app import kinds

        pane = self._app.pane()
        question = pane.into(pane.picture) if pane.picture is not None else None
        if question is None:
            raise CannotError(f"Nothing in {pane.VIEW.title} has a closer look of its own at this place.")
        stop = _Stop(self.arrangement, self.here, self.focus, self._app.session.views)
        kinds.look_at(self._app, question)
        self._trail.append(stop)

    def back(self) -> None:
        """Back to where one looked closer. Raises CannotError."""
        if not self._trail:
            raise CannotError("There is nothing to go back to: enter looks closer at what the cursor stands on.")
        stop = self._trail.pop()
        self._app.look(stop.focus)
        self._app.change(replace(self._app.session, views=stop.views))
        self._bring(stop.here, replace(stop.arrangement, job=self.arrangement.job, wider=self.arrangement.wider))


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
