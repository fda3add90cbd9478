"""What the model would say after each layer, at each token; below, how answer and foil come up at the selected one."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from msgspec.structs import replace

from mechtui.paint import marks
from mechtui.paint.numbers import amount, share, tick
from mechtui.paint.tokens import visible
from mechtui.panes.curve import Axis, Series, curve
from mechtui.panes.desk import Desk
from mechtui.panes.grid import Grid
from mechtui.panes.of_run import NO_DIFFERENCE
from mechtui.panes.pane import Focus, Line, Page, Pane, Picture
from mechtui.session.changes import CannotError
from mechtui.session.document import Site
from mechtui.session.grammar.places import parse_site
from mechtui.views import Question
from mechtui.views.attribution import Attribution
from mechtui.views.lens import SPEC, Lens, LensAnswer, Shows
from mechtui.visible import seen

# What is shown of an answer is blank without one.
OF_ANSWER: tuple[Shows, ...] = ("prob", "logit", "rank")
UNITS: dict[Shows, str] = {"token": "prob", "prob": "prob", "entropy": "nats", "kl": "nats", "logit": "logit"}
# Cells of a column: of tokens, of numbers.
TOKENS, NUMBERS = (6, 16), (6, 14)
# The least height of a pane that has room for a curve, the least and greatest of a curve, and its least width.
CURVED, CURVES, WIDE = 15, (6, 20), 28
# Rows of the table's names and frame.
HEAD = 3
# The row from which on the token that is looked at stays on top.
DECIDES = "▲"

# A line of the curve: its name and a value for each row.
Named = tuple[str, np.ndarray]


class Shown(NamedTuple):
    """values [row, pos]: the colours; low, high: their ends, and as they are written; texts: what the cells say, if
    not these numbers."""

    values: np.ndarray
    low: float
    high: float
    ends: tuple[str, str] | None = None
    texts: Sequence[Sequence[str]] | None = None


class LensPane(Pane):
    VIEW = SPEC

    def __init__(self, *, name: str | None = None, id: str | None = None, classes: str | None = None) -> None:
        super().__init__(name=name, id=id, classes=classes)
        self._grid: Grid | None = None
        self._layer = 0  # of the shared focus, as it was seen last
        self._at = ""  # name of the cursor's row, once it was moved; before that it stands at the row that decides
        self._here = ""  # name of the row under the cursor, as it was painted
        self._found: tuple[tuple[object, ...], Shown] | None = None

    def cursor(self) -> str:
        return self._at

    def put_cursor(self, cursor: str) -> None:
        if re.fullmatch(r"L[0-9]{1,5}\.(mid|post)", cursor, re.ASCII):
            self._go(cursor)

    def _answers(self, picture: Picture) -> tuple[LensAnswer, LensAnswer | None] | None:
        answered = picture.answer(Lens)
        if answered is None or not isinstance(answered.clean, LensAnswer):
            return None
        return answered.clean, answered.edited if isinstance(answered.edited, LensAnswer) else None

    def questions(self, picture: Picture) -> tuple[Question, ...]:
        return () if _lacks_mid(picture) else super().questions(picture)

    def _problem(self, picture: Picture) -> str:
        """Why there is nothing to show; empty where there is something."""
        question, found = picture.question(Lens), self._answers(picture)
        if lacks := _lacks_mid(picture):
            return lacks
        if found is None:
            return self.WAITING
        clean, edited = found
        if not clean.prob.size:
            return "no tokens: type a prompt"
        if question.run == "difference" and edited is None:
            return NO_DIFFERENCE
        if question.shows in OF_ANSWER and clean.answers is None:
            return picture.refused_target() or "no answer is named, only a foil: a names it"
        return ""

    # What is shown

    def _shown(self, picture: Picture, clean: LensAnswer, edited: LensAnswer | None) -> Shown:
        question = picture.question(Lens)
        key = (picture.answer(Lens), question.shows, question.run)
        # The ends of the scale need the whole table: once for an answer, not once for a key press.
        if self._found is None or self._found[0] != key:
            self._found = key, _shown(question, clean, edited)
        return self._found[1]

    def _cursor(self, picture: Picture, answer: LensAnswer) -> tuple[int, int]:
        """(row, position)"""
        position = min(picture.position(), answer.prob.shape[1] - 1)
        layer = picture.head()[0]
        if layer != self._layer:
            # Another pane went to another layer.
            self._layer, self._at = layer, f"L{layer}.post"
        if self._at and self._at not in answer.layers:
            self._at = f"{self._at.partition('.')[0]}.post"
        if self._at in answer.layers:
            return answer.layers.index(self._at), position
        decides = int(answer.decides[position])
        return decides if decides >= 0 else len(answer.layers) - 1, position

    def _answer(self, picture: Picture, clean: LensAnswer, edited: LensAnswer | None) -> LensAnswer:
        """Of the run that is shown; of a difference, the edited one."""
        return clean if edited is None or picture.question(Lens).run == "clean" else edited

    def draw(self, picture: Picture, width: int, height: int) -> Page:
        question, found, problem = picture.question(Lens), self._answers(picture), self._problem(picture)
        if problem or found is None:
            self._grid, self._here = None, ""
            return self.blank(problem, width, question.shows)
        clean, edited = found
        answer = self._answer(picture, clean, edited)
        row, position = self._cursor(picture, answer)
        self._here = answer.layers[row]
        shown = self._shown(picture, clean, edited)
        decides, layers = int(answer.decides[position]), _edited_layers(picture)
        # The last layer is on top.
        names = [_row_name(name, question.mid, at == decides) for at, name in enumerate(answer.layers)][::-1]
        last = len(names) - 1
        count = answer.prob.shape[1]
        least, most = TOKENS if question.shows == "token" else NUMBERS
        self._grid = grid = Grid(
            shown.values[::-1],
            names,
            [str(i) for i in range(count)],
            width,
            shown.low,
            shown.high,
            signs=question.run == "difference",
            cursor=(last - row, position),
            tokens=[picture.token(i) for i in range(count)],
            texts=shown.texts and shown.texts[::-1],
            touched=frozenset(last - at for at, name in enumerate(answer.layers) if _layer(name) in layers),
            touched_columns=marks.edited_positions(picture.applied(), picture.tokens.tokens if picture.tokens else ()),
            least=least,
            most=most,
            digits=2,
        )
        what, short = _what(question, answer, edited is not None)
        token, when = _name(answer, int(answer.deciding[position])), _decided(answer, clean, position)
        brief = when.partition(" (")[0]
        here = f"{self._here} @{position} {_here(question, clean, answer, (row, position))}"
        # Whose words these are stands there however narrow the pane is.
        named = seen(answer.translator).replace(" lens ", " ", 1)  # the pane's own name stands before it
        whole, lens = (f"{name} · " if name else "" for name in (named, named.partition(",")[0]))
        titles = (f"{short}: {token} {when}", f"{short}: {when}", f"{short}: {brief}", brief)
        legend = grid.legend(self.palette, here, UNITS.get(question.shows, ""), ends=shown.ends)
        return grid.page(
            self.palette,
            height,
            title=self.titled(picture, width, f"{whole}{what}: {token} {when}", *(lens + title for title in titles)),
            legend=legend.border,
            foot=[*legend.foot, *self._curve(picture, (clean, edited), (row, position), width, height)],
        )

    def _curve(
        self,
        picture: Picture,
        runs: tuple[LensAnswer, LensAnswer | None],
        cursor: tuple[int, int],
        width: int,
        height: int,
    ) -> list[Line]:
        """The same over the layers for the selected token; nothing where there is no room."""
        question, (clean, edited), (row, position) = picture.question(Lens), runs, cursor
        if height < CURVED or width < WIDE:
            return []
        least, most = CURVES
        rows = max(least, min(most, max(height // 3, height - len(clean.layers) - HEAD)))
        points = [str(_layer(name)) for name in clean.layers]
        points[row] = _row_name(clean.layers[row], question.mid).strip()
        shows = question.shows
        if shows == "token":
            # A probability moves in the last layers only; what rises long before is the logit.
            shows = "prob" if clean.answers is None else "logit"
        axis = Axis(UNITS.get(shows, shows), signs=True)
        if question.run != "difference":
            low, high = (0.0, 1.0) if shows == "prob" else (None, None)
            axis = Axis(UNITS.get(shows, shows), low, high, math.log1p if shows == "rank" else float)
        after = None if edited is None else _lines(edited, shows, position)
        series = self._series(question, _lines(clean, shows, position), after)
        return curve(series, width, rows, self.palette, points=points, of="layer", axis=axis, cursor=row)

    def _series(self, question: Lens, clean: list[Named], edited: list[Named] | None) -> list[Series]:
        styles = (self.palette.good, self.palette.bad)
        if edited is None or question.run == "clean":
            return [Series(name, values, style) for (name, values), style in zip(clean, styles, strict=False)]
        if question.run == "difference":
            both = zip(clean, edited, styles, strict=False)
            return [Series(name, after - before, style) for (_, before), (name, after), style in both]
        now = [Series(name, values, style) for (name, values), style in zip(edited, styles, strict=False)]
        _, before = clean[0]
        return [*now, Series("clean", before, self.palette.dim)]

    # What the app's actions call

    def into(self, picture: Picture) -> Question | None:
        """What was written to the residual stream there."""
        return picture.question(Attribution)

    def sites(self, picture: Picture) -> tuple[Site, ...]:
        """The residual stream of the cursor's row."""
        return (parse_site(self._here),) if self._here else ()

    def hit(self, picture: Picture, index: int, x: int, left: int) -> Focus | None:
        found = self._answers(picture)
        if found is None or self._grid is None or (cell := self._grid.hit(index, x, left)) is None:
            return None
        down, position = cell
        focus = picture.focus if position < 0 else replace(picture.focus, position=position)
        if down >= 0:
            focus = replace(focus, layer=self._go(found[0].layers[len(found[0].layers) - 1 - down]))
            if focus == picture.focus:
                self.renew()  # another row of the same layer
        return focus

    def _go(self, row: str) -> int:
        """Put the cursor into this row; its layer."""
        self._at, self._layer = row, _layer(row)
        return self._layer

    def move(self, dx: int, dy: int) -> None:
        """Up and down the layers, of which the last is on top, left and right the tokens."""
        picture, found = self.picture, self._answers(self.picture) if self.picture else None
        if picture is None or found is None or self._problem(picture):
            return
        row, position = self._cursor(picture, self._answer(picture, *found))
        layers, count = found[0].layers, found[0].prob.shape[1]
        changes = {}
        if dx:
            changes["position"] = max(0, min(position + dx, count - 1))
        if dy:
            changes["layer"] = self._go(layers[max(0, min(row - dy, len(layers) - 1))])
        self.look(**changes)
        self.renew()

    def home(self) -> None:
        self.look(position=0)

    def end(self) -> None:
        self.look(position=-1)

    def do_mid(self, desk: Desk) -> None:
        question = self._question()
        assert isinstance(question, Lens)
        if question.file:
            raise CannotError(
                f"{question.file} translates what leaves a layer: between attention and MLP it has nothing."
            )
        desk.put(replace(question, mid=not question.mid))

    def value(self) -> str:
        values, column = self._values()
        return values[column] if values else ""

    def row(self) -> str:
        return "\t".join(self._values()[0])

    def _values(self) -> tuple[list[str], int]:
        """What the cursor's row says, in full, and the cursor's column; nothing where there is nothing."""
        picture, found = self.picture, self._answers(self.picture) if self.picture else None
        if picture is None or found is None or self._problem(picture):
            return [], 0
        question, answer = picture.question(Lens), self._answer(picture, *found)
        row, position = self._cursor(picture, answer)
        difference = question.run == "difference"
        if question.shows == "token" and not difference:
            text = {token.id: token.text for token in answer.vocabulary}
            return [text[int(id)] for id in answer.top[row]], position
        values = _table(answer, question)[row] - (_table(found[0], question)[row] if difference else 0)
        return [f"{value:.6g}" for value in values], position


