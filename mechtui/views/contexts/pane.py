"""A neuron's or a feature's contexts, the token in the middle, over the histogram of its values; of a list of them the
first context of each."""

from __future__ import annotations

from dataclasses import replace as changed

import numpy as np
from msgspec.structs import replace

from mechtui.paint.heat import Piece
from mechtui.paint.histogram import binned
from mechtui.paint.numbers import share
from mechtui.paint.tokens import fitting, pad, visible, visible_text
from mechtui.paint.tokens import width as cells
from mechtui.panes.desk import Desk
from mechtui.panes.pane import Focus, Page, Pane, Picture, line, wrap
from mechtui.panes.rows import Column, Numbers, Rows, Texts, read_cursor, read_number, write_cursor
from mechtui.session.changes import CannotError
from mechtui.session.document import Site
from mechtui.views import Question
from mechtui.views.contexts import SAMPLES, SPEC, Context, Contexts, ContextsAnswer
from mechtui.views.features import Features
from mechtui.views.neurons import TOP, Neurons
from mechtui.visible import seen

# From this width on gate and in stand beside their product.
GATED = 90
# By the pane's least height: rows of the histogram's columns.
HISTOGRAM = ((24, 4), (17, 2), (8, 1))
# Shares below have one digit that is not 0. Units of a list that a line says: see top in the line.
SELDOM, MOST_LISTED = 0.01, 99
# Cells of a token, of a context's sides, and of what stands between columns.
TOKEN, LEAST, GAP = 16, 8, 2


