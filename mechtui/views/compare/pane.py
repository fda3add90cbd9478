"""This session and another: what differs in words, then their numbers side by side."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace as changed

import numpy as np
from msgspec.structs import replace

from mechtui.paint.tokens import visible_text
from mechtui.panes.desk import Desk
from mechtui.panes.pane import Focus, Line, Page, Pane, Picture, line, wrap
from mechtui.panes.rows import Numbers, Rows, Texts, read_number, write_cursor
from mechtui.session.document import Session
from mechtui.session.history import Tree
from mechtui.views import Question, parse_question, specs
from mechtui.views.compare import SPEC, Compare, CompareAnswer, Compared
from mechtui.views.spec import Cost
from mechtui.visible import seen

NOTHING_BEFORE = (
    "this is the first state, and there is none before it: x in the History pane chooses one, w names a session file "
    "or a model"
)
# Rows of words at most, and rows of numbers that they leave at least.
WORDS, LEAST = 6, 8
# Cells of a number's name, at least and at most, and of the three numbers beside it.
NAME, WIDEST, NUMBERS = 16, 40, 28


class ComparePane(Pane):
    VIEW = SPEC
    WAITING = "waiting for the model to run both"

    def __init__(self, *, name: str | None = None, id: str | None = None, classes: str | None = None) -> None:
        super().__init__(name=name, id=id, classes=classes)
        self._cursor = 0
        self._rows_left = 0  # rows for numbers when it was drawn last

    def cursor(self) -> str:
        return write_cursor(self._cursor, None)

    def put_cursor(self, cursor: str) -> None:
        self._cursor = read_number(cursor)

    def questions(self, picture: Picture) -> tuple[Question, ...]:
        question = picture.question(Compare)
        if not (question.file or question.model):
            other = _state(question, picture)
            if isinstance(other, str):
                return ()
            question = replace(question, other=other)
        return (replace(question, views=_lines(picture)).asked(),)

    def _answer(self, picture: Picture) -> CompareAnswer | None:
        answered = picture.answer(Compare)
        if answered is None:
            return None
        clean = picture.question(Compare).run == "clean"
        found = answered.clean if clean or answered.edited is None else answered.edited
        return found if isinstance(found, CompareAnswer) else None

    def draw(self, picture: Picture, width: int, height: int) -> Page:
        question = picture.question(Compare)
        answer = self._answer(picture)
        if answer is None:
            known = picture.ready is not None and not (question.file or question.model)
            other = _state(question, picture) if known else None
            return self.blank(other if isinstance(other, str) else self.waiting(picture), width)
        changes = "; ".join(answer.changes) or "the two are the same"
        words: list[Line] = [line((text, self.palette.mark)) for text in wrap(changes, width)[:WORDS]]
        for each in answer.left_out:
            words += [line((text, self.palette.dim)) for text in wrap(f"left out: {seen(each)}", width)]
        words = words[: max(height - LEAST, 0)]
        self._rows_left = height - len(words) - 1
        rows = _rows(self._numbers(answer), width)
        page = rows.page(self.palette, width, height - len(words), self._row(answer))
        run = "clean" if question.run == "clean" or not _edited(picture) else "edited"
        beside = f"this beside {seen(answer.other)}"
        return changed(
            page,
            head=lambda left: [*words, *page.head(left)],
            head_rows=len(words) + page.head_rows,
            title=self.titled(picture, width, f"{beside}, {run}", beside, run),
            legend=((f"{answer.positions} tokens in pairs", self.palette.dim),),
        )

    def _numbers(self, answer: CompareAnswer) -> list[Compared]:
        """Those that the pane shows: of each table as many places as there is room for, and one in any case."""
        of = Counter[tuple[str, str]]()
        ranks = []
        for each in answer.numbers:
            ranks.append(of[each.view, each.what])
            of[each.view, each.what] += 1
        fitting = (
            most for most in range(max(ranks, default=0), 0, -1) if sum(r <= most for r in ranks) <= self._rows_left
        )
        most = next(fitting, 0)
        return [each for each, rank in zip(answer.numbers, ranks, strict=True) if rank <= most]

    def _row(self, answer: CompareAnswer) -> int:
        return max(0, min(self._cursor, len(self._numbers(answer)) - 1))

    def hit(self, picture: Picture, index: int, x: int, left: int) -> Focus | None:
        if index >= 0:
            self._cursor = index
            self.renew()
        return None

    def move(self, dx: int, dy: int) -> None:
        if self.picture is not None and dy and (answer := self._answer(self.picture)) is not None:
            self._cursor = max(0, min(self._row(answer) + dy, len(self._numbers(answer)) - 1))
            self.renew()

    def _here(self) -> Compared | None:
        answer = self._answer(self.picture) if self.picture is not None else None
        return self._numbers(answer)[self._row(answer)] if answer is not None and answer.numbers else None

    def into(self, picture: Picture) -> Question | None:
        here = self._here()
        return None if here is None else parse_question(here.view)

    def do_compare_with(self, desk: Desk) -> None:
        desk.open_line("palette", desk.picture.question(Compare).line() + " ")

    def value(self) -> str:
        here = self._here()
        return "" if here is None else f"{here.this - here.other:.6g}"

    def row(self) -> str:
        here = self._here()
        if here is None:
            return ""
        return "\t".join((here.view, here.what, here.where, f"{here.this:.6g}", f"{here.other:.6g}", here.unit))

    def search(self, text: str, forward: bool = True) -> bool:
        answer = self._answer(self.picture) if self.picture is not None else None
        if answer is None or not text:
            return False
        numbers = self._numbers(answer)
        count = len(numbers)
        for distance in range(1, count + 1):
            at = (self._row(answer) + (distance if forward else -distance)) % count
            each = numbers[at]
            if text.lower() in f"{each.view} {each.what} {each.where}".lower():
                self._cursor = at
                self.renew()
                return True
        return False


def _state(question: Compare, picture: Picture) -> Session | str:
    """The state of the history that the question means, or why there is none."""
    tree = picture.tree
    if tree is None:
        return "there is no history here"
    if question.mark:
        step = tree.marked(question.mark)
        return step.session if step is not None else f"no state of the history is called {question.mark}"
    number = _before(tree) if question.step is None else question.step
    if number is None:
        return NOTHING_BEFORE
    return tree.steps[number].session if number in tree.steps else f"the history has no state {number}"


def _before(tree: Tree) -> int | None:
    """The nearest state that the present one comes from and differs from in more than what is shown."""
    here = replace(tree.step.session, views=())
    path = reversed(tree.path(tree.at))
    return next((number for number in path if replace(tree.steps[number].session, views=()) != here), None)


def _lines(picture: Picture) -> tuple[str, ...]:
    """The questions whose numbers are compared: each view's as it stands, about what the screen looks at."""
    kinds = [spec.question for spec in specs().values() if spec.numbers and spec.cost is not Cost.JOB]
    own = [picture.question(kind).asked().line() for kind in kinds]
    more = [line for line in picture.session.views if line.split()[:1] == ["attention"]]
    return tuple(dict.fromkeys((*own, *more)))


def _edited(picture: Picture) -> bool:
    answered = picture.answer(Compare)
    return answered is not None and answered.edited is not None


def _rows(numbers: Sequence[Compared], width: int) -> Rows:
    """width: of the pane; in a narrow one names give way to numbers."""
    this, other = (np.array([getattr(each, side) for each in numbers], dtype=float) for side in ("this", "other"))
    names = [_name(each) for each in numbers]
    return Rows(
        (
            Texts("number", names, most=max(NAME, min(WIDEST, width - NUMBERS))),
            Numbers("this", this, places=3),
            Numbers("other", other, places=3),
            Numbers("difference", this - other, "diff", places=3, signs=True),
            Texts("where", [each.where for each in numbers]),
            Texts("unit", [each.unit for each in numbers]),
        ),
        tuple(range(len(numbers))),
    )


def _name(number: Compared) -> str:
    view, _, at = number.view.partition(" ")
    if number.unit == "probability":
        return f"p({visible_text(number.what)})"
    if number.what == "logit difference":
        return number.what
    title = specs()[view].title if view in specs() else view
    return " ".join(filter(None, (title, at, number.what)))


PANE = ComparePane
