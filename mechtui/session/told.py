"""What differs between two sessions, in the words of their lines."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Sequence

from mechtui.session.document import Session
from mechtui.session.grammar.edits import format_edit
from mechtui.session.grammar.saes import format_sae
from mechtui.session.grammar.vectors import format_vector
from mechtui.session.grammar.words import quote
from mechtui.session.history import common

# Of a text that changed, so many characters are told.
MOST = 40


def told(before: Session, after: Session) -> tuple[str, ...]:
    """A few words for each thing that is other in `after`: `added zero L9H9 @-1`, `prompt + " Mary"`. Empty where
    nothing is."""
    return tuple(_all(before, after))


def _all(before: Session, after: Session) -> Iterator[str]:
    for name in ("model", "bos", "align"):
        if getattr(before, name) != getattr(after, name):
            yield f"{name} {getattr(after, name) or 'the default'}"
    if before.linear != after.linear:
        yield f"linear {'on' if after.linear else 'off'}"
    for name in ("prompt", "source"):
        yield from _text(name, getattr(before, name), getattr(after, name))
    for name in ("answer", "foil"):
        if getattr(before, name) != getattr(after, name):
            yield f"{name} {quote(getattr(after, name))}" if getattr(after, name) else f"no {name}"
    yield from _lines("edits", "", tuple(map(format_edit, before.edits)), tuple(map(format_edit, after.edits)))
    yield from _lines(
        "vectors", "", tuple(map(format_vector, before.vectors)), tuple(map(format_vector, after.vectors))
    )
    yield from _lines("saes", "", tuple(map(format_sae, before.saes)), tuple(map(format_sae, after.saes)))
    if before.cases != after.cases:
        yield f"cases {after.cases}" if after.cases else "no cases"
    texts = tuple(map(quote, before.references)), tuple(map(quote, after.references))
    yield from _lines("references", "reference ", *texts)
    if before.views != after.views:
        new = [line for line in after.views if line not in before.views]
        if sorted(before.views) == sorted(after.views):
            yield "views in another order"
        else:
            yield f"shows {', '.join(new)}" if new else "shows less"


def _text(name: str, before: str, after: str) -> Iterator[str]:
    if before == after:
        return
    begin, end = common(before, after)
    gone, came = before[begin : len(before) - end], after[begin : len(after) - end]
    if not before or (gone and came):
        yield f"{name} {_short(after if not before or len(came) < 3 else came)}"
    else:
        yield f"{name} {'+' if came else '-'} {_short(came or gone)}"


def _short(text: str) -> str:
    return quote(text if len(text) <= MOST else f"{text[: MOST // 2 - 1]}…{text[-MOST // 2 :]}")


def _lines(whole: str, name: str, before: Sequence[str], after: Sequence[str]) -> Iterator[str]:
    if sorted(before) == sorted(after) and before != after:
        yield f"{whole} in another order"
        return
    for tag, begin, end, first, last in difflib.SequenceMatcher(None, before, after, autojunk=False).get_opcodes():
        if tag == "equal":
            continue
        old, new = before[begin:end], after[first:last]
        if len(old) == len(new):
            yield from (_line(name, one, other) for one, other in zip(old, new, strict=True))
        else:
            yield from (f"removed {name}{each}" for each in old)
            yield from (f"added {name}{each}" for each in new)


def _line(name: str, old: str, new: str) -> str:
    if old == f"# {new}":
        return f"on {new}"
    return f"off {old}" if new == f"# {old}" else f"{name}{old} → {new}"
