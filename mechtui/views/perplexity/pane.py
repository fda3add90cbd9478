"""A text's perplexity clean and edited, and a row for every window."""

from __future__ import annotations

import math
from dataclasses import dataclass
from dataclasses import replace as changed

import numpy as np
from msgspec.structs import replace

from mechtui.link.messages import Answered
from mechtui.paint.numbers import fixed
from mechtui.paint.tokens import visible_text
from mechtui.panes.desk import Desk
from mechtui.panes.pane import Page, Pane, Picture, line, wrap
from mechtui.panes.rows import Column, Numbers, Rows, Texts, ordered, read_cursor, read_number, write_cursor
from mechtui.session.document import Session
from mechtui.views import Question
from mechtui.views.perplexity import ORDERS, SPEC, Perplexity, PerplexityAnswer

NO_FILE = "no text is named yet: w names a text file"


@dataclass(frozen=True, eq=False)
class _Shown:
    """old: whether the session was another when it was measured."""

    clean: PerplexityAnswer
    edited: PerplexityAnswer | None
    old: bool

    @property
    def done(self) -> int:
        """Windows that were read."""
        return min(len(each.loss) for each in (self.clean, self.edited) if each is not None)


class PerplexityPane(Pane):
    VIEW = SPEC

    def __init__(self, *, name: str | None = None, id: str | None = None, classes: str | None = None) -> None:
        super().__init__(name=name, id=id, classes=classes)
        self._line_here = 0  # the window under the cursor
        self._at: int | None = None  # the cursor's column, once it was moved
        # What was measured last, and of which session: it stays when an edit changes, and says that it is old.
        self._last: tuple[Session, Answered] | None = None

    def cursor(self) -> str:
        return write_cursor(self._line_here, self._at)

    def put_cursor(self, cursor: str) -> None:
        row, self._at = read_cursor(cursor)
        self._line_here = read_number(row)

    def show(self, picture: Picture) -> None:
        answered = picture.answer(Perplexity)
        if answered is not None and not picture.stale and isinstance(answered.clean, PerplexityAnswer):
            self._last = picture.session, answered
        super().show(picture)

    def _shown(self, picture: Picture) -> _Shown | None:
        """None where nothing was measured with this line."""
        asked = picture.question(Perplexity).asked()
        if self._last is None or self._last[1].question != asked:
            return None
        session, answered = self._last
        old = _made_of(session) != _made_of(picture.session)
        clean, edited = answered.clean, answered.edited
        assert isinstance(clean, PerplexityAnswer)
        return _Shown(clean, edited if isinstance(edited, PerplexityAnswer) else None, old)

    def lacks(self, picture: Picture) -> str:
        return "" if picture.question(Perplexity).file else NO_FILE

    # What is shown

    def _rows(self, shown: _Shown, picture: Picture) -> Rows:
        clean, edited, done = shown.clean, shown.edited, shown.done
        losses = [each.loss[:done] for each in (clean, edited) if each is not None]
        low = float(min((np.nanmin(each, initial=np.inf) for each in losses), default=0.0))
        high = float(max((np.nanmax(each, initial=0.0) for each in losses), default=1.0)) or 1.0
        digits = len(str(max(clean.windows - 1, 0)))
        columns: list[Column] = [
            Texts("window", [f"{at:>{digits}}" for at in range(done)]),
            Numbers("loss", losses[0], unit="nats", look="bar" if edited is None else "shade", high=high),
        ]
        if edited is not None:
            change = losses[1] - losses[0]
            most = float(np.nanmax(np.abs(change), initial=0.0)) or 1.0
            columns += [
                Numbers("edited", losses[1], unit="nats", look="shade", low=min(low, 0.0), high=high),
                Numbers("change", change, "chg", "nats", signs=True, look="bar", high=most),
            ]
        columns.append(Texts("begins", [visible_text(text) for text in clean.texts[:done]], most=48))
        question = picture.question(Perplexity)
        return Rows(tuple(columns), ordered(columns, question.by, question.up), question.by, question.up)

    def draw(self, picture: Picture, width: int, height: int) -> Page:
        question, shown = picture.question(Perplexity), self._shown(picture)
        name = visible_text(question.file)
        if shown is None:
            if why := self.lacks(picture):
                return self.blank(why, width)
            share = "" if picture.progress is None else f": {picture.progress:.0%}"
            return self.blank(f"reading{share}" if picture.job else f"{name}: . reads it", width, name)
        rows = self._rows(shown, picture)
        foot = [line((text, self.palette.dim)) for note in _notes(shown, picture) for text in wrap(note, width)]
        foot = foot[: max(height - 4, 0)]  # some windows stay in sight
        page = rows.page(self.palette, width, max(height - len(foot), 2), self._cursor(rows), self._at)
        losses, perplexities = (_arrow(shown, each) for each in ("mean", "perplexity"))
        old = " ○ old" if shown.old else ""
        state = "" if shown.done == shown.clean.windows else f" {shown.done} of {shown.clean.windows}"
        title = self.titled(
            picture,
            width,
            f"{name}{state}{old} ─ {perplexities}, mean loss {losses} nats",
            f"{name}{state}{old} ─ {perplexities}",
            f"{perplexities}{old}",
            "",
        )
        legend = f"windows of {shown.clean.window}, stride {shown.clean.stride}, {shown.clean.counted:,} tokens"
        return changed(
            page,
            foot=[*page.foot, *foot] if height >= 6 else page.foot,
            title=title,
            legend=((legend, self.palette.dim),),
        )

    # Moving

    def _cursor(self, rows: Rows) -> int:
        """The number of the window that is looked at."""
        return rows.order[min(self._line_here, len(rows.order) - 1)] if rows.order else 0

    def _listed(self) -> Rows | None:
        if self.picture is None or (shown := self._shown(self.picture)) is None:
            return None
        return self._rows(shown, self.picture)

    def move(self, dx: int, dy: int) -> None:
        if (rows := self._listed()) is None:
            return
        if dx:
            self._at = rows.beside(self._at, dx)
        self._line_here = max(0, min(self._line_here + dy, len(rows.order) - 1))
        self.renew()

    # The view's own actions

    def _asked(self) -> Perplexity:
        question = self._question()
        assert isinstance(question, Perplexity)
        return question

    def do_text_file(self, desk: Desk) -> None:
        desk.open_line("text_file", self._asked().file)

    def named(self, file: str) -> Question:
        """The line of this text file."""
        return replace(self._asked(), file=file)

    def do_sort_windows(self, desk: Desk) -> None:
        """By the column that the cursor stands in; the other way round where it sorts already."""
        question, rows = self._asked(), self._listed()
        name = "loss" if rows is None else rows.columns[rows.beside(self._at, 0)].name
        by = next((order for order in ORDERS if order == name), "text")
        desk.put(replace(question, by=by, up=by == question.by and not question.up))

    def value(self) -> str:
        return "" if (rows := self._listed()) is None else rows.value(self._cursor(rows), self._at)

    def row(self) -> str:
        return "" if (rows := self._listed()) is None else rows.row_text(self._cursor(rows))


