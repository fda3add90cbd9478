"""Every head in one row: what it does on random tokens, and what it does at the selected token."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import replace as changed

import numpy as np
from msgspec.structs import replace

from mechtui.none import NONE
from mechtui.paint import marks
from mechtui.paint.numbers import fixed
from mechtui.paint.tokens import visible_text
from mechtui.panes.desk import Desk
from mechtui.panes.pane import Focus, Line, Page, Pane, Picture, line, wrap
from mechtui.panes.rows import Numbers, Rows, Texts, ordered
from mechtui.session.changes import CannotError, head_site
from mechtui.session.document import Site
from mechtui.session.grammar.edits import format_edit
from mechtui.session.sweeps import of_heads, of_now
from mechtui.views import Question
from mechtui.views.attention import Attention
from mechtui.views.attribution import Attribution, AttributionAnswer, Components
from mechtui.views.heads import Heads, HeadsAnswer, Summary
from mechtui.views.path import Path
from mechtui.views.scores import COLUMNS, MEASURING, SPEC, Column, Scores, ScoresAnswer
from mechtui.views.sweep import ZERO_HEADS

# The numbers of the prompt, in the order of their columns; those with a sign; what stands above narrow columns.
OF_PROMPT: tuple[Summary, ...] = ("attribution", "entropy", "first")
OF_MODEL: tuple[Column, ...] = ("induction", "previous", "duplicate", "copying")
OF_ABLATION: tuple[Column, ...] = ("measured", "others", "norm")
SIGNED = ("copying", "attribution", *OF_ABLATION, "sweep")
SHORT = {
    "induction": "ind",
    "previous": "prev",
    "duplicate": "dup",
    "copying": "copy",
    "attribution": "attr",
    "measured": "meas",
    "others": "oth.",
    "sweep": "swp",
    "entropy": "ent",
}
METRICS = {"logit_diff": "change of the logit difference", "normalised": "share of the source's that comes back"}
# From so many rows on there is room for what a number means.
EXPLAINED = 10


class ScoresPane(Pane):
    VIEW = SPEC

    def __init__(self, *, name: str | None = None, id: str | None = None, classes: str | None = None) -> None:
        super().__init__(name=name, id=id, classes=classes)
        self._at: int | None = None  # the cursor's column, once it was moved; before that, the one that sorts
        self._chosen: frozenset[tuple[int, int]] = frozenset()
        self._of_model = ""
        self._list: tuple[tuple[object, ...], Rows] | None = None
        # A list that was sorted anew shows its top, until one moves.
        self._sorted: Scores | None = None
        self._top = True
        self._left: tuple[int | None, bool] | None = None  # column and top, as they were left

    def cursor(self) -> str:
        """Its column, whether the list follows the head, and the heads that are marked."""
        column = "" if self._at is None else str(self._at)
        marks = "+".join(f"L{layer}H{head}" for layer, head in sorted(self._chosen))
        return "" if self._top and not column and not marks else f"{column}/{'top' if self._top else 'head'}/{marks}"

    def put_cursor(self, cursor: str) -> None:
        said = re.fullmatch(r"([0-9]{0,3})/(top|head)/((?:L[0-9]{1,5}H[0-9]{1,5}\+?)*)", cursor, re.ASCII)
        if said is not None:
            marks = re.findall(r"L([0-9]+)H([0-9]+)", said[3], re.ASCII)
            self._chosen = frozenset((int(layer), int(head)) for layer, head in marks)
            self._left = (int(said[1]) if said[1] else None), said[2] == "top"

    def questions(self, picture: Picture) -> tuple[Question, ...]:
        asked = [replace(picture.question(Heads), summary=each, run="edited").asked() for each in OF_PROMPT]
        of_prompt = (each for each in asked if each.summary != "attribution" or picture.differs)
        return (*of_prompt, Scores().asked(), *self._ablates(picture))

    @staticmethod
    def _ablates(picture: Picture) -> tuple[Attribution, ...]:
        """What measures the heads one by one, where the ledger's line asks for it."""
        question = picture.question(Attribution)
        if not question.measured or question.answer or not picture.differs:
            return ()
        return (replace(question, site=None, top=Attribution().top).asked(),)

    def show(self, picture: Picture) -> None:
        before = self.picture
        if picture.session.model != self._of_model:
            # Another model's heads are others.
            self._of_model, self._chosen = picture.session.model, frozenset()
        question = picture.question(Scores)
        if question != self._sorted:
            self._sorted, self._top, self._at = question, True, None
            if self._left is not None:
                (self._at, self._top), self._left = self._left, None
        elif before is not None and before.head() != picture.head():
            self._top = False
        super().show(picture)

    def look(self, **changes: int) -> None:
        self._top = False
        super().look(**changes)

    # What is listed

    def _measured(self, picture: Picture) -> ScoresAnswer | None:
        answered = picture.answer(Scores)
        return answered.clean if answered and isinstance(answered.clean, ScoresAnswer) else None

    def _of_prompt(self, picture: Picture) -> dict[str, np.ndarray]:
        """[layer, head] each: of the edited run where an edit is on."""
        found: dict[str, np.ndarray] = {}
        for each in picture.answered:
            answer = each.edited or each.clean
            if isinstance(answer, HeadsAnswer):
                found[answer.summary] = answer.values
        return found

    def _of_ablation(self, picture: Picture, attribution: np.ndarray | None) -> dict[str, np.ndarray]:
        """[layer, head] each: what ablating a head changes, and what the others do about it, where that is known of
        the attribution that is shown."""
        if attribution is None:
            return {}
        for asked in self._ablates(picture):
            each = next((one for one in picture.answered if one.question == asked), None)
            answer = None if each is None else each.edited or each.clean
            if not isinstance(answer, AttributionAnswer) or not isinstance(answer.parts, Components):
                continue
            heads, ablated = answer.parts.heads, answer.ablated
            if ablated is None or heads.shape != attribution.shape:
                continue
            if np.allclose(heads, attribution, rtol=0, atol=answer.rounding):
                tables = (ablated.measured, ablated.others, ablated.norm)
                return {name: table[:, : heads.shape[1]] for name, table in zip(OF_ABLATION, tables, strict=True)}
        swept = of_now(picture.sweeps, picture.session, ZERO_HEADS, not picture.applied())
        last = picture.tokens is not None and picture.position() == len(picture.tokens.tokens) - 1
        values = np.array([] if swept is None else swept.values, dtype=np.float64)
        return {"others": values + attribution} if last and values.shape == attribution.shape else {}

    def _rows(self, picture: Picture) -> Rows | None:
        """The list; None where there is nothing to list yet."""
        if picture.ready is None:
            return None
        layers, heads = picture.ready.shape.n_layers, picture.ready.shape.n_heads
        key = (
            picture.answered,
            picture.question(Scores),
            picture.session,
            picture.sweeps,
            picture.position(),
            picture.problems,
            layers,
            heads,
            self._chosen,
        )
        if self._list is not None and self._list[0] == key:
            return self._list[1]
        scores = self._measured(picture)
        tables: dict[str, np.ndarray] = self._of_prompt(picture)
        if scores is not None:
            tables |= {name: getattr(scores, name) for name in OF_MODEL}
        if not tables:
            return None
        sweep = of_heads(picture.sweeps, picture.session, layers, heads)
        if sweep is not None:
            tables["sweep"] = np.array(sweep.values, dtype=np.float64)
        tables |= self._of_ablation(picture, tables.get("attribution"))

        def numbers(name: str) -> Numbers:
            values = tables.get(name)
            if values is None or values.shape != (layers, heads):
                values = np.full((layers, heads), NONE)
            own = name in ("attribution", *OF_ABLATION, "sweep", "entropy")
            most = float(np.nanmax(np.abs(values), initial=0.0)) if own else 1.0
            return Numbers(
                name, values.reshape(-1), SHORT.get(name, ""), signs=name in SIGNED, look="shade", high=most or 1.0
            )

        names = [f"L{layer}H{head}" for layer in range(layers) for head in range(heads)]
        labels = [label for row in scores.label for label in row] if scores is not None else []
        if len(labels) != len(names):
            labels = [""] * len(names)
        beside = [name for name in (*OF_ABLATION, "sweep") if name in tables]
        of_prompt = ("attribution", *beside, *OF_PROMPT[1:])
        columns: tuple[Texts | Numbers, ...] = (
            Texts("head", names),
            *map(numbers, (*OF_MODEL, *of_prompt)),
            Texts("label", labels),
        )
        question = picture.question(Scores)
        by = "" if question.by == "head" else question.by
        order = ordered(columns, by, question.up, question.only)
        edited = marks.heads(picture.applied(), picture.ready.shape)
        rows = Rows(
            columns,
            order[::-1] if question.by == "head" and question.up else order,
            question.by,
            question.up,
            question.only,
            frozenset(layer * heads + head for layer, head in self._marked(picture)),
            frozenset(layer * heads + head for layer, head in edited),
        )
        self._list = key, rows
        return rows

    def _row(self, picture: Picture) -> int:
        """The row that the keys act on: the top one while the list shows its top, else that of the head that the screen
        looks at."""
        rows = self._rows(picture) if self._top else None
        if rows is not None and rows.order:
            return rows.order[0]
        layer, head = picture.head()
        return layer * (picture.ready.shape.n_heads if picture.ready else 1) + head

    def _head(self, picture: Picture) -> tuple[int, int]:
        """The head that the keys act on."""
        layer, head = divmod(self._row(picture), picture.ready.shape.n_heads if picture.ready else 1)
        return layer, head

    def draw(self, picture: Picture, width: int, height: int) -> Page:
        question, rows = picture.question(Scores), self._rows(picture)
        if rows is None:
            return self.blank(MEASURING if picture.ready is not None else self.WAITING, width)
        if self._at is not None and self._at >= len(rows.columns):
            self._at = None  # as a file may have it
        page = rows.page(self.palette, width, height, self._row(picture), self._at)
        foot = [
            *page.foot,
            *(self._explained(picture, rows, width, max(3, height // 3)) if height >= EXPLAINED else []),
        ]
        by = f"by {question.by}" + (" up" if question.up else "")
        only = f' "{visible_text(question.only)}"' if question.only else ""
        progress = self._progress(picture)
        chosen = f"{len(marked)} marked" if (marked := self._marked(picture)) else ""
        count = f"{len(rows.order)} heads" if rows.order else ""
        legend = " · ".join(text for text in (chosen, count) if text)
        return changed(
            page,
            foot=foot,
            cursor=page.cursor or 0,
            title=self.titled(picture, width, f"{by}{only}{progress}", f"{by}{only}", by, ""),
            legend=((legend, self.palette.dim),),
        )

    def _progress(self, picture: Picture) -> str:
        """How far the measuring is; nothing once it is done."""
        answered = picture.answer(Scores)
        if answered is not None and not answered.partial:
            return ""
        share = "" if picture.progress is None else f" {picture.progress:.0%}"
        return f" ─ measuring{share}"

    def _explained(self, picture: Picture, rows: Rows, width: int, most: int) -> list[Line]:
        """The number of the head that is looked at, and what it is, on so many lines at most."""
        at = rows.beside(self._at, 0)
        column = rows.columns[at]
        layer, head = self._head(picture)
        said = column.text(self._row(picture)).strip()
        if isinstance(column, Numbers) and column.name in OF_MODEL and said:
            said = fixed(float(column.values[self._row(picture)]), 3, sign=column.signs).strip()
        means = MEANINGS[column.name](picture, self._measured(picture))
        sentence = f"L{layer}H{head} {column.name} {said or '-'}: {means}"
        return [line((text, self.palette.dim)) for text in wrap(sentence, width, most)]

    # Moving

    def move(self, dx: int, dy: int) -> None:
        picture = self.picture
        if picture is None or picture.ready is None or (rows := self._rows(picture)) is None:
            return
        if dx:
            self._at = rows.beside(self._at, dx)
            self.renew()
        if dy and rows.order:
            row = rows.moved(self._row(picture), dy)
            heads = picture.ready.shape.n_heads
            self.look(layer=row // heads, head=row % heads)
            self.renew()

    def hit(self, picture: Picture, index: int, x: int, left: int) -> Focus | None:
        rows = self._rows(picture)
        if rows is None or picture.ready is None or not 0 <= index < len(rows.order):
            return None
        row, heads = rows.order[index], picture.ready.shape.n_heads
        return replace(picture.focus, layer=row // heads, head=row % heads)

    def acts(self, picture: Picture, index: int, x: int) -> str:
        """A click on a column's head sorts by it."""
        if index >= 0 or (rows := self._rows(picture)) is None or not rows.order:
            return ""
        at = rows.column_at(x, self._room().width, self._at)
        if at is None:
            return ""
        self._at = at
        return "sort_here"

    def into(self, picture: Picture) -> Question | None:
        """The attention of the head that is looked at."""
        layer, head = self._head(self.picture or picture)
        return replace(picture.question(Attention), layer=layer, head=head)

    def sites(self, picture: Picture) -> tuple[Site, ...]:
        """The marked heads; without one, that of the cursor."""
        heads = self._marked(picture) or [self._head(self.picture or picture)]
        return tuple(head_site(layer, head) for layer, head in heads)

    def _marked(self, picture: Picture) -> list[tuple[int, int]]:
        """The marked heads that the model has."""
        shape = picture.ready.shape if picture.ready else None
        return sorted(each for each in self._chosen if shape and each[0] < shape.n_layers and each[1] < shape.n_heads)

    # The view's own actions

    def do_mark_head(self, desk: Desk) -> None:
        """Mark the head or take its mark, and go on to the next row."""
        picture = self.picture
        if picture is None:
            return
        self._chosen = self._chosen ^ {self._head(picture)}
        self.move(0, 1)
        self.renew()

    def do_unmark_heads(self, desk: Desk) -> None:
        if not self._chosen:
            raise CannotError("no head is marked: H marks the one under the cursor")
        self._chosen = frozenset()
        self.renew()

    def do_who_head(self, desk: Desk) -> None:
        """Go to the paths into the head's query at the selected token, and start them."""
        if self.picture is None:
            return
        layer, head = self._head(self.picture)
        question = self.picture.question(Path)
        at = desk.position()
        desk.look(replace(desk.focus, layer=layer, head=head))
        desk.put(replace(question, part="q", layer=layer, head=head, sender=None, at=at, other=None))
        desk.go("path")
        desk.start("path")

    def do_sort_here(self, desk: Desk) -> None:
        """By the column that the cursor stands in; the other way round where it sorts already."""
        question = self._scores()
        rows = None if self.picture is None else self._rows(self.picture)
        name = question.by if rows is None or self._at is None else rows.columns[self._at].name
        by = next((each for each in COLUMNS if each == name), question.by)
        desk.put(replace(question, by=by, up=not question.up and by == question.by))

    def do_only_heads(self, desk: Desk) -> None:
        desk.open_line("narrow", self._scores().only)

    def narrowed(self, only: str) -> Question:
        return replace(self._scores(), only=only)

    def do_write_repeat(self, desk: Desk) -> None:
        measured = None if self.picture is None else self._measured(self.picture)
        if measured is None:
            raise CannotError("the heads are not measured yet: wait until their scores are there")
        if not measured.repeat:
            raise CannotError("the model's tokenizer has too few words of one token to write random ones twice")
        desk.change(replace(desk.session, prompt=measured.repeat))
        desk.say("The prompt is random words said twice; u brings yours back.")

    def _scores(self) -> Scores:
        return Scores() if self.picture is None else self.picture.question(Scores)

    # The clipboard

    def value(self) -> str:
        if self.picture is None or (rows := self._rows(self.picture)) is None:
            return ""
        return rows.value(self._row(self.picture), self._at)

    def row(self) -> str:
        if self.picture is None or (rows := self._rows(self.picture)) is None:
            return ""
        return rows.row_text(self._row(self.picture))


def _sample(scores: ScoresAnswer | None) -> str:
    if scores is None:
        return ""
    lengths = ", ".join(map(str, scores.lengths))
    return f" (n = {lengths}, {scores.count} texts each{', after BOS' if scores.bos else ''}; Olsson et al. 2022)"


def _at(picture: Picture) -> str:
    return f"@{picture.position()} {picture.token(picture.position())}"


# What a number is, from the picture and what was measured.
MEANINGS: dict[str, Callable[[Picture, ScoresAnswer | None], str]] = {
    "head": lambda picture, scores: "layer and head, from 0",
    "induction": lambda picture, scores: (
        f"mean attention from t to t-n+1, t in the second half of n random tokens said twice{_sample(scores)}"
    ),
    "previous": lambda picture, scores: f"mean attention from t to t-1 on random tokens said twice{_sample(scores)}",
    "duplicate": lambda picture, scores: (
        f"mean attention from t to t-n, t in the second half of n random tokens said twice{_sample(scores)}"
    ),
    "copying": lambda picture, scores: (
        "Σλ/Σ|λ| over the eigenvalues λ of W_U W_O W_V W_E, of the weights alone (Elhage et al. 2021)"
    ),
    "attribution": lambda picture, scores: f"what it adds to the logit difference after {_at(picture)}",
    "measured": lambda picture, scores: (
        f"what ablating it changes of the logit difference after {_at(picture)}{_how(picture)}"
    ),
    "others": lambda picture, scores: "what all others do about that: measured less what goes of its own line",
    "norm": lambda picture, scores: "of others, what the final norm's other scale does",
    "sweep": lambda picture, scores: f"the last sweep, {_sweep(picture)}",
    "entropy": lambda picture, scores: f"of its attention from {_at(picture)}, in nats, 0 to {_most(picture)}",
    "first": lambda picture, scores: f"attention from {_at(picture)} to the first token",
    "label": lambda picture, scores: "the score that is above one half, if one is",
}


def _how(picture: Picture) -> str:
    question = picture.question(Attribution)
    how = {"zero": "zeroed", "mean": "at its mean"}.get(question.measured, "")
    return f" ({how}{' here' if question.here else ', at all positions'})" if how else ""


def _sweep(picture: Picture) -> str:
    shape = picture.ready.shape if picture.ready else None
    sweep = of_heads(picture.sweeps, picture.session, shape.n_layers, shape.n_heads) if shape else None
    return "" if sweep is None else f"{format_edit(sweep.edit)}: {METRICS[sweep.metric]}"


def _most(picture: Picture) -> str:
    return fixed(math.log(picture.position() + 1))


PANE = ScoresPane
