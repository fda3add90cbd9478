"""Every number of a range as a variant of the run, in batches; then, where asked for, what each of them goes on to
write."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace as changed
from typing import Any

import numpy as np
import torch
from msgspec.structs import replace

from mechtui.engine.api import (
    CLEAN,
    EDITED,
    Answers,
    EditError,
    HookEdits,
    Ids,
    Need,
    Numbers,
    OpenSession,
    Run,
    SessionError,
    length,
    typical,
)
from mechtui.evidence import spread
from mechtui.none import NONE
from mechtui.session.document import Edit, Token
from mechtui.session.grammar.words import format_number
from mechtui.session.roles import same_everywhere
from mechtui.views.dose import Dose, DoseAnswer, Point, bare, called, dosed, read_at
from mechtui.views.over import Over
from mechtui.views.question import Answer

# Of a case.
TABLES = ("logit_diff", "kl", "share")


def needs(question: Dose, opened: OpenSession) -> list[Need]:
    return []


def answers(question: Dose, opened: OpenSession) -> Answers:
    edit = question.chosen(opened.session)
    if edit is None:
        lacks = "an edit with a number"
        raise SessionError(
            f"a dose is that of an edit: write one, as in scale L3.mlp x0.5, or {lacks} in the line", lacks
        )
    opened.check_site(edit.site)
    if question.layers and edit.site.kind != "layer":
        raise SessionError(f"{called(edit)} acts at no part of a layer, so there are no layers to go through")
    others = [
        (at, each) for at, each in enumerate(opened.session.edits) if each.on and opened.hook_edits(at) is not None
    ]
    own = _place(edit, opened.session.edits)
    before, after = [each for at, each in others if at < own], [each for at, each in others if at > own]
    if question.cases:
        yield from _over_cases(question, edit, opened, before, after)
        return
    clean = _Points(question, edit, opened, [], [])
    edited = _Points(question, edit, opened, before, after) if before or after else None
    both = [points for points in (edited, clean) if points is not None]

    def answer() -> tuple[DoseAnswer, DoseAnswer | None, bool]:
        runs, done = (sum(getattr(each, name) for each in both) for name in ("runs", "done"))
        opened.progress(done / max(runs, 1))
        return clean.answer(), edited.answer() if edited is not None else None, done < runs

    yield answer()
    for points in both:
        for _ in points.measure():
            yield answer()
    for points in both:
        for _ in points.say():
            yield answer()


def _over_cases(question: Dose, edit: Edit, opened: OpenSession, before: list[Edit], after: list[Edit]) -> Answers:
    if why := same_everywhere(edit):
        raise SessionError(why)

    def numbers(case: OpenSession, run: Run) -> Numbers:
        """Of the case alone, or where the run has edits beside the others."""
        points = _Points(question, edit, case, *((before, after) if run.edits else ([], [])))
        for _ in points.measure():
            case.progress(points.done / points.runs)
        said = points.answer()
        baseline = NONE if said.baseline is None else said.baseline
        return {**{name: getattr(said, name) for name in TABLES}, "baseline": np.array(baseline)}

    others = replace(opened.session, edits=(*before, *after))
    over = opened.over_each(replace(question, edit=edit), numbers, others)
    layers = tuple(range(opened.shape.n_layers)) if question.layers else (-1,)
    given = question.numbers(edit)
    size = (len(layers), len(given))

    def answer(run: int) -> DoseAnswer:
        diff, said = Over.made(
            over.of, over.cases, over.problems(run), over.table(run, "logit_diff", size), over.asked(run)
        )
        kl, share = (spread(over.table(run, name, size)).mean for name in ("kl", "share"))
        none = np.full(size, NONE, dtype=np.float32)
        texts = tuple(((),) * size[1] for _ in layers)
        done = over.runs - len(over.missing())
        return DoseAnswer(
            called(edit), given, layers, diff, kl, share, none, texts, over.mean(run, "baseline"), over.runs, done, said
        )

    def both() -> tuple[DoseAnswer, DoseAnswer | None]:
        return answer(CLEAN), answer(EDITED) if over.edited else None

    for _ in over.parts():
        yield *both(), True
    yield *both(), False


def _place(edit: Edit, edits: Sequence[Edit]) -> int:
    """Where among the session's edits the dosed one stands, on or off; behind them all where it is none of them."""
    same = [at for at, each in enumerate(edits) if bare(each) == edit]
    return next((at for at in same if edits[at].on), same[0] if same else len(edits))


