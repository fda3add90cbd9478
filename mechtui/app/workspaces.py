"""Which pane stands where, as data: the one place outside `mechtui.views` that names views.

A workspace is columns of places, written as text: `heads / scores` is a column with two places, one below the other;
`attention | residual` is a place that two views share. Where a window is too small for a column or a place, its views
share the place before it.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache

from mechtui.session.grammar.words import LineError
from mechtui.views import parse_question, spec_of, specs

# Views that share a place; places of a column, from above; columns, from the left.
Place = tuple[str, ...]
Column = tuple[Place, ...]

# The ruler below the head, what every change is judged by at the right, and the index to the model.
TOP, RESULT, MAP = "tokens", "next_tokens", "heads"
RAIL = (RESULT, "effects", "vectors")


@dataclass(frozen=True)
class Workspace:
    """name: as the head shows it. columns: the views by their place. lines: the question lines that say more than a
    view's name, which hold as long as the session has no line of that view. job: the view whose job is started here by
    its key; empty for the first that has one."""

    name: str
    columns: tuple[Column, ...]
    lines: tuple[str, ...] = ()
    job: str = ""

    @property
    def views(self) -> tuple[str, ...]:
        """All of them, in reading order."""
        return tuple(view for column in self.columns for place in column for view in place)

    @property
    def main(self) -> str:
        """The view that gets the keys when one comes here: the first that is not the map beside it."""
        return next((column[0][0] for column in self.columns if column[0] != (MAP,)), MAP)


def read(name: str, columns: tuple[str, ...], job: str = "") -> Workspace:
    """A workspace from its columns' texts. Raises LineError for a line that means nothing, or a view twice."""
    made: list[Column] = []
    lines: list[str] = []
    seen: set[str] = set()
    for text in columns:
        places: list[Place] = []
        for place in text.split("/"):
            views: list[str] = []
            for line in map(str.strip, place.split("|")):
                question = specs()[line].question() if line in specs() else parse_question(line)
                view = spec_of(question).name
                if view in seen or view == TOP:
                    why = "stands above every workspace" if view == TOP else "stands there twice"
                    raise LineError(text, text.find(line), f"{view} {why}")
                seen.add(view)
                views.append(view)
                if question != type(question)():
                    lines.append(question.line())
            places.append(tuple(views))
        made.append(tuple(places))
    return Workspace(name, tuple(made), tuple(lines), job)


def with_besides(workspace: Workspace) -> Workspace:
    """With the views that stand beside one of its own, see `View.beside`."""
    columns = workspace.columns
    for name, view in specs().items():
        if view.beside and not any(name in place for column in columns for place in column):
            columns = tuple(
                tuple((*place, name) if view.beside in place else place for place in column) for column in columns
            )
    return replace(workspace, columns=columns)


@cache
def built_in() -> tuple[Workspace, ...]:
    """Those that are there without any settings."""
    made = (
        read("Look", ("heads / scores", "attention / residual / loss", "lens / attribution"), job="generate"),
        read("Explain", ("heads / scores", "attribution | neurons / lens", "sweep / attention | path"), job="sweep"),
        read("Weights", ("heads / scores", "circuit / attention", "composition | bigrams")),
        read(
            "Units",
            ("heads / scores", "neurons | features / attribution", "contexts / residual | lens"),
            job="contexts",
        ),
        read("Steer", ("heads / residual", "dose / lens", "generate / attribution"), job="generate"),
        read("Compare", ("history / loss | perplexity | cases", "compare / attribution")),
    )
    return tuple(map(with_besides, made))


# As many as there are digits.
MOST = 9


class WorkspaceError(ValueError):
    """A workspace of the settings that cannot be: one sentence."""


def with_own(own: Mapping[str, tuple[str, ...]]) -> tuple[Workspace, ...]:
    """The built-in workspaces, and those of the settings by their names: one of a built-in's name takes its place.
    Raises WorkspaceError."""
    found = {workspace.name: workspace for workspace in built_in()}
    for name, columns in own.items():
        if not columns:
            raise WorkspaceError(f'[workspaces] {name} has no column; one is "heads / scores"')
        try:
            found[name] = read(name, columns)
        except LineError as error:
            raise WorkspaceError(f"[workspaces] {name}: {error.line!r}: {error.problem}") from error
    if len(found) > MOST:
        raise WorkspaceError(f"[workspaces] makes {len(found)} workspaces, and there are {MOST} digits to go to them")
    return tuple(found.values())


@cache
def panes() -> tuple[str, ...]:
    """The views that have a pane, in the order in which one meets them."""
    known = [TOP, *RAIL[:1], *(view for each in built_in() for view in each.views), *RAIL, *specs()]
    return tuple(name for name in dict.fromkeys(known) if _has_pane(name))


@cache
def _has_pane(view: str) -> bool:
    return view in specs() and importlib.util.find_spec(f"mechtui.views.{view}.pane") is not None


def title(pane: str) -> str:
    """A pane's name as it stands in its frame."""
    return specs()[pane].title