class ContextsPane(Pane):
    VIEW = SPEC

    def __init__(self, *, name: str | None = None, id: str | None = None, classes: str | None = None) -> None:
        super().__init__(name=name, id=id, classes=classes)
        self._at_row = 0
        self._at: int | None = None  # the cursor's column, once it was moved
        self._of: tuple[str, ...] = ()  # whose contexts the cursor stands in
        # The line as it was seen last, the feature that the list beside it stood on then, and whether the list's cursor
        # has moved since the line was put.
        self._said: Contexts | None = None
        self._stood: Site | None = None
        self._moved = False
        self._wide = 100

    def cursor(self) -> str:
        return write_cursor(self._at_row, self._at)

    def put_cursor(self, cursor: str) -> None:
        row, self._at = read_cursor(cursor)
        self._at_row = read_number(row)

    # What is asked, and what is known

    def questions(self, picture: Picture) -> tuple[Question, ...]:
        """What was read before, which costs no run, and once it was started all of it."""
        asked = self._asked(picture)
        return (asked,) if asked.known else (replace(asked, known=True), asked)

    def _line(self, picture: Picture) -> Contexts:
        """The line; where it names nothing, or the cursor of the list beside it has moved since the line was put, of
        the feature that it stands on."""
        question = picture.question(Contexts)
        said = replace(question, position=-1)
        if self._said != said:
            self._said, self._stood, self._moved = said, None, False
        if picture.unit is not None:
            # Before the list had its answer its cursor stood nowhere: that it stands somewhere now is no move.
            self._moved |= self._stood is not None and picture.unit != self._stood
            self._stood = picture.unit
        follows = picture.unit is not None and (self._moved or not (question.names or question.sae))
        return question.naming(picture.unit) if follows and picture.unit is not None else question

    def _question(self) -> Contexts:
        return Contexts() if self.picture is None else self._line(self.picture)

    def _asked(self, picture: Picture) -> Contexts:
        """Where the line names no unit, those of the list as it stands."""
        question = self._line(picture)
        if question.names or (question.of, question.by, question.top) != (-1, "attribution", TOP):
            return question.asked()
        if question.sae:
            features = picture.question(Features)
            return replace(question, by=features.by, top=min(features.top, MOST_LISTED)).asked()
        listed = picture.question(Neurons)
        return replace(question, of=listed.of, by=listed.by, top=listed.top).asked()

    def _answer(self, picture: Picture) -> ContextsAnswer | None:
        """The one that knows most."""
        asked = replace(self._asked(picture), known=True)
        found = [
            each.clean
            for each in picture.answered
            if isinstance(each.question, Contexts)
            and isinstance(each.clean, ContextsAnswer)
            and replace(each.question, known=True) == asked
        ]
        return max(found, key=lambda answer: answer.counted, default=None)

    def _here(self) -> ContextsAnswer | None:
        answer = None if self.picture is None else self._answer(self.picture)
        return answer if answer is not None and answer.counted else None

    # What is shown

    def _one(self, answer: ContextsAnswer) -> bool:
        """Whether a row is a context of the one unit, and not a unit."""
        return len(answer.names) == 1

    def _shown(self, answer: ContextsAnswer) -> list[Context | None]:
        """The context of each row."""
        if self._one(answer):
            return list(answer.contexts[0])
        return [found[0] if found else None for found in answer.contexts]

    def _rows(self, answer: ContextsAnswer, width: int) -> Rows:
        one, shown = self._one(answer), self._shown(answer)
        count = len(shown)

        def numbers(table: np.ndarray) -> np.ndarray:
            return table[0, :count] if one else table[:, 0]

        names = [f"{at + 1:>2}" for at in range(count)] if one else list(answer.names)
        kind, sorts = ("neuron", "post") if not answer.sae else ("feature", "value")
        columns: list[Column] = [Texts("context" if width >= GATED and one else "#" if one else kind, names)]
        columns.append(Numbers(sorts, numbers(answer.value), signs=not answer.sae))
        if not one:
            columns.insert(1, Texts("on", [_share(float(rate)) for rate in answer.rate]))
            if any(answer.labels):
                columns.insert(1, Texts("label", [*map(seen, answer.labels)], most=16 if width < GATED else 24))
        if answer.gate is not None and answer.into is not None and width >= GATED:
            columns.append(Numbers("gate", numbers(answer.gate), signs=True))
            columns.append(Numbers("in", numbers(answer.into), signs=True))
        tokens = ["" if each is None else f"‹{visible(each.token)}›" for each in shown]
        token = min(max(map(cells, tokens), default=0), TOKEN)
        taken = sum(GAP + max(column.cells, cells(column.name)) for column in columns) + max(token, 5) + 2 * GAP
        side = max((width - taken) // 2 - 1, LEAST)
        columns += [
            Texts("before", ["" if each is None else _end_of(each.before, side) for each in shown], most=side),
            Texts("token", tokens, most=TOKEN),
            Texts("after", ["" if each is None else _plain(each.after) for each in shown], most=side),
        ]
        return Rows(tuple(columns), tuple(range(count)), sorts)

    def draw(self, picture: Picture, width: int, height: int) -> Page:
        question, answer = self._line(picture), self._answer(picture)
        self._wide = width
        text = visible_text(question.file) if question.file else SAMPLES
        name = _named(question, answer)
        if answer is None:
            return self.blank(self.WAITING, width, f"{name}{text}")
        if question.names != self._of:
            self._of, self._at_row = question.names, 0
        if not answer.counted:
            said = f"{_unread(question, picture)} {_sentence(answer.note)}".strip()
            return self.blank(said, width, f"{name}{text}")
        rows = self._rows(answer, width)
        self._at_row = max(0, min(self._at_row, len(rows.order) - 1))
        left = answer.counted < answer.tokens
        notes = ["it was stopped; . reads on where it was"] if left and not picture.job else []
        notes += [answer.note] if answer.note else []
        foot = [line((each, self.palette.dim)) for note in notes for each in wrap(note, width)] if height >= 6 else []
        if self._one(answer):
            high = next((rows for least, rows in HISTOGRAM if height >= least), 0)
            foot = [*(line(*each) for each in self._histogram(answer, width, high)), *foot]
        page = rows.page(self.palette, width, max(height - len(foot), 2), self._at_row, self._at)
        of = f"{answer.counted:,} of {answer.tokens:,}" if left else f"{answer.counted:,}"
        end = " lowest" if question.end == "lowest" else ""
        on = f", on {_share(float(answer.rate[0]))}" if self._one(answer) else ""
        title = self.titled(
            picture,
            width,
            f"{name}{text}{end} ─ {of} tokens{on}",
            f"{name}{text}{end}{on}",
            f"{name}{end}".strip(),
            "",
        )
        rate = f"on {_share(float(answer.rate[0]))} · " if self._one(answer) else ""
        legend = fitting(
            max(width - 4, 0), f"{rate}windows of {answer.window}, without edits", f"{rate}windows of {answer.window}"
        )
        return changed(page, foot=[*page.foot, *foot], title=title, legend=((legend, self.palette.dim),))

    def _histogram(self, answer: ContextsAnswer, width: int, rows: int) -> list[list[Piece]]:
        """How many tokens have which activation, of the one unit."""
        known = answer.histogram[0]
        if not known.any():
            return []
        name = "value" if answer.sae else "post"
        below = "below" if self.picture is not None and self._line(self.picture).end == "lowest" else "above"
        at = _share(float(known.sum()) / answer.counted)
        what = (f"{name}, {below} 0 at {at} of {answer.counted:,} tokens", f"{name}, {below} 0 at {at}", name)
        return binned(known, float(answer.bin[0]), width, rows, self.palette, *what)

    # The cursor

    def move(self, dx: int, dy: int) -> None:
        if (answer := self._here()) is None:
            return
        rows = self._rows(answer, self._wide)
        if dx:
            self._at = rows.beside(self._at, dx)
        self._at_row = max(0, min(self._at_row + dy, len(rows.order) - 1))
        self.renew()

    def hit(self, picture: Picture, index: int, x: int, left: int) -> Focus | None:
        answer = self._here()
        if answer is not None and 0 <= index < len(self._shown(answer)):
            self._at_row = index
            self.renew()
        return None

    def search(self, text: str, forward: bool = True) -> bool:
        """The next row with this text."""
        if (answer := self._here()) is None or not text:
            return super().search(text, forward)
        rows = self._rows(answer, self._wide)
        count = len(rows.order)
        for distance in range(1, count + 1):
            row = (self._at_row + (distance if forward else -distance)) % count
            if text.lower() in rows.row_text(row).lower():
                self._at_row = row
                self.renew()
                return True
        return super().search(text, forward)

    def _site(self, answer: ContextsAnswer) -> Site:
        """The neuron or feature under the cursor."""
        return answer.sites[0 if self._one(answer) else min(self._at_row, len(answer.names) - 1)]

    def sites(self, picture: Picture) -> tuple[Site, ...]:
        answer = self._here()
        return () if answer is None or not answer.names else (self._site(answer),)

    # The view's own actions

    def next(self) -> Question:
        answer = self._here()
        if answer is not None and answer.sae:
            raise CannotError("No feature is below 0: there are no lowest ones to show.")
        if answer is not None and answer.gate is None:
            raise CannotError("Only gated MLPs have activations far below 0: there are no lowest ones to show.")
        return super().next()

    def do_context(self, desk: Desk) -> None:
        answer, question = self._here(), self._question()
        if answer is None or not answer.names:
            raise CannotError("Nothing is read yet: . reads the text.")
        if not self._one(answer):
            desk.put(question.naming(self._site(answer)))
            return
        shown = self._shown(answer)
        found = shown[self._at_row] if self._at_row < len(shown) else None
        if found is None:
            raise CannotError("There is no context under the cursor.")
        desk.change(replace(desk.session, prompt=found.prompt))
        desk.look(replace(desk.focus, position=-1))
        desk.say(f"The prompt ends where {answer.names[0]} fires; u goes back.")

    def do_context_file(self, desk: Desk) -> None:
        desk.open_line("text_file", self._question().file)

    def named(self, file: str) -> Question:
        """The line of this text file."""
        return replace(self._question(), file=file)

    def do_own_samples(self, desk: Desk) -> None:
        desk.put(replace(self._question(), file=""))

    def do_list_contexts(self, desk: Desk) -> None:
        desk.put(replace(self._question(), neurons=(), features=()))

    def value(self) -> str:
        return "" if (answer := self._here()) is None else self._rows(answer, self._wide).value(self._at_row, self._at)

    def row(self) -> str:
        return "" if (answer := self._here()) is None else self._rows(answer, self._wide).row_text(self._at_row)


def _named(question: Contexts, answer: ContextsAnswer | None) -> str:
    """The units, before the text's name."""
    names = question.names
    if len(names) == 1:
        label = answer.labels[0] if answer is not None and answer.labels else ""
        return f"{names[0]} {seen(label)} ".replace("  ", " ")
    if names:
        return f"{len(names)} {'features' if question.sae else 'neurons'} "
    return f"{question.sae} " if question.sae else ""


def _share(value: float) -> str:
    """A firing rate: .05, of seldom ones .0004."""
    if 0 < value < SELDOM:
        return f"{value:.1g}".replace("0.", ".", 1) if value >= 1e-4 else f"{value:.0e}"
    return share(value).strip()


def _sentence(note: str) -> str:
    return f"{note[:1].upper()}{note[1:]}." if note else ""


def _unread(question: Contexts, picture: Picture) -> str:
    if picture.job:
        return "reading" if picture.progress is None else f"reading: {picture.progress:.0%}"
    units = f"features of {question.sae}" if question.sae else "neurons"
    if question.file:
        return f"{visible_text(question.file)} is not read yet: . reads it, once for all {units}; w names another text."
    own = f". has the model write samples of its own and reads them, once for all {units}"
    return f"No text is read yet: w names a file; {own}."


def _plain(text: str) -> str:
    return visible_text(text).replace("·", " ")


def _end_of(text: str, room: int) -> str:
    """What fits of a text's end, right-aligned."""
    shown = _plain(text)
    if cells(shown) > room:
        shown = shown[-room:]
        while cells(shown) > room - 1:
            shown = shown[1:]
        shown = f"…{shown}"
    return pad(shown, room, right=True)


PANE = ContextsPane
