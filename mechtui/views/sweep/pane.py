"""A sweep: what it would take, its cells as a map while they come in, and the strongest as a list."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from dataclasses import replace as changed

import numpy as np
from msgspec.structs import replace

from mechtui.embedded.named import saes
from mechtui.link.messages import Answered
from mechtui.paint import marks
from mechtui.paint.nans import blank
from mechtui.paint.numbers import duration, fit, fixed, memory, signed
from mechtui.paint.tokens import visible_text
from mechtui.paint.tokens import width as cells
from mechtui.panes import of_cases
from mechtui.panes.desk import Desk
from mechtui.panes.grid import ESTIMATED, FLAG, Cell, Grid
from mechtui.panes.pane import Focus, Line, Page, Pane, Picture, line, lines_page, wrap
from mechtui.panes.rows import Numbers, Rows, Texts, ordered, read_number
from mechtui.session import changes, sweeps
from mechtui.session.changes import head_site
from mechtui.session.document import ALL, Edit, SaeName, Site, Span, Swept
from mechtui.session.grammar.edits import format_edit
from mechtui.session.roles import named, same_everywhere
from mechtui.views import Question
from mechtui.views.attention import Attention
from mechtui.views.features import Features
from mechtui.views.over import NONE as NO_CASES
from mechtui.views.over import Over
from mechtui.views.sweep import SPEC, USEFUL, Left, OfFeatures, Sweep, SweepAnswer, column_of, disagreeing
from mechtui.visible import seen

UNITS = {"logit_diff": "logits", "normalised": "of the source"}
# Cells of the list beside the map, and of the blank between them; the narrowest column beside it.
LIST, GAP, NARROWEST = 24, 2, 2
# Rows of the list below the map, and its most.
LEAST_BELOW, MOST_BELOW = 4, 10
WIDEST = 8
# By the pane's least width, cells of a feature's label; those of the token at which it changes most.
LABELS, AT = ((100, 28), (70, 16), (0, 10)), 14


_METRICS = {"logit_diff": "change of the logit difference", "normalised": "share of the source's logit difference"}


@dataclass(frozen=True)
class Shown:
    """A sweep as it is painted. answer: with the values that the line asks for (edited, clean, their difference).
    left: what is still to do, of both runs. changed: what of the session is another since. which: run."""

    answer: SweepAnswer
    left: Left | None = None
    running: bool = False
    changed: tuple[str, ...] = ()
    which: str = ""
    prompt: str = ""

    @property
    def estimated(self) -> np.ndarray:
        """[row, column]: cells that have an estimate and no exact number."""
        if self.answer.estimates is None:
            return np.zeros(self.answer.values.shape, dtype=bool)
        found: np.ndarray = np.isfinite(self.answer.estimates) & ~np.isfinite(self.answer.values)
        return found

    @property
    def numbers(self) -> np.ndarray:
        """[row, column]: exact, or estimated where that is not known."""
        answer = self.answer
        return answer.values if answer.estimates is None else np.where(self.estimated, answer.estimates, answer.values)

    @property
    def doubted(self) -> np.ndarray:
        """[row, column]: cells whose estimate and exact number disagree."""
        if self.answer.estimates is None:
            return np.zeros(self.answer.values.shape, dtype=bool)
        return disagreeing(self.answer.values, self.answer.estimates)

    @property
    def measured(self) -> bool:
        """Whether there is any exact number."""
        values = self.answer.values
        return bool((np.isfinite(values) | (np.isnan(values) & ~blank(values))).any())


# Lines of a note at most.
NOTE = 3


class SweepPane(Pane):
    VIEW = SPEC

    def __init__(self, *, name: str | None = None, id: str | None = None, classes: str | None = None) -> None:
        super().__init__(name=name, id=id, classes=classes)
        self._grid: Grid | None = None
        self._rows: Rows | None = None
        self._beside = 0  # the first cell of the list beside the map; 0 without one
        self._ranked: tuple[object, Rows] | None = None  # and what of
        # A sweep that has just been made has its cursor on the strongest cell, until one looks elsewhere.
        self._best = False
        self._column = 0  # the cursor's over the cases, whose positions are none of the prompt's
        self._label_cells = LABELS[0][1]
        self._feature = ""  # the column that it is on in a sweep over features, once it was moved

    # What is asked

    def questions(self, picture: Picture) -> tuple[Question, ...]:
        """The sweep itself, once it is started, and before that what it takes, with the estimates."""
        question = _asked(picture)
        if _lacks(question, picture):
            return ()
        alone = question.estimate and not question.over
        return (question,) if alone else (question, replace(question, plan=True))

    def start(self, desk: Desk) -> None:
        """Run it, or what of it is left."""
        picture = self.picture or desk.picture
        question = picture.question(Sweep)
        if why := _lacks(question, picture):
            raise changes.CannotError(why)
        exact = _asked(picture) if question.over else replace(_asked(picture), estimate=False)
        whole = any(each.question == exact and not each.partial for each in picture.answered)
        if whole and not picture.stale:
            raise changes.CannotError("This sweep has all its cells; s takes another one.")
        if question.earlier or exact.estimate != question.estimate:
            desk.put(replace(question, earlier=0, estimate=exact.estimate))
        self._best = True
        super().start(desk)

    def cursor(self) -> str:
        return self._feature or (str(self._column) if self._column else "")

    def put_cursor(self, cursor: str) -> None:
        self._feature = cursor if re.fullmatch("F[0-9]{1,7}", cursor, re.ASCII) else ""
        self._column = read_number(cursor)

    def show(self, picture: Picture) -> None:
        before = self.picture
        if before is not None and (before.head(), before.position()) != (picture.head(), picture.position()):
            self._best = False
        super().show(picture)

    def look(self, **changes: int) -> None:
        self._best = False
        super().look(**changes)

    def next(self) -> Question:
        """The next of the sweeps that are useful here, and of those that were made."""
        question = self._question()
        assert isinstance(question, Sweep)
        made = [each.edit for each in self.picture.sweeps] if self.picture else []
        source = self.picture is not None and self.picture.session.source
        edits = list(dict.fromkeys((*USEFUL, *self._of_dictionaries(), *made)))
        edits = [edit for edit in edits if source or edit.op != "patch"]
        at = edits.index(question.edit) + 1 if question.edit in edits else 0
        return replace(question.of(edits[at % len(edits)]), earlier=0)

    def _of_dictionaries(self) -> list[Edit]:
        """Sweeps over the features of those that lines may name."""
        picture = self.picture
        if picture is None:
            return []
        named = saes(picture.session, "" if picture.ready is None else picture.ready.name)
        return [Edit(op, Site("feature", sae=sae.name)) for sae in named for op in ("zero", "patch")]

    # What is shown

    def _found(self, picture: Picture) -> Shown | None:
        """What the line asks for: an earlier sweep, the one under way, the one that was made of the session as it is,
        else the newest of this line."""
        question = picture.question(Sweep)
        edit, session, kept = question.edit, picture.session, picture.sweeps
        earlier = sweeps.older(kept, session, edit, question.run == "clean", question.over)
        if question.earlier:
            return _kept(earlier[(question.earlier - 1) % len(earlier)], picture, question) if earlier else None
        answered = next((each for each in picture.answered if each.question == _asked(picture)), None)
        if answered is not None and not picture.stale and isinstance(answered.clean, SweepAnswer):
            edited = answered.edited if isinstance(answered.edited, SweepAnswer) else None
            running = picture.job and answered.partial
            return _of_run(answered.clean, edited, question, bool(session.active_edits()), running)
        if question.over:
            known = _so_far(*_planned(picture), question, bool(session.active_edits()))
            if known is not None or question.estimate:
                return known
        over = question.over
        both = [sweeps.of_now(kept, session, edit, clean, over) for clean in (True, False)]
        if others := [each for each in both if each is not None and _other_cases(each, picture)]:
            return _kept(others[-1], picture, question)
        first, second = (SweepAnswer.of(each) if each is not None else None for each in both)
        shown = _of_run(first, second, question, bool(session.active_edits()))
        if shown is None and first is not None and question.run == "edited":
            # What is true of the clean run is so whatever is edited.
            return Shown(first, first.left, which="clean")
        return _kept(earlier[0], picture, question) if shown is None and earlier else shown

    def _with_estimates(self, shown: Shown | None, picture: Picture) -> Shown | None:
        """With the estimates that come with the plan, where it has none of its own; they alone before anything is
        measured. What was made of something else has none."""
        question = picture.question(Sweep)
        if question.earlier or question.estimate or question.over or (shown is not None and shown.changed):
            return shown
        if shown is not None and (shown.answer.estimates is not None or shown.answer.refused):
            return shown
        clean, edited = _planned(picture)
        of_clean = question if shown is None or shown.which != "clean" else replace(question, run="clean")
        plan = _of_run(clean, edited, of_clean, bool(picture.session.active_edits()))
        if plan is None or (plan.answer.estimates is None and (shown is None or plan.answer.features is None)):
            return shown
        if shown is None:
            return plan
        own, known = shown.answer, plan.answer
        if (known.rows, known.columns) != (own.rows, own.columns):
            return shown
        return changed(
            shown, answer=replace(own, estimates=known.estimates, ig=known.ig, features=own.features or known.features)
        )

    def draw(self, picture: Picture, width: int, height: int) -> Page:
        self._grid, self._rows, self._beside = None, None, 0
        self._label_cells = next(most for least, most in LABELS if width >= least)
        question = picture.question(Sweep)
        name = format_edit(question.edit)
        shown = self._with_estimates(self._found(picture), picture)
        why = _lacks(question, picture)
        plan = _plan(picture, question)
        if shown is None:
            if question.earlier:
                return self.blank("no other sweep of this line was kept", width, name)
            if why:
                return self.blank(why, width, name)
            if plan is None or plan.left is None:
                return self.blank("starting" if picture.job else self.WAITING, width, name)
            return self._planned(plan, plan.left, picture, width)
        if not (shown.measured or shown.estimated.any()):
            return self.blank(shown.answer.refused or "the edit can be estimated nowhere", width, name)
        notes = self._notes(shown, plan, picture)
        if question.listed or _of_features(question):
            return self._list(shown, picture, width, height, notes)
        return self._map(shown, picture, width, height, notes)

    def _planned(self, plan: SweepAnswer, left: Left, picture: Picture, width: int) -> Page:
        """What it will do, before it does it."""
        question = picture.question(Sweep)
        edit = question.edit
        kind = "head" if edit.site.kind == "head" else "position"
        size = f"{_plural(len(plan.rows), 'layer')} x {_plural(len(plan.columns), kind)}"
        if _of_features(question):
            size = f"{_plural(len(plan.columns), 'feature')} of {edit.site.sae}"
        over = "" if plan.over is None else f" over {_plural(len(plan.over.cases), 'case')} of {seen(plan.over.of)}"
        measured = "the case's own logit difference" if plan.over is not None else _measured(plan, picture)
        texts = (
            f"{format_edit(edit)}{over}: {size}, {_takes(left)}.",
            f"Each run is compared by {measured}.",
            "" if picture.job else ". starts it; s takes another sweep.",
        )
        said = [*texts, f"{plan.refused}." if plan.refused else ""]
        lines = [line((each, self.palette.plain)) for text in said if text for each in wrap(text, width)]
        return lines_page(lines, title="not run yet")

    def _notes(self, shown: Shown, plan: SweepAnswer | None, picture: Picture) -> list[str]:
        """What must be said of the numbers, each in one line below them."""
        notes = self._of_estimates(shown, plan, picture)
        if (over := shown.answer.over) is not None:
            notes = [*of_cases.notes(over, UNITS[shown.answer.metric]), *notes]
            if shown.left is not None and not shown.running:
                notes.append("it was stopped; . goes on where it was")
            return [*notes, *self._of_old(shown, plan, picture)]
        if (of := shown.answer.features) is not None and of.off:
            notes.append(f"{of.off:,} other features are left as they are: no effect")
        if not shown.measured:
            return notes
        if shown.changed:
            notes += self._of_old(shown, plan, picture)
        elif shown.which == "clean" and plan is not None and plan.left is not None and not picture.job:
            notes.append(f"of the clean run; . runs it with the edits: {_takes(plan.left)}")
        elif shown.left is not None and not shown.running:
            notes.append(f"{shown.left.done} of {shown.left.runs}: it was stopped; . goes on where it was")
        return notes

    def _of_old(self, shown: Shown, plan: SweepAnswer | None, picture: Picture) -> list[str]:
        """What has changed since it was made, and how it is made again; nothing where nothing has."""
        if not shown.changed:
            return []
        again = f"; . runs it again: {_takes(plan.left)}" if plan and plan.left and not picture.job else ""
        prompt = [f"prompt: {visible_text(shown.prompt)}"] if "prompt" in shown.changed else []
        return [f"old, made with {_others(shown.changed)}{again}", *prompt]

    def _of_estimates(self, shown: Shown, plan: SweepAnswer | None, picture: Picture) -> list[str]:
        """Which numbers are estimates, how far they are right, and what the exact ones take."""
        answer = shown.answer
        if answer.estimates is None:
            return [answer.refused] if answer.refused else []
        if answer.over is not None:
            return [f"{ESTIMATED} estimated, not measured: {answer.estimated_by}"]
        if not shown.measured:
            left = plan.left if plan is not None else None
            takes = f": {_takes(left)}" if left is not None else ""
            return [
                f"{ESTIMATED} estimated, not measured: {answer.estimated_by}",
                *([] if picture.job or shown.running else [f". measures them{takes}"]),
            ]
        notes = [f"{ESTIMATED} estimated, not measured: {answer.estimated_by}"] if shown.estimated.any() else []
        agreement = answer.agreement
        if agreement is None:
            return notes
        rank = agreement.rank_correlation
        notes.append(
            f"estimates agree in {agreement.agree} of {agreement.cells} cells"
            + (f", rank correlation {rank:.2f}" if rank is not None else "")
            + (f"; {FLAG} other sign or off by more than half" if agreement.agree < agreement.cells else "")
        )
        return notes

    def _state(self, shown: Shown) -> str:
        left = shown.left
        if left is None or not (shown.measured or shown.running):
            return ""
        if not shown.running:
            return f" {left.done} of {left.runs}"
        time = f", {duration(left.seconds)} left" if left.seconds is not None else ""
        return f" {left.done} of {left.runs}{time}"

    def _title(self, shown: Shown, picture: Picture, width: int, metric: str) -> str:
        name = format_edit(picture.question(Sweep).edit)
        old = "○ old" if shown.changed else ""
        state, which = self._state(shown), f" {shown.which}" if shown.which else ""
        if (over := shown.answer.over) is not None:
            return self._title_over(shown, over, picture, width, metric)
        spare, said = f" {old}" if old else state, "" if shown.measured else " estimated"
        return self.titled(
            picture,
            width,
            f"{name}{which}: {'' if shown.measured else 'estimated '}{metric}{state}{f' {old}' if old else ''}",
            f"{name}{which}{said}{spare}",
            f"{name}{said}{spare}",
            spare.partition(",")[0].strip() or name,
        )

    def _title_over(self, shown: Shown, over: Over, picture: Picture, width: int, metric: str) -> str:
        name, of = format_edit(picture.question(Sweep).edit), f"over {seen(over.of)}"
        which, said = f" {shown.which}" if shown.which else "", "" if shown.measured else "estimated "
        done, time = " ○ old" if shown.changed else "", ""
        if shown.left is not None:
            done = f" {of_cases.so_far(over)}"
            if shown.running and shown.left.seconds is not None:
                time = f", {duration(shown.left.seconds)} left"
        return self.titled(
            picture,
            width,
            f"{name} {of}{which}: {said}{metric}{done}{time}",
            f"{name} {of}{which}{done}{time}",
            f"{name} {of}{done}",
            f"{of}{done}",
            done.strip() or of,
        )

    def _map(self, shown: Shown, picture: Picture, width: int, height: int, notes: list[str]) -> Page:
        answer, cursor = shown.answer, self._cursor(shown, picture)
        rows = self._ranking(answer, shown, picture)
        label = max((len(name) - 1 for name in answer.rows), default=1) + 2
        # A name of the cases' is read whole.
        narrowest = max(map(cells, answer.columns), default=0) if self._of_cases(picture) else NARROWEST
        beside = width - LIST - GAP >= label + narrowest * len(answer.columns)
        room = width - LIST - GAP if beside else width
        self._grid = grid = self._table(answer, shown, picture, room, cursor)
        taken = min(grid.label + grid.wide * len(answer.columns), room)
        foot = self._foot(notes, width, height)
        here = f"{self._cell_name(answer, cursor)}{'*' if cursor in grid.edited else ''} {self._said(shown, cursor)}"
        # The border is as wide as the pane, also where the map is not.
        legend = changed(grid, width=width).legend(self.palette, here, UNITS[answer.metric])
        foot = [*foot, *legend.foot]
        title = self._title(shown, picture, width, _METRICS[answer.metric])
        page = grid.page(self.palette, height, title=title, legend=legend.border, foot=foot)
        if beside and rows.order:
            self._rows, self._beside = rows, taken + GAP
            return self._with_list(page, rows, self._flat(answer, cursor), width, height)
        spare = height - page.head_rows - page.rows - len(page.foot)
        if not rows.order or beside:
            return page
        if spare >= LEAST_BELOW:
            below = rows.page(self.palette, width, spare, self._flat(answer, cursor))
            lines = [below.row(i, 0) for i in range(min(below.rows, spare - 1, MOST_BELOW))]
            return changed(page, foot=[line(("strongest", self.palette.dim)), *lines, *page.foot])
        if page.foot or height >= 8:
            return changed(page, foot=[self._strongest(rows, shown, width), *page.foot])
        return page

    def _foot(self, notes: list[str], width: int, height: int) -> list[Line]:
        """The notes below the table, which has two thirds of the rows."""
        said: list[str] = []
        for note in notes:
            if room := max(height // 3, 1) - len(said):
                said += wrap(note, width, min(room, NOTE))
        return [line((text, self.palette.dim)) for text in said]

    def _with_list(self, page: Page, rows: Rows, cursor: int, width: int, height: int) -> Page:
        """The map with the list to its right, which begins with the strongest also where the map has scrolled."""
        room = height - page.head_rows - len(page.foot)
        ranked = rows.page(self.palette, width - self._beside, height, cursor)
        count = max(page.rows, min(room, ranked.rows))
        at, palette = self._beside, self.palette

        def joined(first: Line, second: Line) -> Line:
            used = sum(cells(segment.text) for segment in first)
            return [*first, *line((" " * max(at - used, 0), palette.dim)), *second]

        def row(index: int, left: int) -> Line:
            first = page.row(index, left) if index < page.rows else []
            listed = index - self.scroll_offset.y
            return joined(first, ranked.row(listed, 0) if 0 <= listed < ranked.rows else [])

        def head(left: int) -> list[Line]:
            *above, last = page.head(left)
            return [*above, joined(last, ranked.head(0)[0])]

        return changed(page, rows=count, row=row, head=head if page.head_rows else page.head, full=at + ranked.full)

    def _list(self, shown: Shown, picture: Picture, width: int, height: int, notes: list[str]) -> Page:
        answer, cursor = shown.answer, self._cursor(shown, picture)
        self._rows = rows = self._ranking(answer, shown, picture)
        self._grid = self._table(answer, shown, picture, width, cursor)
        page = rows.page(self.palette, width, height, self._flat(answer, cursor))
        foot = self._foot(notes, width, height)
        legend = ((f"{self._cell_name(answer, cursor)} {self._said(shown, cursor)}", self.palette.bold),)
        unit = ((f" {UNITS[answer.metric]}", self.palette.dim),)
        title = self._title(shown, picture, width, _METRICS[answer.metric])
        return changed(page, title=title, legend=legend + unit, foot=foot if height >= 6 else [])

    def _said(self, shown: Shown, cursor: Cell | None) -> str:
        """The cursor's number, and where it was measured what was estimated before."""
        assert self._grid is not None
        estimates, over = shown.answer.estimates, shown.answer.over
        if over is not None and cursor is not None:
            return ESTIMATED * bool(shown.estimated[cursor]) + of_cases.said_of(over, shown.numbers, cursor)
        if cursor is None or estimates is None or shown.estimated[cursor] or math.isnan(estimates[cursor]):
            if cursor is None or shown.answer.features is None:
                return self._grid.number()
            return f"{ESTIMATED * bool(shown.estimated[cursor])}{_exactly(shown, shown.numbers[cursor])}"
        if shown.answer.features is not None:
            exact, estimate = (_exactly(shown, each[cursor]) for each in (shown.answer.values, estimates))
            return f"{exact} ({ESTIMATED}{estimate})"
        return f"{self._grid.number()} ({ESTIMATED}{fit(float(estimates[cursor]), 7, sign=True).strip()})"

    def _table(self, answer: SweepAnswer, shown: Shown, picture: Picture, width: int, cursor: Cell | None) -> Grid:
        numbers = shown.numbers
        most = float(np.abs(numbers[np.isfinite(numbers)]).max(initial=0.0))
        positions, features = (picture.question(Sweep).edit.site.kind == kind for kind in ("layer", "feature"))
        named = positions and answer.over is None and "prompt" not in shown.changed
        tokens = tuple(picture.token(_number(name)) for name in answer.columns) if named else ()
        return Grid(
            numbers,
            answer.rows if features else tuple(name[1:] for name in answer.rows),
            tuple(name[1:] for name in answer.columns),
            width,
            -most,
            most,
            signs=True,
            cursor=cursor,
            tokens=tokens,
            edited=self._edited(answer, picture),
            most=WIDEST,
            pale=shown.estimated,
            flagged=frozenset((int(row), int(column)) for row, column in np.argwhere(shown.doubted)),
        )

    def _ranking(self, answer: SweepAnswer, shown: Shown, picture: Picture) -> Rows:
        """All cells that have a number, the strongest first. A cell's number counts row by row. An estimate has `~`
        before its name, `!` stands behind one that was wrong. As a list it has the estimates beside the exact numbers.
        """
        edited = self._edited(answer, picture)
        features = _of_features(picture.question(Sweep))
        listed = (picture.question(Sweep).listed or features) and answer.estimates is not None
        estimates = b"" if answer.estimates is None else answer.estimates.tobytes()
        over = answer.over if picture.question(Sweep).listed else None
        of, label = answer.features, self._label_cells
        key = (answer.values.tobytes(), estimates, answer.rows, answer.columns, edited, listed, over, of, label)
        if self._ranked is None or self._ranked[0] != key:
            values = shown.numbers.ravel().astype(float)
            most = float(np.nanmax(np.abs(values), initial=0.0)) if np.isfinite(values).any() else 0.0
            pale, doubted, places = shown.estimated, shown.doubted, _places(shown)
            names = [
                ESTIMATED * bool(pale[cell]) + self._cell_name(answer, cell) + FLAG * bool(doubted[cell])
                for cell in np.ndindex(*answer.values.shape)
            ]
            effect = "effect" if shown.measured else "estimated"
            kind = picture.question(Sweep).edit.site.kind
            columns: tuple[Texts | Numbers, ...] = (
                Texts(kind if kind != "layer" else "site", names),
                Numbers(effect, values, places=places, signs=True, look="bar", high=most),
            )
            if answer.features is not None and any(answer.features.labels):
                columns = (
                    columns[0],
                    Texts("label", [*map(seen, answer.features.labels)], most=self._label_cells),
                    columns[1],
                )
            if listed and shown.measured and answer.estimates is not None:
                said = answer.estimates.ravel().astype(float)
                columns += (Numbers("estimate", said, head="est.", places=places, signs=True),)
            if answer.features is not None:
                columns += _about(answer.features, picture)
            if over is not None:
                columns += tuple(of_cases.columns(over))
            order = tuple(row for row in ordered(columns, effect) if not math.isnan(values[row]))
            marked = frozenset(row * len(answer.columns) + column for row, column in edited)
            self._ranked = key, Rows(columns, order, effect, edited=marked)
        return self._ranked[1]

    def _strongest(self, rows: Rows, shown: Shown, width: int) -> Line:
        """As many of the strongest as fit into one line."""
        numbers = shown.numbers.ravel()
        text = "strongest"
        for row in rows.order:
            more = f"  {rows.columns[0].text(row)} {signed(float(numbers[row]))}"
            if cells(text + more) > width:
                break
            text += more
        return line((text, self.palette.dim))

    # Places

    def _edited(self, answer: SweepAnswer, picture: Picture) -> frozenset[Cell]:
        """Cells whose head an edit acts on, or whose very edit is on."""
        question = picture.question(Sweep)
        if _of_features(question):
            return _acted_on(answer.columns, question, picture)
        places = [(r, c) for r in range(len(answer.rows)) for c in range(len(answer.columns))]
        if question.edit.site.kind == "head" and picture.ready is not None:
            heads = marks.heads(picture.applied(), picture.ready.shape)
            group = _group(question.edit, picture)
            return frozenset(
                (r, c) for r, c in places if (_number(answer.rows[r]), _number(answer.columns[c]) * group) in heads
            )
        on = set(picture.applied())
        return frozenset(
            (r, c)
            for r, c in places
            if on and question.cell(_number(answer.rows[r]), column_of(answer.columns[c])) in on
        )

    def _cursor(self, shown: Shown, picture: Picture) -> Cell | None:
        """The strongest cell of a sweep that has just been made; else the cell of what the screen looks at, or the one
        next to it."""
        answer = shown.answer
        if not answer.rows or not answer.columns:
            return None
        if self._best and not shown.running and (order := self._ranking(answer, shown, picture).order):
            row, column = divmod(order[0], len(answer.columns))
            return row, column
        edit = picture.question(Sweep).edit
        layer, head = picture.head()
        if edit.site.kind == "feature":
            order = self._ranking(answer, shown, picture).order
            known = self._feature in answer.columns
            return 0, answer.columns.index(self._feature) if known else (*order, 0)[0]
        if self._of_cases(picture):
            return _nearest(answer.rows, layer), min(self._column, len(answer.columns) - 1)
        at = picture.position() if edit.site.kind == "layer" else head // _group(edit, picture)
        return _nearest(answer.rows, layer), _nearest(answer.columns, at)

    def _of_cases(self, picture: Picture) -> bool:
        """Whether its columns are positions of the cases: none that the screen looks at."""
        question = picture.question(Sweep)
        return question.over and question.edit.site.kind == "layer"

    def _cell_name(self, answer: SweepAnswer, cell: Cell | None) -> str:
        if cell is None:
            return ""
        column = answer.columns[cell[1]]
        if column[0] == "F":
            return column
        return f"{answer.rows[cell[0]]}{column if column[0] == 'H' else ' ' + column}"

    def _flat(self, answer: SweepAnswer, cell: Cell | None) -> int:
        return -1 if cell is None else cell[0] * len(answer.columns) + cell[1]

    def _focus(self, cell: Cell) -> dict[str, int]:
        """What the screen looks at with the cursor on a cell; -1 stands for what stays."""
        assert self.picture is not None
        assert self._grid is not None
        row, column = cell
        found: dict[str, int] = {}
        if _of_features(self.picture.question(Sweep)):
            return found
        if row >= 0:
            found["layer"] = _number(self._grid.rows[row])
        if column >= 0 and not self._of_cases(self.picture):
            at = _number(self._grid.columns[column])
            question = self.picture.question(Sweep)
            if question.edit.site.kind == "layer":
                found["position"] = at
            else:
                found["head"] = at * _group(question.edit, self.picture)
        return found

    def _to(self, cell: Cell) -> dict[str, int]:
        """Put the cursor on a cell, as far as that is this pane's own; what the screen then looks at."""
        if self.picture is None or cell[1] < 0:
            return self._focus(cell)
        if _of_features(self.picture.question(Sweep)):
            assert self._grid is not None
            self._feature, self._best = f"F{self._grid.columns[cell[1]]}", False
            self.renew()
        elif self._of_cases(self.picture):
            self._column, self._best = cell[1], False
            self.renew()
        return self._focus(cell)

    def move(self, dx: int, dy: int) -> None:
        if self.picture is None or self._grid is None or self._grid.cursor is None:
            return
        question = self.picture.question(Sweep)
        if (question.listed or _of_features(question)) and self._rows is not None:
            columns = len(self._grid.columns)
            row = self._rows.moved(self._grid.cursor[0] * columns + self._grid.cursor[1], dy)
            self.look(**self._to(divmod(row, columns)))
            return
        cell = self._grid.moved(dx, dy)
        if cell is not None:
            row_of, column_of = self._grid.cursor
            self.look(**self._to((cell[0] if cell[0] != row_of else -1, cell[1] if cell[1] != column_of else -1)))

    def hit(self, picture: Picture, index: int, x: int, left: int) -> Focus | None:
        grid, rows = self._grid, self._rows
        if grid is None:
            return None
        cell: Cell | None
        if rows is not None and x >= self._beside:
            listed = index - self.scroll_offset.y if self._beside else index
            if not 0 <= listed < len(rows.order):
                return None
            cell = divmod(rows.order[listed], len(grid.columns))
        else:
            cell = grid.hit(index, x, left) if index < len(grid.rows) else None
        return replace(picture.focus, **self._to(cell)) if cell is not None else None

    def into(self, picture: Picture) -> Question | None:
        """The attention of the cursor's head; of a position, of the head that is looked at there. Of a feature, those
        that are on where it changes most."""
        if self._grid is None or self._grid.cursor is None:
            return None
        if _of_features(question := picture.question(Sweep)):
            shown = self._with_estimates(self._found(picture), picture)
            of = None if shown is None else shown.answer.features
            at = picture.position() if of is None else int(of.at[self._grid.cursor[1]])
            return replace(picture.question(Features), of=SaeName(question.edit.site.sae), position=at)
        layer, head = self._head(picture)
        return replace(picture.question(Attention), layer=layer, head=head)

    def sites(self, picture: Picture) -> tuple[Site, ...]:
        """What was swept: the head or the feature at the cursor, or its layer's part."""
        site = picture.question(Sweep).edit.site
        if site.kind == "feature":
            here = None if self._grid is None else self._grid.cursor
            return (
                ()
                if here is None or self._grid is None
                else (picture.question(Sweep).cell(0, int(self._grid.columns[here[1]])).site,)
            )
        layer, head = self._head(picture)
        return (head_site(layer, head) if site.kind == "head" else replace(site, layers=Span(layer, layer)),)

    def _head(self, picture: Picture) -> tuple[int, int]:
        """Layer and head of the cursor's cell; of what the screen looks at where the cells name none."""
        layer, head = picture.head()
        if self._best and self._grid is not None and self._grid.cursor is not None:
            there = self._focus(self._grid.cursor)
            layer, head = there["layer"], there.get("head", head)
        return layer, head

    # What its keys do

    def do_as_edit(self, desk: Desk) -> None:
        if self.picture is None or self._grid is None or self._grid.cursor is None:
            raise changes.CannotError("There is no cell yet: . starts the sweep.")
        row, column = self._grid.cursor
        question, name = self.picture.question(Sweep), self._grid.columns[column]
        if _of_features(question):
            edit = question.cell(0, int(name))
        else:
            place = column_of(f"{'@' if question.edit.site.kind == 'layer' else 'H'}{name}")
            edit = question.cell(_number(self._grid.rows[row]), place)
        desk.change(changes.toggle_edit(desk.session, edit), format_edit(edit))

    def do_as_list(self, desk: Desk) -> None:
        question = self._question()
        assert isinstance(question, Sweep)
        if _of_features(question):
            raise changes.CannotError("Features are a list: a dictionary has no layers and heads for a map.")
        desk.put(replace(question, listed=not question.listed))

    def do_over_cases(self, desk: Desk) -> None:
        """The same over the session's cases, or again of its prompt alone."""
        question = self._question()
        assert isinstance(question, Sweep)
        if not question.over:
            if _of_features(question):
                raise changes.CannotError("Each case has other features on: a sweep over features is of one prompt.")
            if not desk.session.cases:
                raise changes.CannotError(f"{NO_CASES[0].upper()}{NO_CASES[1:]}.")
            if why := same_everywhere(question.edit):
                raise changes.CannotError(f"{why[0].upper()}{why[1:]}.")
        elif named(question.edit.positions) or question.edit.site.kind == "layer":
            question = replace(question, edit=replace(question.edit, positions=ALL))
        desk.put(replace(question, over=not question.over, earlier=0))

    def do_earlier(self, desk: Desk) -> None:
        question = self._question()
        assert isinstance(question, Sweep)
        kept = self.picture.sweeps if self.picture else ()
        count = len(sweeps.older(kept, desk.session, question.edit, question.run == "clean", question.over))
        if not count:
            raise changes.CannotError(f"No other sweep of {format_edit(question.edit)} was kept.")
        desk.put(replace(question, earlier=(question.earlier + 1) % (count + 1)))

    def answers(self, picture: Picture) -> tuple[Answered, ...]:
        """Both runs' cells where they are known of the session as it is; else the sweep that is shown."""
        question, session = picture.question(Sweep), picture.session
        asked = _asked(picture)
        if not question.earlier:
            answered = next((each for each in picture.answered if each.question == asked), None)
            if answered is not None and not picture.stale:
                return (answered,)
            edit, over = question.edit, question.over
            both = (sweeps.of_now(picture.sweeps, session, edit, clean, over) for clean in (True, False))
            clean, edited = (SweepAnswer.of(each) if each is not None else None for each in both)
            if clean is not None or edited is not None:
                return (Answered(0, asked, clean, edited if session.active_edits() else None, 0.0),)
        shown = self._found(picture)
        return () if shown is None else (Answered(0, asked, shown.answer, None, 0.0),)

    def value(self) -> str:
        return self._grid.value() if self._grid is not None else ""

    def row(self) -> str:
        return self._grid.row_values() if self._grid is not None else ""


