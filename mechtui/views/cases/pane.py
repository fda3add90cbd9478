"""A row for every case, the distribution of the effects below them, and what all of them say together."""

from __future__ import annotations

from dataclasses import replace as changed

import numpy as np
from msgspec.structs import replace

from mechtui.evidence import Summary
from mechtui.paint.evidence import said
from mechtui.paint.heat import Piece
from mechtui.paint.histogram import histogram
from mechtui.paint.numbers import signed
from mechtui.paint.scatter import Scatter, scatter
from mechtui.paint.tokens import cut, pad, visible_text
from mechtui.panes.desk import Desk
from mechtui.panes.pane import Focus, Line, Page, Pane, Picture, line, lines_page
from mechtui.panes.rows import Column, Numbers, Rows, Texts, ordered, read_cursor, read_number, write_cursor
from mechtui.session.cases import Case
from mechtui.session.changes import CannotError
from mechtui.session.document import Session
from mechtui.views import Question
from mechtui.views.cases import ORDERS, SPEC, Cases, CasesAnswer
from mechtui.views.question import after
from mechtui.visible import seen

NONE = (
    "no cases: :cases ioi 64 makes some for this model's tokenizer (also greater-than, repeat, agreement), "
    ':cases "FILE.jsonl" reads them; :cases none takes them away'
)
# Rows of the list that a histogram leaves, and of its columns.
LEAST_ROWS, COLUMNS_HIGH = 5, 4
# Cells of a prompt, at least and at most, and of the numbers beside it.
LEAST, MOST, NUMBERS = 12, 64, 44
# Cells of a name before what is said of all cases.
NAME = 7

Pair = tuple[CasesAnswer, CasesAnswer | None]


