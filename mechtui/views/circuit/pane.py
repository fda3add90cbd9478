"""A head's circuits: the lists of one word side by side, its skip-trigrams, or its singular directions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace as changed

import numpy as np
from msgspec.structs import replace

from mechtui.paint.numbers import fixed
from mechtui.paint.tokens import cut, visible, visible_text
from mechtui.panes.desk import Desk
from mechtui.panes.pane import Page, Pane, Picture
from mechtui.panes.rows import Column, Numbers, Rows, Texts, ordered, read_cursor, read_number, write_cursor
from mechtui.session.changes import CannotError, head_site
from mechtui.session.document import Site, Token
from mechtui.views import Question
from mechtui.views.circuit import SPEC, Circuit, CircuitAnswer, Scored
from mechtui.views.scores import Scores, ScoresAnswer

# The lists of a word, as their columns are called.
LISTS = {
    "attends": "attends",
    "attended": "attended",
    "raises": "raises",
    "raised by": "raised_by",
    "lowers": "lowers",
}
# Cells of a word with its number, and of a few words, in a pane of this many cells and in a narrower one.
ROOMY = 100
WIDE, NARROW = (18, 36), (13, 14)


class CircuitPane(Pane):
    VIEW = SPEC

    def __init__(self, *, name: str | None = None, id: str | None = None, classes: str | None = None) -> None:
        super().__init__(name=name, id=id, classes=classes)
        self._line_here = 0
        self._at: int | None = None  # the cursor's column, once it was moved
        self._of: Circuit | None = None
        self._wide = WIDE
        self._list: tuple[tuple[object, ...], Rows] | None = None

    def questions(self, picture: Picture) -> tuple[Question, ...]:
        """The head's card too, which says whether it copies."""
        return picture.question(Circuit).asked(), Scores().asked()

    def show(self, picture: Picture) -> None:
        question = picture.question(Circuit)
        if self._of is not None and question != self._of:  # another list begins at its top
            self._line_here, self._at = 0, None
        self._of = question
        super().show(picture)

    def cursor(self) -> str:
        return write_cursor(self._line_here, self._at)

    def put_cursor(self, cursor: str) -> None:
        row, self._at = read_cursor(cursor)
        self._line_here, self._of = read_number(row), None

    def _answer(self, picture: Picture) -> CircuitAnswer | None:
        answered = picture.answer(Circuit)
        found = answered.clean if answered and isinstance(answered.clean, CircuitAnswer) else None
        return found if found is not None and found.what == picture.question(Circuit).what else None

    def _rows(self, picture: Picture) -> Rows | None:
        answer, only = self._answer(picture), picture.question(Circuit).only
        if answer is None:
            return None
        key = (answer, only, self._wide)
        if self._list is not None and self._list[0] == key:
            return self._list[1]
        columns = _columns(answer, *self._wide)
        rows = Rows(columns, ordered(columns, only=only), only=only)
        self._list = key, rows
        return rows

    def draw(self, picture: Picture, width: int, height: int) -> Page:
        self._wide = WIDE if width >= ROOMY else NARROW
        question, rows, answer = picture.question(Circuit), self._rows(picture), self._answer(picture)
        head = f"L{question.layer}H{question.head}"
        if rows is None or answer is None:
            share = "" if picture.progress is None else f": {picture.progress:.0%}"
            said = "reading the head's weights" if picture.ready is not None else self.WAITING
            return self.blank(said + share, width, f"{head} {question.what}")
        page = rows.page(self.palette, width, height, self._cursor(rows), self._at)
        only = f' "{visible_text(question.only)}"' if question.only else ""
        what = visible(answer.token) if answer.token is not None else f"{question.what}{only}"
        own = (
            "" if answer.own is None else f": raises itself {fixed(answer.own, sign=True).strip()}, rank {answer.rank}"
        )
        title = self.titled(picture, width, f"{head} {what}{own}", f"{head} {what}", head)
        return changed(
            page,
            title=title,
            legend=((_copying(picture, question.layer, question.head), self.palette.dim),),
        )

    # Moving

    def _cursor(self, rows: Rows) -> int:
        """The number of the row that is looked at."""
        return rows.order[min(self._line_here, len(rows.order) - 1)] if rows.order else 0

    def move(self, dx: int, dy: int) -> None:
        if self.picture is None or (rows := self._rows(self.picture)) is None:
            return
        if dx:
            self._at = rows.beside(self._at, dx)
        self._line_here = max(0, min(self._line_here + dy, len(rows.order) - 1))
        self.renew()

    def home(self) -> None:
        self._line_here = 0
        self.renew()

    def end(self) -> None:
        self.move(0, len(self._list[1].order) if self._list else 0)

    def sites(self, picture: Picture) -> tuple[Site, ...]:
        return (head_site(*picture.head()),)

    def into(self, picture: Picture) -> Question | None:
        """The circuit of the word under the cursor."""
        token = self._token()
        question = picture.question(Circuit)
        return None if token is None else replace(question, what="word", word=token.text, only="")

    def _token(self) -> Token | None:
        """The token under the cursor: of a trigram the source, of a direction none."""
        if self.picture is None or (answer := self._answer(self.picture)) is None:
            return None
        rows = self._rows(self.picture)
        if rows is None or not rows.order:
            return None
        if answer.what == "trigrams":
            return answer.trigrams[self._cursor(rows)].source
        if answer.what == "directions":
            return None
        named = list(LISTS.values())[rows.beside(self._at, 0) - 1]
        found: tuple[Scored, ...] = getattr(answer, named)
        row = self._cursor(rows)
        return found[row].token if row < len(found) else None

    # The view's own actions

    def do_circuit_word(self, desk: Desk) -> None:
        question = self._question()
        assert isinstance(question, Circuit)
        asks = question.what == "word"
        desk.open_line("word" if asks else "narrow", question.word if asks else question.only)

    def narrowed(self, only: str) -> Question:
        question = self._question()
        assert isinstance(question, Circuit)
        if question.what != "word":
            return replace(question, only=only)
        # The line is stripped of blanks, and most words begin with one.
        return replace(question, word=f" {only}" if only else "")

    def do_circuit_try(self, desk: Desk) -> None:
        picture = self.picture
        answer = None if picture is None else self._answer(picture)
        rows = None if picture is None else self._rows(picture)
        if answer is None or rows is None or not rows.order or answer.what == "directions":
            raise CannotError("There is nothing to try here: skip-trigrams and the lists of a word can be tried.")
        row = self._cursor(rows)
        if answer.what == "trigrams":
            trigram = answer.trigrams[row]
            source, destination, out = trigram.source, trigram.destinations[0], trigram.outs[0]
        else:
            assert answer.token is not None
            source = answer.token
            destination, out = answer.attended[min(row, len(answer.attended) - 1)].token, answer.raises[0].token
        desk.change(replace(desk.session, prompt=source.text + destination.text, answer=out.text, foil=""))
        desk.say(f"After {visible(source)}{visible(destination)} this head should raise {visible(out)}; u goes back.")

    # The clipboard

    def value(self) -> str:
        token = self._token()
        return "" if token is None else token.text

    def row(self) -> str:
        if self.picture is None or (rows := self._rows(self.picture)) is None or not rows.order:
            return ""
        return rows.row_text(self._cursor(rows))


