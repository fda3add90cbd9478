"""The ledger: every write to the residual stream at the selected token as a signed line, and what they add up to."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from msgspec import structs

from mechtui.link.messages import Answered
from mechtui.none import NONE
from mechtui.paint import marks
from mechtui.paint.numbers import fixed
from mechtui.paint.tokens import cut, fitting, visible
from mechtui.panes import of_cases
from mechtui.panes.desk import Desk
from mechtui.panes.grid import Cell, Grid
from mechtui.panes.of_run import NO_DIFFERENCE
from mechtui.panes.pane import Focus, Page, Pane, Picture, line
from mechtui.panes.rows import Column, Numbers, Rows, Texts, read_cursor, write_cursor
from mechtui.session import changes
from mechtui.session.changes import CannotError
from mechtui.session.document import Site, Span
from mechtui.session.grammar.places import format_site
from mechtui.session.sweeps import of_now
from mechtui.views import Question
from mechtui.views.attention import Attention
from mechtui.views.attribution import (
    ABLATIONS,
    BY_MEASURED,
    MEASURED_ALONE,
    SPEC,
    Ablation,
    Attribution,
    AttributionAnswer,
    Components,
    Neurons,
    Repair,
    Sources,
)
from mechtui.views.over import NONE as NO_CASES
from mechtui.views.over import Over
from mechtui.views.question import Run, after
from mechtui.views.sweep import ZERO_HEADS, disagreeing

# What the lines are called, and what else is known of each.
CALLED = {
    Components: ("write", ""),
    Sources: ("token", "attention"),
    Neurons: ("neuron", "activation"),
    Repair: ("write", ""),
}
# How a part is ablated: what is said of it, and what stands above narrow columns.
DONE: dict[Ablation, tuple[str, str]] = {"zero": ("zeroed", "zero"), "mean": ("at mean", "mean")}
# From so many rows on there is room for a sentence; of less than so many logits no share is told.
EXPLAINED, LEAST_SHARE = 10, 0.01
# Cells beside the names: their marks, and a number with the least bar. Names are cut to no less than the other.
BESIDE_NAMES, LEAST_NAME = 18, 6


class Write(NamedTuple):
    """One line: its name, what it stands for, what it adds to the logits, and the number beside it."""

    name: str
    site: Site | None
    value: float
    beside: float = NONE


@dataclass(frozen=True, eq=False)
class Measured:
    """What ablating each line's part does to the logit difference [line], NaN of other lines and where it is not
    measured (yet), as in `mechtui.views.attribution.Ablated`. op, here: how it is ablated. norm: None where nobody
    measured it. parts: how many there are to measure."""

    op: Ablation
    here: bool
    measured: np.ndarray
    direct: np.ndarray
    norm: np.ndarray | None
    parts: int

    @property
    def others(self) -> np.ndarray:
        """What the rest of the model does about it."""
        found: np.ndarray = self.measured - self.direct
        return found

    @property
    def done(self) -> str:
        """How a part is ablated, and how many are measured where more are to come."""
        count = int(np.isfinite(self.measured).sum())
        words = [DONE[self.op][0]] + ["here"] * self.here + [f"{count} of {self.parts}"] * (count < self.parts)
        return " ".join(words)

    def said(self, row: int, name: str) -> tuple[str, ...]:
        """What is measured of a line, from the longest to the shortest."""
        direct, measured, others = (float(each[row]) for each in (self.direct, self.measured, self.others))
        norm = NONE if self.norm is None else float(self.norm[row])
        return made_up(f"{name} {DONE[self.op][0]}", direct, measured, others, norm)


def made_up(what: str, direct: float, measured: float, others: float, norm: float) -> tuple[str, ...]:
    """Sentences on self-repair, from the longest to the shortest; none where nothing is measured."""
    if math.isnan(measured):
        return ()
    numbers = [fixed(each, sign=True).strip() for each in (measured, direct, others, norm)]
    of_norm = "" if math.isnan(norm) else f" (final norm {numbers[3]})"
    share = ""
    if abs(direct) >= LEAST_SHARE:
        part = -others / direct
        share = f", {part:.0%} made up" if part >= 0 else f", adding {-part:.0%}"
    return (
        f"{what}: measured {numbers[0]} = direct {numbers[1]}, others {numbers[2]}{of_norm}{share}",
        f"{what} {numbers[0]} = direct {numbers[1]}, others {numbers[2]}{of_norm.replace('final ', '')}{share}",
        f"{what} {numbers[0]} = {numbers[1]}, others {numbers[2]}{share}",
        f"{what} {numbers[0]}{share}",
    )


@dataclass(frozen=True, eq=False)
class Shown:
    """An answer as lines. site: what was opened; None for the whole ledger. run: which run is shown, empty where there
    is one only. values: numbers of the lines, total: their sum, by the name of the run, the shown one first. measured:
    what ablating the lines' parts does, as the line asks for it, or as the session's sweep found it of its heads; None
    where neither is of the session as it is."""

    site: Site | None
    run: Run | None
    clean: AttributionAnswer
    edited: AttributionAnswer | None
    writes: tuple[Write, ...]
    values: dict[str, np.ndarray]
    beside: np.ndarray
    total: dict[str, float]
    measured: Measured | None = None
    over: tuple[np.ndarray, Over] | None = None

    def place(self, name: str) -> int | None:
        """The line of that name."""
        return next((i for i, write in enumerate(self.writes) if write.name == name), None)

    @property
    def by(self) -> str:
        """The name of the run that is shown."""
        return next(iter(self.values))

    @property
    def strongest(self) -> list[int]:
        """Numbers of the lines, the largest first: by their differences where these are shown, else by the larger of
        both runs, so that a line that an edit silences stays where it was."""
        names = ["difference"] if self.run == "difference" else [name for name in self.values if name != "difference"]
        size = np.abs([self.values[name] for name in names]).max(axis=0)
        return [int(row) for row in np.argsort(-size, kind="stable")]

    @property
    def explained(self) -> str:
        """`·Mary − ·John`, or `·Mary` alone."""
        foil = self.clean.foil
        return visible(self.clean.answer) + ("" if foil is None else f" − {visible(foil)}")

    @property
    def heads(self) -> int:
        """Heads of a layer, in the whole ledger."""
        parts = self.clean.parts
        return parts.heads.shape[1] if isinstance(parts, Components) else 0

    def of_run(self, number: Callable[[AttributionAnswer], np.ndarray]) -> np.ndarray:
        """What the run that is shown says."""
        if self.edited is None or self.run == "clean":
            return number(self.clean)
        return number(self.edited) - (number(self.clean) if self.run == "difference" else 0)


class AttributionPane(Pane):
    VIEW = SPEC

    def __init__(self, *, name: str | None = None, id: str | None = None, classes: str | None = None) -> None:
        super().__init__(name=name, id=id, classes=classes)
        # By what was opened: the name of the line that the cursor is on.
        self._on: dict[Site | None, str] = {}
        self._head = (0, 0)
        self._left = ""  # the line that the cursor was on when it was left, until there is a ledger again
        self._shown: Shown | None = None
        self._rows: Rows | None = None
        self._grid: Grid | None = None
        # The column that the cursor is on; None: the one that is shown first.
        self._column: int | None = None

    def cursor(self) -> str:
        """Of the whole ledger the line where that is no head's, which the screen looks at, and the column."""
        on = self._left or self._on.get(None, "")
        return write_cursor("" if on == "L{}H{}".format(*self._head) else on, self._column)

    def put_cursor(self, cursor: str) -> None:
        self._left, self._column = read_cursor(cursor)

    def questions(self, picture: Picture) -> tuple[Question, ...]:
        """The lines at once, and what is measured once all else is there."""
        if _lacking(picture):
            return ()
        asked = picture.question(Attribution).asked()
        return (asked.unmeasured(), asked) if asked.many_runs and asked.measured else (asked,)

    # Painting

    def draw(self, picture: Picture, width: int, height: int) -> Page:
        self._shown = self._rows = self._grid = None
        found = _shown(picture)
        if isinstance(found, str):
            return self.blank(found or self.WAITING, width)
        self._shown = found
        if self._column is not None and self._column >= len(_columns(found, width)):
            self._column = None
        if picture.head() != self._head:
            # The screen looks at another head: so does the ledger.
            self._head = picture.head()
            self._on[None] = "L{}H{}".format(*self._head)
        if self._left:
            self._on[None], self._left = self._left, ""
        maps = found.site is None and picture.question(Attribution).order == "map"
        page = (self._map if maps else self._list)(picture, found, width, height)
        opened = "" if found.site is None else f"{format_site(found.site)} "
        done = ""
        if isinstance(parts := found.clean.parts, Repair):
            opened += f"{DONE[parts.op][0]} {'here ' * parts.here}"
        elif found.measured is not None and picture.question(Attribution).measured:
            done = f" · {found.measured.done}"
        if found.clean.over is not None:
            done = of_cases.named(found.clean.over)
        where, auto = f"@{found.clean.position}", " (auto)" if found.clean.auto else ""
        title = self.titled(
            picture,
            width,
            f"{opened}{found.explained}{auto} {where} {found.run or ''}".rstrip() + done,
            f"{opened}{found.explained} {where}{done}",
            f"{opened}{found.explained}{done}",
            *([f"{opened}{where}{done}", found.measured.done] if done and found.measured is not None else []),
            f"{opened}{found.explained}",
            f"{opened}{where}",
        )
        return replace(page, title=title)

    def _list(self, picture: Picture, found: Shown, width: int, height: int) -> Page:
        last = len(found.writes)
        shown, by = self._ordered(picture, found)
        here = found.place(self._on.get(found.site, ""))
        here = shown[0] if here is None else here
        touched = _touched(picture)
        said = fitting(width, *sentences) if height >= EXPLAINED and (sentences := self._said(found, here)) else ""
        room = height - bool(said)
        edited = frozenset(
            i for i, write in enumerate(found.writes) if write.site != found.site and touched(write.site)
        )

        out: tuple[int, ...] = ()
        # What is out of sight stands in a line of its own, so that the numbers in sight add up to the last one. That
        # line takes room itself, and so do its numbers where they are wider than the others.
        for _ in range(4):
            below = (last, last + 1) if out else (last + 1,) if room > 2 else ()
            doubted = _doubted(found)
            self._rows = Rows(_columns(found, width, out), shown, by, chosen=doubted, edited=edited, below=below)
            page = self._rows.page(self.palette, width, room, here, self._column)
            seen = room - page.head_rows - len(page.foot)
            top = max(0, min(self.scroll_offset.y, len(shown) - seen))
            hidden = (*shown[:top], *shown[top + seen :]) if room > 4 else ()
            if len(hidden) == len(out):
                break
            out = hidden
        foot = [*page.foot, line((cut(said, width), self.palette.dim))] if said else page.foot
        return replace(page, foot=foot, legend=(("logits", self.palette.dim),))

    def _ordered(self, picture: Picture, found: Shown) -> tuple[tuple[int, ...], str]:
        """The lines in their order, and the name of the column that sorts them, if one alone does."""
        order, measured = picture.question(Attribution).order, found.measured
        if order == "unsorted":
            return tuple(range(len(found.writes))), ""
        if measured is not None and order in BY_MEASURED:
            effect = order == "effect"
            sizes = -np.abs(measured.measured if effect else measured.others)
            return tuple(int(row) for row in np.argsort(sizes, kind="stable")), (
                DONE[measured.op][0] if effect else "others"
            )
        return tuple(found.strongest), found.by if found.run in (None, "difference") else ""

    @staticmethod
    def _said(found: Shown, row: int) -> tuple[str, ...]:
        """What is measured of a line; of a part that is opened, what is measured of it."""
        if found.over is not None:
            name = found.writes[row].name
            at = (found.clean.writes().index(name),)
            means, over = found.over
            return tuple(f"{name} {of_cases.said_of(over, means, at, room)}" for room in (80, 48, 30, 14))
        if found.measured is not None:
            return found.measured.said(row, found.writes[row].name)
        if found.site is None or not isinstance(found.clean.parts, Repair):
            return ()

        def number(answer: AttributionAnswer) -> np.ndarray:
            parts = answer.parts
            assert isinstance(parts, Repair)
            return np.array([parts.direct, answer.total, answer.total - parts.direct, parts.norm])

        what = f"{format_site(found.site)} {DONE[found.clean.parts.op][0]}"
        return made_up(what, *(float(each) for each in found.of_run(number)))

    def watch_scroll_y(self, old_value: float, new_value: float) -> None:
        super().watch_scroll_y(old_value, new_value)
        if self._rows is not None:
            self.renew()

    def _map(self, picture: Picture, found: Shown, width: int, height: int) -> Page:
        table, heads = found.of_run(_table), found.heads
        most = float(np.nanmax(np.abs(table), initial=0.0))
        at = found.place(self._on.get(None, ""))
        here = (None if at is None else _cell(found.writes[at].site, heads)) or picture.head()
        touched = _touched(picture)
        edited = frozenset(cell for cell in _cells(table) if touched(_site(cell, heads)))
        self._grid = grid = Grid(
            table,
            tuple(map(str, range(len(table)))),
            (*map(str, range(heads)), "mlp")[: table.shape[1]],
            width,
            -most,
            most,
            signs=True,
            cursor=here,
            edited=edited,
        )
        legend = grid.legend(self.palette, f"{format_site(_site(here, heads))} {grid.number()}", "logits")
        total = f"total {fixed(found.total[found.by], sign=True)}"
        rest = [i for i, write in enumerate(found.writes) if _cell(write.site, heads) is None]
        values = found.values[found.by]
        each = " ".join(f"{found.writes[i].name} {fixed(float(values[i]), sign=True).strip()}" for i in rest)
        others = f"others {fixed(float(values[rest].sum()), sign=True).strip()}"
        said = fitting(width, f"{each} {total}", f"{others} {total}", total)
        foot = [line((cut(said, width), self.palette.bold)), *legend.foot]
        if at is not None and height >= EXPLAINED and (sentences := self._said(found, at)):
            foot.append(line((cut(fitting(width, *sentences), width), self.palette.dim)))
        return grid.page(self.palette, height, legend=legend.border, foot=foot)

    # The cursor

    def _write(self) -> Write | None:
        """The line that the cursor is on."""
        found = self._shown
        if found is None:
            return None
        if self._grid is not None and self._grid.cursor is not None:
            at = found.place(format_site(_site(self._grid.cursor, found.heads)))
            return None if at is None else found.writes[at]
        at = found.place(self._on.get(found.site, ""))
        if at is None:
            at = self._rows.order[0] if self._rows is not None and self._rows.order else 0
        return found.writes[at]

    def _put(self, name: str) -> None:
        """Move the cursor to the line of this name; the screen looks at its head."""
        found = self._shown
        at = None if found is None else found.place(name)
        if found is None or at is None:
            return
        self._on[found.site] = name
        site = found.writes[at].site
        if found.site is None and site is not None and site.kind == "head":
            self._head = site.layers.first, site.index.first
            self.look(layer=site.layers.first, head=site.index.first)
        self.renew()

    def move(self, dx: int, dy: int) -> None:
        """Over the map's cells, or over the lines and their columns."""
        found = self._shown
        if found is None:
            return
        if self._grid is not None:
            cell = self._grid.moved(dx, dy)
            if cell is not None:
                self._put(format_site(_site(cell, found.heads)))
            return
        here = self._write()
        if dy and here is not None and self._rows is not None:
            at = found.place(here.name)
            self._put(found.writes[self._rows.moved(at or 0, dy)].name)
        if dx and self._rows is not None:
            self._column = self._rows.beside(self._column, dx)
            self.renew()

    def hit(self, picture: Picture, index: int, x: int, left: int) -> Focus | None:
        found = self._shown
        if found is not None and self._grid is not None:
            cell = self._grid.hit(index, x, left)
            if cell is not None and min(cell) >= 0:
                self._put(format_site(_site(cell, found.heads)))
        elif found is not None and self._rows is not None and 0 <= index < len(self._rows.order):
            self._put(found.writes[self._rows.order[index]].name)
        return None

    def search(self, text: str, forward: bool = True) -> bool:
        """The next line whose name holds the text, else what every pane finds."""
        found, here = self._shown, self._write()
        if found is not None and here is not None and self._rows is not None and text:
            names = [found.writes[row].name for row in self._rows.order]
            at = names.index(here.name)
            for distance in range(1, len(names) + 1):
                name = names[(at + (distance if forward else -distance)) % len(names)]
                if text.lower() in name.lower():
                    self._put(name)
                    return True
        return super().search(text, forward)

    def value(self) -> str:
        if self._grid is not None:
            return self._grid.value()
        at = self._at()
        return "" if at is None or self._rows is None else self._rows.value(at, self._column)

    def row(self) -> str:
        if self._grid is not None:
            return self._grid.row_values()
        at = self._at()
        return "" if at is None or self._rows is None else self._rows.row_text(at)

    def _at(self) -> int | None:
        """Number of the line that the cursor is on."""
        here = self._write()
        return None if here is None or self._shown is None else self._shown.place(here.name)

    # Where it leads, and what is done to it

    def into(self, picture: Picture) -> Question | None:
        """A head opens to the tokens that it read, an MLP to its neurons, a token to the head's attention; where
        parts are ablated, one opens to who made up for it, and of these a head to its attention, an MLP to its
        neurons."""
        found, here = self._shown, self._write()
        if found is None or here is None or here.site is None:
            return None
        question = picture.question(Attribution)
        if found.site is None:
            self._put(here.name)
            opens = here.site.kind == "head" or here.site.part == "mlp"
            return question.into(here.site) if opens else None
        if isinstance(found.clean.parts, Repair):
            if here.site.kind != "head":
                return question.unmeasured().into(here.site)
            layer, head = here.site.layers.first, here.site.index.first
            self.look(layer=layer, head=head)
            return structs.replace(picture.question(Attention), layer=layer, head=head)
        if found.site.kind != "head" or (key := self._key()) is None:
            return None
        layer, head = found.site.layers.first, found.site.index.first
        self.look(layer=layer, head=head, key=key)
        return structs.replace(picture.question(Attention), layer=layer, head=head)

    def sites(self, picture: Picture) -> tuple[Site, ...]:
        """The head, the MLP or the neuron of the line."""
        here = self._write()
        return () if here is None or here.site is None else (here.site,)

    def _key(self) -> int | None:
        """The source token that the cursor is on."""
        found, here = self._shown, self._write()
        if found is None or here is None or not isinstance(found.clean.parts, Sources):
            return None
        at = found.place(here.name)
        return at if at is not None and at < len(found.clean.parts.tokens) else None

    def do_alone(self, desk: Desk) -> None:
        if self.picture is not None:
            question = self.picture.question(Attribution)
            desk.put(structs.replace(question, answer=not question.answer))

    def do_measure(self, desk: Desk) -> None:
        if self.picture is not None:
            question = self._of_prompt(self.picture)
            how = after(question.measured, ABLATIONS)
            desk.put(structs.replace(question, measured=how, here=question.here and bool(how)))

    @staticmethod
    def _of_prompt(picture: Picture) -> Attribution:
        """The line. Raises CannotError for one over the cases."""
        question = picture.question(Attribution)
        if question.over:
            raise CannotError(f"{MEASURED_ALONE[0].upper()}{MEASURED_ALONE[1:]}.")
        return question

    def do_measure_here(self, desk: Desk) -> None:
        if self.picture is not None:
            question = self._of_prompt(self.picture)
            desk.put(structs.replace(question, measured=question.measured or "zero", here=not question.here))

    def do_cut_source(self, desk: Desk) -> None:
        found, key = self._shown, self._key()
        if found is None or found.site is None or key is None:
            raise CannotError("x cuts what a head reads: enter opens a head, and then x cuts the line's token.")
        layer, head = found.site.layers.first, found.site.index.first
        desk.change(changes.cut_edge(desk.session, layer, head, found.clean.position, key))


