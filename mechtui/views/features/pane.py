"""A row for every feature: how much of it there is, what it adds, its size over the prompt, and its words; below them
what the dictionary does not have."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from dataclasses import replace as changed

import numpy as np
from msgspec.structs import replace

from mechtui.embedded.named import saes
from mechtui.none import NONE
from mechtui.paint.numbers import fixed, share
from mechtui.paint.spark import sizes
from mechtui.paint.tokens import fitting, visible
from mechtui.panes.desk import Desk
from mechtui.panes.of_run import NO_DIFFERENCE, OfRun, of_run
from mechtui.panes.pane import Focus, Page, Pane, Picture
from mechtui.panes.rows import Column, Numbers, Rows, Texts, read_cursor, write_cursor
from mechtui.session import changes
from mechtui.session.changes import CannotError
from mechtui.session.document import Edit, SaeName, Site, Span, Vector
from mechtui.session.grammar.edits import format_edit
from mechtui.session.grammar.places import format_site
from mechtui.session.sites import LAYER
from mechtui.views import Question
from mechtui.views.circuit import Scored
from mechtui.views.contexts import Contexts
from mechtui.views.features import SPEC, Features, FeaturesAnswer
from mechtui.visible import seen

# By the pane's least width: how many words of each kind there is room for, their cells, those of a label, and those of
# the activations over the prompt.
ROOM = ((140, (3, 24, 28, 24)), (100, (2, 15, 20, 14)), (0, (1, 9, 14, 9)))
# From so many rows on all lines of what is not listed stand under the list; else the error alone and the sum.
ROOMY = 12


class FeaturesPane(Pane):
    VIEW = SPEC

    def __init__(self, *, name: str | None = None, id: str | None = None, classes: str | None = None) -> None:
        super().__init__(name=name, id=id, classes=classes)
        self._on = ""  # the number of the feature under the cursor
        self._at: int | None = None  # the cursor's column, once it was moved
        self._sizes = ROOM[0][1]
        self._roomy = True

    def cursor(self) -> str:
        return write_cursor(self._on, self._at)

    def put_cursor(self, cursor: str) -> None:
        self._on, self._at = read_cursor(cursor)

    # What is shown

    def _shown(self, picture: Picture) -> OfRun[FeaturesAnswer] | None:
        return of_run(picture.answer(Features), FeaturesAnswer, picture.question(Features).run)

    def _rows(self, picture: Picture, shown: OfRun[FeaturesAnswer]) -> Rows:
        answer, question = shown.answer, picture.question(Features)
        count = len(answer.features)
        words, wide, label, spark = self._sizes
        added = shown.values("attribution")
        below = _below(shown, self._roomy)

        def with_below(values: np.ndarray, more: Callable[[_Below], float]) -> np.ndarray:
            return np.concatenate([values, np.array([more(each) for each in below], dtype=np.float32)])

        columns: list[Column] = [
            Texts("feature", [*(f"F{each}" for each in answer.features), *(b.name for b in below)])
        ]
        if any(answer.labels):
            columns.append(Texts("label", [*map(seen, answer.labels), *[""] * len(below)], most=label))
        by = question.by if added is not None or question.by != "attribution" else "value"
        look = {name: "bar" if name == by else "plain" for name in ("attribution", "value", "share")}
        if added is not None:
            high = float(np.abs(added).max(initial=0.0)) or 1.0
            values = with_below(added, lambda each: each.adds)
            columns.append(Numbers("attribution", values, "attr", "logits", 2, True, look["attribution"], high=high))  # type: ignore[arg-type]
        for name, least in (("value", 1.0), ("share", 1.0)):
            own = shown.of(lambda each, name=name: getattr(each, name))  # type: ignore[misc]
            high = float(np.abs(own).max(initial=0.0)) or least
            own = with_below(own, lambda each, name=name: each.share if name == "share" else NONE)  # type: ignore[misc]
            signs = shown.less is not None
            columns.append(Numbers(name, own, "", "", 2, signs, look[name], high=high))  # type: ignore[arg-type]
        over = [*shown.of(lambda each: each.values), *(each.over for each in below)]
        columns.append(
            Texts("over the prompt", ["" if row is None else sizes(row, spark) for row in over], "prompt", most=spark)
        )
        blank = [""] * len(below)
        columns += [
            Texts("raises", [*(_words(each, words) for each in answer.raises), *blank], most=wide),
            Texts("lowers", [*(_words(each, words) for each in answer.lowers), *blank], most=wide),
        ]
        if answer.vectors:
            columns.append(Texts("cosine", [*(_cosine(answer, row) for row in range(count)), *blank], "cos", most=16))
        rows = tuple(range(count))
        return Rows(tuple(columns), rows, by, below=tuple(range(count, count + len(below))))

    def draw(self, picture: Picture, width: int, height: int) -> Page:
        self._sizes, self._roomy = next(room for least, room in ROOM if width >= least), height >= ROOMY
        question = picture.question(Features)
        where = f"@{picture.position()} {picture.token(picture.position())}"
        named = f"{question.of} {where}".strip()
        answered = picture.answer(Features)
        if answered is not None and answered.edited is None and question.run == "difference":
            return self.blank(NO_DIFFERENCE, width, named)
        shown = self._shown(picture)
        if shown is None:
            return self.blank(self.WAITING, width, named)
        answer = shown.answer
        rows = self._rows(picture, shown)
        page = rows.page(self.palette, width, height, self._cursor(answer), self._at)
        target = "" if answer.answer is None else f" {visible(answer.answer)}"
        target += f" − {visible(answer.foil)}" if answer.foil is not None else ""
        run = {"clean": " clean", "difference": " edited − clean"}.get(question.run, "")
        name = f"{answer.about.name} {where}"
        size = f"{answer.about.features:,} in {answer.about.d_in:,}, {int(answer.on[answer.position]):,} on"
        by = f"by {rows.by}{target if rows.by == 'attribution' else ''}{run}"
        title = self.titled(picture, width, f"{name} ─ {size} ─ {by}", f"{name} ─ {by}", f"{name} {by}", name, "")
        return changed(page, title=title, legend=((_quality(answer, max(width - 4, 0)), self.palette.dim),))

    # The cursor

    def _cursor(self, answer: FeaturesAnswer) -> int:
        """The row that is looked at: its feature's, the first where that is not listed."""
        numbers = [str(each) for each in answer.features]
        return numbers.index(self._on) if self._on in numbers else 0

    def _here(self) -> FeaturesAnswer | None:
        shown = None if self.picture is None else self._shown(self.picture)
        return None if shown is None or not len(shown.answer.features) else shown.answer

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
        self._stand(max(0, min(at + dy, len(answer.features) - 1)))

    def _stand(self, row: int) -> None:
        """On this row, of those that are listed."""
        answer = self._here()
        assert answer is not None
        self._on = str(answer.features[row])
        self.renew()
        self.post_message(self.Moved())

    def hit(self, picture: Picture, index: int, x: int, left: int) -> Focus | None:
        answer = self._here()
        if answer is not None and 0 <= index < len(answer.features):
            self._stand(index)
        return None

    def search(self, text: str, forward: bool = True) -> bool:
        """The next row that has the text in its label, a word or its number."""
        listed, answer = self._listed(), self._here()
        if listed is None or answer is None or not text:
            return super().search(text, forward)
        rows, at = listed
        count = len(answer.features)
        for distance in range(1, count + 1):
            row = (at + (distance if forward else -distance)) % count
            if text.lower() in f"{rows.row_text(row)}\t{answer.labels[row]}".lower():
                self._stand(row)
                return True
        return super().search(text, forward)

    def do_next_dictionary(self, desk: Desk) -> None:
        question = Features() if self.picture is None else self.picture.question(Features)
        names = [sae.name for sae in saes(desk.session, "" if desk.ready is None else desk.ready.name)]
        if len(names) < 2:
            one = f"{names[0]} is the only dictionary" if names else "There is no dictionary"
            raise CannotError(f"{one} of the session: :sae NAME = FILE, FOLDER or HUB-ID names one more.")
        here = self._here()
        now = question.of or (names[0] if here is None else here.about.name)
        after = names[(names.index(now) + 1) % len(names)] if now in names else names[0]
        desk.put(replace(question, of=SaeName(after)))

    def sites(self, picture: Picture) -> tuple[Site, ...]:
        found = self._chosen()
        return () if found is None else (found[1],)

    def unit(self) -> Site | None:
        return None if (found := self._chosen()) is None else found[1]

    def into(self, picture: Picture) -> Question | None:
        """The texts in which the feature fires most."""
        return None if (site := self.unit()) is None else picture.question(Contexts).naming(site)

    def _chosen(self) -> tuple[FeaturesAnswer, Site, int] | None:
        """The feature under the cursor, with its row in the answer."""
        answer = self._here()
        if answer is None:
            return None
        row = self._cursor(answer)
        number = int(answer.features[row])
        return answer, Site("feature", index=Span(number, number), sae=answer.about.name), row

    def do_clamp_feature(self, desk: Desk) -> None:
        found = self._chosen()
        if found is None:
            raise CannotError("There is no feature under the cursor to clamp.")
        answer, site, row = found
        session = desk.session
        at = next((i for i, edit in enumerate(session.edits) if (edit.op, edit.site) == ("clamp", site)), None)
        if at is None:
            at = len(session.edits)
            held = float(f"{2 * float(answer.value[row]):.3g}") or 1.0
            desk.change(changes.add(session, Edit("clamp", site, factor=held)))
        desk.look(replace(desk.focus, edit=at))
        desk.say(f"{format_edit(desk.session.edits[at])}: + and - change it.")

    def do_feature_vector(self, desk: Desk) -> None:
        found = self._chosen()
        if found is None:
            raise CannotError("There is no feature under the cursor whose direction could be taken.")
        answer, site, _ = found
        name = format_site(site)
        if (where := _stream(answer.about.writes)) is None:
            raise CannotError(f"{answer.about.name} does not write to the stream, and a steering vector is of it.")
        desk.change(changes.put_vector(desk.session, Vector(name, "feature", index=site.index.first, sae=site.sae)))
        desk.look(replace(desk.focus, vector=[vector.name for vector in desk.session.vectors].index(name)))
        desk.say(f"{name} is a steering vector now: add {where} {name} x5 adds it.")

    def value(self) -> str:
        return "" if (listed := self._listed()) is None else listed[0].value(listed[1], self._at)

    def row(self) -> str:
        return "" if (listed := self._listed()) is None else listed[0].row_text(listed[1])


