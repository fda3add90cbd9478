"""A row for every token: its loss clean and edited, and the tokens that were likelier."""

from __future__ import annotations

from dataclasses import replace as changed

import numpy as np
from msgspec.structs import replace

from mechtui.paint import marks
from mechtui.paint.numbers import fixed, share
from mechtui.paint.tokens import visible
from mechtui.panes.desk import Desk
from mechtui.panes.pane import Page, Picture
from mechtui.panes.rows import Column, Numbers, Rows, Texts, ordered
from mechtui.panes.token_rows import TokenRows
from mechtui.session.grammar.words import one_of
from mechtui.views import Question
from mechtui.views.loss import ORDERS, SPEC, Loss, LossAnswer


class LossPane(TokenRows):
    VIEW = SPEC

    def _answers(self, picture: Picture) -> tuple[LossAnswer, LossAnswer | None] | None:
        answered = picture.answer(Loss)
        if answered is None or not isinstance(answered.clean, LossAnswer):
            return None
        return answered.clean, answered.edited if isinstance(answered.edited, LossAnswer) else None

    def _rows(self, picture: Picture) -> Rows | None:
        """The list; None where there is nothing to list."""
        found = self._answers(picture)
        if found is None or not len(found[0].loss):
            return None
        clean, edited = found
        shown = edited or clean
        count, digits = len(clean.loss), len(str(len(clean.loss) - 1))
        losses = [clean.loss] if edited is None else [clean.loss, edited.loss]
        high = max((float(np.nanmax(each)) for each in losses if not np.isnan(each).all()), default=1.0) or 1.0
        columns: list[Column] = [
            Texts("token", [f"{at:>{digits}} {picture.token(at)}" for at in range(count)], most=24),
            Numbers("loss", clean.loss, unit="nats", look="bar" if edited is None else "shade", high=high),
        ]
        if edited is not None and len(edited.loss) == count:
            change = edited.loss - clean.loss
            most = float(np.nanmax(np.abs(change), initial=0.0)) or 1.0
            columns += [
                Numbers("edited", edited.loss, unit="nats", look="shade", high=high),
                Numbers("change", change, "chg", "nats", signs=True, look="bar", high=most),
            ]
        columns += [
            Numbers("rank", shown.rank, places=0),
            Texts("best", [_likeliest(shown, at, 0, 1) for at in range(count)], most=16),
            Texts("then", [_likeliest(shown, at, 1, shown.probs.shape[1]) for at in range(count)], most=48),
        ]
        question = picture.question(Loss)
        order = ordered(columns, question.by, question.up)
        tokens = picture.tokens.tokens if picture.tokens else ()
        touched = marks.edited_positions(picture.applied(), tokens)
        return Rows(tuple(columns), order, question.by, question.up, edited=frozenset(touched))

    def draw(self, picture: Picture, width: int, height: int) -> Page:
        found, rows = self._answers(picture), self._rows(picture)
        if found is None:
            return self.blank(self.WAITING, width)
        if rows is None:
            return self.blank("no tokens: i types a prompt", width)
        clean, edited = found
        page = rows.page(self.palette, width, height, picture.position(), self._at)
        question = picture.question(Loss)
        by = "" if question.by == "text" else f", by {question.by}{' up' if question.up else ''}"
        mean = _arrow(clean.mean, None if edited is None else edited.mean)
        total = _arrow(clean.sum, None if edited is None else edited.sum)
        title = self.titled(
            picture, width, f"nats{by} ─ mean {mean}, sum {total}", f"nats{by} ─ mean {mean}", "nats", ""
        )
        at = picture.position()
        loss = fixed(float((edited or clean).loss[min(at, len(clean.loss) - 1)])) or "none: nothing stands before it"
        return changed(
            page,
            title=title,
            legend=((f"@{at} {loss}", self.palette.bold),),
        )

    def do_sort_loss(self, desk: Desk) -> None:
        """By the column that the cursor stands in; the other way round where it sorts already."""
        question = Loss() if self.picture is None else self.picture.question(Loss)
        by = one_of(self._column("loss"), ORDERS) or "text"
        desk.put(replace(question, by=by, up=by == question.by and not question.up))

    def next(self) -> Question:
        """In the next order that the list has."""
        question = Loss() if self.picture is None else self.picture.question(Loss)
        rows = None if self.picture is None else self._rows(self.picture)
        names = {"text"} if rows is None else {"text", *(column.name for column in rows.columns)}
        question = question.next()
        while question.by not in names:
            question = question.next()
        return question


def _likeliest(answer: LossAnswer, at: int, first: int, end: int) -> str:
    """The likeliest tokens there from the `first` on, with their probabilities."""
    pairs = zip(answer.best[at][first:end], answer.probs[at][first:end].tolist(), strict=False)
    return "  ".join(f"{visible(token)} {share(prob)}" for token, prob in pairs)


def _arrow(clean: float, edited: float | None) -> str:
    return fixed(clean) if edited is None else f"{fixed(clean)} -> {fixed(edited)}"


PANE = LossPane
