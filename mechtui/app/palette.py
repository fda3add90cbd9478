"""The palette: every action by its words, and what else a line may be (an edit, a vector, a question)."""

from __future__ import annotations

from typing import NamedTuple

from mechtui.app.actions import shown
from mechtui.session.document import Edit, Vector
from mechtui.session.grammar.edits import parse_edit
from mechtui.session.grammar.vectors import parse_vector
from mechtui.session.ops import ops
from mechtui.views import Question, parse_question, specs
from mechtui.views.spec import Action


class Match(NamedTuple):
    """An action, how well the words fit (more is better)."""

    action: Action
    score: int


def fuzzy(text: str, target: str) -> int:
    """How well the characters of `text`, in order, are found in `target`; 0 when they are not.

    A run of neighbours and the begin of a word count more, so that "und" finds undo before "around".
    """
    score, at, run = 1, 0, 0
    target = target.lower()
    for char in text.lower():
        if char == " ":
            run = 0
            continue
        found = target.find(char, at)
        if found < 0:
            return 0
        run = run + 1 if found == at and run else 1
        begins = found == 0 or not target[found - 1].isalnum()
        score += run * 2 + (6 if begins else 0)
        at = found + 1
    return score


def matches(text: str, actions: tuple[Action, ...]) -> list[Match]:
    """Actions that fit: the one of just this name, then the best, of equals the one with the shorter name; with no text
    all of them, in their own order."""
    text = text.strip()
    found = []
    for action in actions:
        if action.name == "palette":
            continue
        words = fuzzy(text, action.title) * 3
        # Letters scattered over a sentence mean nothing; there, the text itself must stand.
        rest = fuzzy(text, action.explanation) if text.lower() in action.explanation.lower() else 0
        key = 200 if any(text == shown(key) for key in action.keys) else 0
        if words or rest or key:
            found.append(Match(action, max(words, rest) + key))

    def place(match: Match) -> tuple[bool, int, int]:
        title = match.action.title
        return title.lower() != text.lower(), -match.score, len(title)

    return sorted(found, key=place) if text else found


def named(text: str, action: Action) -> bool:
    """Whether a text is the beginning of an action's name or title, or its key, rather than letters out of them."""
    low = text.strip().lower()
    begins = any(name.startswith(low) for name in (action.name.replace("_", " "), action.name, action.title.lower()))
    return bool(low) and (begins or any(text.strip() == shown(key) for key in action.keys))


def is_question(text: str) -> bool:
    """Whether a text begins with the name of a view."""
    return text.strip().partition(" ")[0] in specs()


def is_line(text: str) -> bool:
    """Whether a text means to be an edit, a vector or a question rather than an action's name."""
    word = text.strip().lstrip("# ").partition(" ")[0]
    return " = " in text or (word in ops() and " " in text.strip()) or is_question(text)


def read(text: str) -> Edit | Vector | Question:
    """The line as what it is. Raises LineError."""
    word = text.strip().lstrip("# ").partition(" ")[0]
    if word in specs():
        return parse_question(text)
    if " = " in text and word not in ops():
        return parse_vector(text)
    return parse_edit(text)