PANE = SweepPane


def _asked(picture: Picture) -> Sweep:
    return replace(picture.question(Sweep).asked(), plan=False)


def _places(shown: Shown) -> int:
    """Digits behind the point: of features, each of which may do little, as many as show the strongest."""
    if shown.answer.features is None:
        return 2
    most = float(np.nanmax(np.abs(shown.numbers), initial=0.0)) if np.isfinite(shown.numbers).any() else 0.0
    return 2 if most >= 1 else 3 if most >= 0.1 else 4


def _exactly(shown: Shown, value: float) -> str:
    return fixed(float(value), _places(shown), sign=True).strip()


def _of_features(question: Sweep) -> bool:
    return question.edit.site.kind == "feature"


def _acted_on(columns: tuple[str, ...], question: Sweep, picture: Picture) -> frozenset[Cell]:
    """The columns on whose feature an edit acts that is on."""
    sae = question.edit.site.sae
    spans = [edit.site.index for edit in picture.applied() if edit.site.kind == "feature" and edit.site.sae == sae]
    if not spans:
        return frozenset()
    numbers = [int(name[1:]) for name in columns]
    return frozenset(
        (0, at)
        for at, number in enumerate(numbers)
        if any(span.first <= number and (span.last is None or number <= span.last) for span in spans)
    )


