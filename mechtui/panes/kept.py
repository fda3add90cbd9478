"""Widgets that remember how they look."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self

from rich.style import Style
from textual.geometry import Region
from textual.strip import Strip

if TYPE_CHECKING:
    from textual.widget import Widget
else:
    # Textual takes a widget's default styles from the first of its bases that is a widget.
    Widget = object


class Kept(Widget):
    """When one widget changes, Textual asks all that share its container for their lines, and puts each line's border
    and style together once more. These give the lines that they gave, until something about them is another."""

    _changes = 0
    _given: tuple[tuple[object, ...], list[Strip]] | None = None
    _style: Style | None = None

    def render_lines(self, crop: Region) -> list[Strip]:
        now = (self._changes, crop, self.scroll_offset, self.virtual_size, self.app.theme)
        if self._given is None or self._given[0] != now:
            self._style = None
            self._given = now, super().render_lines(crop)
        return self._given[1]

    @property
    def look_now(self) -> Style:
        """The widget's style, which Textual puts together anew for every line that asks."""
        if self._style is None:
            self._style = self.rich_style
        return self._style

    def refresh(self, *regions: Region, **what: Any) -> Self:
        self._changes += 1
        return super().refresh(*regions, **what)

    def notify_style_update(self) -> None:
        self._changes += 1
        super().notify_style_update()