def _columns(answer: CircuitAnswer, one: int, few: int) -> tuple[Column, ...]:
    """one: cells of a word with its number; few: of some words."""
    if answer.what == "trigrams":
        found = answer.trigrams
        return (
            Texts("source", [visible(each.source) for each in found]),
            Texts("… destination", [_named(each.destinations) for each in found], "… dest", most=few),
            Texts("-> out", [_named(each.outs) for each in found], "-> out", most=few),
            Numbers("strength", np.array([each.value for each in found]), "size", places=0),
        )
    if answer.what == "directions":
        both = answer.directions
        return (
            Texts("direction", [f"{each.circuit} {each.number}" for each in both]),
            Numbers("share", np.array([each.share for each in both]), unit="of the squares"),
            Texts("reads", [_named(each.reads) for each in both], most=few),
            Texts("writes", [_named(each.writes) for each in both], most=few),
            Texts("reads against", [_named(each.against_reads) for each in both], "-reads", most=few),
            Texts("writes against", [_named(each.against_writes) for each in both], "-writes", most=few),
        )
    lists: list[tuple[Scored, ...]] = [getattr(answer, name) for name in LISTS.values()]
    count = max(map(len, lists), default=0)
    digits = len(str(count))
    return (
        Texts("", [f"{at + 1:>{digits}}" for at in range(count)]),
        *(
            Texts(name, [_scored(found, at, one) for at in range(count)], most=one)
            for name, found in zip(LISTS, lists, strict=True)
        ),
    )


def _scored(found: Sequence[Scored], at: int, wide: int) -> str:
    """A number and its word; empty where the list ends earlier."""
    if at >= len(found):
        return ""
    number = fixed(found[at].value, 1, sign=True)
    return f"{number} {cut(visible(found[at].token), wide - len(number) - 1)}"


def _named(tokens: Sequence[Token]) -> str:
    return "  ".join(map(visible, tokens))


def _copying(picture: Picture, layer: int, head: int) -> str:
    """The head's copying score and its rank among all heads; empty where it was not measured."""
    measured = picture.answer(Scores)
    if measured is None or not isinstance(measured.clean, ScoresAnswer):
        return ""
    table = measured.clean.copying
    if layer >= table.shape[0] or head >= table.shape[1] or np.isnan(table[layer, head]):
        return ""
    rank = int((table > table[layer, head]).sum()) + 1
    return f"copying {fixed(float(table[layer, head]), sign=True).strip()}, {rank} of {table.size}"


PANE = CircuitPane
