"""The four runs and the two shares above, the circuit's components below, the most needed first where one likes."""

from __future__ import annotations

import numpy as np

from mechtui.evidence import Ratio
from mechtui.none import NONE
from mechtui.paint.evidence import said
from mechtui.paint.tokens import pad
from mechtui.panes.desk import Desk
from mechtui.panes.pane import Focus, Line, Page, Pane, Picture, line
from mechtui.panes.rows import Numbers, Rows, Texts, read_number, write_cursor
from mechtui.session.changes import CannotError, head_site
from mechtui.session.document import Site, Span
from mechtui.views.faithfulness import SPEC, Faithfulness, FaithfulnessAnswer, Part
from mechtui.visible import seen

NAME = 13
WHAT = {
    "model": "the whole model",
    "circuit": "the circuit alone",
    "nothing": "all of it ablated",
    "without": "the model without the circuit",
}


class FaithfulnessPane(Pane):
    VIEW = SPEC

    def __init__(self, *, name: str | None = None, id: str | None = None, classes: str | None = None) -> None:
        super().__init__(name=name, id=id, classes=classes)
        self._row = 0

    def cursor(self) -> str:
        return write_cursor(self._row, None)

    def put_cursor(self, cursor: str) -> None:
        self._row = read_number(cursor)

    def _answer(self, picture: Picture) -> FaithfulnessAnswer | None:
        """Of the circuit as the line has it."""
        answered = picture.answer(Faithfulness)
        return answered.clean if answered is not None and isinstance(answered.clean, FaithfulnessAnswer) else None

    def _rows(self, picture: Picture) -> Rows:
        kept, answer = picture.question(Faithfulness).kept, self._answer(picture)
        known = {} if answer is None else dict(zip(answer.components, answer.drops, strict=True))
        drops = [known.get(part.name) for part in kept]
        columns = [
            np.array([NONE if each is None else getattr(each, what) for each in drops], dtype=float)
            for what in ("mean", "low", "high")
        ]
        most = float(np.nanmax(np.abs(columns[0]), initial=0.0)) or 1.0
        layer, head = picture.head()
        here = frozenset(at for at, part in enumerate(kept) if (part.layer, part.head) == (layer, head))
        return Rows(
            (
                Texts("kept", [part.name for part in kept]),
                Numbers("drop", columns[0], unit="logits", signs=True, look="bar", high=most),
                Numbers("low", columns[1], unit="logits", signs=True),
                Numbers("high", columns[2], unit="logits", signs=True),
            ),
            tuple(range(len(kept))),
            chosen=here,
        )

    def lacks(self, picture: Picture) -> str:
        return "" if picture.session.cases else "no cases: :cases ioi 64 names some, over which a circuit is judged"

    def draw(self, picture: Picture, width: int, height: int) -> Page:
        if why := self.lacks(picture):
            return self.blank(why, width)
        question, answer = picture.question(Faithfulness), self._answer(picture)
        head = self._head(picture, answer, width)[: max(height - 3, 0)]
        rows = self._rows(picture)
        self._row = max(0, min(self._row, len(rows.order) - 1))
        page = rows.page(self.palette, width, max(height - len(head), 1), self._row)
        count = f"{len(question.kept)} kept{', mlps ablated too' if question.mlps else ''}"
        title = self.titled(picture, width, f"{count} over {seen(picture.session.cases)}", count, "")
        if not rows.order:
            sentence = "no head is kept: w takes the head that the screen looks at, L9H9 in the line names one"
            page = self.blank(sentence, width)
        return Page(
            page.rows,
            page.row,
            head=lambda left: [*head, *page.head(left)],
            head_rows=len(head) + page.head_rows,
            foot=page.foot,
            cursor=page.cursor,
            title=title,
        )

    def _head(self, picture: Picture, answer: FaithfulnessAnswer | None, width: int) -> list[Line]:
        if answer is None:
            what = "computing" if picture.job else "not started: . runs the cases, and follows the circuit from then on"
            return [line((pad(what, width), self.palette.dim))]
        lines = [
            line((pad(name, NAME), self.palette.dim), (pad(_share(of), max(width - NAME, 0)), self.palette.bold))
            for name, of in (("faithfulness", answer.faithfulness), ("completeness", answer.completeness))
        ]
        for name, what in WHAT.items():
            text = said(getattr(answer, name), width - NAME)
            more = f"  {what}"
            lines.append(
                line(
                    (pad(name, NAME), self.palette.dim),
                    (text, self.palette.plain),
                    (more if len(text) + len(more) + NAME <= width else "", self.palette.dim),
                )
            )
        notes = [f"{answer.left} runs to come"] * bool(answer.left)
        notes += [f"{answer.left_out} cases left out: no target, or no other prompt is as long"] * bool(answer.left_out)
        return [*lines, *(line((pad(note, width), self.palette.mark)) for note in notes)]

    def _part(self, picture: Picture) -> Part | None:
        kept = picture.question(Faithfulness).kept
        return kept[max(0, min(self._row, len(kept) - 1))] if kept else None

    def sites(self, picture: Picture) -> tuple[Site, ...]:
        part = self._part(picture)
        if part is None:
            return ()
        if part.head < 0:
            return (Site("layer", Span(part.layer, part.layer), part="mlp"),)
        return (head_site(part.layer, part.head),)

    def hit(self, picture: Picture, index: int, x: int, left: int) -> Focus | None:
        if 0 <= index < len(picture.question(Faithfulness).kept):
            self._row = index
            self.renew()
        return None

    def move(self, dx: int, dy: int) -> None:
        if self.picture is not None and dy:
            self._row = self._rows(self.picture).moved(self._row, dy)
            self.renew()

    def do_keep_head(self, desk: Desk) -> None:
        layer, head = desk.picture.head()
        desk.put(desk.picture.question(Faithfulness).toggled(Part(layer, head)))

    def do_drop_component(self, desk: Desk) -> None:
        part = self._part(desk.picture)
        if part is None:
            raise CannotError("There is no component to take out: w takes the head that the screen looks at in.")
        desk.put(desk.picture.question(Faithfulness).toggled(part))

    def value(self) -> str:
        return "" if self.picture is None else self._rows(self.picture).value(self._row, None)

    def row(self) -> str:
        return "" if self.picture is None else self._rows(self.picture).row_text(self._row)


def _share(of: Ratio) -> str:
    if np.isnan(of.value):
        return f"none yet, n {of.n}"
    interval = "" if np.isnan(of.low) else f" [{of.low:.2f}, {of.high:.2f}]"
    return f"{of.value:.2f}{interval} n {of.n}"


PANE = FaithfulnessPane
