"""The session picker: the kept sessions, the newest first; typing narrows them, enter goes on with one."""

from __future__ import annotations

import time

from rich.text import Text
from textual.app import ComposeResult
from textual.containers import Vertical
from textual.widgets import Static

from mechtui.app.line import Field, Rows, Suggestion
from mechtui.panes import theme
from mechtui.panes.boundary import Window
from mechtui.session.keeping import About
from mechtui.session.listing import ago, edits, holds, model
from mechtui.visible import seen

# What the picker is dismissed with for a session that is yet to begin: no session has this name.
NEW = "/new"


def suggestions(listed: tuple[About, ...], typed: str, now: float, here: str) -> list[Suggestion]:
    """A row for each session that has what was typed, and one that begins another. here: the one that is open."""
    rows = []
    for each in listed:
        if not holds(each, typed):
            continue
        prompt = " ".join(each.session.prompt.split())
        elsewhere = "open in another mechtui: enter copies it" if each.running else ""
        open_ = "this one" if each.name == here else elsewhere
        note = "  ".join(filter(None, (open_, model(each), edits(each), prompt)))
        wrong = f"cannot be read: {each.problem}" if each.problem else ""
        rows.append(Suggestion(each.name, note, key=ago(now - each.when), run=each.name, why_not=wrong))
    rows.append(Suggestion("new", "begin another session; this one is kept", run=NEW))
    return rows


class Sessions(Window[str | None]):
    """Dismissed with the name of the session to go on with, NEW, or None."""

    def __init__(self, here: str) -> None:
        """here: the session that is open."""
        super().__init__()
        self._here = here
        self._listed: tuple[About, ...] | None = None
        self._now = time.time()
        self._chosen = 0

    def compose(self) -> ComposeResult:
        with Vertical(id="sessions") as box:
            box.border_title = "sessions"
            box.border_subtitle = "enter goes on with it · :rename in the app gives it a name · esc back"
            yield Field(id="session-name", compact=True, placeholder="type to narrow: a name, a model, words of it")
            yield Static(id="session-note", markup=False)
            yield Rows()

    def on_mount(self) -> None:
        field = self.query_one(Field)
        field.cursor_blink = False
        field.focus()
        self._show()

    def listed(self, sessions: tuple[About, ...], now: float) -> None:
        """The kept sessions, the newest first. now: seconds since the epoch."""
        self._listed, self._now = sessions, now
        # enter goes to another session than the one that is open.
        self._chosen = next((at for at, each in enumerate(sessions) if each.name != self._here), 0)
        self._show()

    def _rows(self) -> list[Suggestion]:
        return suggestions(self._listed or (), self.query_one(Field).value, self._now, self._here)

    def _show(self) -> None:
        if not self.query(Field):
            return  # the list overtakes the window that it is for: it shows it when it is mounted
        rows = self._rows()
        self._chosen = max(0, min(self._chosen, len(rows) - 1))
        self.query_one(Rows).put(rows, self._chosen)
        if self._listed is None:
            note = "looking for sessions …"
        else:
            count = len(self._listed)
            note = f"{count} {'session is' if count == 1 else 'sessions are'} kept"
        self.query_one("#session-note", Static).update(Text(seen(note), theme.palette(self.app).dim))

    def on_input_changed(self, event: Field.Changed) -> None:
        event.stop()
        self._chosen = 0
        self._show()

    def _take(self) -> None:
        row = self._rows()[self._chosen]
        if not row.why_not:
            self.dismiss(row.run)

    def on_rows_clicked(self, event: Rows.Clicked) -> None:
        event.stop()
        self._chosen = event.index
        self._take()

    def on_field_special(self, event: Field.Special) -> None:
        event.stop()
        count = len(self._rows())
        match event.key:
            case "escape":
                self.dismiss(None)
            case "enter":
                self._take()
            case "down" | "ctrl+n" | "tab":
                self._chosen = (self._chosen + 1) % count
                self._show()
            case "up" | "ctrl+p" | "shift+tab":
                self._chosen = (self._chosen - 1) % count
                self._show()