def _stream(hook: str) -> str | None:
    """The site whose hook this is: `L8.pre`; None of one that is not of d_model numbers."""
    layer, _, rest = hook.removeprefix("blocks.").partition(".")
    return next((f"L{layer}.{part}" for part, place in LAYER.items() if place.hook == rest), None)


@dataclass(frozen=True, eq=False)
class _Below:
    """A line of what is not listed. over [pos]: its size along the prompt; none where it has none."""

    name: str
    adds: float = NONE
    share: float = NONE
    over: np.ndarray | None = None


def _below(shown: OfRun[FeaturesAnswer], roomy: bool) -> list[_Below]:
    answer = shown.answer

    def adds(name: str) -> float:
        return float(shown.of(lambda each: np.float64(getattr(each, name))))  # type: ignore[arg-type,return-value]

    off = int(answer.on[answer.position]) - int(np.count_nonzero(answer.value))
    length = answer.norm[answer.position] or 1.0
    lines = []
    if roomy and off:
        lines.append(_Below(f"{off:,} more", adds("rest")))
    if roomy:
        lines.append(_Below("bias", adds("bias")))
    if roomy and answer.about.skips:
        lines.append(_Below("skip", adds("skip")))
    lines.append(
        _Below(
            "error",
            adds("error"),
            float(shown.of(lambda each: each.error_norm)[answer.position] / length),
            shown.of(lambda each: each.error_norm / np.maximum(each.norm, 1e-12)),
        )
    )
    if answer.attribution is not None:
        lines.append(_Below("sum", adds("total")))
    return lines