class CasesPane(Pane):
    VIEW = SPEC

    def __init__(self, *, name: str | None = None, id: str | None = None, classes: str | None = None) -> None:
        super().__init__(name=name, id=id, classes=classes)
        self._row = 0
        self._most = MOST
        self._points: Scatter | None = None  # what was drawn of them; None where they are a list
        self._at: int | None = None  # the cursor's column, once it was moved; before that, the one that sorts

    def questions(self, picture: Picture) -> tuple[Question, ...]:
        return super().questions(picture) if picture.session.cases else ()

    def cursor(self) -> str:
        return write_cursor(self._row, self._at)

    def put_cursor(self, cursor: str) -> None:
        row, self._at = read_cursor(cursor)
        self._row = read_number(row)

    def _answers(self, picture: Picture) -> Pair | None:
        answered = picture.answer(Cases)
        if answered is None or not isinstance(answered.clean, CasesAnswer):
            return None
        return answered.clean, answered.edited if isinstance(answered.edited, CasesAnswer) else None

    def _rows(self, picture: Picture) -> Rows | None:
        """The list; None where there is nothing to list."""
        found = self._answers(picture)
        if found is None or not found[0].cases:
            return None
        clean, edited = found
        count = len(clean.cases)
        digits = len(str(count))
        most = float(np.nanmax(np.abs(edited.effect), initial=0.0)) if edited is not None else 0.0
        columns: list[Column] = [
            Texts(
                "prompt",
                [f"{at + 1:>{digits}} {_prompt(case)}" for at, case in enumerate(clean.cases)],
                most=self._most,
            ),
            Numbers("clean", clean.logit_diff, unit="logits", signs=True),
        ]
        if edited is not None:
            columns += [
                Numbers("edited", edited.logit_diff, unit="logits", signs=True),
                Numbers("effect", edited.effect, unit="logits", signs=True, look="bar", high=most or 1.0),
            ]
        columns += [
            Texts("answer", [visible_text(case.answer or "") for case in clean.cases], most=12),
            Texts("foil", [visible_text(case.foil or "") for case in clean.cases], most=12),
        ]
        problems = (edited or clean).problems
        if any(problems):
            columns.append(Texts("left out", [seen(problem) for problem in problems], most=60))
        question = picture.question(Cases)
        order = ordered(columns, question.by, question.up)
        return Rows(tuple(columns), order, question.by, question.up)

    def lacks(self, picture: Picture) -> str:
        return "" if picture.session.cases else NONE

    def draw(self, picture: Picture, width: int, height: int) -> Page:
        self._points = None
        if why := self.lacks(picture):
            return self.blank(why, width)
        # Numbers before names: in a narrow window only the begin of a prompt stands beside them.
        self._most = max(LEAST, min(MOST, width - NUMBERS))
        found, rows = self._answers(picture), self._rows(picture)
        if found is None or rows is None:
            return self.blank(self.WAITING if found is None else "there is no case", width, picture.session.cases)
        self._row = max(0, min(self._row, len(found[0].cases) - 1))
        if picture.question(Cases).scatter and (page := self._plot(found, picture, width, height)) is not None:
            return page
        foot = self._foot(found, width, height)
        page = rows.page(self.palette, width, max(height - len(foot), 1), self._row, self._at)
        question = picture.question(Cases)
        by = "" if question.by == "file" else f" by {question.by}{' up' if question.up else ''}"
        of = seen(found[0].of)
        left = f", {found[0].left} runs to come" if found[0].left else ""
        title = self.titled(picture, width, f"{of}{by}{left}", f"{of}{left}", of, "")
        return changed(page, foot=[*page.foot, *foot], title=title)

    def _plot(self, found: Pair, picture: Picture, width: int, height: int) -> Page | None:
        """The cases as points, the case of the cursor below them; None where there is no point, or no room."""
        xs, ys, names = _axes(found)
        foot = [
            line((pad(name, NAME), self.palette.dim), (said(over, width - NAME), self.palette.bold))
            for name, over in _summaries(found)
        ]
        self._points = plot = scatter(xs, ys, names, width, height - len(foot) - 1, self.palette, self._row)
        if not plot.lines:
            return None
        case = found[0].cases[self._row]
        here = f"{self._row + 1} {_prompt(case)}{visible_text(case.answer or '')} − {visible_text(case.foil or '')}"
        numbers = f"{names[0]} {_number(xs[self._row])}, {names[1]} {_number(ys[self._row])}"
        lines = [line(*pieces) for pieces in plot.lines]
        of = seen(found[0].of)
        left = f", {found[0].left} runs to come" if found[0].left else ""
        return lines_page(
            lines,
            foot=[line((cut(here, width), self.palette.bold)), *foot],
            cursor=None if plot.cell is None else plot.cell[0],
            title=self.titled(picture, width, f"{of}{left}: {names[1]} over {names[0]}, logits", f"{of}{left}", of, ""),
            legend=((numbers, self.palette.bold), (" logits", self.palette.dim)),
        )

    def _foot(self, found: Pair, width: int, height: int) -> list[Line]:
        clean, edited = found
        lines = [
            line((pad(name, min(NAME, width)), self.palette.dim), (said(over, width - NAME), self.palette.bold))
            for name, over in _summaries(found)
        ]
        if height < LEAST_ROWS + len(lines) + 2:
            return lines[-1:] if height >= LEAST_ROWS else []
        values = clean.logit_diff if edited is None else edited.effect
        if height >= LEAST_ROWS + COLUMNS_HIGH + len(lines) + 3:
            bars = histogram(values, width, COLUMNS_HIGH, self.palette, float(values[self._row]))
            what = f"cases by {'clean logit difference' if edited is None else 'effect'}, logits"
            lines = [*([line((pad(what, width), self.palette.dim))] if bars else []), *map(_line, bars), *lines]
        return lines

    def hit(self, picture: Picture, index: int, x: int, left: int) -> Focus | None:
        if self._points is not None and self._points.lines:
            there = self._points.at.get((index, x + left))
            if there:
                # Of several in one cell, one after the other.
                self._row = after(self._row, there)
                self.renew()
            return None
        rows = self._rows(picture)
        if rows is not None and 0 <= index < len(rows.order):
            self._row = rows.order[index]
            self.renew()
        return None

    def move(self, dx: int, dy: int) -> None:
        if self.picture is None or (rows := self._rows(self.picture)) is None:
            return
        if self._points is not None and self._points.lines:
            found = self._answers(self.picture)
            assert found is not None
            xs, ys, _ = _axes(found)
            self._row = _stepped(self._row, xs if dx else ys, xs if not dx else ys, dx - dy)
            self.renew()
            return
        if dx:
            self._at = rows.beside(self._at, dx)
        if dy:
            self._row = rows.moved(self._row, dy)
        self.renew()

    def do_sort_cases(self, desk: Desk) -> None:
        """By the column that the cursor stands in; the other way round where it sorts already."""
        question = Cases() if self.picture is None else self.picture.question(Cases)
        rows = None if self.picture is None else self._rows(self.picture)
        name = "clean" if rows is None else rows.columns[rows.beside(self._at, 0)].name
        by = next((order for order in ORDERS if order == name), "file")
        desk.put(replace(question, by=by, up=by == question.by and not question.up))

    def do_as_scatter(self, desk: Desk) -> None:
        question = Cases() if self.picture is None else self.picture.question(Cases)
        desk.put(replace(question, scatter=not question.scatter))

    def do_open_case(self, desk: Desk) -> None:
        """Its texts become the session's; the cases stay named."""
        found = None if self.picture is None else self._answers(self.picture)
        if found is None or not found[0].cases:
            raise CannotError("There is no case to open: :cases ioi 64 makes some.")
        case = found[0].cases[max(0, min(self._row, len(found[0].cases) - 1))]
        desk.change(opened(desk.session, case))
        desk.look(replace(desk.focus, position=-1))

    def value(self) -> str:
        if self.picture is None or (rows := self._rows(self.picture)) is None:
            return ""
        return rows.value(self._row, self._at)

    def row(self) -> str:
        if self.picture is None or (rows := self._rows(self.picture)) is None:
            return ""
        return rows.row_text(self._row)

    def search(self, text: str, forward: bool = True) -> bool:
        """The next case with this text in its prompt, answer or foil."""
        found = None if self.picture is None else self._answers(self.picture)
        cases = found[0].cases if found is not None else ()
        for distance in range(1, len(cases) + 1):
            at = (self._row + (distance if forward else -distance)) % len(cases)
            case = cases[at]
            if text and text.lower() in f"{case.prompt or ''} {case.answer or ''} {case.foil or ''}".lower():
                self._row = at
                self.renew()
                return True
        return False