PANE = AttributionPane


# Answers as lines


def _lacking(picture: Picture) -> str:
    """Why there is nothing to explain; empty where the session names what is asked for, or nothing at all."""
    session = picture.session
    if picture.question(Attribution).over:
        return "" if session.cases else NO_CASES
    if refused := picture.refused_target():
        return f"there is nothing to explain: {refused}"
    if not session.answer and session.foil:
        return "there is a foil and no answer to explain: a names one"
    if session.answer and not session.foil and not picture.question(Attribution).answer:
        return "there is no foil to tell the answer from: a names one, A explains the answer's logit alone"
    return ""


def _shown(picture: Picture) -> Shown | str:
    """The lines of the answer; or why there are none, empty while it is awaited."""
    if lacking := _lacking(picture):
        return lacking
    answered = next(_lines(picture), None)
    if answered is None or not isinstance(answered.clean, AttributionAnswer):
        return ""
    assert isinstance(answered.question, Attribution)
    run, site = picture.question(Attribution).run, answered.question.site
    clean = answered.clean
    edited = answered.edited if isinstance(answered.edited, AttributionAnswer) else None
    if edited is None and run == "difference":
        return NO_DIFFERENCE
    over = _over(clean, edited, run)
    if isinstance(over, str):
        return over
    answers = {"clean": clean} | ({"edited": edited} if edited is not None else {})
    lines = {name: tuple(_writes(picture, site, answer)) for name, answer in answers.items()}
    values = {name: np.array([write.value for write in each]) for name, each in lines.items()}
    total = {name: answer.total for name, answer in answers.items()}
    beside = {name: np.array([write.beside for write in each]) for name, each in lines.items()}
    shows_clean = run == "clean" or edited is None
    measured = _asked(picture, run, lines["clean"], clean, edited)
    if not picture.question(Attribution).measured and (edited is None or run != "difference"):
        measured = _swept(picture, shows_clean, lines["clean"], values["clean" if shows_clean else "edited"], clean)
    if edited is None:
        values, total = {"logits": values["clean"]}, {"logits": clean.total}
        return Shown(site, None, clean, None, lines["clean"], values, beside["clean"], total, measured, over)
    for each in (values, beside):
        each["difference"] = each["edited"] - each["clean"]
    total["difference"] = total["edited"] - total["clean"]
    order = (run, *(name for name in values if name != run))
    return Shown(
        site,
        run,
        clean,
        edited,
        lines["clean"],
        {name: values[name] for name in order},
        beside[run],
        {name: total[name] for name in order},
        measured,
        over,
    )


