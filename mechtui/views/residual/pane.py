"""How long the residual stream is at every layer, and what attention and the MLP wrote to it."""

from __future__ import annotations

import numpy as np
from msgspec.structs import replace

from mechtui.paint import marks
from mechtui.paint.nans import nan_shown
from mechtui.paint.numbers import amount
from mechtui.paint.spark import cell_of, logs, scale, sparkline, with_cursor
from mechtui.paint.tokens import fitting, pad
from mechtui.panes.pane import Focus, Line, Page, Pane, Picture, line
from mechtui.views import Question
from mechtui.views.lens import Lens
from mechtui.views.residual import SPEC, Residual, ResidualAnswer, Scale

# One token's norm so far above the others' (attention sinks reach 100 times) flattens them on a linear scale.
MASSIVE = 8.0
# Cells of a row's least and greatest number, `2.8…838 `.
ENDS = 10
# Cells of a line of writes before and behind its bars: with the run's name, with the greatest of the writes.
LABELS = ((13, 13), (6, 13), (6, 6), (6, 0))


class ResidualPane(Pane):
    VIEW = SPEC

    def _answers(self, picture: Picture) -> tuple[ResidualAnswer, ResidualAnswer | None] | None:
        answered = picture.answer(Residual)
        if answered is None or not isinstance(answered.clean, ResidualAnswer):
            return None
        return answered.clean, answered.edited if isinstance(answered.edited, ResidualAnswer) else None

    @staticmethod
    def _shown(picture: Picture, clean: ResidualAnswer, edited: ResidualAnswer | None) -> ResidualAnswer:
        return clean if edited is None or picture.question(Residual).run == "clean" else edited

    @staticmethod
    def _logarithmic(picture: Picture, norm: np.ndarray) -> bool:
        chosen = picture.question(Residual).scale
        if chosen != "auto":
            return chosen == "log"
        peaks = np.nanmax(norm, axis=0, initial=0.0)
        return bool(peaks.size > 1 and peaks.max() > MASSIVE * np.median(peaks))

    def draw(self, picture: Picture, width: int, height: int) -> Page:
        found = self._answers(picture)
        if found is None:
            return self.blank(self.WAITING, width)
        clean, edited = found
        shown = self._shown(picture, clean, edited)
        sites, count = shown.norm.shape
        if not count:
            return self.blank("no tokens: i types a prompt", width)
        log = self._logarithmic(picture, clean.norm)
        here = min(picture.position(), count - 1)
        layer, digits = picture.head()[0], len(str(count - 1))
        label = max(6, min(picture.widest_token() + len(str(count - 1)) + 2, 16, width // 3))
        # Every layer is a bar; names and the numbers behind make room for them.
        label = max(min(label, width - 2 - sites), 6)
        ends = next((cells for cells in (ENDS, ENDS // 2, 0) if width - label - 2 - cells >= sites), 0)
        room = max(min(width - label - 2 - ends, sites), 1)
        both = [clean.norm] + ([edited.norm] if edited is not None else [])
        low, high = scale(*both, log=log)
        if not log:
            low = 0.0
        touched = marks.edited_positions(picture.applied(), picture.tokens.tokens if picture.tokens else ())

        def row(index: int, left: int) -> Line:
            palette = self.palette
            values = shown.norm[:, index].tolist()
            look = palette.selected if index == here else palette.mark if index in touched else palette.dim
            text = sparkline(logs(values) if log else values, room, low, high).ljust(min(room, sites))
            cursor = cell_of(min(layer, sites - 1), sites, room) if index == here else None
            changed = edited is not None and not np.array_equal(clean.norm[:, index], edited.norm[:, index])
            known = [v for v in values if np.isfinite(v)]
            least_most = f"{amount(min(known)):>4}…{amount(max(known)):<4}" if known else ""
            if any(map(nan_shown, values)):
                least_most = f"{amount(min(known)) if known else '':>4}…nan "
            least_most = least_most if ends == ENDS else least_most[4:].replace("…", "≤", 1) if ends else ""
            style = palette.edited if changed and shown is edited else palette.clean
            return [
                *line((pad(f"{index:>{digits}} {picture.token(index)}", label - 1), look), " "),
                *with_cursor(text, cursor, style, style + palette.bar),
                *line((" *" if changed else "  ", palette.mark), (least_most, palette.dim)),
            ]

        foot = self._writes(clean, edited, here, layer, width) if height >= 7 else []
        value = float(shown.norm[min(layer, sites - 1), here])
        state = "" if edited is None else " clean" if shown is clean else " edited"
        return Page(
            count,
            row,
            foot=foot,
            cursor=here,
            title=f"L2 norm{state}{', log scale' if log else ''}",
            legend=(
                (f"{shown.sites[min(layer, sites - 1)]} @{here} {amount(value) or 'not computed'}", self.palette.bold),
            ),
        )

    def _writes(
        self, clean: ResidualAnswer, edited: ResidualAnswer | None, here: int, layer: int, width: int
    ) -> list[Line]:
        """What attention and the MLP wrote for the selected token: a line each for clean and edited."""
        palette = self.palette
        runs = [("clean", clean, palette.clean)] + ([("edited", edited, palette.edited)] if edited is not None else [])
        rows = [
            (f"{part} {run}", getattr(answer, part)[:, here].tolist(), style)
            for part in ("attn", "mlp")
            for run, answer, style in runs
        ]
        every = np.concatenate([np.asarray(values, dtype=float) for _, values, _ in rows])
        every = every[np.isfinite(every)]
        log = bool(every.size) and float(every.max()) > MASSIVE * float(np.median(every))
        low, high = scale(every, log=log)
        # Every layer is a bar here too.
        spare = width - max((len(values) for _, values, _ in rows), default=0)
        name, ends_wide = next((each for each in LABELS if sum(each) <= spare), LABELS[-1])
        at_layer = f": L{layer}" if ends_wide else ""
        what = f"{at_layer} of max" if ends_wide == LABELS[0][1] else at_layer
        notes = (f"writes @{here}{', log scale' if log else ''}{what}", f"writes @{here}{', log' if log else ''}{what}")
        lines = [line((fitting(width, *notes), palette.dim))]
        for label, values, style in rows:
            count = len(values)
            room = max(min(width - name - ends_wide, count), 1)
            text = sparkline(logs(values) if log else values, room, low if log else 0.0, high)
            at = min(layer, count - 1)
            known = [v for v in values if np.isfinite(v)]
            now = f" {amount(values[at]):>4}"
            of = f" of {amount(max(known)):<4}" if known and ends_wide == LABELS[0][1] else ""
            ends = f"{now}{of}"[:ends_wide] if known or nan_shown(values[at]) else " not computed"
            text = text.ljust(room)
            shown = label if name == LABELS[0][0] else label.replace(" edited", "*").removesuffix(" clean")
            lines.append(
                [
                    *line((shown.ljust(name), palette.dim)),
                    *with_cursor(text, cell_of(at, count, room) if count else None, style, style + palette.bar),
                    *line((ends, palette.dim)),
                ]
            )
        return lines

    def hit(self, picture: Picture, index: int, x: int, left: int) -> Focus | None:
        return replace(picture.focus, position=index) if index >= 0 else None

    def into(self, picture: Picture) -> Question | None:
        """What the stream would say if it were read there."""
        return picture.question(Lens)

    def move(self, dx: int, dy: int) -> None:
        """Down and up the tokens, right and left the layers."""
        picture = self.picture
        if picture is None or picture.tokens is None or picture.ready is None:
            return
        changes = {}
        if dy:
            changes["position"] = max(0, min(picture.position() + dy, len(picture.tokens.tokens) - 1))
        if dx:
            changes["layer"] = max(0, min(picture.head()[0] + dx, picture.ready.shape.n_layers - 1))
        self.look(**changes)

    def end(self) -> None:
        self.look(position=-1)

    def next(self) -> Question:
        """Linear or logarithmic: the one that is not shown now."""
        if self.picture is None or (found := self._answers(self.picture)) is None:
            return self._question()
        scale: Scale = "linear" if self._logarithmic(self.picture, found[0].norm) else "log"
        return replace(self.picture.question(Residual), scale=scale)

    def _column(self) -> list[float]:
        found = self._answers(self.picture) if self.picture else None
        if found is None or self.picture is None:
            return []
        clean, edited = found
        shown = self._shown(self.picture, clean, edited)
        here = min(self.picture.position(), shown.norm.shape[1] - 1)
        return [float(value) for value in shown.norm[:, here]] if here >= 0 else []

    def value(self) -> str:
        values = self._column()
        if not values or self.picture is None:
            return ""
        return f"{values[min(self.picture.head()[0], len(values) - 1)]:.6g}"

    def row(self) -> str:
        return "\t".join(f"{value:.6g}" for value in self._column())


PANE = ResidualPane
