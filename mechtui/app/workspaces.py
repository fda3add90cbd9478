"""Which pane stands where, as data: the one place outside `mechtui.views` that names views."""

from __future__ import annotations

from dataclasses import dataclass

from mechtui.views import specs


@dataclass(frozen=True)
class Workspace:
    """Views by their place. panes: all of them, in the order of their digits. top: across the window, below the
    prompt. map: at the left. main: beside the map. tabs: share the place below these two. rail: at the right, from the
    top; the first, the result, is seen in a small window too."""

    panes: tuple[str, ...]
    top: str
    map: str
    main: str
    tabs: tuple[str, ...]
    rail: tuple[str, str, str]

    @property
    def result(self) -> str:
        return self.rail[0]

    def digit(self, pane: str) -> int:
        return self.panes.index(pane) + 1


DESK = Workspace(
    panes=("tokens", "heads", "attention", "next_tokens", "residual", "effects", "vectors", "generate"),
    top="tokens",
    map="heads",
    main="attention",
    tabs=("residual", "generate"),
    rail=("next_tokens", "effects", "vectors"),
)


def title(pane: str) -> str:
    """A pane's name as it stands in its frame."""
    return specs()[pane].title
