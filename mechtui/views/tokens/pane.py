"""The prompt's tokens, coloured by how much each surprised the model."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from mechtui.link.messages import Answered
from mechtui.none import NONE
from mechtui.paint import marks
from mechtui.paint.heat import Piece, legend
from mechtui.paint.nans import nan_shown
from mechtui.paint.numbers import fit
from mechtui.paint.palette import LEVELS, level
from mechtui.paint.tokens import cut, visible, width
from mechtui.panes.desk import Desk
from mechtui.panes.pane import Focus, Line, Page, Pane, Picture, line
from mechtui.session.document import Session
from mechtui.views import Question, state
from mechtui.views.next_tokens import NextTokens
from mechtui.views.tokens import SPEC, Tokens, TokensAnswer

NO_PARTNER = "∅"


@dataclass(frozen=True)
class Box:
    """One token on the screen: visible text, partner's text, and the cells that the wider of them takes."""

    position: int
    text: str
    partner: str
    number: str
    id: str
    column: int
    cells: int


def layout(answer: TokensAnswer, room: int, ids: bool) -> list[list[Box]]:
    """The tokens in reading order on rows of at most `room` cells."""
    rows: list[list[Box]] = [[]]
    column = 0
    for position, token in enumerate(answer.tokens):
        text = visible(token)
        number = _numbered(position, text)
        id = f"={token.id}" if ids else ""
        partner = ""
        if answer.source:
            there = answer.alignment[position] if position < len(answer.alignment) else -1
            known = 0 <= there < len(answer.source)
            partner = _numbered(there, beside := visible(answer.source[there])) + beside if known else NO_PARTNER
        text = cut(text, max(room - len(number) - len(id) - 1, 1))
        partner = cut(partner, max(room - 1, 1))
        cells = max(len(number) + width(text) + len(id), width(partner)) + 1
        if rows[-1] and column + cells > room:
            rows.append([])
            column = 0
        rows[-1].append(Box(position, text, partner, number, id, column, cells))
        column += cells
    return rows


def filled(rows: list[list[Box]], room: int) -> list[list[Box]]:
    """The same where one row is seen at a time: the last one begins with as many of the tokens before it as fit."""
    *others, last = rows
    cells = sum(box.cells for box in last)
    for box in reversed(others[-1] if others else []):
        cells += box.cells
        if cells > room:
            break
        last = [box, *last]
    column, placed = 0, []
    for box in last:
        placed.append(replace(box, column=column))
        column += box.cells
    return [*others, placed]


def _numbered(position: int, text: str) -> str:
    """A position that stands before a text, apart from a text that is a number itself."""
    return f"{position}:" if text[:1].isnumeric() else str(position)


