"""Views of one's own: folders beside mechtui's, which the user names in MECHTUI_VIEWS or as `views` in the config file.

Nothing else is looked through: not the current folder, not what a session file says.
"""

from __future__ import annotations

import os
import pkgutil
from collections.abc import Mapping
from types import ModuleType

from mechtui.views.spec import View

VARIABLE = "MECHTUI_VIEWS"
# What their letters begin with: no view of mechtui's has this one, so that no later one takes theirs.
FIRST = "q"


class ViewError(Exception):
    """A view of one's own that cannot be taken in: one sentence that says which, why, and what would be right."""


def folders() -> list[str]:
    """The folders that hold views, in the order in which they are named; several stand apart as in PATH."""
    named = os.environ.get(VARIABLE, "").split(os.pathsep)
    return [os.path.abspath(os.path.expanduser(folder)) for folder in named if folder]


def names(taken: set[str]) -> dict[str, str]:
    """Name -> folder of every view there. taken: names that are mechtui's. Raises ViewError."""
    found: dict[str, str] = {}
    for folder in folders():
        if not os.path.isdir(folder):
            raise ViewError(f"{VARIABLE}: there is no folder {folder}")
        for info in pkgutil.iter_modules([folder]):
            name, path = info.name, os.path.join(folder, info.name)
            if not info.ispkg:
                continue
            if name in taken:
                raise ViewError(f"{path} has a name that mechtui itself uses: give the view another")
            if name in found:
                raise ViewError(f"{path} and {os.path.join(found[name], name)} have one name: give one of them another")
            found[name] = folder
    return found


def checked(name: str, path: str, module: ModuleType, others: Mapping[str, View]) -> View:
    """The SPEC of a view of one's own. others: the views that there are already. Raises ViewError."""
    view = getattr(module, "SPEC", None)
    if not isinstance(view, View):
        raise ViewError(f"{path} has no SPEC that is a mechtui.views.View")
    if view.name != name or view.answer.__struct_config__.tag != name:
        raise ViewError(f'{path}: tag="{view.name}" should be the name of the folder, {name}, in question and answer')
    like = f"{FIRST}{name[0]}"
    if not view.go.startswith(FIRST) or len(view.go) < 2 or not (view.go.isascii() and view.go.isalpha()):
        raise ViewError(f"{path}: go={view.go!r} should be {FIRST} and one letter or more, as in {like!r}")
    for other in others.values():
        if view.go.startswith(other.go) or other.go.startswith(view.go):
            raise ViewError(f"{path}: go={view.go!r} and {other.go!r} of {other.name} begin alike: change one of them")
    if view.beside and view.beside not in others:
        raise ViewError(f"{path}: beside={view.beside!r} names no view; there are {', '.join(others)}")
    return view