def _over(clean: AttributionAnswer, edited: AttributionAnswer | None, run: Run) -> tuple[np.ndarray, Over] | str | None:
    """The means that are shown and what the cases say of them; None of one prompt; else why there are none yet."""
    shown = clean if run == "clean" or edited is None else edited
    if shown.over is None:
        return None
    if not clean.over or not clean.over.n.any() or not shown.over.n.any():
        return ""
    if edited is None or run != "difference":
        return shown.means, shown.over
    return shown.over.changed(clean.over) or "the difference is taken case by case, once all cases are there"


def _lines(picture: Picture) -> Iterator[Answered]:
    """The answers that the lines may come from; those first that nothing is measured in."""
    found = [each for each in picture.answered if isinstance(each.question, Attribution)]
    yield from sorted(found, key=lambda each: isinstance(each.question, Attribution) and each.question.many_runs)


def _asked(
    picture: Picture,
    run: Run,
    lines: tuple[Write, ...],
    clean: AttributionAnswer,
    edited: AttributionAnswer | None,
) -> Measured | None:
    """What was measured as the line asks for it, blank where that is still to come or of other lines than these; None
    where it asks for nothing."""
    wanted = picture.question(Attribution)
    if not wanted.measured or not wanted.many_runs or not isinstance(clean.parts, Components):
        return None
    cells = [_cell(write.site, clean.parts.heads.shape[1]) for write in lines]
    found = None
    for each in picture.answered:
        asked, both = each.question, (each.clean, each.edited)
        if not isinstance(asked, Attribution) or (asked.measured, asked.here) != (wanted.measured, wanted.here):
            continue
        answers = [one for one in both if isinstance(one, AttributionAnswer) and one.ablated is not None]
        shown = [one for one in (clean, edited) if one is not None]
        if len(answers) != len(shown) or not all(map(_same, answers, shown)):
            continue
        tables = [np.stack([a.direct, a.measured, a.norm]) for one in answers if (a := one.ablated) is not None]
        found = tables[0] if run == "clean" or edited is None else tables[-1]
        if run == "difference" and edited is not None:
            found = tables[1] - tables[0]
    nothing = np.full(3, NONE)
    numbers = [nothing if cell is None or found is None else found[:, *cell] for cell in cells]
    direct, measured, norm = np.array(numbers).T
    return Measured(wanted.measured, wanted.here, measured, direct, norm, sum(cell is not None for cell in cells))


