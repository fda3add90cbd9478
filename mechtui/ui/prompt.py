"""The prompt editor: small, cheap to redraw, and it says every change at once."""

from __future__ import annotations

from textual import events
from textual.message import Message
from textual.widgets import TextArea

from mechtui.ui.boundary import Guarded


class Prompt(Guarded, TextArea):
    """`enter` and `esc` leave, `ctrl+j` begins a new line. Only what the user types is told."""

    class Typed(Message):
        """The text is another; `typed` says which."""

    class Left(Message):
        """The user is done typing."""

    class Grown(Message):
        """The text needs another number of rows."""

    def __init__(self, which: str, text: str, placeholder: str = "") -> None:
        # cursor_blink would send 2.7 kB a second for ever.
        super().__init__(
            text,
            id=which,
            soft_wrap=True,
            show_line_numbers=False,
            compact=True,
            tab_behavior="focus",
            highlight_cursor_line=False,
            placeholder=placeholder,
        )
        self.cursor_blink = False
        # The text as the session has it, and what the editor made of that: to a document every kind of line end
        # is the same one.
        self._held = text
        self._shown = self.text
        self._rows = 1

    def on_mount(self) -> None:
        self.move_cursor(self.document.end)

    def take(self, text: str) -> None:
        """Show a text that the session has from elsewhere (undo, a file). Asked for the text that it holds
        already, the editor keeps what has been typed since."""
        if text != self._held:
            self.load_text(text)
            self._held, self._shown = text, self.text
            self.move_cursor(self.document.end)

    def typed(self) -> str | None:
        """The text, if the user has changed it since this was last asked."""
        if self.text == self._shown:
            return None
        self._held = self._shown = self.text
        return self.text

    def rows(self) -> int:
        """Rows that the text takes at this width."""
        return max(self.wrapped_document.height, 1)

    def on_text_area_changed(self, event: TextArea.Changed) -> None:
        event.stop()
        if self.text != self._shown:
            self.post_message(self.Typed())
        if self.rows() != self._rows:
            self._rows = self.rows()
            self.post_message(self.Grown())

    async def _on_key(self, event: events.Key) -> None:
        if event.key in ("enter", "escape", "tab", "shift+tab"):
            event.stop()
            event.prevent_default()
            self.post_message(self.Left())
        elif event.key in ("ctrl+j", "alt+enter"):
            event.stop()
            event.prevent_default()
            self.insert("\n")
        else:
            await super()._on_key(event)
