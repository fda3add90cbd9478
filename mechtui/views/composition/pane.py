"""The pairs of heads that compose most, by the weights or on this prompt, as a list; all of them as a map, later heads
down and earlier ones across."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from dataclasses import replace as changed

import numpy as np
from msgspec.structs import replace

from mechtui.none import NONE
from mechtui.paint.numbers import fixed
from mechtui.paint.tokens import fitting, visible_text
from mechtui.panes.desk import Desk
from mechtui.panes.grid import Grid
from mechtui.panes.pane import Focus, Line, Page, Pane, Picture, line, wrap
from mechtui.panes.rows import Numbers, Rows, Texts, read_cursor, read_number, write_cursor
from mechtui.session import changes
from mechtui.session.changes import CannotError, head_site
from mechtui.session.document import Site
from mechtui.session.grammar.edits import format_edit
from mechtui.views import Question
from mechtui.views.attention import Attention
from mechtui.views.composition import SPEC, Composition, CompositionAnswer, Kind
from mechtui.views.path import Part as PathPart
from mechtui.views.path import Path

# Rows of the list; what is weaker says little.
MOST = 500
MEANS = {"Q": "queries", "K": "keys", "V": "values"}
PARTS: dict[Kind, PathPart] = {"Q": "q", "K": "k", "V": "v"}
# Rows from which on the list says below what its numbers are.
EXPLAINED = 8


@dataclass(frozen=True, eq=False)
class _Shown:
    """answer: with the weights' numbers. here [later, earlier]: what the pairs do on this prompt, in the run that the
    line names; which: that run, where there are two. by_here: whether the list is sorted by it."""

    answer: CompositionAnswer
    here: np.ndarray
    which: str
    by_here: bool

    @property
    def values(self) -> np.ndarray:
        return self.here if self.by_here else self.answer.values


@dataclass(frozen=True, eq=False)
class _Listed:
    """pairs: (later head, earlier head) of each row, heads counted through the layers."""

    rows: Rows
    pairs: tuple[tuple[int, int], ...]


class CompositionPane(Pane):
    VIEW = SPEC

    def __init__(self, *, name: str | None = None, id: str | None = None, classes: str | None = None) -> None:
        super().__init__(name=name, id=id, classes=classes)
        self._earlier = 0  # the earlier head under the cursor; the later one is the head that the screen looks at
        self._at: int | None = None  # the cursor's column, once it was moved
        self._list: tuple[_Shown, str, _Listed] | None = None
        self._last: tuple[tuple[object, ...], _Shown] | None = None
        self._grid: Grid | None = None

    def cursor(self) -> str:
        return write_cursor(self._earlier, self._at)

    def put_cursor(self, cursor: str) -> None:
        row, self._at = read_cursor(cursor)
        self._earlier = read_number(row)

    def _shown(self, picture: Picture) -> _Shown | None:
        """What the line shows; the same object as long as nothing of it is another."""
        answered, question = picture.answer(Composition), picture.question(Composition)
        if answered is None or not isinstance(clean := answered.clean, CompositionAnswer):
            return None
        key = (answered, question.run, question.here)
        if self._last is None or self._last[0] != key:
            edited = answered.edited if isinstance(answered.edited, CompositionAnswer) else None
            run = question.run if edited is not None else "clean"
            answer = clean if edited is None or run == "clean" else edited
            here = answer.contribution - clean.contribution if run == "difference" else answer.contribution
            which = "" if edited is None else {"difference": "edited-clean"}.get(run, run)
            self._last = key, _Shown(answer, here, which, question.here and not answer.refused)
        return self._last[1]

    def _listed(self, picture: Picture, shown: _Shown) -> _Listed:
        """The strongest pairs whose names have the words of the line in them."""
        only = picture.question(Composition).only
        if self._list is not None and self._list[:2] == (shown, only):
            return self._list[2]
        answer, values = shown.answer, shown.values
        names = answer.heads
        sizes = np.abs(values) if shown.by_here else values
        found = np.where(np.isnan(sizes), -np.inf, sizes)
        for word in only.upper().split():
            has = np.array([word in f"{name}>" for name in names])
            found = np.where(has[:, None] | has[None, :], found, -np.inf)
        count = min(MOST, int(np.isfinite(found).sum()))
        best = np.argsort(-found, axis=None, kind="stable")[:count]
        pairs = tuple((int(at) // len(values), int(at) % len(values)) for at in best)
        rows = Rows(
            (
                Texts("pair", [f"{names[earlier]} > {names[later]}" for later, earlier in pairs]),
                *self._columns(picture, shown, pairs),
            ),
            tuple(range(count)),
            by="here" if shown.by_here else "score",
            only=only,
        )
        self._list = shown, only, _Listed(rows, pairs)
        return self._list[2]

    def _columns(self, picture: Picture, shown: _Shown, pairs: Sequence[tuple[int, int]]) -> Iterator[Texts | Numbers]:
        answer = shown.answer

        def signed(name: str, table: np.ndarray, places: int, bar: bool) -> Numbers:
            values = np.array([table[pair] for pair in pairs], dtype=np.float64)
            high = float(np.nanmax(np.abs(values), initial=0.0)) or 1.0
            return Numbers(name, values, places=places, signs=True, look="bar" if bar else "shade", high=high)

        score = signed("score", answer.values, 3, not shown.by_here)
        here = signed("here", shown.here, 2, shown.by_here)
        sd = score.values / answer.spread if answer.spread else score.values * NONE
        deviations = Numbers("sd", sd, places=0, signs=True)
        if answer.refused:
            yield from (score, deviations)
            return
        yield from (here, score) if shown.by_here else (score, here)
        yield deviations
        keys = [answer.keys[later] for later, _ in pairs]
        yield Texts("key", [f"{key} {picture.token(key)}".rstrip() for key in keys], most=14)

    def _pair(self, picture: Picture, answer: CompositionAnswer) -> tuple[int, int]:
        """The later and the earlier head under the cursor."""
        layer, head = picture.head()
        return min(layer * answer.n_heads + head, len(answer.values) - 1), min(self._earlier, len(answer.values) - 1)

    def _row(self, picture: Picture, shown: _Shown) -> int:
        """The row under the cursor; the first where the list has no such pair."""
        pairs, pair = self._listed(picture, shown).pairs, self._pair(picture, shown.answer)
        return pairs.index(pair) if pair in pairs else 0

    def draw(self, picture: Picture, width: int, height: int) -> Page:
        self._grid = None
        shown, question = self._shown(picture), picture.question(Composition)
        if shown is None:
            share = "" if picture.progress is None else f": {picture.progress:.0%}"
            said = "multiplying the heads' weights, once per model" if picture.ready is not None else self.WAITING
            return self.blank(said + share, width, question.kind)
        answer = shown.answer
        only = f' "{visible_text(question.only)}"' if question.only else ""
        at = f" {answer.query}>{answer.keys[0]}" if question.key is not None and answer.keys else f" @{answer.query}"
        state = f"{at} {shown.which}".rstrip()
        full = f"{question.kind}{state}{only}: by the later head's {MEANS[question.kind]}"
        title = self.titled(picture, width, full, f"{question.kind}{state}{only}", f"{question.kind}{only}", "")
        foot = [line((text, self.palette.dim)) for text in wrap(self._said(picture, answer, width), width)]
        foot = foot if height >= EXPLAINED else []
        if question.as_map:
            return self._map(picture, shown, width, height, title, foot)
        listed = self._listed(picture, shown)
        if self._at is not None and self._at >= len(listed.rows.columns):
            self._at = None  # as a file may have it
        page = listed.rows.page(self.palette, width, height - len(foot), self._row(picture, shown), self._at)
        said = f"{answer.baseline:.3f} ± {answer.spread:.4f} random"
        return changed(
            page,
            title=title,
            legend=((said.replace("0.", "."), self.palette.dim),),
            foot=[*page.foot, *foot],
        )

    def _said(self, picture: Picture, answer: CompositionAnswer, width: int) -> str:
        """What `here` is a number of, or why there is none."""
        if answer.refused:
            return f"nothing of this prompt: {answer.refused}"
        query = f"{answer.query} {picture.token(answer.query)}".rstrip()
        if answer.kind == "V":
            full = f"here: part of the value that the later head reads at its key from {query}, along itself"
            return fitting(width, full, f"here: part of the value read from {answer.query}")
        full = f"here: nats of the later head's attention score from {query} to its key"
        return fitting(width, full, f"here: nats of the score from {answer.query}")

    def _map(self, picture: Picture, shown: _Shown, width: int, height: int, title: str, foot: Sequence[Line]) -> Page:
        answer, values = shown.answer, shown.values
        names = tuple(f"{at // answer.n_heads}.{at % answer.n_heads}" for at in range(len(values)))
        most = float(np.nanmax(np.abs(values), initial=0.0))
        later, earlier = self._pair(picture, answer)
        self._grid = grid = Grid(values, names, names, width, -most, most, signs=True, cursor=(later, earlier), most=6)
        legend = grid.legend(self.palette, f"{names[earlier]} > {names[later]} {grid.number()}")
        foot = foot if shown.by_here or answer.refused else ()
        return grid.page(
            self.palette, height - len(foot), title=title, legend=legend.border, foot=[*legend.foot, *foot]
        )

    # Moving

    def hit(self, picture: Picture, index: int, x: int, left: int) -> Focus | None:
        if (shown := self._shown(picture)) is None:
            return None
        if self._grid is not None:
            cell = self._grid.hit(index, x, left)
            return None if cell is None or min(cell) < 0 else self._looked(shown.answer, *cell)
        pairs = self._listed(picture, shown).pairs
        return self._looked(shown.answer, *pairs[index]) if 0 <= index < len(pairs) else None

    def _looked(self, answer: CompositionAnswer, later: int, earlier: int) -> Focus | None:
        self._earlier = earlier
        self.renew()
        if self.picture is None:
            return None
        return replace(self.picture.focus, layer=later // answer.n_heads, head=later % answer.n_heads)

    def move(self, dx: int, dy: int) -> None:
        picture = self.picture
        if picture is None or (shown := self._shown(picture)) is None:
            return
        answer = shown.answer
        if picture.question(Composition).as_map:
            later, earlier = self._pair(picture, answer)
            last = len(answer.values) - 1
            later, earlier = max(0, min(later + dy, last)), max(0, min(earlier + dx, last))
        else:
            listed = self._listed(picture, shown)
            if dx:
                self._at = listed.rows.beside(self._at, dx)
                self.renew()
            if not dy or not listed.pairs:
                return
            later, earlier = listed.pairs[listed.rows.moved(self._row(picture, shown), dy)]
        self._earlier = earlier
        self.look(layer=later // answer.n_heads, head=later % answer.n_heads)
        self.renew()

    def _cursor(self) -> tuple[CompositionAnswer, int, int] | None:
        """The answer and the pair under the cursor: in a list the row's."""
        picture = self.picture
        if picture is None or (shown := self._shown(picture)) is None:
            return None
        if picture.question(Composition).as_map:
            return shown.answer, *self._pair(picture, shown.answer)
        pairs = self._listed(picture, shown).pairs
        return (shown.answer, *pairs[self._row(picture, shown)]) if pairs else None

    def into(self, picture: Picture) -> Question | None:
        """The pair as a path, position by position, on this prompt."""
        found = self._cursor()
        if found is None:
            return None
        sender, receiver, part = self._path(picture, *found)
        question = picture.question(Path)
        layer, head = receiver
        return replace(question, part=part, layer=layer, head=head, sender=sender, at=None, other=None)

    def _path(
        self, picture: Picture, answer: CompositionAnswer, later: int, earlier: int
    ) -> tuple[Site, tuple[int, int], PathPart]:
        """Sender, and layer, head and input of the receiver."""
        part: PathPart = PARTS[picture.question(Composition).kind]
        return head_site(*divmod(earlier, answer.n_heads)), divmod(later, answer.n_heads), part

    def do_cut_pair(self, desk: Desk) -> None:
        """Cut the pair's path; once more takes the edit away."""
        found = self._cursor()
        if self.picture is None or found is None or desk.ready is None:
            raise CannotError("There is no pair to cut yet: the weights are being multiplied.")
        sender, (layer, head), part = self._path(self.picture, *found)
        if sender.layers.first >= layer:
            raise CannotError("The earlier head of this cell stands in no earlier layer: there is no path to cut.")
        edit = Path(part, layer, head).edit("cut-path", sender, desk.ready.shape)
        desk.change(changes.toggle_edit(desk.session, edit), format_edit(edit))

    def _attention(self, which: int) -> Question | None:
        if self.picture is None or (found := self._cursor()) is None:
            return None
        answer, *pair = found
        layer, head = divmod(pair[which], answer.n_heads)
        return replace(self.picture.question(Attention), layer=layer, head=head)

    def sites(self, picture: Picture) -> tuple[Site, ...]:
        """The later head of the pair."""
        found = self._cursor()
        return () if found is None else (head_site(*divmod(found[1], found[0].n_heads)),)

    # The view's own actions

    def do_pair_map(self, desk: Desk) -> None:
        question = Composition() if self.picture is None else self.picture.question(Composition)
        # A map has all pairs.
        desk.put(replace(question, as_map=not question.as_map, only=""))

    def do_pair_here(self, desk: Desk) -> None:
        question = Composition() if self.picture is None else self.picture.question(Composition)
        desk.put(replace(question, here=not question.here))

    def do_only_pairs(self, desk: Desk) -> None:
        desk.open_line("narrow", "" if self.picture is None else self.picture.question(Composition).only)

    def narrowed(self, only: str) -> Question:
        question = Composition() if self.picture is None else self.picture.question(Composition)
        return replace(question, only=only)

    def _look_at(self, desk: Desk, which: int) -> None:
        question = self._attention(which)
        if isinstance(question, Attention):
            desk.look(replace(desk.focus, layer=question.layer, head=question.head))
            desk.go("attention")

    def do_pair_later(self, desk: Desk) -> None:
        self._look_at(desk, 0)

    def do_pair_earlier(self, desk: Desk) -> None:
        self._look_at(desk, 1)

    # The clipboard

    def value(self) -> str:
        found, picture = self._cursor(), self.picture
        if found is None or picture is None or (shown := self._shown(picture)) is None:
            return ""
        if not picture.question(Composition).as_map:
            return self._listed(picture, shown).rows.value(self._row(picture, shown), self._at)
        return f"{float(shown.values[found[1], found[2]]):.6g}"

    def row(self) -> str:
        found = self._cursor()
        if found is None or self.picture is None or (shown := self._shown(self.picture)) is None:
            return ""
        answer, later, earlier = found
        names = answer.heads
        numbers = [fixed(float(answer.values[later, earlier]), 4)]
        numbers += [] if answer.refused else [fixed(float(shown.here[later, earlier]), 4)]
        return "\t".join((names[earlier], names[later], *numbers))


PANE = CompositionPane
