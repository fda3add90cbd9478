"""Positions over many prompts: which of them name the same place in each, and what cases call theirs."""

from __future__ import annotations

from collections.abc import Iterable
from statistics import fmean

from mechtui.session.cases import END, Case
from mechtui.session.document import Edge, Edit, Positions, Range, Role
from mechtui.session.grammar.edits import format_edit


def another_word(positions: Positions) -> int | None:
    """A position that another prompt may have another word at: one that is counted from the begin, past the first.
    None where there is none: all, those from the end, tokens by their text and what cases name are the same places in
    every prompt."""
    for item in positions.items:
        if isinstance(item, Range):
            for position in (item.first, item.last):
                if position > 0:
                    return position
    return None


def same_everywhere(edit: Edit) -> str:
    """Why an edit does not name the same places in every prompt, in a sentence; empty where it does."""
    edge = edit.edge or Edge()
    for positions in (edit.positions, edge.queries, edge.keys):
        if (position := another_word(positions)) is not None:
            return f'{format_edit(edit)}: {said(position)}, or name the token, as in @" John"#2'
    return ""


def said(position: int) -> str:
    """What is wrong with a position that is counted from the begin."""
    return f"position {position} is another word in another prompt; count from the end, as in @-1"


def named(positions: Positions) -> str:
    """The first of these that only cases have; empty for none."""
    return next((item.name for item in positions.items if isinstance(item, Role)), "")


def roles_of(cases: Iterable[Case]) -> tuple[Role, ...]:
    """All that the cases name, as they stand in the prompts: those that come first on average first, `end` last."""
    places: dict[str, list[int]] = {}
    for case in cases:
        for name, end in case.roles:
            places.setdefault(name, []).append(end - len(case.prompt or ""))
    return (*(Role(name) for name in sorted(places, key=lambda name: fmean(places[name]))), Role(END))