def _same(one: AttributionAnswer, other: AttributionAnswer) -> bool:
    """Whether both are of one run at one position."""
    mine, its = one.parts, other.parts
    if not isinstance(mine, Components) or not isinstance(its, Components) or one.position != other.position:
        return False
    close = mine.heads.shape == its.heads.shape and np.allclose(mine.heads, its.heads, rtol=0, atol=one.rounding)
    return close and (one.answer, one.foil) == (other.answer, other.foil)


def _swept(
    picture: Picture,
    shows_clean: bool,
    lines: tuple[Write, ...],
    values: np.ndarray,
    answer: AttributionAnswer,
) -> Measured | None:
    """What zeroing each line's head changes, as the sweep over all heads found that is of the session as it is. It is
    measured after the last token, of answer minus foil."""
    made = of_now(picture.sweeps, picture.session, ZERO_HEADS, shows_clean)
    last = picture.tokens is not None and answer.position == len(picture.tokens.tokens) - 1
    if made is None or not last or answer.foil is None or not isinstance(answer.parts, Components):
        return None
    known = {
        f"{row}{column}": value
        for row, values in zip(made.rows, made.values, strict=True)
        for column, value in zip(made.columns, values, strict=True)
        if value is not None
    }
    return Measured(
        "zero", False, np.array([known.get(write.name, NONE) for write in lines]), -values, None, len(known)
    )


