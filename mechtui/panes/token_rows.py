"""A pane that is a list with a row for each token of the prompt: its cursor is the selected token."""

from __future__ import annotations

from abc import abstractmethod

from msgspec.structs import replace

from mechtui.panes.pane import Focus, Pane, Picture
from mechtui.panes.rows import Rows, read_cursor, write_cursor


class TokenRows(Pane):
    """A view's pane says what the rows are; row n is the token at position n, however the list is sorted."""

    def __init__(self, *, name: str | None = None, id: str | None = None, classes: str | None = None) -> None:
        super().__init__(name=name, id=id, classes=classes)
        self._at: int | None = None  # the cursor's column, once it was moved; before that, the one that sorts

    @abstractmethod
    def _rows(self, picture: Picture) -> Rows | None:
        """The list; None where there is nothing to list."""

    def cursor(self) -> str:
        return write_cursor("", self._at)

    def put_cursor(self, cursor: str) -> None:
        _, self._at = read_cursor(cursor)

    def hit(self, picture: Picture, index: int, x: int, left: int) -> Focus | None:
        rows = self._rows(picture)
        if rows is None or not 0 <= index < len(rows.order):
            return None
        return replace(picture.focus, position=rows.order[index])

    def move(self, dx: int, dy: int) -> None:
        picture = self.picture
        if picture is None or (rows := self._rows(picture)) is None:
            return
        if dx:
            self._at = rows.beside(self._at, dx)
            self.renew()
        if dy:
            self.look(position=rows.moved(picture.position(), dy))

    def end(self) -> None:
        self.look(position=-1)

    def _column(self, without: str) -> str:
        """The name of the column that the cursor stands in. without: what it is while there is no list."""
        rows = None if self.picture is None else self._rows(self.picture)
        return without if rows is None else rows.columns[rows.beside(self._at, 0)].name

    def value(self) -> str:
        if self.picture is None or (rows := self._rows(self.picture)) is None:
            return ""
        return rows.value(self.picture.position(), self._at)

    def row(self) -> str:
        if self.picture is None or (rows := self._rows(self.picture)) is None:
            return ""
        return rows.row_text(self.picture.position())
