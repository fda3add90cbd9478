"""The session picker: the kept sessions, the newest first; typing narrows them, enter goes on with one."""

from __future__ import annotations

import time

from mechtui.app.line import Field, Rows, Suggestion
from mechtui.app.picker import Picker
from mechtui.session.keeping import About
from mechtui.session.listing import ago, edits, holds, model

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


class Sessions(Picker):
    """Dismissed with the name of the session to go on with, NEW, or None."""

    WHAT = "session"
    TITLE = "sessions"
    KEYS = "enter goes on with it · :rename in the app gives it a name · esc back"
    PLACEHOLDER = "type to narrow: a name, a model, words of it"

    def __init__(self, here: str) -> None:
        """here: the session that is open."""
        super().__init__()
        self._here = here
        self._listed: tuple[About, ...] | None = None
        self._now = time.time()

    def listed(self, sessions: tuple[About, ...], now: float) -> None:
        """The kept sessions, the newest first. now: seconds since the epoch."""
        self._listed, self._now = sessions, now
        # enter goes to another session than the one that is open.
        self._chosen = next((at for at, each in enumerate(sessions) if each.name != self._here), 0)
        self._show()

    def rows(self, typed: str) -> list[Suggestion]:
        return suggestions(self._listed or (), typed, self._now, self._here)

    def note(self) -> str:
        if self._listed is None:
            return "looking for sessions …"
        count = len(self._listed)
        return f"{count} {'session is' if count == 1 else 'sessions are'} kept"

    def _take(self) -> None:
        row = self._under_cursor()
        if row is not None and not row.why_not:
            self.dismiss(row.run)

    def on_rows_clicked(self, event: Rows.Clicked) -> None:
        event.stop()
        self._chosen = event.index
        self._take()

    def on_field_special(self, event: Field.Special) -> None:
        event.stop()
        match event.key:
            case "escape":
                self.dismiss(None)
            case "enter":
                self._take()
            case key:
                self._move(key)
