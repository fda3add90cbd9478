"""All heads at once: one coloured cell for each."""

from __future__ import annotations

import math

import numpy as np
from msgspec.structs import replace

from mechtui.paint import marks
from mechtui.paint.heat import Piece, cell, legend
from mechtui.paint.numbers import fit, tick
from mechtui.paint.tokens import width as cells
from mechtui.panes.pane import Focus, Line, Page, Pane, Picture, line, window
from mechtui.views import Question
from mechtui.views.heads import SPEC, Heads, HeadsAnswer, Summary

# What the cells show, and whether it is edited minus clean.
MODES: tuple[tuple[Summary, bool], ...] = (
    ("entropy", False),
    ("first", False),
    ("norm", False),
    ("entropy", True),
    ("first", True),
    ("norm", True),
)
UNITS: dict[Summary, str] = {"entropy": "nats", "first": "of 1", "norm": "L2"}


class HeadsPane(Pane):
    VIEW = SPEC

    def __init__(self, *, name: str | None = None, id: str | None = None, classes: str | None = None) -> None:
        super().__init__(name=name, id=id, classes=classes)
        self.mode = 0
        self.clean = False
        self._columns = (0, 1)

    def questions(self, picture: Picture) -> tuple[Question, ...]:
        return (Heads(MODES[self.mode][0], picture.position()),)

    def _values(self, picture: Picture) -> tuple[np.ndarray, HeadsAnswer, str] | str:
        """The grid, the answer that it comes from and what it is; or why there is none."""
        answered = picture.answer(Heads)
        if answered is None or not isinstance(answered.clean, HeadsAnswer):
            return self.WAITING
        clean, edited = answered.clean, answered.edited
        difference = MODES[self.mode][1]
        if difference:
            if not isinstance(edited, HeadsAnswer):
                return "no edit is on: there is no difference to show"
            return edited.values - clean.values, clean, f"{clean.summary} edited-clean"
        if isinstance(edited, HeadsAnswer) and not self.clean:
            return edited.values, edited, f"{edited.summary} edited"
        return clean.values, clean, clean.summary + (" clean" if edited is not None else "")

    def draw(self, picture: Picture, width: int, height: int) -> Page:
        found = self._values(picture)
        if isinstance(found, str):
            return self.blank(found, width, MODES[self.mode][0])
        values, answer, title = found
        layers, heads = values.shape
        difference = MODES[self.mode][1]
        label = len(str(layers - 1)) + 2
        wide = max(2, min(6, (width - label) // max(heads, 1)))
        self._columns = (label, wide)
        low, high = _scale(picture, values, answer, difference)
        layer, head = (min(a, b - 1) for a, b in zip(picture.head(), values.shape, strict=True))
        edited = marks.heads(picture.session, picture.ready.shape) if picture.ready else frozenset()
        touched = marks.layers(picture.session, picture.ready.shape) if picture.ready else {}

        def top(left: int) -> list[Line]:
            step = 1 if wide > len(str(heads - 1)) else 2
            names: list[Piece] = []
            for i in range(min(heads, (left + width - label) // wide)):
                name = str(i) if i % step == 0 or i == head else ""
                if step == 2 and i % 2 and abs(i - head) == 1:
                    name = ""
                names.append((name[-wide:].rjust(wide), self.palette.row if i == head else self.palette.dim))
            return [window([(" " * label, self.palette.dim)], names, left)]

        def row(index: int, left: int) -> Line:
            look = self.palette.mark if index in touched else self.palette.row if index == layer else self.palette.dim
            name = f"{index}".rjust(label - 2) + ("* " if index in touched else "  ")
            pieces = []
            for i in range(min(heads, (left + width - label) // wide)):
                text, shade = cell(float(values[index, i]), low, high, wide, self.palette, signs=difference)
                if (index, i) == (layer, head):
                    text, shade = "▸" + text[1:], shade + self.palette.selected
                elif (index, i) in edited:
                    number = fit(float(values[index, i]), wide - 2, sign=difference).strip() if wide > 3 else ""
                    text, shade = _starred(text, number, wide), shade + self.palette.bold
                pieces.append((text, shade))
            return window([(name, look)], pieces, left)

        value = float(values[layer, head])
        shown = fit(value, 7, sign=difference).strip() or "not computed"
        scale = legend(tick(low), tick(high, sign=difference), self.palette, signs=difference)
        foot: list[Line] = []
        mark = "*" if (layer, head) in edited else ""
        here = (f"L{layer}H{head}{mark} {shown}", self.palette.bold)
        unit = (f" {UNITS[answer.summary]}", self.palette.dim)
        whole: tuple[Piece, ...] = (here, (" ─ ", self.palette.dim), *scale, unit) if scale else (here, unit)
        summary, _, run = title.partition(" ")
        if sum(cells(text) for text, _ in whole) > width - 4:
            # Too narrow for the scale: the unit goes to the title, which run it is stays with the value.
            whole = ((f"{'Δ' if difference else run} " if run else "", self.palette.dim), here)
            title = self.titled(picture, width, f"{summary} {UNITS[answer.summary]}", summary)
            foot = [line(*scale)] if cells("".join(text for text, _ in scale)) <= width else []
        else:
            title = self.titled(picture, width, f"{title} @{answer.position}", title, summary)
        if difference and high == 0 and np.isfinite(values).any():
            foot = [line(("no head changed", self.palette.dim))]
        return Page(
            layers,
            row,
            head=top,
            head_rows=1 if height > 1 else 0,
            foot=foot if height >= 6 else [],
            wide=label + wide * heads,
            cursor=layer,
            cursor_x=(label + wide * head, label + wide * (head + 1) - 1),
            stick=label,
            step=wide,
            title=title,
            legend=whole,
        )

    def hit(self, picture: Picture, index: int, x: int, left: int) -> Focus | None:
        label, wide = self._columns
        if x < label:
            return replace(picture.focus, layer=index) if index >= 0 else None
        head = (x - label + left) // wide
        if picture.ready is None or not 0 <= head < picture.ready.shape.n_heads:
            return None
        return replace(picture.focus, head=head, layer=index if index >= 0 else picture.focus.layer)

    def move(self, dx: int, dy: int) -> None:
        if self.picture is None or self.picture.ready is None:
            return
        layer, head = self.picture.head()
        shape = self.picture.ready.shape
        self.look(
            layer=max(0, min(layer + dy, shape.n_layers - 1)),
            head=max(0, min(head + dx, shape.n_heads - 1)),
        )

    def cycle(self) -> None:
        """entropy, first, norm, then the same three edited minus clean."""
        self.mode = (self.mode + 1) % len(MODES)
        self.renew()
        self.post_message(self.Asks(self))

    def swap_run(self) -> None:
        self.clean = not self.clean
        self.renew()

    def value(self) -> str:
        if self.picture is None or isinstance(found := self._values(self.picture), str):
            return ""
        layer, head = self.picture.head()
        return f"{float(found[0][layer, head]):.6g}"

    def row(self) -> str:
        if self.picture is None or isinstance(found := self._values(self.picture), str):
            return ""
        return "\t".join(f"{value:.6g}" for value in found[0][self.picture.head()[0]])


PANE = HeadsPane


def _starred(text: str, number: str, wide: int) -> str:
    """An edited head's cell: the star before its own number with a blank before both, or under the head's name."""
    # A number that has no room beside the star is left to the cell's colour: no cut one is shown.
    shade = "" if wide > 3 else text.lstrip()[: wide - 1]
    return f"*{number}".rjust(wide) if number else f"{shade}*".rjust(wide)


def _scale(picture: Picture, values: np.ndarray, answer: HeadsAnswer, difference: bool) -> tuple[float, float]:
    """Ends of the colour scale: what is possible where that is known, so that colours keep their meaning."""
    finite = values[np.isfinite(values)]
    if difference:
        return -float(np.abs(finite).max(initial=0.0)), float(np.abs(finite).max(initial=0.0))
    match answer.summary:
        case "entropy":
            # A row over position + 1 keys has at most this entropy.
            return 0.0, max(math.log(max(answer.position, 0) + 1), 1e-6)
        case "first":
            return 0.0, 1.0
        case _:
            both = picture.answer(Heads)
            most = float(finite.max(initial=0.0))
            for each in (both.clean, both.edited) if both else ():
                if isinstance(each, HeadsAnswer):
                    most = max(most, float(np.nanmax(each.values, initial=0.0)))
            return 0.0, most
