"""Positions over many prompts: which of them name the same place in each."""

from __future__ import annotations

from mechtui.session.document import Edge, Edit, Positions, Range
from mechtui.session.grammar.edits import format_edit


def another_word(positions: Positions) -> int | None:
    """A position that another prompt may have another word at: one that is counted from the begin, past the first.
    None where there is none: all, those from the end, and tokens by their text are the same places in every prompt."""
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