PANE = LensPane


def _lacks_mid(picture: Picture) -> str:
    """Why the rows of mid cannot be shown; empty where they can, or are not asked for."""
    if picture.ready is None or picture.ready.shape.has_mid or not picture.question(Lens).mid:
        return ""
    return f"{picture.ready.name} has no residual stream between attention and MLP (L*.mid): r leaves these rows out"


# Numbers


def _table(answer: LensAnswer, question: Lens) -> np.ndarray:
    """[row, pos]: what the colours say of one run. Of tokens their probability; where two runs are compared, and their
    tokens may differ, the answer's."""
    tables = {
        "token": answer.prob if question.run != "difference" or answer.answer_prob is None else answer.answer_prob,
        "prob": answer.answer_prob,
        "logit": answer.answer_logit,
        "rank": answer.answer_rank,
        "entropy": answer.entropy,
        "kl": answer.kl,
    }
    table = tables[question.shows]
    assert table is not None
    return table


def _shown(question: Lens, clean: LensAnswer, edited: LensAnswer | None) -> Shown:
    answer = clean if edited is None or question.run == "clean" else edited
    texts = _texts(answer) if question.shows == "token" else None
    values = _table(answer, question)
    if question.run == "difference":
        values = values - _table(clean, question)
        most = float(np.abs(values).max())
        if question.shows == "rank":
            return Shown(
                values, -most, most, (_rank(-most, sign=True), _rank(most, sign=True)), _ranks(values, sign=True)
            )
        return Shown(values, -most, most, texts=texts)
    both = [_table(each, question) for each in (clean, edited) if each is not None]
    low, high = float(min(table.min() for table in both)), float(max(table.max() for table in both))
    if question.shows in ("token", "prob"):
        return Shown(values, 0.0, 1.0, texts=texts)
    if question.shows == "rank":
        # The first stands out most, and far behind a step more or less is none.
        return Shown(-np.log1p(values), -math.log1p(high), 0.0, (_rank(high), "0"), _ranks(values))
    return Shown(values, low if question.shows == "logit" else 0.0, high)