def _about(of: OfFeatures, picture: Picture) -> tuple[Texts | Numbers, ...]:
    """Columns of what is known of each feature."""
    becomes = (Numbers("becomes", of.becomes.astype(float), head="to"),) if np.any(of.becomes) else ()
    tokens = [f"{position} {picture.token(int(position))}" for position in of.at]
    return Numbers("value", of.value.astype(float)), *becomes, Texts("at", tokens, most=AT)


def _lacks(question: Sweep, picture: Picture) -> str:
    """What the session must have before it can be asked; empty where it has all."""
    session = picture.session
    if question.over:
        return "" if session.cases else f"{NO_CASES}; o sweeps this prompt alone."
    if question.edit.op == "patch" and not session.source:
        return "patch takes its values from a source prompt, and there is none: I writes one; s takes another sweep."
    if refused := picture.refused_target():
        return f"A sweep measures a logit difference: {refused}."
    if not picture.differs:
        return "A sweep measures a logit difference: name an answer and a foil."
    return ""


def _plan(picture: Picture, question: Sweep) -> SweepAnswer | None:
    """What it takes, over both runs."""
    clean, edited = _planned(picture)
    if clean is None:
        return None
    shown = edited if edited is not None and question.run != "clean" else clean
    return replace(shown, left=_left(clean, edited))


