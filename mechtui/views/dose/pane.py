"""A curve over an edit's numbers, or a map of layers by numbers; the numbers of each point, and the text after it."""

from __future__ import annotations

import itertools
import re
from dataclasses import replace as changed

import numpy as np
from msgspec.structs import replace

from mechtui.paint.tokens import cut
from mechtui.panes import of_cases
from mechtui.panes.curve import Axis, Series, curve
from mechtui.panes.desk import Desk
from mechtui.panes.grid import Grid
from mechtui.panes.pane import Line, Page, Pane, Picture, line, wrap
from mechtui.panes.rows import Column, Numbers, Rows, Texts
from mechtui.session import changes
from mechtui.session.changes import CannotError
from mechtui.session.document import Edit, Token
from mechtui.session.grammar.edits import format_edit
from mechtui.session.grammar.words import format_number
from mechtui.views import Question
from mechtui.views.dose import SPEC, TEXT_ALONE, Dose, DoseAnswer, Point, Shows, bare, called, dosed, read_at
from mechtui.views.over import NONE as NO_CASES
from mechtui.views.over import Over
from mechtui.visible import seen

NO_EDIT = "no edit yet has a number to be dosed: e writes one, as in scale L3.mlp x0.5 or add L6.pre NAME x5"
NAMES: dict[Shows, str] = {
    "diff": "logit difference",
    "kl": "KL to clean",
    "share": "added length",
    "loss": "text's loss",
}
UNITS: dict[Shows, str] = {"diff": "logits", "kl": "nats", "share": "of the activation", "loss": "nats"}
# Rows of the curve: at least, at most; the list below it keeps LISTED.
LEAST_CURVE, MOST_CURVE, LISTED = 6, 16, 5
# Cells of the list's columns before the text, and the least of the text.
BEFORE_TEXT, LEAST_TEXT = 44, 10
# Cells from which on the list has room for a whole text.
WIDE = 140