def _lines(answer: LensAnswer, shows: Shows, position: int) -> list[Named]:
    """What the curve shows of one run at one position."""
    if shows in ("entropy", "kl"):
        return [(shows, getattr(answer, shows)[:, position])]
    lines = []
    for ids, table in (
        (answer.answers, getattr(answer, f"answer_{shows}")),
        (answer.foils, getattr(answer, f"foil_{shows}", None)),
    ):
        if ids is not None and table is not None:
            lines.append((_name(answer, int(ids[position])), table[:, position]))
    return lines or [("top token", answer.prob[:, position])]


# Words


def _rank(rank: float, sign: bool = False) -> str:
    """In five cells at most."""
    text = f"{rank:.0f}" if abs(rank) < 1000 else amount(rank)
    return f"+{text}" if sign and rank > 0 else text


def _ranks(ranks: np.ndarray, sign: bool = False) -> list[list[str]]:
    """As wide as the widest of them, so that they stand below one another."""
    texts = [[_rank(rank, sign) for rank in row] for row in ranks.tolist()]
    most = max(len(text) for row in texts for text in row)
    return [[text.rjust(most) for text in row] for row in texts]


def _texts(answer: LensAnswer) -> list[list[str]]:
    text = {token.id: visible(token) for token in answer.vocabulary}
    return [[text[id] for id in row] for row in answer.top.tolist()]