def _quality(answer: FeaturesAnswer, width: int) -> str:
    """How good the dictionary is on this prompt, as much of it as there is room for."""
    few = f"L0 {answer.l0:.1f}"
    explains = f"explains {_of_one(answer.explained_variance)}"
    if math.isnan(answer.loss):
        return fitting(width, f"{few} · {explains} · loss …", f"{few} · {explains}", few, "")
    recovered = f"loss recovered {_of_one(answer.loss_recovered)}"
    losses = f"{fixed(answer.loss).strip()} → {fixed(answer.loss_reconstructed).strip()}"
    whole = f"{losses} nats, 0: {fixed(answer.loss_zeroed).strip()}"
    return fitting(
        width,
        f"{few} · {explains} · {recovered} ({whole})",
        f"{few} · {explains} · {recovered} ({losses})",
        f"{few} · {explains} · {recovered}",
        f"{few} · {explains.replace('explains', 'EV')} · {recovered.replace('loss ', '')}",
        f"{few} · {explains}",
        few,
        "",
    )


def _of_one(value: float) -> str:
    return "?" if math.isnan(value) else share(value).strip()


def _words(found: tuple[Scored, ...], count: int) -> str:
    return " ".join(visible(each.token) for each in found[:count])


def _cosine(answer: FeaturesAnswer, row: int) -> str:
    """The session's vector that lies nearest to the direction, or to its opposite."""
    cosines = answer.cosines[row]
    if np.isnan(cosines).all():
        return ""
    at = int(np.nanargmax(np.abs(cosines)))
    return f"{fixed(float(cosines[at]), sign=True).strip()} {answer.vectors[at]}"


PANE = FeaturesPane
