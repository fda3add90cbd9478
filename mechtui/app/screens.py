"""How the screen is arranged, as a session says it, and back: the names of workspaces and views for their numbers."""

from __future__ import annotations

from collections.abc import Sequence

from mechtui.app.state import Arrangement
from mechtui.app.workspaces import Workspace, panes
from mechtui.session.document import Screen, Scrolled
from mechtui.views import specs


def screen_of(
    arrangement: Arrangement, here: str, workspaces: Sequence[Workspace], places: tuple[Scrolled, ...] = ()
) -> Screen:
    """here: the view that has the keys. places: of the views that are shown."""
    name = workspaces[arrangement.workspace].name
    views = (here, *(view for view in arrangement.recent if view != here))
    # A job that is not renewed is over once it is done: its result is kept.
    job = arrangement.job if arrangement.job and specs()[arrangement.job].renews else ""
    return Screen(name, views, bool(arrangement.maximised), arrangement.wider, arrangement.guest, job, places)


def arrangement_of(screen: Screen | None, workspaces: Sequence[Workspace]) -> tuple[Arrangement, str]:
    """The arrangement, and the view that has the keys. What this program has not is left out."""
    if screen is None:
        return Arrangement(), workspaces[0].main
    names = [workspace.name for workspace in workspaces]
    number = names.index(screen.workspace) if screen.workspace in names else 0
    views = tuple(view for view in screen.views if view in panes())
    guest, job = (view if view in panes() else "" for view in (screen.guest, screen.job))
    here = views[0] if views else workspaces[number].main
    whole = here if screen.whole else ""
    made = Arrangement(number, views, guest=guest, maximised=whole, wider=screen.wider, job=job)
    return made, here
