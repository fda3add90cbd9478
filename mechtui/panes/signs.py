"""The same rule on the screen: Textual's lines, texts and editors with a sign for each hidden character."""

from __future__ import annotations

from rich.segment import Segment
from rich.text import Text
from textual.color import Color
from textual.document._document import Document, EditResult, Location
from textual.filter import LineFilter

from mechtui.paint import plain
from mechtui.visible import harmless, signs


def shown(text: Text) -> Text:
    """The text with signs; one sign for one character, so that every style stays in its place."""
    if harmless(text.plain):
        return text
    made = text.copy()
    made.plain = signs(text.plain)
    return made


def painted(segments: list[Segment]) -> list[Segment]:
    """A line's segments with signs; the very same list where nothing is hidden."""
    if all(harmless(segment.text) for segment in segments):
        return segments
    return [segment._replace(text=signs(segment.text)) for segment in segments]


class Guard(LineFilter):
    """The last thing that happens to a line of any widget before it is written. Whoever forgot to show what is hidden
    gets signs here, and no more cells than the line had."""

    def apply(self, segments: list[Segment], background: Color) -> list[Segment]:
        safe = painted(segments)
        return safe if safe is segments else Segment.adjust_line_length(safe, Segment.get_line_length(segments))


class Plain(LineFilter):
    """After the guard: on a terminal with ASCII only, each sign in its ASCII form, in as many cells."""

    def apply(self, segments: list[Segment], background: Color) -> list[Segment]:
        if all(segment.text.isascii() for segment in segments):
            return segments
        return [segment._replace(text=plain.form(segment.text)) for segment in segments]


class Exact(Document):
    """A document that keeps its text to the character, and shows lines with signs: places in them are places in it.

    Only a newline ends a line. Textual's own ends one at ten kinds of characters and makes newlines of them all.
    """

    def __init__(self, text: str) -> None:
        super().__init__("")
        self._lines = text.split("\n")

    @property
    def lines(self) -> list[str]:
        return [signs(line) for line in self._lines]

    def __getitem__(self, line_index: int | slice) -> str | list[str]:  # type: ignore[override]
        found = self._lines[line_index]
        return signs(found) if isinstance(found, str) else [signs(line) for line in found]

    def exactly(self, index: int) -> str:
        """A line as it is."""
        return self._lines[index]

    def replace_range(self, start: Location, end: Location, text: str) -> EditResult:
        replaced = self.get_text_range(start, end)
        (top, left), (bottom, right) = sorted((start, end))
        before, after = "".join(self._lines[top : top + 1])[:left], "".join(self._lines[bottom : bottom + 1])[right:]
        made = (before + text).split("\n")
        reached = top + len(made) - 1, len(made[-1])
        made[-1] += after
        self._lines[top : bottom + 1] = made
        return EditResult(reached, replaced)