def _planned(picture: Picture) -> tuple[SweepAnswer | None, SweepAnswer | None]:
    """What was answered of the plan, of the clean and the edited run."""
    asked = replace(_asked(picture), plan=True)
    answered = next((each for each in picture.answered if each.question == asked), None)
    if answered is None or picture.stale or not isinstance(answered.clean, SweepAnswer):
        return None, None
    return answered.clean, answered.edited if isinstance(answered.edited, SweepAnswer) else None


def _left(*answers: SweepAnswer | None) -> Left | None:
    """What both runs' cells still take together; None where all are there."""
    there = [answer for answer in answers if answer is not None]
    if all(answer.left is None for answer in there):
        return None
    known = [int(np.isfinite(answer.values).sum()) for answer in there]
    each = [answer.left or Left(count, count, 0.0, 0) for answer, count in zip(there, known, strict=True)]
    seconds = [left.seconds for left in each]
    return Left(
        sum(left.runs for left in each),
        sum(left.done for left in each),
        None if None in seconds else sum(second for second in seconds if second is not None),
        max(left.bytes for left in each),
    )


def _of_run(
    clean: SweepAnswer | None, edited: SweepAnswer | None, question: Sweep, has_edits: bool, running: bool = False
) -> Shown | None:
    """What the line asks for, of the clean and the edited run; None where that is not there."""
    if not has_edits:
        return None if clean is None else Shown(clean, _left(clean), running)
    if question.run == "clean":
        return None if clean is None else Shown(clean, _left(clean, edited), running, which="clean")
    if edited is None:
        return None
    if question.run == "edited":
        return Shown(edited, _left(clean, edited), running, which="edited")
    if clean is None:
        return None
    clean, edited = _same_features(clean, edited)
    if clean.values.shape != edited.values.shape:
        return None
    if clean.over is not None or edited.over is not None:
        return _change(clean, edited)
    estimates = None
    if clean.estimates is not None and edited.estimates is not None:
        estimates = edited.estimates - clean.estimates
    difference = replace(edited, values=edited.values - clean.values, estimates=estimates)
    return Shown(difference, _left(clean, edited), running, which="edited-clean")


