"""Words as points along two principal components, and how much each component explains."""

from __future__ import annotations

import itertools
import re
from dataclasses import replace as changed

import numpy as np
from msgspec.structs import replace

from mechtui.paint.bars import bar
from mechtui.paint.numbers import share, signed
from mechtui.paint.scatter import Scatter, scatter
from mechtui.paint.tokens import cut, visible_text
from mechtui.panes.desk import Desk
from mechtui.panes.pane import Focus, Line, Page, Pane, Picture, line, lines_page, wrap
from mechtui.panes.rows import Column, Numbers, Rows, Texts
from mechtui.session import changes
from mechtui.session.changes import CannotError
from mechtui.session.grammar.vectors import format_vector
from mechtui.views.geometry import SPEC, Geometry, GeometryAnswer
from mechtui.views.question import after

# Cells of a label; rows from which on the components stand below the plot, and cells of their bars.
LABEL, TALL, BAR = 16, 20, 24


class GeometryPane(Pane):
    VIEW = SPEC

    def __init__(self, *, name: str | None = None, id: str | None = None, classes: str | None = None) -> None:
        super().__init__(name=name, id=id, classes=classes)
        self._word = 0
        self._plot: Scatter | None = None

    def cursor(self) -> str:
        return str(self._word) if self._word else ""

    def put_cursor(self, cursor: str) -> None:
        if re.fullmatch(r"[0-9]{1,3}", cursor, re.ASCII):
            self._word = int(cursor)

    # What is shown

    def _answers(self, picture: Picture) -> tuple[GeometryAnswer, GeometryAnswer | None] | None:
        """Clean and edited, of the line as it stands or the one before."""
        answered = picture.answer(Geometry)
        if answered is None or not isinstance(answered.clean, GeometryAnswer):
            return None
        return answered.clean, answered.edited if isinstance(answered.edited, GeometryAnswer) else None

    def _shown(self, picture: Picture) -> GeometryAnswer | None:
        """The run that is shown; of the difference the edited one."""
        if (found := self._answers(picture)) is None:
            return None
        clean, edited = found
        return clean if edited is None or picture.question(Geometry).run == "clean" else edited

    def _axes(self, picture: Picture, answer: GeometryAnswer) -> tuple[int, int]:
        """The components that are shown, from 0; the first ones where there are fewer."""
        last = len(answer.explained) - 1
        across, up = (min(axis - 1, last) for axis in picture.question(Geometry).axes)
        return (across, up) if across != up else (0, min(1, last))

    def draw(self, picture: Picture, width: int, height: int) -> Page:
        self._plot = None
        answer = self._shown(picture)
        if answer is None:
            return self.blank(self.WAITING, width)
        found = self._answers(picture)
        assert found is not None
        clean, edited = found
        moves = picture.question(Geometry).run == "difference" and edited is not None
        across, up = self._axes(picture, answer)
        self._word = max(0, min(self._word, len(answer.words) - 1))
        table = answer.in_clean if moves else answer.coordinates
        xs, ys = table[:, across], table[:, up]
        labels = [cut(visible_text(word).replace("·", " "), LABEL) for word in answer.words]
        hollow: range = range(0)
        if moves:
            # Where they were, faint, behind where they are.
            hollow = range(len(labels), 2 * len(labels))
            xs, ys = (np.concatenate([each, clean.coordinates[:, at]]) for each, at in ((xs, across), (ys, up)))
            labels += [""] * len(hollow)
        shares = clean.explained if moves else answer.explained
        names = tuple(f"pc{axis + 1} {shares[axis]:.0%}" for axis in (across, up))
        foot = self._foot(answer, (across, up), width, height)
        self._plot = plot = scatter(
            xs,
            ys,
            (names[0], names[1]),
            width,
            height - len(foot),
            self.palette,
            self._word,
            labels=labels,
            hollow=hollow,
            was=hollow[self._word] if moves else -1,
            signs=False,
        )
        run = "" if edited is None else " clean" if answer is clean else " clean ○ to edited ●" if moves else " edited"
        where = f"L{answer.layer}.{answer.part}"
        explain = f"{shares[across] + shares[up]:.0%}"
        title = self.titled(
            picture,
            width,
            f"{where}{run} ─ {explain} explained by pc{across + 1} and pc{up + 1}, {len(answer.words)} words",
            f"{where}{run} ─ {explain}",
            f"{where}{run}",
            where,
        )
        place = ", ".join(f"pc{axis + 1} {signed(float(table[self._word, axis])).strip()}" for axis in (across, up))
        legend = ((f"{labels[self._word]} ", self.palette.bold), (place, self.palette.dim))
        if not plot.lines:
            page = self._list(answer).page(self.palette, width, height, self._word)
            return changed(page, title=title, legend=legend)
        lines = [line(*pieces) for pieces in plot.lines]
        cursor = None if plot.cell is None else plot.cell[0]
        return lines_page(lines, foot=foot, cursor=cursor, title=title, legend=legend)

    def _foot(self, answer: GeometryAnswer, axes: tuple[int, int], width: int, height: int) -> list[Line]:
        """The components with their shares, and what must be said."""
        if height < TALL:
            return []
        lines = []
        for component, explained in enumerate(answer.explained.tolist()):
            sign = "→" if component == axes[0] else "↑" if component == axes[1] else " "
            look = self.palette.bold if component in axes else self.palette.plain
            bars = bar(explained, max(min(BAR, width - 12), 0))
            lines.append(line((f"{sign} pc{component + 1} {share(explained)} ", look), (bars, self.palette.accent)))
        lines = lines[: max((height - TALL) // 2 + 1, 1)]
        notes = [f"left out: {each}" for each in answer.left_out]
        return [*lines, *(line((text, self.palette.dim)) for note in notes for text in wrap(note, width))]

    def _list(self, answer: GeometryAnswer) -> Rows:
        columns: list[Column] = [Texts("word", [visible_text(word) for word in answer.words], most=LABEL)]
        columns += [
            Numbers(f"pc{component + 1}", answer.coordinates[:, component], signs=True)
            for component in range(len(answer.explained))
        ]
        return Rows(tuple(columns), tuple(range(len(answer.words))))

    # The cursor

    def move(self, dx: int, dy: int) -> None:
        """Through the words in their order."""
        answer = None if self.picture is None else self._shown(self.picture)
        if answer is not None:
            self._word = max(0, min(self._word + dx + dy, len(answer.words) - 1))
            self.renew()

    def hit(self, picture: Picture, index: int, x: int, left: int) -> Focus | None:
        answer = self._shown(picture)
        if answer is None:
            return None
        if self._plot is not None and self._plot.lines:
            if there := [point % len(answer.words) for point in self._plot.at.get((index, x + left), ())]:
                # Of several in one cell, one after the other.
                self._word = after(self._word, there)
                self.renew()
        elif 0 <= index < len(answer.words):
            self._word = index
            self.renew()
        return None

    def search(self, text: str, forward: bool = True) -> bool:
        """The next word with this text."""
        answer = None if self.picture is None else self._shown(self.picture)
        if answer is None or not text:
            return super().search(text, forward)
        count = len(answer.words)
        for distance in range(1, count + 1):
            at = (self._word + (distance if forward else -distance)) % count
            if text.lower() in answer.words[at].lower():
                self._word = at
                self.renew()
                return True
        return False

    # The view's own actions

    def _asked(self) -> Geometry:
        question = self._question()
        assert isinstance(question, Geometry)
        return question

    def do_axis_vector(self, desk: Desk) -> None:
        """The horizontal axis, of the clean run, as the `pca` vector that it is."""
        found = None if self.picture is None else self._answers(self.picture)
        if found is None or self.picture is None:
            raise CannotError("There is no axis yet: the words are being read.")
        clean, _ = found
        question = self._asked()
        if question.shown_words != clean.words:
            raise CannotError("There is no axis yet: the words are being read.")
        component = self._axes(self.picture, clean)[0] + 1
        what = "words" if question.words else question.of
        name = f"{what}-L{clean.layer}-pc{component}"
        names = itertools.chain((name,), (f"{name}-{number}" for number in itertools.count(2)))
        made = (question.vector(each, clean.layer, component) for each in names)
        # One of this name that is another is somebody's own: it stays.
        vector = next(each for each in made if desk.session.vector(each.name) in (None, each))
        desk.change(changes.put_vector(desk.session, vector), format_vector(vector))
        at = [each.name for each in desk.session.vectors].index(vector.name)
        desk.look(replace(desk.focus, vector=at))
        desk.say(f"{vector.name} is vector {at + 1}: pc{component} of the clean run, of length 1.")

    def do_next_axes(self, desk: Desk) -> None:
        question = self._asked()
        answer = None if self.picture is None else self._shown(self.picture)
        last = len(answer.explained) if answer is not None else 2
        across, up = question.axes
        axes = (across + 1, up + 1) if up < last and across < last else (1, 2)
        desk.put(replace(question, axes=axes if axes[0] != axes[1] else (1, 2)))

    def do_deeper(self, desk: Desk) -> None:
        self._go_through(desk, 1)

    def do_shallower(self, desk: Desk) -> None:
        self._go_through(desk, -1)

    def _go_through(self, desk: Desk, by: int) -> None:
        question = self._asked()
        if desk.ready is None:
            raise CannotError("There is no model yet, so there are no layers to go through.")
        layers = desk.ready.shape.n_layers
        layer = question.at if question.at >= 0 else layers // 2
        if not 0 <= layer + by < layers:
            raise CannotError(f"L{min(layer, layers - 1)} is the {'last' if by > 0 else 'first'} layer.")
        desk.put(replace(question, at=layer + by))

    # The clipboard

    def value(self) -> str:
        answer = None if self.picture is None else self._shown(self.picture)
        if answer is None or self.picture is None:
            return ""
        return f"{float(answer.coordinates[self._word, self._axes(self.picture, answer)[0]]):.6g}"

    def row(self) -> str:
        answer = None if self.picture is None else self._shown(self.picture)
        return "" if answer is None else self._list(answer).row_text(self._word)


PANE = GeometryPane
