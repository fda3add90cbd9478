"""The command line at the lower edge: one input, what could stand there, and what is wrong with it.

It knows no grammar: its owner gives it a `Kind`, which suggests and takes lines.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from rich.cells import cell_len
from rich.style import Style
from rich.text import Text
from textual import events
from textual.app import ComposeResult
from textual.containers import Vertical
from textual.message import Message
from textual.strip import Strip
from textual.widget import Widget
from textual.widgets import Input, Static

from mechtui.app import recent
from mechtui.panes import theme
from mechtui.panes.boundary import Guarded
from mechtui.session.changes import CannotError
from mechtui.session.grammar.words import named_in
from mechtui.visible import seen, signs

ROWS = 8


@dataclass(frozen=True)
class Suggestion:
    """A row above the input. line: the whole line with it taken. key: shown at the right. run: the palette's
    rows are done rather than taken into the line. why_not: it cannot be done now, and why. sure: enter may do it
    when it stands first; else it must be chosen."""

    text: str
    note: str
    line: str = ""
    key: str = ""
    run: str = ""
    why_not: str = ""
    sure: bool = True


@dataclass(frozen=True)
class Mistake:
    """What is wrong, and the column (from 0) where; None where no place can be named."""

    sentence: str
    column: int | None = None


@dataclass(frozen=True)
class Kind:
    """One use of the line. suggest: rows for a text. take: use the line, or say what is wrong with it (a CannotError
    says it too), and the text stays. second: label of a second field (the foil beside the answer). do: the rows are
    done rather than taken. history: under which name its lines are kept for `up`; empty: they are not."""

    label: str
    hint: str
    suggest: Callable[[str], list[Suggestion]]
    take: Callable[[str, str], Mistake | None]
    second: str = ""
    do: Callable[[str], None] | None = None
    history: str = ""


class Earlier:
    """The lines of each kind that were taken before, and where `up` and `down` are among them.

    They go through the lines that begin with what was typed, the newest first.
    """

    def __init__(self) -> None:
        self._lines: dict[str, tuple[str, ...]] = {}
        self._opened = ""
        self._walk: list[str] = []
        self._at = 0

    def begin(self, opened: str) -> None:
        """The line is opened with this text, which nobody has typed."""
        self._opened = opened
        self._walk, self._at = [], 0

    def read(self) -> None:
        """Take in what the state folder holds."""
        for kind, lines in recent.LINES.items():
            self._lines.setdefault(kind, lines.read())

    def add(self, kind: str, line: str) -> None:
        lines = self._lines.get(kind, ())
        self._lines[kind] = (line, *(each for each in lines if each != line))

    def write(self, kind: str, line: str) -> None:
        """Keep a line in the state folder, and hear what other programs have kept there. Raises OSError."""
        self._lines[kind] = recent.LINES[kind].add(line)

    def older(self, kind: str, text: str) -> str | None:
        """The line before, None at the oldest."""
        if not self._walks(text):
            typed = "" if text == self._opened else text
            found = [line for line in self._lines.get(kind, ()) if line.startswith(typed) and line != text]
            self._walk, self._at = [text, *found], 0
        return self._step(1)

    def newer(self, text: str) -> str | None:
        """The line after; at last what was typed. None where no earlier line stands."""
        return self._step(-1) if self._walks(text) else None

    def _walks(self, text: str) -> bool:
        return 0 < self._at < len(self._walk) and self._walk[self._at] == text

    def _step(self, by: int) -> str | None:
        if not 0 <= self._at + by < len(self._walk):
            return None
        self._at += by
        return self._walk[self._at]


class Rows(Guarded, Widget):
    """Suggestions, one per row, the chosen one marked."""

    DEFAULT_CSS = "Rows { height: auto; max-height: 8; }"

    class Clicked(Message):
        """The row of this number was clicked on."""

        def __init__(self, index: int) -> None:
            super().__init__()
            self.index = index

    def __init__(self) -> None:
        super().__init__()
        self.rows: list[Suggestion] = []
        self.chosen = -1

    def get_content_height(self, container: object, viewport: object, width: int) -> int:
        return min(len(self.rows), ROWS)

    def put(self, rows: list[Suggestion], chosen: int) -> None:
        resized = min(len(rows), ROWS) != min(len(self.rows), ROWS)
        self.rows, self.chosen = rows, chosen
        self.refresh(layout=resized)

    def _first(self) -> int:
        """The row that stands at the top."""
        return max(0, min(self.chosen - ROWS + 1, len(self.rows) - ROWS)) if self.chosen >= 0 else 0

    def on_click(self, event: events.Click) -> None:
        event.stop()
        index = event.y + self._first()
        if index < len(self.rows):
            self.post_message(self.Clicked(index))

    def render_line(self, y: int) -> Strip:
        first = self._first()
        width = self.size.width
        if not 0 <= y + first < len(self.rows):
            return Strip.blank(width, self.rich_style)
        row = self.rows[y + first]
        here = y + first == self.chosen
        look = theme.palette(self.app)
        text = Text(" ▸ " if here else "   ", no_wrap=True)
        text.append(seen(row.text), look.dim if row.why_not else look.bold)
        text.append("  " + seen(row.why_not or row.note), look.dim + Style(italic=bool(row.why_not)))
        keys = seen(row.key)
        text.truncate(max(width - len(keys) - 2, 1), overflow="ellipsis", pad=True)
        text.append(keys.rjust(len(keys) + 1) + " ", "bold")
        if here:
            text.stylize("reverse")
        return Strip(list(text.render(self.app.console))).adjust_cell_length(width).apply_style(self.rich_style)


class Field(Guarded, Input):
    """An input whose special keys the line hears first. Its value stays exact; what is hidden in it shows as signs."""

    class Special(Message):
        def __init__(self, key: str) -> None:
            super().__init__()
            self.key = key

    @property
    def _value(self) -> Text:
        return Text(signs(self.value), no_wrap=True, overflow="ignore", end="")

    def _position_to_cell(self, position: int) -> int:
        return self.cell_of(position)

    def cell_of(self, position: int) -> int:
        """The cell where the character at `position` of the value begins."""
        return cell_len(signs(self.value[:position]))

    def _cell_offset_to_index(self, offset: int) -> int:
        cell = offset + int(self.scroll_offset.x)
        return next((at for at in range(len(self.value)) if self.cell_of(at + 1) > cell), len(self.value))

    def _on_paste(self, event: events.Paste) -> None:
        """All that was pasted, where Input itself takes the first line; the last line's end is nobody's wish."""
        event.stop()
        event.prevent_default()
        text = event.text.replace("\r\n", "\n").replace("\r", "\n").rstrip("\n")
        self.replace(text, *self.selection)

    async def _on_key(self, event: events.Key) -> None:
        if event.key in ("escape", "enter", "tab", "shift+tab", "up", "down", "ctrl+n", "ctrl+p"):
            event.stop()
            event.prevent_default()
            self.post_message(self.Special(event.key))
        else:
            await super()._on_key(event)


class CommandLine(Guarded, Vertical):
    """Hidden until it is opened. closed: called as soon as it is closed, when the keys are free again; what it led to
    comes after, and may open a window."""

    def __init__(self, closed: Callable[[], None] = lambda: None) -> None:
        super().__init__(id="line")
        self._free_keys = closed
        self.kind: Kind | None = None
        self.earlier = Earlier()
        self._chosen = -1
        self._suggested = ""  # the text that the rows are for
        self._pointed = False  # whether the user chose a row
        self._mistake: Mistake | None = None

    def compose(self) -> ComposeResult:
        yield Rows()
        yield Static(id="problem", markup=False)
        with Widget(id="fields"):
            yield Static(id="label", markup=False)
            yield Field(id="first", compact=True)
            yield Static(id="label2", markup=False)
            yield Field(id="second", compact=True)

    def on_mount(self) -> None:
        self.display = False
        for field in self.query(Field):
            field.cursor_blink = False
        self.call_after_refresh(self.run_worker, self._safe(partial(asyncio.to_thread, self.earlier.read)))

    @property
    def field(self) -> Field:
        return self.query_one("#first", Field)

    @property
    def other(self) -> Field:
        return self.query_one("#second", Field)

    @property
    def _written(self) -> Field:
        """The field that has the text cursor."""
        return self.other if self.screen.focused is self.other else self.field

    def open(self, kind: Kind, text: str = "", second: str = "") -> None:
        self.kind = kind
        self._mistake = None
        self.earlier.begin(text)
        self.display = True
        self.query_one("#label", Static).update(f" {kind.label} ")
        self.query_one("#label2", Static).update(f" {kind.second} ")
        for part in ("#label2", "#second"):
            self.query_one(part).display = bool(kind.second)
        self.field.value = text
        self.other.value = second
        self.field.cursor_position = len(text)
        # A command that is begun is gone on with; what else stands there is changed or written anew.
        self.field.select_on_focus = kind.do is None
        self.screen.set_focus(self.field)
        self.refresh_rows()

    def put(self, text: str, second: str, mistake: Mistake, *, second_is_wrong: bool = False) -> None:
        """Fill the fields with what was taken once and is refused now."""
        self._put(text)
        self.other.value = second
        if second_is_wrong:
            self.screen.set_focus(self.other)
            self.other.cursor_position = len(second)
        self.refresh_rows()
        self.complain(mistake)

    def _keep(self, kind: Kind, line: str) -> None:
        """Remember a line that was taken; the disk follows when it can."""
        if kind.history and line.strip():
            self.earlier.add(kind.history, line)
            self.app.run_worker(self._safe(self._write)(kind.history, line))

    async def _write(self, kind: str, line: str) -> None:
        try:
            await asyncio.to_thread(self.earlier.write, kind, line)
        except OSError as error:
            self.log(f"the line is not kept: {error}")

    def close(self) -> None:
        self.kind = None
        self.display = False
        self._free_keys()

    def on_input_changed(self, event: Input.Changed) -> None:
        event.stop()
        # A field that nobody writes in was filled, and says nothing new.
        if self.kind is not None and event.input is self._written and self._written.value != self._suggested:
            self._mistake = None
            self.refresh_rows()

    def refresh_rows(self) -> None:
        kind = self.kind
        if kind is None:
            return
        self._suggested = self._written.value
        rows = kind.suggest(self._suggested)
        # An action that stands first is done on enter; any other row is only an offer.
        self._chosen = 0 if rows and rows[0].run and rows[0].sure else -1
        self._pointed = False
        self.query_one(Rows).put(rows, self._chosen)
        self._show_problem()

    def _show_problem(self) -> None:
        kind, mistake = self.kind, self._mistake
        if kind is None:
            return
        look = theme.palette(self.app)
        text = Text(no_wrap=False)
        if mistake is None:
            text.append(f" {kind.hint}", look.dim)
        else:
            text.append(f" {seen(mistake.sentence)}", look.bad)
            if mistake.column is not None:
                place = self.field.cell_of(mistake.column)
                scrolled = int(self.field.scroll_offset.x)
                text.append("\n" + " " * (len(kind.label) + 2 + place - scrolled) + "▾", look.bad)
        self.query_one("#problem", Static).update(text)

    def on_field_special(self, event: Field.Special) -> None:
        event.stop()
        kind, rows = self.kind, self.query_one(Rows)
        if kind is None:
            return
        match event.key:
            case "escape":
                self.close()
            case "down" if (line := self.earlier.newer(self.field.value)) is not None:
                self._put(line)
            case "down" | "ctrl+n":
                self._choose(1)
            case "up" if not self._pointed:
                if kind.history and (line := self.earlier.older(kind.history, self.field.value)) is not None:
                    self._put(line)
            case "up" if self._chosen == 0:
                self.refresh_rows()  # back in the text
            case "up" | "ctrl+p":
                self._choose(-1)
            case "tab" | "shift+tab" if kind.second:
                self.screen.set_focus(self.field if self.other.has_focus else self.other)
                self.refresh_rows()
            case "tab":
                offered = rows.rows[self._chosen :][:1] if self._pointed else rows.rows
                if (row := next((row for row in offered if row.line), None)) is not None:
                    self._put(row.line)
            case "shift+tab":
                self._choose(-1)
            case "enter":
                self._enter()

    def on_rows_clicked(self, event: Rows.Clicked) -> None:
        """Take the row, as enter does."""
        event.stop()
        rows = self.query_one(Rows).rows
        if self.kind is not None and event.index < len(rows):
            self._chosen = event.index
            self._enter()

    def _choose(self, by: int) -> None:
        rows = self.query_one(Rows)
        if rows.rows:
            at = self._chosen + by
            if self._chosen < 0 and by < 0:
                at = len(rows.rows) - 1
            self._chosen = at % len(rows.rows)
            self._pointed = True
            rows.put(rows.rows, self._chosen)

    def _put(self, line: str) -> None:
        self.field.value = line
        self.field.cursor_position = len(line)
        self._mistake = None
        self.refresh_rows()  # the next key may be handled before the field has told

    def _enter(self) -> None:
        kind, rows = self.kind, self.query_one(Rows).rows
        if kind is None:
            return
        row = rows[self._chosen] if 0 <= self._chosen < len(rows) else None
        if row is not None and row.run and kind.do is not None:
            self._keep(kind, row.text)
            self.close()
            kind.do(row.run)
            return
        if row is not None and row.line:
            self._put(row.line)
            return
        try:
            mistake = kind.take(self.field.value, self.other.value)
        except CannotError as error:
            mistake = Mistake(str(error), named_in(self.field.value, str(error)))
        if mistake is None:
            self._keep(kind, self.field.value)
            if self.kind is kind:
                self.close()
        else:
            self.complain(mistake)

    def complain(self, mistake: Mistake) -> None:
        """Say what is wrong with what stands here; nothing where the line is closed."""
        self._mistake = mistake
        if mistake.column is not None:
            self.field.cursor_position = min(mistake.column, len(self.field.value))
        self._show_problem()