def _same_features(clean: SweepAnswer, edited: SweepAnswer) -> tuple[SweepAnswer, SweepAnswer]:
    """Both with the features of either: what a run leaves as it is does nothing there."""
    one, two = clean.features, edited.features
    if one is None or two is None or clean.columns == edited.columns:
        return clean, edited
    names = sorted({*clean.columns, *edited.columns}, key=_number)
    where = [{name: at for at, name in enumerate(each.columns)} for each in (clean, edited)]
    at = [[known.get(name, -1) for name in names] for known in where]

    def laid(values: np.ndarray | None, which: list[int]) -> np.ndarray | None:
        return None if values is None else np.append(values, np.zeros((len(values), 1), values.dtype), 1)[:, which]

    def told(name: str) -> np.ndarray:
        """Of the edited run, where it has the feature."""
        first, second = getattr(one, name), getattr(two, name)
        return np.array([second[b] if b >= 0 else first[a] for a, b in zip(*at, strict=True)])

    labels = tuple(two.labels[b] if b >= 0 else one.labels[a] for a, b in zip(*at, strict=True))
    of = OfFeatures(
        labels, told("at"), told("value"), told("becomes"), max(one.off + len(clean.columns) - len(names), 0)
    )
    found = []
    for each, which in zip((clean, edited), at, strict=True):
        values, estimates = laid(each.values, which), laid(each.estimates, which)
        assert values is not None
        found.append(replace(each, columns=tuple(names), values=values, estimates=estimates, features=of))
    return found[0], found[1]


