"""A row for every neuron: how much it does here, its activation over the prompt, and the words that it reads and
writes."""

from __future__ import annotations

from dataclasses import replace as changed

import numpy as np
from msgspec.structs import replace

from mechtui.paint.spark import sizes
from mechtui.paint.tokens import visible
from mechtui.panes.desk import Desk
from mechtui.panes.of_run import NO_DIFFERENCE, OfRun, of_run
from mechtui.panes.pane import Focus, Page, Pane, Picture
from mechtui.panes.rows import Column, Numbers, Rows, Texts, read_cursor, write_cursor
from mechtui.session import changes
from mechtui.session.changes import CannotError
from mechtui.session.document import Edit, Site, Span, Vector
from mechtui.session.grammar.edits import format_edit
from mechtui.session.grammar.places import format_site
from mechtui.views import Question
from mechtui.views.circuit import Scored
from mechtui.views.contexts import Contexts
from mechtui.views.neurons import SPEC, Neurons, NeuronsAnswer

# By the pane's least width: how many words of each kind there is room for, their cells, and those of the activations
# over the prompt.
ROOM = ((140, (3, 26, 24)), (100, (2, 15, 14)), (0, (1, 9, 9)))


class NeuronsPane(Pane):
    VIEW = SPEC

    def __init__(self, *, name: str | None = None, id: str | None = None, classes: str | None = None) -> None:
        super().__init__(name=name, id=id, classes=classes)
        self._on = ""  # the neuron under the cursor
        self._at: int | None = None  # the cursor's column, once it was moved
        self._sizes = ROOM[0][1]

    def cursor(self) -> str:
        return write_cursor(self._on, self._at)

    def put_cursor(self, cursor: str) -> None:
        self._on, self._at = read_cursor(cursor)

    def _shown(self, picture: Picture) -> OfRun[NeuronsAnswer] | None:
        return of_run(picture.answer(Neurons), NeuronsAnswer, picture.question(Neurons).run)

    def _rows(self, picture: Picture, shown: OfRun[NeuronsAnswer]) -> Rows:
        answer, question = shown.answer, picture.question(Neurons)
        names, here = answer.names, answer.position
        post, pre, into, added = (shown.values(name) for name in ("post", "pre", "into", "attribution"))
        assert post is not None
        assert pre is not None
        columns: list[Column] = [Texts("neuron", names)]
        by_added = question.by == "attribution"
        if added is not None:
            most = float(np.abs(added).max(initial=0.0)) or 1.0
            look = "bar" if by_added else "plain"
            columns.append(Numbers("attribution", added, "attr", "logits", signs=True, look=look, high=most))  # type: ignore[arg-type]
        now = post[:, here]
        most = float(np.abs(now).max(initial=0.0)) or 1.0
        columns.insert(
            1 if not by_added else len(columns),
            Numbers("post", now, signs=True, look="plain" if by_added else "bar", high=most),
        )
        columns.append(Numbers("pre" if into is None else "gate", pre[:, here], signs=True))
        if into is not None:
            columns.append(Numbers("in", into[:, here], signs=True))
        count, wide, spark = self._sizes
        columns += [
            Texts("over the prompt", [sizes(row, spark) for row in post], "prompt", most=spark),
            Texts("reads", [_words(each, count) for each in answer.reads], most=wide),
            Texts("raises", [_words(each, count) for each in answer.raises], most=wide),
            Texts("lowers", [_words(each, count) for each in answer.lowers], most=wide),
        ]
        sites = [edit.site for edit in picture.applied() if edit.site.kind == "neuron"]
        edited = frozenset(
            at
            for at, (layer, neuron) in enumerate(zip(answer.layers, answer.neurons, strict=True))
            if any(_covers(site, int(layer), int(neuron)) for site in sites)
        )
        by = question.by if by_added else "post"
        return Rows(tuple(columns), tuple(range(len(names))), by, edited=edited)

    def draw(self, picture: Picture, width: int, height: int) -> Page:
        self._sizes = next(room for least, room in ROOM if width >= least)
        question = picture.question(Neurons)
        where = f"@{picture.position()} {picture.token(picture.position())}"
        of = f"L{question.of} " if question.of >= 0 else ""
        answered = picture.answer(Neurons)
        if answered is not None and answered.edited is None and question.run == "difference":
            return self.blank(NO_DIFFERENCE, width, f"{of}{where}")
        shown = self._shown(picture)
        if shown is None:
            return self.blank(self.WAITING, width, f"{of}{where}")
        rows = self._rows(picture, shown)
        page = rows.page(self.palette, width, height, self._cursor(shown.answer), self._at)
        answer = shown.answer
        target = "" if answer.answer is None else f" {visible(answer.answer)}"
        target += f" − {visible(answer.foil)}" if answer.foil is not None else ""
        run = {"clean": " clean", "difference": " edited − clean"}.get(question.run, "")
        by = f"by {question.by}"
        title = self.titled(
            picture,
            width,
            f"{of}{where} {by}{target if question.by == 'attribution' else ''}{run}",
            f"{of}{where} {by}",
            f"{of}{where}",
            "",
        )
        said = "logits" if question.by == "attribution" else answer.why
        return changed(
            page,
            title=title,
            legend=((said, self.palette.dim),) if said else (),
        )

    # The cursor

    def _cursor(self, answer: NeuronsAnswer) -> int:
        """The row that is looked at: its neuron's, the first where that is not listed."""
        return answer.names.index(self._on) if self._on in answer.names else 0

    def _here(self) -> NeuronsAnswer | None:
        shown = None if self.picture is None else self._shown(self.picture)
        return None if shown is None or not len(shown.answer.neurons) else shown.answer

    def _site(self) -> Site | None:
        """The neuron under the cursor."""
        if (answer := self._here()) is None:
            return None
        at = self._cursor(answer)
        layer, neuron = int(answer.layers[at]), int(answer.neurons[at])
        return Site("neuron", Span(layer, layer), Span(neuron, neuron))

    def _listed(self) -> tuple[Rows, int] | None:
        shown = None if self.picture is None else self._shown(self.picture)
        if shown is None or self.picture is None:
            return None
        return self._rows(self.picture, shown), self._cursor(shown.answer)

    def move(self, dx: int, dy: int) -> None:
        answer, listed = self._here(), self._listed()
        if answer is None or listed is None:
            return
        rows, at = listed
        if dx:
            self._at = rows.beside(self._at, dx)
        self._on = answer.names[max(0, min(at + dy, len(answer.names) - 1))]
        self.renew()

    def hit(self, picture: Picture, index: int, x: int, left: int) -> Focus | None:
        answer = self._here()
        if answer is not None and 0 <= index < len(answer.names):
            self._on = answer.names[index]
            self.renew()
        return None

    def search(self, text: str, forward: bool = True) -> bool:
        """The next row that has the text in a word or in its name."""
        listed, answer = self._listed(), self._here()
        if listed is None or answer is None or not text:
            return super().search(text, forward)
        rows, at = listed
        for distance in range(1, len(answer.names) + 1):
            row = (at + (distance if forward else -distance)) % len(answer.names)
            if text.lower() in rows.row_text(row).lower():
                self._on = answer.names[row]
                self.renew()
                return True
        return super().search(text, forward)

    # Where it leads, and what is done to it

    def into(self, picture: Picture) -> Question | None:
        """The texts in which the neuron fires most."""
        site = self._site()
        if site is None:
            return None
        return replace(picture.question(Contexts), neurons=((site.layers.first, site.index.first),))

    def sites(self, picture: Picture) -> tuple[Site, ...]:
        site = self._site()
        return () if site is None else (site,)

    def do_scale_neuron(self, desk: Desk) -> None:
        site = self._site()
        if site is None:
            raise CannotError("There is no neuron under the cursor to scale.")
        session = desk.session
        at = next((i for i, edit in enumerate(session.edits) if (edit.op, edit.site) == ("scale", site)), None)
        if at is None:
            at = len(session.edits)
            desk.change(changes.add(session, Edit("scale", site, factor=2.0)))
        desk.look(replace(desk.focus, edit=at))
        desk.say(f"{format_edit(desk.session.edits[at])}: + and - change it.")

    def do_neuron_vector(self, desk: Desk) -> None:
        site = self._site()
        if site is None:
            raise CannotError("There is no neuron under the cursor whose write vector could be taken.")
        name, layer = format_site(site), site.layers.first
        desk.change(changes.put_vector(desk.session, Vector(name, "neuron", layer=layer, index=site.index.first)))
        names = [vector.name for vector in desk.session.vectors]
        desk.look(replace(desk.focus, vector=names.index(name)))
        desk.say(f"{name} is a steering vector now: add L{layer}.post {name} x5 adds it.")

    def value(self) -> str:
        return "" if (listed := self._listed()) is None else listed[0].value(listed[1], self._at)

    def row(self) -> str:
        return "" if (listed := self._listed()) is None else listed[0].row_text(listed[1])


def _words(found: tuple[Scored, ...], count: int) -> str:
    return " ".join(visible(each.token) for each in found[:count])


def _covers(site: Site, layer: int, neuron: int) -> bool:
    """Whether an edit there acts on this neuron."""
    return all(
        span.first <= at and (span.last is None or at <= span.last)
        for span, at in ((site.layers, layer), (site.index, neuron))
    )


PANE = NeuronsPane