def opened(session: Session, case: Case) -> Session:
    """The session about this case."""
    return replace(case.alone(session), cases=session.cases, views=session.views)


def _axes(found: Pair) -> tuple[np.ndarray, np.ndarray, tuple[str, str]]:
    """The points' places, and the names of both axes."""
    clean, edited = found
    if edited is None:
        return np.arange(1.0, len(clean.cases) + 1), clean.logit_diff, ("case", "clean")
    return clean.logit_diff, edited.effect, ("clean", "effect")


def _stepped(row: int, along: np.ndarray, across: np.ndarray, by: int) -> int:
    """The point so many further along an axis, of those that have a place."""
    known = np.flatnonzero(np.isfinite(along) & np.isfinite(across))
    order = known[np.lexsort((across[known], along[known]))].tolist()
    if not order:
        return row
    if row not in order:
        return int(order[0])
    return int(order[max(0, min(order.index(row) + by, len(order) - 1))])


def _number(value: float) -> str:
    return signed(value).strip() or "none"


def _prompt(case: Case) -> str:
    return "(the session's)" if case.prompt is None else visible_text(case.prompt).replace("·", " ")


def _summaries(found: Pair) -> list[tuple[str, Summary]]:
    clean, edited = found
    if edited is None or edited.change is None:
        return [("clean", clean.over)]
    return [("clean", clean.over), ("edited", edited.over), ("effect", edited.change)]


def _line(pieces: list[Piece]) -> Line:
    return line(*pieces)


PANE = CasesPane
