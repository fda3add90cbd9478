"""The prompt editor: small, cheap to redraw, and it says every change at once. The text stays exact, hidden characters
too; what is painted has a sign for each of them."""

from __future__ import annotations

from rich.style import Style
from rich.text import Text
from textual import events
from textual.document._document_navigator import DocumentNavigator
from textual.document._wrapped_document import WrappedDocument
from textual.message import Message
from textual.widgets import TextArea

from mechtui.panes.boundary import Guarded
from mechtui.panes.signs import Exact

# A sign must not be taken for the character that it looks like.
SIGN = Style(bold=True, color="yellow")


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
        self._held = text  # as the session has it
        self._rows = 1

    def on_mount(self) -> None:
        self.move_cursor(self.document.end)

    def take(self, text: str) -> None:
        """Show a text that the session has from elsewhere (undo, a file). Asked for the text that it holds
        already, the editor keeps what has been typed since."""
        if text != self._held:
            self.load_text(text)
            self._held = text
            self.move_cursor(self.document.end)

    def typed(self) -> str | None:
        """The text, if the user has changed it since this was last asked."""
        if self.text == self._held:
            return None
        self._held = self.text
        return self.text

    def rows(self) -> int:
        """Rows that the text takes at this width."""
        return max(self.wrapped_document.height, 1)

    def on_text_area_changed(self, event: TextArea.Changed) -> None:
        event.stop()
        if self.text != self._held:
            self.post_message(self.Typed())
        self._tell_rows()

    def on_resize(self) -> None:
        # At another width the text takes other rows.
        self.call_after_refresh(self._tell_rows)

    def _tell_rows(self) -> None:
        if self.rows() != self._rows:
            self._rows = self.rows()
            self.post_message(self.Grown())

    def _set_document(self, text: str, language: str | None) -> None:
        self.document = Exact(text)
        self.wrapped_document = WrappedDocument(self.document, tab_width=self.indent_width)
        self.navigator = DocumentNavigator(self.wrapped_document)
        self.move_cursor((0, 0))
        self._rewrap_and_refresh_virtual_size()

    def get_line(self, line_index: int) -> Text:
        line = super().get_line(line_index)
        assert isinstance(self.document, Exact)
        exact = self.document.exactly(line_index)
        if exact != line.plain:
            for at, (char, sign) in enumerate(zip(exact, line.plain, strict=True)):
                if char != sign:
                    line.stylize(SIGN, at, at + 1)
        return line

    def _on_paste(self, event: events.Paste) -> None:  # type: ignore[override]
        # Terminals send what enter sends for the end of a line. TextArea's own handler comes after this one.
        event.text = event.text.replace("\r\n", "\n").replace("\r", "\n")

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
