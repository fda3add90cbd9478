"""What the pickers share: a field, a sentence, and the rows that are left of all, with a cursor that goes round."""

from __future__ import annotations

from typing import ClassVar

from rich.text import Text
from textual.app import ComposeResult
from textual.containers import Vertical
from textual.widgets import Static

from mechtui.app.line import Field, Rows, Suggestion
from mechtui.panes import theme
from mechtui.panes.boundary import Window
from mechtui.visible import seen


class Picker(Window[str | None]):
    """Dismissed with what was chosen, or None. WHAT: one of the things that it lists. TITLE: its frame's. KEYS: what
    enter and others do. PLACEHOLDER: what may be typed."""

    WHAT: ClassVar[str]
    TITLE: ClassVar[str]
    KEYS: ClassVar[str]
    PLACEHOLDER: ClassVar[str]

    def __init__(self) -> None:
        super().__init__()
        self._chosen = 0

    def rows(self, typed: str) -> list[Suggestion]:
        """Those that are left of all when this was typed."""
        raise NotImplementedError

    def note(self) -> str:
        """What is to be known besides."""
        raise NotImplementedError

    def compose(self) -> ComposeResult:
        with Vertical(id=f"{self.WHAT}s") as box:
            box.border_title = self.TITLE
            box.border_subtitle = self.KEYS
            yield Field(id=f"{self.WHAT}-name", compact=True, placeholder=self.PLACEHOLDER)
            yield Static(id=f"{self.WHAT}-note", markup=False)
            yield Rows()

    def on_mount(self) -> None:
        field = self.query_one(Field)
        field.cursor_blink = False
        field.focus()
        self._show()

    def _show(self) -> None:
        if not all(self.query(part) for part in ("Field", "Rows", f"#{self.WHAT}-note")):
            return  # news overtake the window that they are for: it shows them when it is mounted, or is closed already
        rows = self.rows(self.query_one(Field).value)
        self._chosen = max(0, min(self._chosen, len(rows) - 1))
        self.query_one(Rows).put(rows, self._chosen if rows else -1)
        self.query_one(f"#{self.WHAT}-note", Static).update(Text(seen(self.note()), theme.palette(self.app).dim))

    def _under_cursor(self) -> Suggestion | None:
        rows = self.query_one(Rows).rows
        return rows[self._chosen] if 0 <= self._chosen < len(rows) else None

    def on_input_changed(self, event: Field.Changed) -> None:
        event.stop()
        self._chosen = 0
        self._show()

    def _move(self, key: str) -> None:
        """The cursor, where the key is for that."""
        step = {"down": 1, "ctrl+n": 1, "tab": 1, "up": -1, "ctrl+p": -1, "shift+tab": -1}.get(key, 0)
        if step:
            self._chosen = (self._chosen + step) % max(len(self.query_one(Rows).rows), 1)
            self._show()
