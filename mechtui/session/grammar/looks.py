"""Where the screen looks and how it is arranged, as lines: `L9H9 @13 edit 2` and `Explain lens attention whole`."""

from __future__ import annotations

import re

from mechtui.session.document import Focus, Screen, Scrolled
from mechtui.session.grammar.words import NAME, LineError, Words, one_position, quote, short, unquote, whole

_HEAD = re.compile(r"L([0-9]+)H([0-9]+)")
# Fields of a focus behind their words; people count edits and vectors from 1.
_COUNTED = {"key": ("key", 0), "edit": ("edit", 1), "vector": ("vector", 1)}
_PLACE = re.compile(r"([\w-]+):([0-9]{1,7}),([0-9]{1,7})(?::([!#-~]{1,4000}))?")
WORDS = ("whole", "wider", "with", "running", "at")
# Columns that one side may lend to the other.
WIDEST = 40


def parse_focus(line: str) -> Focus:
    """`L9H9 [@POS] [key N] [edit N] [vector N]` -> what it looks at. Raises LineError."""
    words = Words(line)
    head = words.next("a head, as in L9H9,")
    named = _HEAD.fullmatch(head)
    if named is None:
        raise words.error(f"{short(head)} should be a head, as in L9H9", words.column)
    found = {
        "layer": whole(named[1], line, words.column + 1),
        "head": whole(named[2], line, words.column + named.start(2)),
    }
    if (next_ := words.peek()) is not None and next_.startswith("@"):
        words.next("a position")
        position = one_position(next_, line, words.column)
        if position is None:
            raise words.error(f"{short(next_)} should be a position, as in @13 or @-1", words.column)
        found["position"] = position
    while (word := words.peek()) is not None and word in _COUNTED:
        field, first = _COUNTED[word]
        if field in found:
            raise words.error(f"{word} stands there twice")
        words.next(word)
        number = words.next(f"a number from {first}")
        if not (number.isascii() and number.isdigit()) or whole(number, line, words.column) < first:
            raise words.error(f"{short(number)} should be a whole number from {first}", words.column)
        found[field] = int(number) - first
    words.end()
    return Focus(**found)


def format_focus(focus: Focus) -> str:
    """The line that parses to this focus."""
    said = [f"L{focus.layer}H{focus.head} @{focus.position}"]
    for word, (field, first) in _COUNTED.items():
        if (value := getattr(focus, field)) != getattr(Focus(), field):
            said.append(f"{word} {value + first}")
    return " ".join(said)


def parse_screen(line: str) -> Screen:
    """`NAME [VIEW]... [whole] [wider N] [with VIEW] [running VIEW] [at VIEW:LEFT,TOP[:CURSOR]...]` -> how the screen is
    arranged. Raises LineError."""
    words = Words(line)
    word = words.next("a workspace's name, as in Look,")
    name = unquote(word, line, words.column) if word.startswith('"') else word
    if not word.startswith('"') and NAME.fullmatch(word) is None:
        raise words.error(f"{short(word)} is no name of a workspace; others than words stand in quotes", words.column)
    views: list[str] = []
    while (view := words.peek()) is not None and view not in WORDS:
        view = words.name("a view")
        if view in views:
            raise words.error(f"{view} stands there twice", words.column)
        views.append(view)
    filled = words.passed("whole")
    wider = _columns(words) if words.passed("wider") else 0
    guest = words.name("a view") if words.passed("with") else ""
    job = words.name("a view") if words.passed("running") else ""
    places = _places(words) if words.passed("at") else ()
    words.end()
    return Screen(name, tuple(views), filled, wider, guest, job, places)


def _places(words: Words) -> tuple[Scrolled, ...]:
    found = []
    while words.peek() is not None:
        word = words.next("a view and how far it is scrolled")
        place = _PLACE.fullmatch(word)
        if place is None:
            problem = f"{short(word)} should be a view, and cells and rows that it is scrolled by, as in lens:8,0"
            raise words.error(problem, words.column)
        found.append(Scrolled(place[1], int(place[2]), int(place[3]), place[4] or ""))
    return tuple(found)


def _columns(words: Words) -> int:
    word = words.next("a number of columns")
    if re.fullmatch(r"-?[0-9]{1,2}", word, re.ASCII) is None or abs(int(word)) > WIDEST:
        raise words.error(f"{short(word)} should be a whole number from -{WIDEST} to {WIDEST}", words.column)
    return int(word)


def format_screen(screen: Screen) -> str:
    """The line that parses to this screen."""
    said = [screen.workspace if NAME.fullmatch(screen.workspace) else quote(screen.workspace), *screen.views]
    said += ["whole"] if screen.whole else []
    said += [f"wider {screen.wider}"] if screen.wider else []
    said += [f"with {screen.guest}"] if screen.guest else []
    said += [f"running {screen.job}"] if screen.job else []
    at = (f"{each.view}:{each.left},{each.top}{each.cursor and f':{each.cursor}'}" for each in screen.places)
    said += ["at", *at] if screen.places else []
    return " ".join(said)


__all__ = ["WIDEST", "LineError", "format_focus", "format_screen", "parse_focus", "parse_screen"]
