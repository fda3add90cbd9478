"""A row for every token: the loss of what follows it by bigrams and by the model, and what both hold for likely."""

from __future__ import annotations

from dataclasses import replace as changed

import numpy as np
from msgspec.structs import replace

from mechtui.paint import marks
from mechtui.paint.numbers import fixed, share
from mechtui.paint.tokens import visible
from mechtui.panes.desk import Desk
from mechtui.panes.of_run import NO_DIFFERENCE, OfRun, of_run
from mechtui.panes.pane import Page, Picture
from mechtui.panes.rows import Numbers, Rows, Texts, ordered
from mechtui.panes.token_rows import TokenRows
from mechtui.session.document import Token
from mechtui.session.grammar.words import one_of
from mechtui.views import Question
from mechtui.views.bigrams import ORDERS, SPEC, Bigrams, BigramsAnswer

# A pane of this many cells has room for all the words; a narrower one for the likeliest of each.
ROOMY = 100


class BigramsPane(TokenRows):
    VIEW = SPEC

    def __init__(self, *, name: str | None = None, id: str | None = None, classes: str | None = None) -> None:
        super().__init__(name=name, id=id, classes=classes)
        self._wide = True

    def _shown(self, picture: Picture) -> OfRun[BigramsAnswer] | None:
        return of_run(picture.answer(Bigrams), BigramsAnswer, picture.question(Bigrams).run)

    def _rows(self, picture: Picture) -> Rows | None:
        found = self._shown(picture)
        if found is None or not len(found.answer.bigrams):
            return None
        answer, differs = found.answer, found.less is not None
        count, digits = len(answer.bigrams), len(str(len(answer.bigrams) - 1))
        bigrams, model = found.of(lambda each: each.bigrams), found.of(lambda each: each.model)
        gain = bigrams - model
        high = float(np.nanmax(np.abs([bigrams, model]), initial=0.0)) or 1.0
        most = float(np.nanmax(np.abs(gain), initial=0.0)) or 1.0
        columns = (
            Texts("token", [f"{at:>{digits}} {picture.token(at)}" for at in range(count)], most=24),
            Numbers("bigrams", bigrams, "bigr", "nats", signs=differs, look="shade", high=high),
            Numbers("model", model, "model", "nats", signs=differs, look="shade", high=high),
            Numbers("gain", gain, unit="nats", signs=True, look="bar", high=most),
            self._words("bigrams say", "they say", answer.best, answer.probs),
            self._words("the model says", "model says", answer.model_best, answer.model_probs),
        )
        question = picture.question(Bigrams)
        order = ordered(columns, question.by, question.up)
        touched = marks.edited_positions(picture.applied(), picture.tokens.tokens if picture.tokens else ())
        return Rows(columns, order, question.by, question.up, edited=frozenset(touched))

    def _words(self, name: str, head: str, best: tuple[tuple[Token, ...], ...], probs: np.ndarray) -> Texts:
        count, most = (probs.shape[1], 48) if self._wide else (1, 14)
        rows = zip(best, probs.tolist(), strict=True)
        pairs = (zip(tokens[:count], row, strict=False) for tokens, row in rows)
        texts = ["  ".join(f"{visible(token)} {share(prob)}" for token, prob in row) for row in pairs]
        return Texts(name, texts, head, most)

    def draw(self, picture: Picture, width: int, height: int) -> Page:
        self._wide = width >= ROOMY
        question = picture.question(Bigrams)
        path = " through MLPs" if question.mlps else ""
        if (answered := picture.answer(Bigrams)) is None:
            return self.blank(self.WAITING, width, path.strip())
        if answered.edited is None and question.run == "difference":
            return self.blank(NO_DIFFERENCE, width, path.strip())
        found, rows = self._shown(picture), self._rows(picture)
        if found is None or rows is None:
            return self.blank("no tokens: i types a prompt", width)
        page = rows.page(self.palette, width, height, picture.position(), self._at)
        by = "" if question.by == "text" else f", by {question.by}{' up' if question.up else ''}"
        run = {"clean": " clean", "difference": " edited − clean"}.get(question.run, "")
        sign = found.less is not None
        means = (
            f"{fixed(found.number('mean_bigrams'), sign=sign)}, model {fixed(found.number('mean_model'), sign=sign)}"
        )
        uniform = f", uniform {fixed(found.answer.uniform)}"
        title = self.titled(
            picture,
            width,
            f"nats{path}{run}{by} ─ mean {means}{uniform}",
            f"nats{path}{run} ─ mean {means}",
            f"{means}",
            "",
        )
        explained = found.number("explained")
        said = "" if np.isnan(explained) else f"explain {fixed(explained, sign=sign).strip()} of what the model knows"
        return changed(
            page,
            title=title,
            legend=((said, self.palette.dim),) if said else (),
        )

    def _asked(self) -> Bigrams:
        question = self._question()
        assert isinstance(question, Bigrams)
        return question

    def do_through_mlps(self, desk: Desk) -> None:
        question = self._asked()
        desk.put(replace(question, mlps=not question.mlps))

    def do_sort_bigrams(self, desk: Desk) -> None:
        """By the column that the cursor stands in; the other way round where it sorts already."""
        question = self._asked()
        by = one_of(self._column("gain"), ORDERS) or "text"
        desk.put(replace(question, by=by, up=by == question.by and not question.up))

    def next(self) -> Question:
        return self._asked().next()


PANE = BigramsPane