def _doubted(found: Shown) -> frozenset[int]:
    """Lines whose measured effect is not what the line says: of the other sign, or off by more than half. Of a part
    that is opened, the part itself."""
    if isinstance(found.clean.parts, Repair):
        own = None if found.site is None else found.place(format_site(found.site))
        return frozenset() if own is None else frozenset([own])
    if found.measured is None or found.run == "difference":
        return frozenset()
    return frozenset(int(row) for row in np.flatnonzero(disagreeing(found.measured.measured, found.measured.direct)))


def _writes(picture: Picture, site: Site | None, answer: AttributionAnswer) -> Iterator[Write]:
    """The lines of one answer, in the model's order. An edit may add to any of them: its own line is there in every
    answer of an edited session, so that both runs have the same lines."""
    match answer.parts:
        case Components() as parts:
            yield Write("embed", Site("embed"), parts.embed)
            if picture.ready is None or picture.ready.shape.has_pos:
                yield Write("pos", Site("pos"), parts.pos)
            table = _table(answer)
            for cell in _cells(table):
                each = _site(cell, parts.heads.shape[1])
                yield Write(format_site(each), each, float(table[cell]))
        case Repair() as parts:
            heads = parts.heads.shape[1]
            table = _with_mlps(parts.heads, parts.mlps)
            for cell in _cells(table):
                each = _site(cell, heads)
                yield Write(format_site(each), each, float(table[cell]))
            yield Write("final norm", None, parts.norm)
        case Sources() as parts:
            wide = len(str(len(parts.tokens) - 1))
            for i, (value, weight) in enumerate(zip(parts.tokens, parts.attention, strict=True)):
                yield Write(f"{i:>{wide}} {picture.token(i)}", site, float(value), float(weight))
        case Neurons() as parts:
            layer = site.layers if site is not None else Span(0, 0)
            for number, value, active in sorted(zip(parts.neurons, parts.values, parts.activations, strict=True)):
                neuron = Site("neuron", layer, Span(number, number))
                yield Write(format_site(neuron), neuron, float(value), float(active))
            yield Write("others", None, parts.rest)
    yield Write("bias", None, answer.parts.bias)
    if picture.applied():
        yield Write("edits", None, answer.parts.edits)


