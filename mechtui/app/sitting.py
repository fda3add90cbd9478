"""How the session is kept: under which name, in which file, and how one goes on with another."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import TYPE_CHECKING

from msgspec.structs import replace

from mechtui.app import opening
from mechtui.app.keeping import Keeper, State
from mechtui.app.line import Mistake
from mechtui.app.opening import Opened
from mechtui.app.screens import screen_of
from mechtui.app.window import Window
from mechtui.session.changes import CannotError
from mechtui.session.document import Session
from mechtui.session.history import Tree
from mechtui.session.keeping import named
from mechtui.session.storage import StorageError
from mechtui.visible import seen

if TYPE_CHECKING:
    from mechtui.app.sessions import Sessions


class Sitting:
    """keeper: keeps the session. file: that it was opened from or saved to, None for none. in_file: the session as it
    stands there, as far as is known. own: files that it was opened from or written to: they are written over unasked.
    unkept: what was said when it could no longer be kept."""

    def __init__(self, app: Window, keeper: Keeper) -> None:
        self._app = app
        self.keeper = keeper
        self.file: Path | None = None
        self.in_file: Session | None = None
        self.own: set[Path] = set()
        self.unkept = ""

    def take_up(self, session: Session, tree: Tree) -> None:
        """Keep this session from now on."""
        self.keeper.begin(State(session, tree))
        self.file = Path(session.file) if session.file else None
        self.in_file = None
        self.own = {self.file} if self.file else set()

    def hear(self) -> None:
        """From now on what the keeper finds is told."""
        self.keeper.problem = lambda sentence: self._app.in_time(self._say_unkept, sentence)
        self.keeper.named = lambda: self._app.in_time(self._app.paint_status)

    async def read_file(self) -> None:
        """Find out what stands in the session's file."""
        if self.file is not None:
            self.in_file = await asyncio.to_thread(opening.file_says, self.file)
            self._app.paint_status()

    def document(self) -> Session:
        """The session as it is kept, with where one looks."""
        app = self._app
        session = app.picture.document(app.board.seen())
        screen = screen_of(app.arrangement, app.here, app.workspaces, app.board.places())
        return replace(session, focus=app.focus, screen=screen, file=str(self.file or ""))

    def keep(self) -> None:
        """What was changed, and where one looks, is kept a moment later."""
        self.keeper.put(State(self.document(), self._app.history.tree))

    def called(self) -> tuple[str, bool]:
        """What the session is called, and whether all of it is saved: in its file, where it has one."""
        if self.file is not None:
            return self.file.name, self.in_file == opening.plain(self._app.session)
        return self.keeper.name, not self.keeper.unkept

    def saved(self, path: Path) -> None:
        """The session was written to this file, or read from it."""
        self.file, self.in_file = path, opening.plain(self._app.session)
        self.keep()
        self._app.paint_status()

    def _say_unkept(self, sentence: str) -> None:
        """sentence: empty where the session is kept again."""
        if not sentence:
            if self.unkept and self.unkept in self._app.said[0]:
                self._app.say("The session is kept again.")
            self.unkept = ""
            return
        self.unkept = seen(sentence)
        self._app.say_too(sentence, bad=True)

    # Other sessions

    def go_on(self, opened: Opened) -> None:
        """Show another session in the place of this one, which is kept."""
        self.keep()
        self.keeper.switch(opened.kept, opened.waits)
        self._app.take_up(opened.session, opened.tree)
        if self.file is not None:
            self.in_file = opening.plain(self._app.session)
        self._app.show_taken_up(opened.session)

    def open_sessions(self) -> None:
        from mechtui.app.sessions import NEW, Sessions

        def chosen(name: str | None) -> None:
            if name == NEW:
                self.go_on(opening.new(Session(model=self._app.session.model)))
                self._app.say("A new session; R lists the others.")
            elif name and name != self.keeper.name:
                self._app.run_safely(self._resume, name)

        picker = Sessions(self.keeper.name)
        self._app.push_screen(picker, chosen)
        self._app.run_safely(self._list, picker)

    async def _list(self, picker: Sessions) -> None:
        from mechtui.session.keeping import listed

        self.keep()
        await asyncio.to_thread(self.keeper.now)
        picker.listed(await asyncio.to_thread(lambda: tuple(listed())), time.time())

    async def _resume(self, name: str) -> None:
        """Go on with a kept session."""
        try:
            # A session that was shown a moment ago is let go of once it is written.
            await asyncio.to_thread(self.keeper.now)
            opened = await asyncio.to_thread(opening.kept, name)
        except StorageError as error:
            self._app.say(f"{error}", bad=True)
            return
        self.go_on(opened)
        self._app.say(opened.told or f"{name} is open; R lists the others.")

    def rename(self, name: str) -> None:
        """Give the session a name, under which it is kept. Raises CannotError."""
        try:
            named(name)
        except StorageError as error:
            raise CannotError(f"{error}.") from error
        self._app.run_safely(self._rename, name)

    async def _rename(self, name: str) -> None:
        app = self._app
        try:
            await asyncio.to_thread(self.keeper.rename, name)
        except StorageError as error:
            if app.typing or len(app.screen_stack) > 1:
                app.say(f"{error}.", bad=True)
            else:
                app.open_line("rename")
                app.line.put(name, "", Mistake(f"{error}."))
            return
        app.paint_status()
        app.say(f"This session is now {self.keeper.name}.")
