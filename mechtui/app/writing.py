"""The line `write [VIEW|screen|report] FILE`: its words, its completion, and what is said of it afterwards. The file's
ending says what it holds; `mechtui.app.contents` makes it."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from mechtui.app.line import Suggestion
from mechtui.session.changes import CannotError
from mechtui.session.grammar.words import LineError, nearest, short, unquote
from mechtui.views import specs

WORD, SCREEN, REPORT = "write", "screen", "report"
# By ending, what a file holds.
OF_PANE = {
    ".csv": "a row for each number, with its unit",
    ".json": "what mechtui run says of it",
    ".npz": "numpy arrays, as of mechtui run",
    ".txt": "its text, every row",
    ".svg": "a picture, every row",
    ".html": "coloured tables, clean beside edited",
}
OF_SCREEN = {".svg": "a picture", ".txt": "its text"}
OF_REPORT = {".html": "one page of all that is open", ".md": "the same as Markdown"}


class Wanted(NamedTuple):
    """What is to be written where. what: a view's name, screen or report."""

    what: str
    file: str

    @property
    def endings(self) -> dict[str, str]:
        return {SCREEN: OF_SCREEN, REPORT: OF_REPORT}.get(self.what, OF_PANE)

    @property
    def ending(self) -> str:
        return Path(self.file).suffix.lower()


def is_write(text: str) -> bool:
    """Whether a line means to write a file."""
    return text.lstrip().partition(" ")[0] == WORD and " " in text.lstrip()


def parse(text: str, here: str) -> Wanted:
    """here: the view that is written where the line names none. Raises CannotError."""
    _check_what(text)
    wanted = _split(text, here)
    if wanted.ending not in wanted.endings:
        *most, last = wanted.endings
        raise CannotError(
            f"{wanted.file or 'nothing'} should end in {', '.join(most)} or {last}, which says what it holds"
        )
    return wanted


def suggest(text: str, here: str, open_views: list[str]) -> list[Suggestion]:
    """Lines that begin so: the pane that has the keys, the screen and the report, the other panes."""
    title = specs()[here].title
    found = [(f"{WORD} {here}{ending}", f"{title}: {note}") for ending, note in OF_PANE.items()]
    for what, endings in ((SCREEN, OF_SCREEN), (REPORT, OF_REPORT)):
        found += [(f"{WORD} {what} {what}{ending}", note) for ending, note in endings.items()]
    for view in open_views:
        found += [
            (f"{WORD} {view} {view}{ending}", f"{specs()[view].title}: {note}") for ending, note in OF_PANE.items()
        ]
    typed = text.strip()
    try:
        wanted = _split(typed, here)
    except CannotError:
        return []
    if wanted.ending in wanted.endings:
        # The line is whole: the same name with each other ending.
        stem = typed[: -len(wanted.ending)]
        found = [(f"{stem}{ending}", note) for ending, note in wanted.endings.items() if ending != wanted.ending]
        return [Suggestion(line, note, line=line) for line, note in found]
    if not Path(typed).suffix and typed != WORD and not text.endswith(" "):
        # A name of one's own: its endings.
        found = [(f"{typed}{ending}", note) for ending, note in wanted.endings.items()] + found
    return [Suggestion(line, note, line=line) for line, note in found if line.startswith(text.lstrip())]


def _split(text: str, here: str) -> Wanted:
    """The line's two words, as far as they stand there. A name alone is a file's; in double quotes it may have any
    blanks. Raises CannotError for a text in quotes that is none."""
    rest = text.strip().removeprefix(WORD).strip()
    first, _, file = rest.partition(" ")
    named = first in (SCREEN, REPORT, *specs()) and bool(file.strip())
    what, file = (first, file.strip()) if named else (here, rest)
    return Wanted(what, _unquoted(file))


def _unquoted(file: str) -> str:
    if not file.startswith('"'):
        return file
    try:
        return unquote(file, file, 0)
    except LineError as error:
        raise CannotError(error.problem) from error


def _check_what(text: str) -> None:
    """Raises CannotError where a word that is no view stands before the file. A path may have blanks without quotes."""
    first, _, file = text.strip().removeprefix(WORD).strip().partition(" ")
    whats = (*specs(), SCREEN, REPORT)
    if file and first not in whats and not set(first) & set('./~"'):
        near = nearest(first, whats) or f"those are {', '.join(whats)}; "
        raise CannotError(
            f"{short(first)} is nothing that can be written: {near}a file's name with blanks stands in double quotes"
        )


def said(wanted: Wanted) -> str:
    """One sentence of what was written."""
    if wanted.what in (SCREEN, REPORT):
        return f"Wrote the {wanted.what} to {wanted.file}: {wanted.endings[wanted.ending]}."
    return f"Wrote {specs()[wanted.what].title} to {wanted.file}: {wanted.endings[wanted.ending]}."
