"""One head's attention: a table of queries (rows) by keys (columns), both named by their tokens."""

from __future__ import annotations

import dataclasses
import math
from typing import Literal, NamedTuple

import numpy as np
from msgspec.structs import replace

from mechtui.link.messages import Answered
from mechtui.paint import marks
from mechtui.paint.heat import Piece, cell, legend
from mechtui.paint.nans import nan_shown
from mechtui.paint.numbers import fit, tick
from mechtui.paint.tokens import column_name, cut, pad
from mechtui.panes.desk import Desk
from mechtui.panes.folded import Folded, Room
from mechtui.panes.of_run import NO_DIFFERENCE
from mechtui.panes.overview import Overview
from mechtui.panes.pane import Focus, Line, Page, Pane, Picture, line, window
from mechtui.session import changes
from mechtui.session.changes import CannotError
from mechtui.views.attention import FOLDS, SPEC, WIDTHS, Attention, AttentionAnswer
from mechtui.views.path import Path
from mechtui.views.question import Run, after

# Cells of a column that shows a token, and of the narrowest names at the left.
NAMED, NARROW = 3, 8
# From so many rows on, one is left to number the columns.
NUMBERED = 10
# From so many rows on, one is left to say how much of its row a query's keys hold.
FOOTED = 8
# What the border keeps to itself around the legend.
BORDER = 4


def column_width(room: int, count: int) -> int:
    """Cells per key: as wide as lets all keys be seen at once; with more keys than cells, 2 and scrolling."""
    for wide in range(WIDTHS[-1], 0, -1):
        if count * wide <= room:
            return wide
    return 2


class _Fold(NamedTuple):
    """A folded table as it was drawn."""

    table: Folded
    room: Room
    small: Overview | None
    ranked: bool


