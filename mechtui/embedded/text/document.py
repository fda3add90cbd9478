"""A made-up text, and the words in it whose prediction matters most."""

from __future__ import annotations

from dataclasses import dataclass

# Stands in a frame right before a word that the text itself determines: the name that must be copied, the verb
# that must agree. Training gives those tokens a larger weight; the character never reaches a model.
MARK = "\x02"


@dataclass(frozen=True)
class Document:
    """One text.

    Attributes:
        text: what is read.
        marks: places in `text` (characters) where a determined word begins, its leading space included.
        kind: which generator made it.
        names: names that may be replaced by any other single tokens, all of them at once, without the text
            losing its logic.
    """

    text: str
    marks: tuple[int, ...]
    kind: str
    names: tuple[str, ...] = ()


def document(kind: str, text: str, names: tuple[str, ...] = ()) -> Document:
    """A document from text in which `MARK` stands before every determined word."""
    parts = text.split(MARK)
    marks: list[int] = []
    length = 0
    for part in parts[:-1]:
        length += len(part)
        marks.append(length)
    return Document("".join(parts), tuple(marks), kind, names)
