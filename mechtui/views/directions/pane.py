"""Two histograms of cosines over each other, and the error of the recovery over the count of numbers."""

from __future__ import annotations

import re

import numpy as np
from msgspec.structs import replace

from mechtui.paint.numbers import fixed
from mechtui.paint.tokens import fitting, visible_text
from mechtui.panes.curve import Axis, Series, curve
from mechtui.panes.desk import Desk
from mechtui.panes.pane import Line, Page, Pane, Picture, line, lines_page, wrap
from mechtui.views import Question
from mechtui.views.directions import OFS, SPEC, Directions, DirectionsAnswer, called
from mechtui.views.question import after

# Rows of a curve at least, and of both with what is said of them.
LEAST, MOST = 6, 14


class DirectionsPane(Pane):
    VIEW = SPEC

    def __init__(self, *, name: str | None = None, id: str | None = None, classes: str | None = None) -> None:
        super().__init__(name=name, id=id, classes=classes)
        self._number: int | None = None  # the count of numbers under the cursor, by its place

    def cursor(self) -> str:
        return "" if self._number is None else str(self._number)

    def put_cursor(self, cursor: str) -> None:
        if re.fullmatch(r"[0-9]{1,3}", cursor, re.ASCII):
            self._number = int(cursor)

    # What is shown

    def questions(self, picture: Picture) -> tuple[Question, ...]:
        """Of a dictionary it is asked again when that is another."""
        question = picture.question(Directions).asked()
        return (replace(question, sae=picture.session.sae(question.of)),)

    def _answer(self, picture: Picture) -> DirectionsAnswer | None:
        answered = picture.answer(Directions)
        return answered.clean if answered is not None and isinstance(answered.clean, DirectionsAnswer) else None

    def _where(self, answer: DirectionsAnswer) -> int:
        """The count of numbers that is looked at: before the cursor moved, the first that the rule holds for enough."""
        if self._number is not None:
            return min(self._number, len(answer.numbers) - 1)
        return min(int(np.searchsorted(answer.numbers, answer.rule)), len(answer.numbers) - 1)

    def draw(self, picture: Picture, width: int, height: int) -> Page:
        question, answer = picture.question(Directions), self._answer(picture)
        if answer is None:
            return self.blank(self.WAITING, width)
        parts = [self._cosines, self._recovery]
        if question.shows == "recovery":
            parts.reverse()
        both = height >= 2 * (LEAST + 3)
        room = height // 2 if both else height
        lines: list[Line] = []
        for part in parts if both else parts[:1]:
            lines += part(answer, question, width, min(room, MOST + 3))
        if both and question.shows == "cosines" and height - len(lines) >= 3:
            lines += self._closest(answer, width, height - len(lines))
        largest = f"largest {fixed(answer.random.largest)} random, {fixed(answer.model.largest)} {answer.of}"
        title = self.titled(
            picture,
            width,
            f"{answer.random.count:,} in {answer.dims:,} dimensions ─ {largest}",
            f"{answer.random.count:,} in {answer.dims:,} ─ {largest}",
            f"{answer.random.count:,} in {answer.dims:,}",
            "",
        )
        at = self._where(answer)
        said = f"{answer.numbers[at]} numbers: error {fixed(float(answer.error[at])) or 'to come'}"
        legend = ((said, self.palette.bold),) if both or question.shows == "recovery" else ()
        return lines_page(lines, title=title, legend=legend)

    def _cosines(self, answer: DirectionsAnswer, question: Directions, width: int, height: int) -> list[Line]:
        middle = [(low + high) / 2 for low, high in zip(answer.edges[:-1], answer.edges[1:], strict=True)]
        series = [
            Series(called(answer.of), answer.model.share, self.palette.edited),
            Series("random", answer.random.share, self.palette.clean),
        ]
        drawn = curve(
            series,
            width,
            max(min(height - 2, MOST), 1),
            self.palette,
            points=[fixed(each, sign=True) for each in middle],
            of="cosine",
            xs=middle,
            axis=Axis("share of pairs", low=0.0),
        )
        random, own = answer.random, answer.model
        short = [f"sd {fixed(each.sd, 3)}, largest {fixed(each.largest, 3)}" for each in (random, own)]
        chance = f"1/√k {fixed(answer.dims**-0.5, 3)}"
        said = (
            (f"random: {short[0]} ({chance}; one pair beyond {fixed(answer.bound, 3)})", f"random: {short[0]}"),
            (f"{called(answer.of)}: {short[1]}, mean {fixed(own.mean, 3)}, {own.count:,} of them", f"own: {short[1]}"),
        )
        return [*drawn, *(line((fitting(width, *each), self.palette.dim)) for each in said)]

    def _recovery(self, answer: DirectionsAnswer, question: Directions, width: int, height: int) -> list[Line]:
        series = [
            Series("median error", answer.error, self.palette.edited),
            Series("quartiles", answer.high, self.palette.dim),
            Series("", answer.low, self.palette.dim),
        ]
        drawn = curve(
            series,
            width,
            max(min(height - 1, MOST), 1),
            self.palette,
            points=tuple(map(str, answer.numbers)),
            of="numbers",
            xs=[float(each) for each in answer.numbers],
            axis=Axis("of the vector", low=0.0),
            cursor=self._where(answer),
        )
        at = self._where(answer)
        state = "" if answer.done == len(answer.numbers) else f"{answer.done} of {len(answer.numbers)} counts ─ "
        found = float(answer.recovered[at])
        here = "" if np.isnan(found) else f"; from {answer.numbers[at]}: {found:.0%} of {answer.trials} recovered"
        said = f"{state}{question.active} of {question.features} by least Σ|x|{here}; the rule: {answer.rule:.0f}"
        return [*drawn, line((fitting(width, said, f"{state}the rule: {answer.rule:.0f}{here}"), self.palette.dim))]

    def _closest(self, answer: DirectionsAnswer, width: int, height: int) -> list[Line]:
        lines = [line((wrap(f"closest {called(answer.of)}", width)[0], self.palette.bold))]
        for pair in answer.closest[: height - 1]:
            text = f"{fixed(pair.cosine, sign=True):>5}  {visible_text(pair.first)}  {visible_text(pair.second)}"
            lines.append(line(wrap(text, width)[0]))
        return lines

    # The cursor

    def move(self, dx: int, dy: int) -> None:
        answer = None if self.picture is None else self._answer(self.picture)
        if answer is not None:
            self._number = max(0, min(self._where(answer) + dx + dy, len(answer.numbers) - 1))
            self.renew()

    # The view's own actions

    def _asked(self) -> Directions:
        question = self._question()
        assert isinstance(question, Directions)
        return question

    def do_other_directions(self, desk: Desk) -> None:
        question = self._asked()
        known = (*OFS, *(sae.name for sae in desk.session.saes))
        desk.put(replace(question, of=after(question.of, known), sae=None))

    def do_other_draws(self, desk: Desk) -> None:
        question = self._asked()
        desk.put(replace(question, seed=question.seed + 1))

    # The clipboard

    def value(self) -> str:
        answer = None if self.picture is None else self._answer(self.picture)
        return "" if answer is None else f"{float(answer.error[self._where(answer)]):.6g}"

    def row(self) -> str:
        answer = None if self.picture is None else self._answer(self.picture)
        if answer is None:
            return ""
        at = self._where(answer)
        values = (answer.error, answer.low, answer.high, answer.recovered)
        return "\t".join((str(answer.numbers[at]), *(fixed(float(each[at]), 4) for each in values)))


PANE = DirectionsPane