class AttentionPane(Pane):
    VIEW = SPEC

    def __init__(self, *, name: str | None = None, id: str | None = None, classes: str | None = None) -> None:
        super().__init__(name=name, id=id, classes=classes)
        self._columns = (0, 1)
        self._folded: _Fold | None = None  # as it was drawn last; None where the whole table was
        self._found: tuple[Answered, Run, Folded] | None = None

    def _table(self, picture: Picture) -> tuple[Folded, str] | str:
        """The table with its colour scale, and what it is; or why there is none."""
        answered = picture.answer(Attention)
        if answered is None or not isinstance(answered.clean, AttentionAnswer):
            return self.WAITING
        clean = answered.clean
        edited = answered.edited if isinstance(answered.edited, AttentionAnswer) else None
        run = picture.question(Attention).run
        if run == "difference":
            if edited is None:
                return NO_DIFFERENCE
            title = f"{clean.what} edited-clean"
        elif edited is not None:
            title = f"{clean.what} {run}"
        else:
            title = clean.what
        # The ends of the scale need the whole table: once per answer, not once per key press.
        if self._found is None or self._found[0] is not answered or self._found[1] != run:
            table, low, high = self._scaled(clean, edited, run)
            unit = clean.what != "scores"
            self._found = answered, run, Folded(table, low, high, run == "difference", unit)
        return self._found[2], title

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
        folded, title = found
        asked, (queries, keys) = answered.question, folded.table.shape
        if not queries or not keys or not isinstance(asked, Attention):
            return self.blank("no tokens: i types a prompt", width)
        question = picture.question(Attention)
        at = self._at(picture, folded)
        label = self._label_width(picture, width, max(queries, keys))
        # All keys where they can be named, or where the whole table is in sight at least.
        least = NAMED - (queries < height)
        fold = question.fold or ("whole" if question.wide or (width - NARROW) // keys >= least else "ranked")
        if fold == "whole":
            page = self._whole(picture, folded, width, height, label, at)
        else:
            page = self._fold(picture, folded, width, height, label, at, fold == "ranked")
            title = f"{title} {fold}"
        changed = marks.heads(picture.applied(), picture.ready.shape) if picture.ready else frozenset()
        mark = "*" if (asked.layer, asked.head) in changed else ""
        name = f"L{asked.layer}H{asked.head}{mark}"
        return dataclasses.replace(
            page,
            title=self.titled(picture, width, f"{name} {title}", f"{name} {fold}" if page.foot else name, name),
            legend=self._legend(picture, folded, width, at),
        )

    def _at(self, picture: Picture, folded: Folded) -> tuple[int, int]:
        """The query and the key that are looked at."""
        queries, keys = folded.table.shape
        here = max(0, min(picture.position(), queries - 1))
        order = folded.order(here)
        best = int(order[0]) if len(order) else 0
        return here, best if picture.focus.key < 0 else min(picture.focus.key, keys - 1)

    def _legend(self, picture: Picture, folded: Folded, width: int, at: tuple[int, int]) -> tuple[Piece, ...]:
        """The cursor's query, key and number, and the scale."""
        (here, key), signs = at, folded.signs
        value = float(folded.table[here, key])
        unseen = math.isnan(value) and not nan_shown(value)
        shown = "not seen" if unseen else fit(value, 8, sign=signs).strip() or f"{value:.0e}"
        ends = legend(tick(folded.low), tick(folded.high, sign=signs), self.palette, signs=signs)
        scale = [(" ─ ", self.palette.dim), *ends] if ends else []
        taken = sum(len(text) for text, _ in scale) + len(f"{here}  > {key}  {shown}") + BORDER
        most = max(min((width - taken) // 2, 12), 2)
        said = f"{here} {cut(picture.token(here), most)} > {key} {cut(picture.token(key), most)} {shown}"
        return ((said, self.palette.bold), *scale)

    def _edited(self, picture: Picture) -> frozenset[int]:
        return marks.edited_positions(picture.applied(), picture.tokens.tokens if picture.tokens else ())

    def _whole(
        self, picture: Picture, folded: Folded, width: int, height: int, label: int, at: tuple[int, int]
    ) -> Page:
        """All keys, each in a column of its own."""
        table, low, high, signs = folded.table, folded.low, folded.high, folded.signs
        (here, key), (queries, keys) = at, table.shape
        if column_width(width - label, keys) < NAMED <= (width - NARROW) // keys:
            # Shorter names at the left leave room for names at the top.
            label = width - NAMED * keys
        wide = picture.question(Attention).wide or column_width(width - label, keys)
        self._columns, self._folded = (label, wide), None
        edited = self._edited(picture)
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

        return Page(
            queries,
            row,
            head=top,
            head_rows=1 + numbered,
            wide=label + wide * keys,
            cursor=here,
            cursor_x=(label + wide * key, label + wide * (key + 1) - 1),
            stick=label,
            step=wide,
        )

    def _fold(
        self, picture: Picture, folded: Folded, width: int, height: int, label: int, at: tuple[int, int], ranked: bool
    ) -> Page:
        """Of each query the keys that it looks at most, and beside them the whole table as a small picture."""
        (here, key), queries = at, len(folded.table)
        digits = len(str(queries - 1))
        label = min(label, max(width // 5, digits + 7))
        lines = max(min(height - 1 - (height >= FOOTED), queries), 1)
        room = folded.room(width, lines, label, picture.widest_token())
        small = folded.overview(lines, room.overview) if room.overview else None
        edited, palette = self._edited(picture), self.palette
        self._folded = _Fold(folded, room, small, ranked)
        y, x = small.place(here, key) if small is not None else (0, 0)
        end = room.label + room.wide * room.keys

        def top(left: int) -> list[Line]:
            pieces: list[Piece] = [
                (pad(" " * digits + " query", label), palette.dim),
                (folded.above(room, ranked), palette.dim),
            ]
            if small is not None:
                last = str(folded.table.shape[1] - 1)
                ruler = f"0{last:>{small.width - 1}}"
                pieces += [
                    (" " * (width - end - small.width) + ruler[:x], palette.dim),
                    ("▾", palette.mark),
                    (ruler[x + 1 :], palette.dim),
                ]
            return [line(*pieces)]

        def row(index: int, left: int) -> Line:
            look = palette.selected if index == here else palette.mark if index in edited else palette.dim
            pieces: list[Piece] = [
                (pad(f"{index:>{digits}} {picture.token(index)}", label - 1), look),
                (" ", palette.dim),
            ]
            keys = folded.keys(index, room.keys, ranked, key if index == here else None)
            for each in keys:
                made = folded.cell(index, each, picture.token(each), room.wide, palette, always=index == here)
                if index == here and each == key:
                    made = [("▸", palette.selected), *((text, style + palette.selected) for text, style in made[1:])]
                pieces += made
            pieces.append((" " * (room.wide * (room.keys - len(keys))), palette.plain))
            if small is not None:
                # Where all queries are in sight, as in a file, nothing is scrolled.
                top_row = 0 if lines >= queries else self.first_in_sight
                sight, gap = range(top_row, top_row + lines), width - end - small.width
                pieces += self._beside(small, index - top_row, sight, y, gap)
            return line(*pieces)

        held = folded.held(here, folded.keys(here, room.keys, ranked, key))
        foot = [line((cut(held, width), palette.dim))] if height >= FOOTED else []
        return Page(queries, row, head=top, head_rows=1, foot=foot, cursor=here)

    def _beside(self, small: Overview, y: int, sight: range, here: int, gap: int) -> list[Piece]:
        """Line y of the small picture, after `gap` cells of which the last one marks the rows in sight."""
        palette = self.palette
        if not 0 <= y < small.height:
            return []
        first, last = small.span(y)
        seen = first < sight.stop and last > sight.start
        mark: Piece = ("▸", palette.mark) if y == here else ("┃" if seen else " ", palette.dim)
        return [(" " * (gap - 1), palette.plain), mark, *small.line(y, palette)]

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
        focus = picture.focus if index < 0 else replace(picture.focus, position=index)
        if (drawn := self._folded) is not None:
            return self._hit_folded(drawn, focus, index, x)
        label, wide = self._columns
        if x >= label:
            count = len(picture.tokens.tokens) if picture.tokens else 0
            focus = replace(focus, key=max(0, min((x - label + left) // wide, count - 1)))
        return focus

    def _hit_folded(self, drawn: _Fold, focus: Focus, index: int, x: int) -> Focus | None:
        """A key, or the strongest cell of what a dot of the small picture stands for."""
        table, room, small, ranked = drawn
        if index < 0:
            return None
        if small is not None and (at := x - (self._room().width - small.width)) >= 0:
            found = small.strongest(table.table, index - self.first_in_sight, at)
            return None if found is None else replace(focus, position=found[0], key=found[1])
        column = (x - room.label) // room.wide
        if not 0 <= index < len(table.table):
            return None
        here, key = (-1, -1) if self.picture is None else self._at(self.picture, table)
        keys = table.keys(index, room.keys, ranked, key if index == here else None)
        return replace(focus, key=keys[column]) if 0 <= column < len(keys) else replace(focus, key=-1)

    def move(self, dx: int, dy: int) -> None:
        if self.picture is None or isinstance(found := self._table(self.picture), str) or not found[0].table.size:
            return
        here, key = self._at(self.picture, found[0])
        queries, keys = found[0].table.shape
        there = max(0, min(here + dy, queries - 1))
        if not dx and self.picture.focus.key < 0:
            self.look(position=there)  # and at what that one looks at most
            return
        if (drawn := self._folded) is None:
            key = max(0, min(key + dx, keys - 1))
        elif dy:
            key = drawn.table.below(here, there, drawn.room.keys, drawn.ranked, key)
        else:
            key = drawn.table.moved(here, drawn.room.keys, drawn.ranked, key, dx)
        self.look(key=key, **({"position": there} if dy else {}))

    def end(self) -> None:
        self.look(position=-1)

    def _zoom(self, desk: Desk, steps: int) -> None:
        """Wider columns (1) or narrower ones (-1)."""
        if self.picture is None:
            return
        wide = self._columns[1]
        nearest = min(range(len(WIDTHS)), key=lambda i: abs(WIDTHS[i] - wide))
        chosen = WIDTHS[max(0, min(nearest + steps, len(WIDTHS) - 1))]
        desk.put(replace(self.picture.question(Attention), fold="", wide=chosen))

    def do_cut(self, desk: Desk) -> None:
        found = None if self.picture is None else self._table(self.picture)
        if self.picture is None or not isinstance(found, tuple) or not found[0].table.size:
            raise CannotError("There is no attention to cut yet: the head's table is not here.")
        query, key = self._at(self.picture, found[0])
        layer, head = self.picture.head()
        self.look(key=key)  # also when the query looks at another key most from now on
        desk.change(changes.cut_edge(desk.session, layer, head, query, key))

    def _who(self, desk: Desk, part: Literal["q", "k"]) -> None:
        """Go to the paths into the head's query or key at the cell, and start them."""
        found = None if self.picture is None else self._table(self.picture)
        if self.picture is None or not isinstance(found, tuple) or not found[0].table.size:
            raise CannotError("There is no cell yet: the head's table is not here.")
        query, key = self._at(self.picture, found[0])
        layer, head = self.picture.head()
        question = replace(self.picture.question(Path), part=part, layer=layer, head=head, sender=None)
        desk.put(question.of_cell(query, key))
        desk.go("path")
        desk.start("path")

    def do_who_query(self, desk: Desk) -> None:
        self._who(desk, "q")

    def do_who_key(self, desk: Desk) -> None:
        self._who(desk, "k")

    def do_fold(self, desk: Desk) -> None:
        question = desk.picture.question(Attention)
        shown = question.fold or ("whole" if self._folded is None else "ranked")
        desk.put(replace(question, fold=after(shown, FOLDS)))

    def do_zoom_in(self, desk: Desk) -> None:
        self._zoom(desk, 1)

    def do_zoom_out(self, desk: Desk) -> None:
        self._zoom(desk, -1)

    def _line(self) -> list[float]:
        """The focused query's row; empty where there is none."""
        if self.picture is None or isinstance(found := self._table(self.picture), str):
            return []
        folded = found[0]
        return [float(value) for value in folded.table[self._at(self.picture, folded)[0]]] if folded.table.size else []

    def value(self) -> str:
        values = self._line()
        if not values or self.picture is None or isinstance(found := self._table(self.picture), str):
            return ""
        return f"{values[self._at(self.picture, found[0])[1]]:.6g}"

    def row(self) -> str:
        return "\t".join(f"{value:.6g}" for value in self._line())


PANE = AttentionPane