def _so_far(clean: SweepAnswer | None, edited: SweepAnswer | None, question: Sweep, has_edits: bool) -> Shown | None:
    """What the plan of a sweep over the cases knows already; None where that is nothing."""
    if clean is None or clean.over is None or not clean.over.done:
        return None
    whole = clean.left is not None and clean.left.done >= clean.left.runs
    both = [None if each is None else replace(each, left=None if whole else each.left) for each in (clean, edited)]
    return _of_run(both[0], both[1], question, has_edits)


def _change(clean: SweepAnswer, edited: SweepAnswer) -> Shown | None:
    """Edited minus clean of each case; None before all of them are known."""
    found = None if clean.over is None or edited.over is None else edited.over.changed(clean.over)
    if found is None:
        return None
    means, over = found
    estimated = edited.estimates is not None
    values = edited.values if estimated else means
    return Shown(
        replace(edited, values=values, estimates=means if estimated else None, over=over), which="edited-clean"
    )


def _other_cases(swept: Swept, picture: Picture) -> bool:
    """Whether a sweep that was kept is of other cases than the line that names them now stands for, as far as it is
    known: a file may be another by now."""
    plan, _ = _planned(picture)
    over = None if plan is None else plan.over
    return swept.over is not None and over is not None and sweeps.told(over.cases) != swept.over.texts