class TokensPane(Pane):
    VIEW = SPEC
    OF_SESSION = True

    def __init__(self, *, name: str | None = None, id: str | None = None, classes: str | None = None) -> None:
        super().__init__(name=name, id=id, classes=classes)
        self._rows: list[list[Box]] = []
        self._made: tuple[object, ...] = ()
        self._asked: tuple[object, ...] = ()
        self._wanted = 1

    def draw(self, picture: Picture, width: int, height: int) -> Page:
        answer = picture.tokens
        if answer is None:
            return self.blank(self.waiting(picture), width)
        if not answer.tokens:
            return self.blank("no tokens: i types a prompt", width)
        per_row = 2 if answer.source else 1
        single = height < 2 * per_row
        ids = picture.question(Tokens).ids
        made = (id(answer), width, ids, single)
        if made != self._made:
            rows = layout(answer, width, ids)
            self._rows, self._made = filled(rows, width) if single else rows, made
        high = math.log(picture.ready.shape.d_vocab) if picture.ready else 11.0
        here = picture.position()
        edited = marks.edited_positions(picture.applied(), answer.tokens)

        def row(index: int, left: int) -> Line:
            boxes = self._rows[index // per_row]
            if index % per_row:
                return line(*(piece for box in boxes for piece in self._partner(box)))
            return line(*(piece for box in boxes for piece in self._token(box, answer, here, edited, high)))

        cursor = self._row_of(here) * per_row
        surprise = float(answer.surprise[here]) if here < len(answer.surprise) else NONE
        scale = legend("0", f"{high:.0f}", self.palette, unit="nats")
        title = f"{len(answer.tokens)}"
        if answer.source:
            title += f", source {len(answer.source)}" + (" of an earlier prompt" if "source" in picture.earlier else "")
        title += f" @{here} {picture.token(here)}"
        if nan_shown(surprise) or not math.isnan(surprise):
            title += f" surprise {fit(surprise, 6).strip()}"
        return Page(
            len(self._rows) * per_row,
            row,
            # From below, the tokens' line comes into sight first; from above, their partners'.
            cursor=cursor + per_row - 1 if height >= per_row and cursor >= self.scroll_offset.y else cursor,
            title=title,
            legend=(("surprise ", self.palette.dim), *scale),
        )

    def rows_at(self, width: int, session: Session) -> int:
        """How many rows the tokens take."""
        answer = self.picture.tokens if self.picture is not None else None
        if answer is None or not answer.tokens or width <= 0:
            return 1
        ids = state(session.views, Tokens).ids
        asked = (id(answer), width, ids)
        if asked != self._asked:
            self._asked, self._wanted = asked, len(layout(answer, width, ids)) * (2 if answer.source else 1)
        return self._wanted

    def _row_of(self, position: int) -> int:
        """The last row that shows it: where one row is seen, that is the fuller one."""
        return max(i for i, boxes in enumerate(self._rows) if i == 0 or boxes[0].position <= position)

    def _token(self, box: Box, answer: TokensAnswer, here: int, edited: frozenset[int], high: float) -> list[Piece]:
        palette, position = self.palette, box.position
        value = float(answer.surprise[position]) if position < len(answer.surprise) else NONE
        step = level(value, 0.0, high)
        look = palette.sequential(step) if step is not None else palette.dim
        number = palette.mark if position in edited else palette.dim
        if position < answer.bos:
            look = palette.dim + palette.bold
        if step is None and position >= answer.bos:
            look = palette.bold
        tail = " "
        if palette.shaded and step is not None:
            tail = palette.shade(step, LEVELS)
        if position == here:
            number = palette.selected
            look = look + palette.selected
        blank = box.cells - len(box.number) - width(box.text) - len(box.id) - 1
        return [
            (box.number, number),
            (box.text, look),
            (box.id, palette.dim),
            (tail, palette.dim),
            (" " * blank, palette.dim),
        ]

    def _partner(self, box: Box) -> list[Piece]:
        look = self.palette.bad if box.partner == NO_PARTNER else self.palette.dim
        return [(box.partner, look), (" " * (box.cells - width(box.partner)), self.palette.dim)]

    def hit(self, picture: Picture, index: int, x: int, left: int) -> Focus | None:
        from msgspec.structs import replace

        per_row = 2 if picture.tokens and picture.tokens.source else 1
        for box in self._rows[index // per_row]:
            if box.column <= x < box.column + box.cells:
                return replace(picture.focus, position=box.position)
        return None

    def into(self, picture: Picture) -> Question | None:
        """What comes next after the token."""
        return picture.question(NextTokens)

    def move(self, dx: int, dy: int) -> None:
        picture = self.picture
        if picture is None or picture.tokens is None or not self._rows:
            return
        here, last = picture.position(), len(picture.tokens.tokens) - 1
        if dy:
            at = self._row_of(here)
            column = next((box.column for box in self._rows[at] if box.position == here), 0)
            to = max(0, min(at + dy, len(self._rows) - 1))
            if to != at:
                own = [box for box in self._rows[to] if self._row_of(box.position) == to]
                here = min(own, key=lambda box: abs(box.column - column)).position
            elif abs(dy) > 1:
                here = 0 if dy < 0 else last
        self.look(position=max(0, min(here + dx, last)))

    def home(self) -> None:
        self.look(position=0)

    def end(self) -> None:
        # -1, not the number: text typed at the end takes the look along.
        self.look(position=-1)

    def do_ids(self, desk: Desk) -> None:
        desk.put(self.next())

    def answers(self, picture: Picture) -> tuple[Answered, ...]:
        return () if picture.tokens is None else (Answered(0, Tokens(), picture.tokens, None, 0.0),)

    def value(self) -> str:
        picture = self.picture
        if picture is None or picture.tokens is None or not picture.tokens.tokens:
            return ""
        return picture.tokens.tokens[picture.position()].text

    def row(self) -> str:
        picture = self.picture
        if picture is None or picture.tokens is None or not picture.tokens.tokens:
            return ""
        here = picture.position()
        token = picture.tokens.tokens[here]
        return f"{here}\t{token.id}\t{visible(token)}\t{float(picture.tokens.surprise[here]):.4f}"


PANE = TokensPane