def _name(answer: LensAnswer, id: int) -> str:
    return next(visible(token) for token in answer.vocabulary if token.id == id)


def _layer(row: str) -> int:
    return int(row[1:].partition(".")[0])


def _row_name(row: str, mid: bool, decides: bool = False) -> str:
    """`29`, or with mid `29m` and `29 `."""
    part = ("m" if row.endswith(".mid") else " ") if mid else ""
    return f"{DECIDES if decides else ''}{_layer(row)}{part}"


def _edited_layers(picture: Picture) -> set[int]:
    if picture.ready is None:
        return set()
    shape, edits = picture.ready.shape, picture.applied()
    return {layer for layer, _ in marks.heads(edits, shape)} | set(marks.layers(edits, shape))


def _what(question: Lens, answer: LensAnswer, two: bool) -> tuple[str, str]:
    """What the cells say, and of which run; and in few words."""
    of = "the best" if answer.auto or answer.answers is None else _name(answer, int(answer.answers[0]))
    p = f"p({of})"
    words = {
        "token": "top token",
        "prob": p,
        "logit": f"logit of {of}",
        "rank": f"rank of {of}",
        "kl": "KL(final ‖ here)",
    }
    what = words.get(question.shows, question.shows)
    if question.run == "difference":
        short = "p" if question.shows == "token" else question.shows
        return f"{what}, {p} edited-clean" if question.shows == "token" else f"{what} edited-clean", f"Δ {short}"
    return (f"{what} {question.run}", f"{question.shows} {question.run}") if two else (what, question.shows)


def _decided(answer: LensAnswer, clean: LensAnswer, position: int) -> str:
    def at(each: LensAnswer) -> str:
        row = int(each.decides[position])
        return each.layers[row].removesuffix(".post") if row >= 0 else ""

    here, before = at(answer), at(clean)
    said = f"decides at {here}" if here else "is not on top"
    return said if here == before else f"{said} (clean: {before or 'never'})"


def _here(question: Lens, clean: LensAnswer, answer: LensAnswer, cell: tuple[int, int]) -> str:
    """What the cursor's cell says."""
    value = float(_table(answer, question)[cell])
    if question.run == "difference":
        gap = value - float(_table(clean, question)[cell])
        change = _rank(gap, sign=True) if question.shows == "rank" else tick(gap, sign=True)
        if question.shows != "token":
            return change
        before, after = (_name(each, int(each.top[cell])) for each in (clean, answer))
        return f"{before if before == after else f'{before} → {after}'} {change}"
    if question.shows == "token":
        return f"{_name(answer, int(answer.top[cell]))} {share(value)}"
    if question.shows == "prob":
        return share(value, 3)
    return _rank(value) if question.shows == "rank" else tick(value)