def _columns(found: Shown, width: int, out: tuple[int, ...] = ()) -> tuple[Column, ...]:
    """Names, with room beside them for numbers, and numbers: of the lines, of those out of sight, of all."""
    names = (*(write.name for write in found.writes), f"{len(out)} more", "total")
    called, beside = CALLED[type(found.clean.parts)]
    columns: list[Column] = [Texts(called, names, most=max(width - BESIDE_NAMES, LEAST_NAME))]
    for name, values in found.values.items():
        every = np.array([*values, values[list(out)].sum(), found.total[name]])
        head = "Δ" if name == "difference" else ""
        shown = name == found.by
        most = float(np.abs(values).max(initial=0.0))
        columns.append(Numbers(name, every, head, "logits", signs=True, look="bar" if shown else "plain", high=most))
    if beside:
        numbers = np.array([*found.beside, NONE, NONE])
        columns.insert(2, Numbers(beside, numbers, beside[:3], signs=found.run == "difference"))
    if (own := found.measured) is not None:
        # What goes of a line that is zeroed is the line itself.
        more = [("direct", "dir.", own.direct)] if own.op != "zero" else []
        more += [(*DONE[own.op], own.measured), ("others", "oth.", own.others)]
        more += [] if own.norm is None else [("norm", "norm", own.norm)]
        for name, head, numbers in more:
            columns.append(Numbers(name, np.array([*numbers, NONE, NONE]), head, "logits", signs=True))
    return tuple(columns)


