"""What an edit is resolved against: a prompt's tokens, and what an edit may refer to besides them."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Protocol

from mechtui.session.document import ModelShape, Place, Positions, Range, Role, TokenPlaces
from mechtui.session.grammar.words import short
from mechtui.session.hook_edits import Decoder, EditError, Ids, Steering


class NamedModel(Protocol):
    """What sentences and sites need of a model."""

    @property
    def name(self) -> str: ...

    @property
    def shape(self) -> ModelShape: ...


@dataclass(frozen=True)
class Prompt:
    """ids, texts: its tokens. end: where the typed prompt ends; tokens that a generation appended lie after it and
    belong to `@all` only, and with `everywhere` False not even to that. role: the position of what a case calls by a
    name; it raises EditError where it has none. None where the prompt is no case."""

    ids: Ids
    texts: tuple[str, ...]
    end: int
    everywhere: bool = True
    role: Callable[[str], int] | None = None

    def positions(self, positions: Positions) -> list[int]:
        """In rising order. Raises EditError when one does not exist."""
        if not positions.items:
            return list(range(len(self.ids) if self.everywhere else self.end))
        found: set[int] = set()
        for item in positions.items:
            found.update(self._at(item))
        return sorted(found)

    def _at(self, item: Place) -> Iterable[int]:
        match item:
            case Role():
                if self.role is None:
                    raise EditError(f"{item.name} is a position of cases, and this prompt is none")
                return (self.role(item.name),)
            case TokenPlaces():
                return self._token(item)
            case Range():
                return self._range(item)

    def _range(self, item: Range) -> range:
        first, last = (p + self.end if p < 0 else p for p in (item.first, item.last))
        for written, p in ((item.first, first), (item.last, last)):
            if not 0 <= p < self.end:
                raise EditError(
                    f"there is no position {written}: the prompt has {self.end} tokens, 0 to {self.end - 1}"
                )
        if last < first:
            raise EditError(f"{item.first}-{item.last} runs backwards in this prompt: {first} to {last}")
        return range(first, last + 1)

    def _token(self, item: TokenPlaces) -> list[int]:
        places = [i for i, text in enumerate(self.texts[: self.end]) if text == item.text]
        if not places:
            near = next((t for t in self.texts[: self.end] if t.strip() and t.strip() == item.text.strip()), None)
            hint = f'; did you mean "{near}"?' if near else ""
            raise EditError(f'no token of the prompt is "{item.text}"{hint}')
        if item.nth is None:
            return places
        if item.nth > len(places):
            raise EditError(f'"{item.text}" stands {len(places)} times in the prompt, so there is no #{item.nth}')
        return [places[item.nth - 1]]


def _none(name: str) -> Decoder:
    raise EditError(f"there is no dictionary {short(name)} here")


@dataclass(frozen=True)
class Surroundings:
    """vectors: those of the session. source: the source's tokens, none without one. alignment: per position of the
    prompt its source position, -1 for none. references: the reference prompts' tokens. decoder: (what the session calls
    a dictionary) -> that; it raises EditError where it cannot be had."""

    model: NamedModel
    vectors: tuple[Steering, ...] = ()
    source: Ids = ()
    alignment: tuple[int, ...] = ()
    references: tuple[Ids, ...] = ()
    decoder: Callable[[str], Decoder] = _none