def _kept(swept: Swept, picture: Picture, question: Sweep) -> Shown:
    answer = SweepAnswer.of(swept)
    since = sweeps.changed(swept, picture.session, question.run == "clean")
    if "cases" not in since and _other_cases(swept, picture):
        since = ("cases", *since)
    return Shown(answer, answer.left, False, since, "", swept.of.prompt)


def _takes(left: Left) -> str:
    runs = f"{left.runs} runs" if not left.done else f"{left.runs - left.done} of {left.runs} runs"
    about = [] if left.seconds is None else [duration(left.seconds)]
    about += [memory(left.bytes)] if left.bytes else []
    return f"{runs}, about {' and '.join(about)}" if about else runs


def _measured(plan: SweepAnswer, picture: Picture) -> str:
    session = picture.session
    answer, foil = (visible_text(text) for text in (session.answer or "the best", session.foil or "the second"))
    now = f", now {signed(plan.baseline)}" if plan.baseline is not None else ""
    source = f", the source's {signed(plan.source_baseline)}" if plan.source_baseline is not None else ""
    return f"logit({answer}) - logit({foil}) after the last token{now}{source}"


def _others(changed_parts: tuple[str, ...]) -> str:
    """another prompt and other edits"""
    return " and ".join(f"{'other' if part.endswith('s') else 'another'} {part}" for part in changed_parts)


def _plural(count: int, name: str) -> str:
    return f"{count} {name}{'' if count == 1 else 's'}"


def _group(edit: Edit, picture: Picture) -> int:
    """Heads that one column stands for: k and v have one for each key-value group."""
    if picture.ready is None or edit.site.part not in ("k", "v"):
        return 1
    return max(picture.ready.shape.n_heads // max(picture.ready.shape.n_kv_heads, 1), 1)


def _number(name: str) -> int:
    """That of a row or column: 5 of L5, H5, @5."""
    found = re.search(r"[0-9]+", name)
    assert found is not None
    return int(found[0])


def _nearest(names: tuple[str, ...], at: int) -> int:
    """Which of the rows or columns (L5, H3, @7) is nearest to this number."""
    return min(range(len(names)), key=lambda i: abs(_number(names[i]) - at))