class DosePane(Pane):
    VIEW = SPEC

    def __init__(self, *, name: str | None = None, id: str | None = None, classes: str | None = None) -> None:
        super().__init__(name=name, id=id, classes=classes)
        self._at: tuple[int, int] | None = None  # (row, number) of the cursor, once it was moved
        self._grid: Grid | None = None

    def cursor(self) -> str:
        return "" if self._at is None else "{}-{}".format(*self._at)

    def put_cursor(self, cursor: str) -> None:
        if (found := re.fullmatch(r"([0-9]{1,5})-([0-9]{1,3})", cursor, re.ASCII)) is not None:
            self._at = int(found[1]), int(found[2])

    # What is asked

    def _asked(self, picture: Picture) -> Dose | None:
        """What is dosed, of the edit under the cursor where the line names none; None where there is none."""
        question = picture.question(Dose)
        edit = question.chosen(picture.session, picture.focus.edit)
        return None if edit is None else replace(question, edit=edit).asked()

    def lacks(self, picture: Picture) -> str:
        asked = self._asked(picture)
        if asked is None or asked.edit is None:
            return NO_EDIT
        return NO_CASES if asked.cases and not picture.session.cases else ""

    def questions(self, picture: Picture) -> tuple[Question, ...]:
        """The points, and then the continuations that are asked for."""
        asked = self._asked(picture)
        if asked is None or self.lacks(picture):
            return ()
        points = replace(asked, text=False, at=None)
        return (points, asked) if asked.text else (points,)

    def _answers(self, picture: Picture) -> tuple[DoseAnswer, DoseAnswer | None] | None:
        """Alone, and beside the other edits that are on: the answer that says most."""
        found = [each for each in picture.answered if isinstance(each.clean, DoseAnswer)]
        texts = [each for each in found if isinstance(each.question, Dose) and each.question.text]
        best = (texts or found)[-1:]
        for each in best:
            assert isinstance(each.clean, DoseAnswer)
            return each.clean, each.edited if isinstance(each.edited, DoseAnswer) else None
        return None

    def _where(self, answer: DoseAnswer, picture: Picture) -> tuple[int, int]:
        """The cursor's row and number; before it was moved, the edit's own number, else the one next to none at all."""
        rows, count = answer.logit_diff.shape
        if self._at is not None:
            return min(self._at[0], rows - 1), min(self._at[1], count - 1)
        asked = self._asked(picture)
        mine = asked.edit if asked is not None else None
        own = [each.factor for each in picture.session.edits if mine is not None and bare(each) == mine]
        wanted = own[0] if own else 1.0 if answer.edit.startswith("scale") else 0.0
        return 0, int(np.abs(np.asarray(answer.numbers) - wanted).argmin())

    # What is shown

    def draw(self, picture: Picture, width: int, height: int) -> Page:
        self._grid = None
        asked = self._asked(picture)
        if asked is None or asked.edit is None:
            return self.blank(self.lacks(picture), width)
        if why := self.lacks(picture):
            return self.blank(why, width, called(asked.edit))
        found = self._answers(picture)
        if found is None:
            numbers = [format_number(each) for each in asked.numbers(asked.edit)]
            layers = " at every layer" if asked.layers else ""
            layers += f" over the cases {seen(picture.session.cases)}" if asked.cases else ""
            how = f"{called(asked.edit)}{layers} from x{numbers[0]} to x{numbers[-1]}, {len(numbers)} numbers"
            return self.blank("starting" if picture.job else f"{how}: . runs it", width, called(asked.edit))
        clean, edited = found
        answer = edited or clean
        shows = picture.question(Dose).shows
        place = self._where(answer, picture)
        state = f" {answer.done} of {answer.runs}" if answer.done < answer.runs else ""
        if answer.over is not None:
            state = of_cases.named(answer.over)
        title = self.titled(
            picture,
            width,
            f"{seen(answer.edit)}: {NAMES[shows]}{state}",
            f"{seen(answer.edit)}{state}",
            state.strip() or NAMES[shows],
        )
        if answer.layers != (-1,):
            return self._map(answer, shows, place, width, height, title)
        return self._curve(clean, edited, shows, place[1], width, height, title)

    def _map(
        self, answer: DoseAnswer, shows: Shows, place: tuple[int, int], width: int, height: int, title: str
    ) -> Page:
        values = _values(answer, shows)
        signs = shows == "diff"
        if signs and answer.baseline is not None:
            values = values - np.float32(answer.baseline)
        finite = values[np.isfinite(values)]
        high = float(np.abs(finite).max(initial=0.0))
        numbers = tuple(map(format_number, answer.numbers))
        layers = tuple(str(layer) for layer in answer.layers)
        self._grid = grid = Grid(
            values, layers, numbers, width, -high if signs else 0.0, high, signs=signs, cursor=place
        )
        number = grid.number()
        if answer.over is not None and shows == "diff":
            number = of_cases.said_of(answer.over, answer.logit_diff, place)
        here = f"L{answer.layers[place[0]]} x{numbers[place[1]]} {number}"
        legend = grid.legend(self.palette, here, f"{UNITS[shows]}{', change' if signs else ''}")
        foot = [*legend.foot, *self._said(answer, place, width)]
        return grid.page(self.palette, height, title=title, legend=legend.border, foot=foot[: max(height - 6, 0)])

    def _said(self, answer: DoseAnswer, place: tuple[int, int], width: int) -> list[Line]:
        """The text at the cursor, on two lines at most."""
        tokens = answer.tokens[place[0]][place[1]]
        text = _text(tokens) if tokens else "t continues the text from here"
        lines = wrap(text, width)[:2]
        return [line((each, self.palette.plain if tokens else self.palette.dim)) for each in lines]

    def _curve(
        self,
        clean: DoseAnswer,
        edited: DoseAnswer | None,
        shows: Shows,
        at: int,
        width: int,
        height: int,
        title: str,
    ) -> Page:
        answer, palette = edited or clean, self.palette
        names = [format_number(number) for number in answer.numbers]
        series = [Series("alone", _values(clean, shows)[0], palette.clean)]
        if edited is not None:
            series.insert(0, Series("with the other edits", _values(edited, shows)[0], palette.edited))
        if answer.over is not None and shows == "diff":
            series += [Series(name, ends[0], palette.dim) for name, ends in _ends(answer.over).items()]
        rows = self._rows(answer, width)
        tall = min(MOST_CURVE, height - LISTED - (2 if any(answer.tokens[0]) and width < WIDE else 0))
        lines: list[Line] = []
        if tall >= LEAST_CURVE:
            axis = Axis(UNITS[shows], low=None if shows == "diff" else 0.0, signs=shows == "diff")
            lines = curve(series, width, tall, palette, points=names, of="x", xs=answer.numbers, axis=axis, cursor=at)
        # What the list has no room for.
        said_here = self._said(answer, (0, at), width) if any(answer.tokens[0]) and width < WIDE else []
        foot = said_here if height - len(lines) > LISTED - 2 + len(said_here) else []
        page = rows.page(palette, width, height - len(lines) - len(foot), at)
        said = f"x{names[at]} {NAMES[shows]} {_number(_values(answer, shows)[0][at])}"
        if answer.over is not None and shows == "diff":
            said = f"x{names[at]} {of_cases.said_of(answer.over, answer.logit_diff, (0, at))}"
        base = "" if answer.baseline is None else f" ─ without it {answer.baseline:+.2f}"
        return changed(
            page,
            head=lambda left: [*lines, *page.head(left)],
            head_rows=len(lines) + page.head_rows,
            foot=[*page.foot, *foot],
            title=title,
            legend=((said, palette.bold), (base if shows == "diff" else "", palette.dim)),
        )

    def _rows(self, answer: DoseAnswer, width: int, row: int = 0) -> Rows:
        names = [f"x{format_number(number)}" for number in answer.numbers]
        columns: list[Column] = [
            Texts("number", names, "x"),
            Numbers("diff", answer.logit_diff[row], unit="logits", signs=True),
            Numbers("kl", answer.kl[row], unit="nats"),
            Numbers("share", answer.share[row], unit="of the activation"),
        ]
        if answer.over is not None:
            columns += [Numbers(name, ends[row], signs=True) for name, ends in _ends(answer.over).items()]
            columns += [
                Numbers("agree", answer.over.share[row]),
                Numbers("n", answer.over.n[row].astype(float), places=0),
            ]
        if not np.isnan(answer.loss[row]).all():
            columns.append(Numbers("loss", answer.loss[row], unit="nats"))
        if any(answer.tokens[row]):
            most = max(width - BEFORE_TEXT, LEAST_TEXT)
            columns.append(Texts("text", [_text(tokens) for tokens in answer.tokens[row]], most=most))
        return Rows(tuple(columns), tuple(range(len(names))))

    # The cursor

    def _under(self) -> tuple[DoseAnswer, tuple[int, int]] | None:
        found = None if self.picture is None else self._answers(self.picture)
        if found is None or self.picture is None:
            return None
        answer = found[1] or found[0]
        return answer, self._where(answer, self.picture)

    def move(self, dx: int, dy: int) -> None:
        if (now := self._under()) is None:
            return
        answer, (row, column) = now
        rows, count = answer.logit_diff.shape
        if answer.layers == (-1,):
            dx, dy = dx + dy, 0
        self._at = max(0, min(row + dy, rows - 1)), max(0, min(column + dx, count - 1))
        self.renew()

    def value(self) -> str:
        if (now := self._under()) is None or self.picture is None:
            return ""
        answer, place = now
        return f"{float(_values(answer, self.picture.question(Dose).shows)[place]):.6g}"

    def row(self) -> str:
        if (now := self._under()) is None:
            return ""
        answer, (row, column) = now
        return self._rows(answer, 10_000, row).row_text(column)

    # What can be done at a point

    def _point(self) -> tuple[Edit, Point]:
        """What is dosed, and the point under the cursor. Raises CannotError."""
        asked = None if self.picture is None else self._asked(self.picture)
        if asked is None or asked.edit is None:
            raise CannotError(NO_EDIT)
        if (now := self._under()) is None:
            raise CannotError("There is no point yet: . runs it.")
        answer, (row, column) = now
        return asked.edit, Point(answer.numbers[column], answer.layers[row])

    def do_take_point(self, desk: Desk) -> None:
        edit, point = self._point()
        session = desk.session
        made = dosed(edit, point.number, point.layer)
        vector = session.vector(edit.vector) if edit.vector else None
        if vector is not None and (there := read_at(vector, edit.site, point.layer)) != vector:
            name = f"{vector.name}-L{point.layer}"
            names = itertools.chain((name,), (f"{name}-{number}" for number in itertools.count(2)))
            # One of this name that is another is somebody's own: it stays.
            tried = (replace(there, name=each) for each in names)
            there = next(each for each in tried if session.vector(each.name) in (None, each))
            session = changes.put_vector(session, there)
            made = replace(made, vector=there.name)
        same = [at for at, each in enumerate(session.edits) if bare(each) in (edit, bare(made))]
        here = desk.focus.edit
        at = here if here in same else same[0] if same else len(session.edits)
        desk.change(changes.put(session, at, made) if same else changes.add(session, made))
        desk.look(replace(desk.focus, edit=at))
        desk.say(f"{format_edit(made)} is edit {at + 1}.")

    def do_say_point(self, desk: Desk) -> None:
        _, point = self._point()
        self._say(desk, replace(desk.picture.question(Dose), text=True, at=point))

    def do_say_all(self, desk: Desk) -> None:
        question = desk.picture.question(Dose)
        if question.text and question.at is None:
            desk.put(replace(question, text=False))
        else:
            self._say(desk, replace(question, text=True, at=None))

    def _say(self, desk: Desk, question: Dose) -> None:
        if question.cases:
            raise CannotError(f"{TEXT_ALONE[0].upper()}{TEXT_ALONE[1:]}.")
        desk.put(question)
        if desk.job != self.VIEW.name:
            self.start(desk)

    def do_by_layer(self, desk: Desk) -> None:
        question = desk.picture.question(Dose)
        edit = question.chosen(desk.session, desk.focus.edit)
        if not question.layers and (edit is None or edit.site.kind != "layer"):
            raise CannotError("Only an edit of a layer's part goes through the layers, as in add L6.pre NAME x5.")
        self._at = None
        desk.put(replace(question, layers=not question.layers, text=False, at=None))


PANE = DosePane


def _values(answer: DoseAnswer, shows: Shows) -> np.ndarray:
    return {"diff": answer.logit_diff, "kl": answer.kl, "share": answer.share, "loss": answer.loss}[shows]


def _ends(over: Over) -> dict[str, np.ndarray]:
    """Of the mean's interval [row, number]."""
    return {"low": over.low, "high": over.high}


def _text(tokens: tuple[Token, ...]) -> str:
    return cut(seen("".join(token.text for token in tokens)), 400)


def _number(value: float) -> str:
    return f"{value:.2f}" if np.isfinite(value) else "not computed"
