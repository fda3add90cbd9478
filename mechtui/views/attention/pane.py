"""One head's attention: a table of queries (rows) by keys (columns), both named by their tokens."""

from __future__ import annotations

import math

import numpy as np
from msgspec.structs import replace

from mechtui.paint import marks
from mechtui.paint.heat import Piece, cell, legend
from mechtui.paint.numbers import fit, tick
from mechtui.paint.tokens import column_name, cut, pad
from mechtui.panes.desk import Desk
from mechtui.panes.pane import Focus, Line, Page, Pane, Picture, window
from mechtui.session import changes
from mechtui.views.attention import SPEC, WIDTHS, Attention, AttentionAnswer
from mechtui.views.question import Run

# Cells of a column that shows a token, and of the narrowest names at the left.
NAMED, NARROW = 3, 8
# From so many rows on, one is left to number the columns.
NUMBERED = 10
# What the border keeps to itself around the legend.
BORDER = 4


def column_width(room: int, count: int) -> int:
    """Cells per key: as wide as lets all keys be seen at once; with more keys than cells, 2 and scrolling."""
    for wide in range(WIDTHS[-1], 0, -1):
        if count * wide <= room:
            return wide
    return 2


class AttentionPane(Pane):
    VIEW = SPEC

    def __init__(self, *, name: str | None = None, id: str | None = None, classes: str | None = None) -> None:
        super().__init__(name=name, id=id, classes=classes)
        self._columns = (0, 1)
        self._found: tuple[tuple[object, ...], tuple[np.ndarray, float, float]] | None = None

    def _table(self, picture: Picture) -> tuple[np.ndarray, float, float, str] | str:
        """Table, the ends of its colour scale, and what it is; or why there is none."""
        answered = picture.answer(Attention)
        if answered is None or not isinstance(answered.clean, AttentionAnswer):
            return self.WAITING
        clean = answered.clean
        edited = answered.edited if isinstance(answered.edited, AttentionAnswer) else None
        run = picture.question(Attention).run
        if run == "difference":
            if edited is None:
                return "no edit is on: there is no difference to show"
            title = f"{clean.what} edited-clean"
        elif edited is not None:
            title = f"{clean.what} {run}"
        else:
            title = clean.what
        # The ends of the scale need the whole table: once per answer, not once per key press.
        key = (id(answered), run)
        if self._found is None or self._found[0] != key:
            self._found = key, self._scaled(clean, edited, run)
        return *self._found[1], title

    def _scaled(
        self, clean: AttentionAnswer, edited: AttentionAnswer | None, run: Run
    ) -> tuple[np.ndarray, float, float]:
        if run == "difference" and edited is not None:
            table = edited.table - clean.table
            most = float(np.abs(table[np.isfinite(table)]).max(initial=0.0))
            return table, -most, most
        table = edited.table if edited is not None and run == "edited" else clean.table
        if clean.what != "scores":
            return table, 0.0, 1.0
        finite = [each.table[np.isfinite(each.table)] for each in (clean, edited) if each is not None]
        every = np.concatenate(finite)
        return table, float(every.min(initial=0.0)), float(every.max(initial=0.0))

    def draw(self, picture: Picture, width: int, height: int) -> Page:
        found = self._table(picture)
        answered = picture.answer(Attention)
        if isinstance(found, str) or answered is None:
            now = picture.question(Attention)
            return self.blank(str(found), width, f"L{now.layer}H{now.head} {now.what}")
        table, low, high, title = found
        asked = answered.question
        queries, keys = table.shape
        if not queries or not keys or not isinstance(asked, Attention):
            return self.blank("no tokens: i types a prompt", width)
        signs = picture.question(Attention).run == "difference"
        label = self._label_width(picture, width, max(queries, keys))
        if column_width(width - label, keys) < NAMED <= (width - NARROW) // keys:
            # Shorter names at the left leave room for names at the top.
            label = width - NAMED * keys
        wide = picture.question(Attention).wide or column_width(width - label, keys)
        self._columns = (label, wide)
        here, key = min(picture.position(), queries - 1), max(0, min(picture.focus.key, keys - 1))
        edited = marks.edited_positions(picture.applied(), picture.tokens.tokens if picture.tokens else ())
        palette, digits = self.palette, len(str(queries - 1))
        # Tokens may be alike, their numbers are not; narrow columns have numbers only.
        numbered = height >= NUMBERED and wide > max(digits, 2)

        def top(left: int) -> list[Line]:
            last = min(keys, (left + width - label) // wide)
            blank = [(" " * label, palette.dim)]
            lines = [window(blank, self._names(picture, last, key, wide), left)]
            if numbered:
                looks = (palette.selected if i == key else palette.dim for i in range(last))
                numbers = [(f"{i:>{wide}}", look) for i, look in enumerate(looks)]
                lines.append(window(blank, numbers, left))
            return lines

        def row(index: int, left: int) -> Line:
            look = palette.selected if index == here else palette.mark if index in edited else palette.dim
            name = pad(f"{index:>{digits}} {picture.token(index)}", label - 1)
            # Only the cells in sight: a row of a long prompt has a thousand.
            first = left // wide
            last = min(keys, (left + width - label) // wide)
            pieces: list[Piece] = []
            for column in range(first, last):
                text, style = cell(float(table[index, column]), low, high, wide, palette, signs=signs, digits=2)
                if index == here and column == key:
                    text, style = "▸" + text[1:], style + palette.selected
                elif index == here and wide > 1 and text.strip():
                    style = style + palette.bold
                pieces.append((text, style))
            return window([(name, look), (" ", palette.dim)], pieces, left - first * wide)

        value = float(table[here, key])
        shown = "not seen" if math.isnan(value) else fit(value, 8, sign=signs).strip() or f"{value:.0e}"
        ends = legend(tick(low), tick(high, sign=signs), palette, signs=signs)
        scale = [(" ─ ", palette.dim), *ends] if ends else []
        taken = sum(len(text) for text, _ in scale) + len(f"{here}  > {key}  {shown}") + BORDER
        most = max(min((width - taken) // 2, 12), 2)
        legend_text = f"{here} {cut(picture.token(here), most)} > {key} {cut(picture.token(key), most)} {shown}"
        changed = marks.heads(picture.applied(), picture.ready.shape) if picture.ready else frozenset()
        mark = "*" if (asked.layer, asked.head) in changed else ""
        return Page(
            queries,
            row,
            head=top,
            head_rows=(2 if numbered else 1) if height > 1 else 0,
            wide=label + wide * keys,
            cursor=here,
            cursor_x=(label + wide * key, label + wide * (key + 1) - 1),
            stick=label,
            step=wide,
            title=f"L{asked.layer}H{asked.head}{mark} {title}",
            legend=((legend_text, palette.bold), *scale),
        )

    def _label_width(self, picture: Picture, width: int, count: int) -> int:
        return max(4, min(picture.widest_token() + len(str(count - 1)) + 2, 18, width // 3))

    def _names(self, picture: Picture, keys: int, key: int, wide: int) -> list[Piece]:
        palette = self.palette
        if wide >= 3:
            return [
                (" " + column_name(picture.token(i), wide - 1), palette.selected if i == key else palette.dim)
                for i in range(keys)
            ]
        # Too narrow for tokens: positions, as many as fit beside one another.
        every = next((k for k in (1, 2, 5, 10, 20) if k * wide > len(str(keys))), 50)
        text = ""
        for i in range(keys):
            if i % every == 0:
                text = text[: i * wide].ljust(i * wide) + str(i)
        text = text[: keys * wide].ljust(keys * wide)
        # The cursor's own number ends with its column, so that it is whole at the right edge too.
        name = str(key)
        start = max((key + 1) * wide - len(name), 0)
        end = start + len(name)
        return [
            (text[: max(start - 1, 0)].ljust(start), palette.dim),
            (name, palette.selected),
            ((" " + text[end + 1 :])[: max(keys * wide - end, 0)], palette.dim),
        ]

    def hit(self, picture: Picture, index: int, x: int, left: int) -> Focus | None:
        label, wide = self._columns
        focus = picture.focus if index < 0 else replace(picture.focus, position=index)
        if x >= label:
            count = len(picture.tokens.tokens) if picture.tokens else 0
            focus = replace(focus, key=max(0, min((x - label + left) // wide, count - 1)))
        return focus

    def move(self, dx: int, dy: int) -> None:
        if self.picture is None or self.picture.tokens is None:
            return
        last = max(len(self.picture.tokens.tokens) - 1, 0)
        changes = {}
        if dy:
            changes["position"] = max(0, min(self.picture.position() + dy, last))
        if dx:
            changes["key"] = max(0, min(self.picture.focus.key + dx, last))
        self.look(**changes)

    def end(self) -> None:
        self.look(position=-1)

    def _zoom(self, desk: Desk, steps: int) -> None:
        """Wider columns (1) or narrower ones (-1)."""
        if self.picture is None:
            return
        wide = self._columns[1]
        nearest = min(range(len(WIDTHS)), key=lambda i: abs(WIDTHS[i] - wide))
        chosen = WIDTHS[max(0, min(nearest + steps, len(WIDTHS) - 1))]
        desk.put(replace(self.picture.question(Attention), wide=chosen))

    def do_cut(self, desk: Desk) -> None:
        focus = desk.focus
        desk.change(changes.cut_edge(desk.session, focus.layer, focus.head, desk.position(), focus.key))

    def do_zoom_in(self, desk: Desk) -> None:
        self._zoom(desk, 1)

    def do_zoom_out(self, desk: Desk) -> None:
        self._zoom(desk, -1)

    def _line(self) -> list[float]:
        """The focused query's row; empty where there is none."""
        if self.picture is None or isinstance(found := self._table(self.picture), str):
            return []
        table = found[0]
        return [float(value) for value in table[min(self.picture.position(), len(table) - 1)]] if table.size else []

    def value(self) -> str:
        values = self._line()
        if not values or self.picture is None:
            return ""
        return f"{values[max(0, min(self.picture.focus.key, len(values) - 1))]:.6g}"

    def row(self) -> str:
        return "\t".join(f"{value:.6g}" for value in self._line())


PANE = AttentionPane