def _made_of(session: Session) -> tuple[object, ...]:
    """What of a session decides the numbers: the prompt does not."""
    texts = session.references, session.source
    return session.model, session.active_edits(), session.vectors, session.bos, session.linear, *texts


def _arrow(shown: _Shown, name: str) -> str:
    clean = float(getattr(shown.clean, name))
    if shown.edited is None:
        return fixed(clean)
    edited = float(getattr(shown.edited, name))
    change = edited - clean
    return f"{fixed(clean)} -> {fixed(edited)}" + (
        "" if math.isnan(change) else f" ({fixed(change, sign=True).strip()})"
    )


def _notes(shown: _Shown, picture: Picture) -> list[str]:
    """What must be said of the numbers."""
    notes = [f"left out: {each}" for each in shown.clean.left_out]
    for which, answer in (("clean", shown.clean), ("edited", shown.edited)):
        if answer is not None and (count := int(np.isnan(answer.loss).sum())):
            windows = "1 window" if count == 1 else f"{count} windows"
            notes.append(f"{which}: the logits of {windows} are not finite: there is no mean")
    if shown.old:
        notes.append("old, of another state of the session; . reads it again")
    elif shown.done < shown.clean.windows and not picture.job:
        notes.append(f"{shown.done} of {shown.clean.windows} windows: it was stopped; . goes on where it was")
    return notes


PANE = PerplexityPane