class _Kept(Answer, frozen=True, tag="dose points", eq=False):
    """What is known of a run's points, by (row, number): it stays with the run, so that a job which was stopped goes
    on. tables: logit_diff and kl, NaN where nothing is known, infinite where a run left no finite number. said: text,
    and its loss."""

    tables: dict[str, np.ndarray]
    said: dict[tuple[int, int, int], tuple[tuple[Token, ...], float]]


class _Points:
    """The points over one run. before, after: the edits that act besides the dosed one, which stands between them."""

    def __init__(self, question: Dose, edit: Edit, opened: OpenSession, before: list[Edit], after: list[Edit]) -> None:
        self.question, self.edit, self.opened = question, edit, opened
        self.before, self.after = before, after
        self.numbers = question.numbers(edit)
        self.layers = list(range(opened.shape.n_layers)) if question.layers else [-1]
        self.position = len(opened.ids) - 1
        self.answer_id, self.foil_id = opened.targets_at(self.position)
        self.run: Run = opened.run(opened.ids, self._of(opened.ids, None)) if before or after else opened.clean
        self.places: list[tuple[int, int]] = []
        self.variants: list[HookEdits] = []
        for row, layer in enumerate(self.layers):
            for column, number in enumerate(self.numbers):
                try:
                    variant = self._of(opened.ids, Point(number, layer))
                except EditError:
                    continue  # the model has no such place, or the vector cannot be read there
                self.places.append((row, column))
                self.variants.append(variant)
        if not self.places:
            self._of(opened.ids, Point(self.numbers[0], self.layers[0]))  # raises why
        kept = self.run.remembered(Dose, (tuple(self.variants), self.answer_id, self.foil_id), self._empty)
        assert isinstance(kept, _Kept)
        self.kept = kept
        self.wanted = self._wanted()

    def _empty(self) -> _Kept:
        shape = (len(self.layers), len(self.numbers))
        return _Kept({name: np.full(shape, NONE, dtype=np.float32) for name in ("logit_diff", "kl")}, {})

    def _of(self, ids: Ids, point: Point | None) -> HookEdits:
        """All that acts on a text that begins with the prompt. Raises EditError."""
        opened = self.opened
        found: list[Any] = []
        for each in self.before:
            found += opened.hook_edits_of(each, ids, True)
        if point is not None:
            found += self._dosed(ids, point)
        for each in self.after:
            found += opened.hook_edits_of(each, ids, True)
        return tuple(found)

    def _dosed(self, ids: Ids, point: Point) -> HookEdits:
        opened = self.opened
        made = opened.hook_edits_of(dosed(self.edit, point.number, point.layer), ids, True)
        vector = opened.session.vector(self.edit.vector) if self.edit.vector else None
        if vector is None or point.layer < 0:
            return made
        there = opened.steering(read_at(vector, self.edit.site, point.layer))
        opened.vector(there)
        return tuple(changed(each, vector=there) for each in made)

    # The first stage

    def _missing(self) -> list[int]:
        return [number for number, place in enumerate(self.places) if np.isnan(self.kept.tables["kl"][place])]

    @property
    def runs(self) -> int:
        return len(self.places) + len(self.wanted)

    @property
    def done(self) -> int:
        said = sum((*place, self.question.tokens) in self.kept.said for place in self.wanted)
        return len(self.places) - len(self._missing()) + said

    def measure(self) -> Iterator[None]:
        """Compute the missing ones; after each batch there are more."""
        missing, tables = self._missing(), self.kept.tables
        clean = self.opened.clean.logits([self.position])[0].log_softmax(-1)
        for part in self.run.parts([self.variants[number] for number in missing], self.position):
            log = part.logits.log_softmax(-1)
            kl = (clean.exp() * (clean - log)).sum(-1).tolist()
            for at, number in enumerate(part.numbers):
                place = self.places[missing[number]]
                tables["kl"][place] = kl[at] if math.isfinite(kl[at]) else math.inf
                if self.answer_id is not None and self.foil_id is not None:
                    tables["logit_diff"][place] = float(part.logits[at, self.answer_id] - part.logits[at, self.foil_id])
            yield

    # The second

    def _wanted(self) -> list[tuple[int, int]]:
        """Places whose continuation is asked for."""
        question = self.question
        if not question.text:
            return []
        if question.at is None:
            return self.places
        point = question.at
        found = [
            place
            for place in self.places
            if math.isclose(self.numbers[place[1]], point.number, abs_tol=1e-9)
            and point.layer in (-1, self.layers[place[0]])
        ]
        if not found:
            numbers = ", ".join(map(format_number, self.numbers))
            raise SessionError(f"{question.line()}: {format_number(point.number)} is none of {numbers}")
        return found

    def say(self) -> Iterator[None]:
        for place in self.wanted:
            key = (*place, self.question.tokens)
            if key not in self.kept.said:
                self.kept.said[key] = self._said(place)
                yield

    @torch.inference_mode()
    def _said(self, place: tuple[int, int]) -> tuple[tuple[Token, ...], float]:
        """The text that the model goes on to write greedily, and its mean loss by the clean model."""
        opened, count = self.opened, len(self.opened.ids)
        point = Point(self.numbers[place[1]], self.layers[place[0]])
        run = opened.run_once(opened.ids, self.variants[self.places.index(place)], self.run)
        ids = opened.ids
        while len(ids) < min(count + self.question.tokens, opened.shape.n_ctx):
            logits = run.logits([-1])[0]
            if not bool(logits.isfinite().all()):
                break
            id = int(logits.argmax())
            if id == opened.eos_id:
                break
            ids = (*ids, id)
            opened.check_cancelled()
            run = run.continued(id, self._of(ids, point))
        if len(ids) == count:
            return (), NONE
        loss = float(opened.run_once(ids, (), opened.clean).surprise()[count:].mean())
        return tuple(opened.token(id) for id in ids[count:]), loss

    # What is said

    def _share(self, layer: int) -> np.ndarray:
        """[number]: the length of what is added over that of the activation, as far as it is known."""
        numbers = np.asarray(self.numbers, dtype=np.float32)
        if self.edit.op == "scale":
            return np.abs(numbers - 1)
        try:
            first = self._dosed(self.opened.ids, Point(1.0, layer))[0]
        except EditError:
            return np.full(len(numbers), NONE, dtype=np.float32)
        if first.vector is None:
            return np.full(len(numbers), NONE, dtype=np.float32)
        norms = self.opened.clean.take(Need(first.hook, "norm"))[first.positions]
        return np.abs(numbers) * np.float32(length(self.opened.vector(first.vector)) / typical(norms))

    def answer(self) -> DoseAnswer:
        tables = {
            name: np.where(np.isinf(table), np.float32(np.nan), table) for name, table in self.kept.tables.items()
        }
        loss = np.full_like(tables["kl"], NONE)
        tokens: list[tuple[tuple[Token, ...], ...]] = []
        for row in range(len(self.layers)):
            said = [
                self.kept.said.get((row, column, self.question.tokens), ((), NONE))
                for column in range(len(self.numbers))
            ]
            loss[row] = [each for _, each in said]
            tokens.append(tuple(text for text, _ in said))
        baseline = None
        if self.answer_id is not None and self.foil_id is not None:
            logits = self.run.logits([self.position])[0]
            baseline = float(logits[self.answer_id] - logits[self.foil_id])
        return DoseAnswer(
            edit=called(self.edit),
            numbers=self.numbers,
            layers=tuple(self.layers),
            logit_diff=tables["logit_diff"],
            kl=tables["kl"],
            share=np.stack([self._share(layer) for layer in self.layers]),
            loss=loss,
            tokens=tuple(tokens),
            baseline=baseline,
            runs=self.runs,
            done=self.done,
        )