def _table(answer: AttributionAnswer) -> np.ndarray:
    """[layer, head], and behind the heads the MLP where there is one."""
    parts = answer.parts
    assert isinstance(parts, Components)
    return _with_mlps(parts.heads, parts.mlps)


def _with_mlps(heads: np.ndarray, mlps: np.ndarray) -> np.ndarray:
    """[layer, head], and behind the heads the MLP where there is one."""
    return heads if np.isnan(mlps).all() else np.column_stack([heads, mlps])


def _cells(table: np.ndarray) -> Iterator[Cell]:
    layers, columns = table.shape
    return ((layer, column) for layer in range(layers) for column in range(columns))


def _cell(site: Site | None, heads: int) -> Cell | None:
    """The cell of a head or an MLP in such a table."""
    if site is None or site.kind not in ("head", "layer"):
        return None
    return site.layers.first, site.index.first if site.kind == "head" else heads


def _site(cell: Cell, heads: int) -> Site:
    layer, head = cell
    if head == heads:
        return Site("layer", Span(layer, layer), part="mlp")
    return changes.head_site(layer, head)


def _touched(picture: Picture) -> Callable[[Site | None], bool]:
    """Whether an edit that is on acts on what a line stands for."""
    if picture.ready is None:
        return lambda site: False
    shape, edits = picture.ready.shape, picture.applied()
    heads = marks.heads(edits, shape)

    def acts(edit: Site, site: Site) -> bool:
        if site.kind in ("embed", "pos"):
            return edit.kind == site.kind
        if site.layers.first not in edit.layers.within(shape.n_layers):
            return False
        if site.kind == "neuron":
            return edit.kind == "neuron" and site.index.first in edit.index.within(shape.d_mlp)
        return edit.kind == "neuron" or edit.part == "mlp"

    def touched(site: Site | None) -> bool:
        if site is None:
            return False
        if site.kind == "head":
            return (site.layers.first, site.index.first) in heads
        return any(acts(edit.site, site) for edit in edits)

    return touched
