"""All heads at once: one coloured cell for each."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from msgspec.structs import replace

from mechtui.link.messages import Answered
from mechtui.paint import marks
from mechtui.panes import of_cases
from mechtui.panes.grid import Grid
from mechtui.panes.of_run import NO_DIFFERENCE
from mechtui.panes.pane import Focus, Page, Pane, Picture, line, wrap
from mechtui.session.document import Swept
from mechtui.session.sweeps import of_heads
from mechtui.views import Question
from mechtui.views.attention import Attention
from mechtui.views.heads import NO_SWEEP, OF_MODEL, SPEC, Heads, HeadsAnswer, Summary
from mechtui.views.over import NONE as NO_CASES
from mechtui.views.over import Over
from mechtui.views.scores import MEASURING, Scores, ScoresAnswer
from mechtui.views.sweep import Sweep, SweepAnswer

UNITS: dict[Summary, str] = {
    "entropy": "nats",
    "first": "of 1",
    "norm": "L2",
    "attribution": "logits",
    "sweep": "",
    "induction": "of 1",
    "previous": "of 1",
    "duplicate": "of 1",
    "copying": "of 1",
}
# Those whose numbers have a sign.
SIGNED: tuple[Summary, ...] = ("attribution", "sweep", "copying")


@dataclass(frozen=True, eq=False)
class Shown:
    """values [layer, head]. run: which run's, in a word or two. position: None for numbers that are the model's."""

    values: np.ndarray
    summary: Summary
    run: str
    position: int | None = None
    difference: bool = False
    over: Over | None = None


class HeadsPane(Pane):
    VIEW = SPEC

    def __init__(self, *, name: str | None = None, id: str | None = None, classes: str | None = None) -> None:
        super().__init__(name=name, id=id, classes=classes)
        self._grid: Grid | None = None

    def questions(self, picture: Picture) -> tuple[Question, ...]:
        question = picture.question(Heads)
        if question.summary == "sweep":
            return ()
        if question.over and not picture.session.cases:
            return ()
        # The heads' scores take a while to measure, and are one answer.
        return (Scores().asked(),) if question.summary in OF_MODEL else (question.asked(),)

    def _values(self, picture: Picture) -> Shown | str:
        """What the cells show, or why there is nothing."""
        question = picture.question(Heads)
        if question.summary in OF_MODEL:
            measured = picture.answer(Scores)
            if measured is None or not isinstance(measured.clean, ScoresAnswer):
                return MEASURING
            values = getattr(measured.clean, question.summary)
            return Shown(values, question.summary, "so far" if measured.partial else "")
        if question.summary == "sweep":
            made = self._sweep(picture)
            return NO_SWEEP if made is None else Shown(np.array(made.values, dtype=np.float64), "sweep", made.edit.op)
        if question.over and not picture.session.cases:
            return NO_CASES
        answered = picture.answer(Heads)
        if answered is None or not isinstance(answered.clean, HeadsAnswer):
            return self.WAITING
        clean, edited = answered.clean, answered.edited
        if question.run == "difference":
            if not isinstance(edited, HeadsAnswer):
                return NO_DIFFERENCE
            if edited.over is not None and clean.over is not None:
                found = edited.over.changed(clean.over)
                if found is None:
                    return "the difference is taken case by case, once all cases are there"
                return Shown(found[0], clean.summary, "edited-clean", None, True, found[1])
            return Shown(edited.values - clean.values, clean.summary, "edited-clean", clean.position, True)
        if isinstance(edited, HeadsAnswer) and question.run == "edited":
            return Shown(edited.values, clean.summary, "edited", clean.position, over=edited.over)
        return Shown(
            clean.values, clean.summary, "clean" if edited is not None else "", clean.position, over=clean.over
        )

    def _sweep(self, picture: Picture) -> Swept | None:
        if picture.ready is None:
            return None
        return of_heads(picture.sweeps, picture.session, picture.ready.shape.n_layers, picture.ready.shape.n_heads)

    def next(self) -> Question:
        """The next summary that there is."""
        question = super().next()
        made = self.picture is not None and self._sweep(self.picture) is not None
        return question.next() if isinstance(question, Heads) and question.summary == "sweep" and not made else question

    def draw(self, picture: Picture, width: int, height: int) -> Page:
        found = self._values(picture)
        if isinstance(found, str):
            share = "" if picture.progress is None else f": {picture.progress:.0%}"
            return self.blank(found + share, width, picture.question(Heads).summary)
        values, summary = found.values, found.summary
        low, high = _scale(picture, found)
        layer, head = (min(a, b - 1) for a, b in zip(picture.head(), values.shape, strict=True))
        edited = marks.heads(picture.applied(), picture.ready.shape) if picture.ready else frozenset()
        touched = marks.layers(picture.applied(), picture.ready.shape) if picture.ready else {}
        self._grid = grid = Grid(
            values,
            tuple(map(str, range(values.shape[0]))),
            tuple(map(str, range(values.shape[1]))),
            width,
            low,
            high,
            signs=found.difference or summary in SIGNED,
            cursor=(layer, head),
            edited=edited,
            touched=frozenset(touched),
        )
        mark = "*" if (layer, head) in edited else ""
        before = f"{'Δ' if found.difference else found.run} " if found.run else ""
        number = grid.number() if found.over is None else of_cases.said_of(found.over, values, (layer, head))
        legend = grid.legend(self.palette, f"L{layer}H{head}{mark} {number}", UNITS[summary], before)
        foot = legend.foot
        if found.over is not None:
            notes = [text for note in of_cases.notes(found.over, UNITS[summary]) for text in wrap(note, width)]
            foot = [*(line((note, self.palette.dim)) for note in notes[: max(height - len(values) - 3, 0)]), *foot]
        if legend.whole:
            title = f"{summary} {found.run}".rstrip()
            if found.over is not None:
                title += of_cases.named(found.over)
            at = () if found.position is None else (f"{title} @{found.position}",)
            title = self.titled(picture, width, *at, title, summary)
        else:
            title = self.titled(picture, width, f"{summary} {UNITS[summary]}", summary)
        if found.difference and high == 0 and np.isfinite(values).any():
            foot = [line(("no head changed", self.palette.dim))]
        return grid.page(self.palette, height, title=title, legend=legend.border, foot=foot)

    def hit(self, picture: Picture, index: int, x: int, left: int) -> Focus | None:
        if self._grid is None or (cell := self._grid.hit(index, x, left)) is None:
            return None
        layer, head = cell
        changes = {name: at for name, at in (("layer", layer), ("head", head)) if at >= 0}
        return replace(picture.focus, **changes)

    def into(self, picture: Picture) -> Question | None:
        """The attention of the head under the cursor."""
        layer, head = picture.head()
        return replace(picture.question(Attention), layer=layer, head=head)

    def move(self, dx: int, dy: int) -> None:
        if self.picture is None or self.picture.ready is None:
            return
        layer, head = self.picture.head()
        shape = self.picture.ready.shape
        self.look(
            layer=max(0, min(layer + dy, shape.n_layers - 1)),
            head=max(0, min(head + dx, shape.n_heads - 1)),
        )

    def answers(self, picture: Picture) -> tuple[Answered, ...]:
        if picture.question(Heads).summary != "sweep":
            return super().answers(picture)
        made = self._sweep(picture)
        return () if made is None else (Answered(0, Sweep(made.edit), SweepAnswer.of(made), None, 0.0),)

    def value(self) -> str:
        if self.picture is None or isinstance(found := self._values(self.picture), str):
            return ""
        layer, head = self.picture.head()
        return f"{float(found.values[layer, head]):.6g}"

    def row(self) -> str:
        if self.picture is None or isinstance(found := self._values(self.picture), str):
            return ""
        return "\t".join(f"{value:.6g}" for value in found.values[self.picture.head()[0]])


PANE = HeadsPane


def _scale(picture: Picture, shown: Shown) -> tuple[float, float]:
    """Ends of the colour scale: what is possible where that is known, so that colours keep their meaning."""
    if shown.difference or shown.summary == "sweep":
        most = float(np.nanmax(np.abs(shown.values), initial=0.0))
        return -most, most
    match shown.summary:
        case "entropy" if shown.over is not None:
            return 0.0, max(float(np.nanmax(shown.values, initial=0.0)), 1e-6)
        case "entropy":
            # A row over position + 1 keys has at most this entropy.
            return 0.0, max(math.log(max(shown.position or 0, 0) + 1), 1e-6)
        case "norm" | "attribution":
            both = picture.answer(Heads)
            most = 0.0
            for each in (both.clean, both.edited) if both else ():
                if isinstance(each, HeadsAnswer):
                    most = max(most, float(np.nanmax(np.abs(each.values), initial=0.0)))
            return (-most if shown.summary in SIGNED else 0.0), most
        case _:
            return (-1.0 if shown.summary in SIGNED else 0.0), 1.0
