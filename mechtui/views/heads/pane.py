"""All heads at once: one coloured cell for each."""

from __future__ import annotations

import math

import numpy as np
from msgspec.structs import replace

from mechtui.paint import marks
from mechtui.panes.grid import Grid
from mechtui.panes.pane import Focus, Page, Pane, Picture, line
from mechtui.views.heads import SPEC, Heads, HeadsAnswer, Summary

UNITS: dict[Summary, str] = {"entropy": "nats", "first": "of 1", "norm": "L2"}


class HeadsPane(Pane):
    VIEW = SPEC

    def __init__(self, *, name: str | None = None, id: str | None = None, classes: str | None = None) -> None:
        super().__init__(name=name, id=id, classes=classes)
        self._grid: Grid | None = None

    def _values(self, picture: Picture) -> tuple[np.ndarray, HeadsAnswer, str] | str:
        """The grid, the answer that it comes from and what it is; or why there is none."""
        answered = picture.answer(Heads)
        if answered is None or not isinstance(answered.clean, HeadsAnswer):
            return self.WAITING
        clean, edited = answered.clean, answered.edited
        run = picture.question(Heads).run
        if run == "difference":
            if not isinstance(edited, HeadsAnswer):
                return "no edit is on: there is no difference to show"
            return edited.values - clean.values, clean, f"{clean.summary} edited-clean"
        if isinstance(edited, HeadsAnswer) and run == "edited":
            return edited.values, edited, f"{edited.summary} edited"
        return clean.values, clean, clean.summary + (" clean" if edited is not None else "")

    def draw(self, picture: Picture, width: int, height: int) -> Page:
        found = self._values(picture)
        if isinstance(found, str):
            return self.blank(found, width, picture.question(Heads).summary)
        values, answer, title = found
        difference = picture.question(Heads).run == "difference"
        low, high = _scale(picture, values, answer, difference)
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
            signs=difference,
            cursor=(layer, head),
            edited=edited,
            touched=frozenset(touched),
        )
        mark = "*" if (layer, head) in edited else ""
        summary, _, run = title.partition(" ")
        unit = UNITS[answer.summary]
        before = f"{'Δ' if difference else run} " if run else ""
        legend = grid.legend(self.palette, f"L{layer}H{head}{mark} {grid.number()}", unit, before)
        foot = legend.foot
        if legend.whole:
            title = self.titled(picture, width, f"{title} @{answer.position}", title, summary)
        else:
            title = self.titled(picture, width, f"{summary} {unit}", summary)
        if difference and high == 0 and np.isfinite(values).any():
            foot = [line(("no head changed", self.palette.dim))]
        return grid.page(self.palette, height, title=title, legend=legend.border, foot=foot)

    def hit(self, picture: Picture, index: int, x: int, left: int) -> Focus | None:
        if self._grid is None or (cell := self._grid.hit(index, x, left)) is None:
            return None
        layer, head = cell
        changes = {name: at for name, at in (("layer", layer), ("head", head)) if at >= 0}
        return replace(picture.focus, **changes)

    def move(self, dx: int, dy: int) -> None:
        if self.picture is None or self.picture.ready is None:
            return
        layer, head = self.picture.head()
        shape = self.picture.ready.shape
        self.look(
            layer=max(0, min(layer + dy, shape.n_layers - 1)),
            head=max(0, min(head + dx, shape.n_heads - 1)),
        )

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
