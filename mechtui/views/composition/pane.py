"""The pairs of heads that compose most, as a list; all of them as a map, later heads down and earlier ones across."""

from __future__ import annotations

from dataclasses import dataclass
from dataclasses import replace as changed

import numpy as np
from msgspec.structs import replace

from mechtui.paint.numbers import fixed
from mechtui.paint.tokens import visible_text
from mechtui.panes.desk import Desk
from mechtui.panes.grid import Grid
from mechtui.panes.pane import Focus, Page, Pane, Picture
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
        self._list: tuple[tuple[object, ...], _Listed] | None = None
        self._grid: Grid | None = None

    def cursor(self) -> str:
        return write_cursor(self._earlier, self._at)

    def put_cursor(self, cursor: str) -> None:
        row, self._at = read_cursor(cursor)
        self._earlier = read_number(row)

    def _answer(self, picture: Picture) -> CompositionAnswer | None:
        answered = picture.answer(Composition)
        return answered.clean if answered and isinstance(answered.clean, CompositionAnswer) else None

    def _listed(self, picture: Picture, answer: CompositionAnswer) -> _Listed:
        """The strongest pairs whose names have the words of the line in them."""
        only = picture.question(Composition).only
        key = (answer, only)
        if self._list is not None and self._list[0] == key:
            return self._list[1]
        values = answer.values
        names = [f"L{at // answer.n_heads}H{at % answer.n_heads}" for at in range(len(values))]
        found = np.where(np.isnan(values), -np.inf, values)
        for word in only.upper().split():
            has = np.array([word in f"{name}>" for name in names])
            found = np.where(has[:, None] | has[None, :], found, -np.inf)
        count = min(MOST, int(np.isfinite(found).sum()))
        best = np.argsort(-found, axis=None, kind="stable")[:count]
        pairs = tuple((int(at) // len(values), int(at) % len(values)) for at in best)
        numbers = np.array([values[pair] for pair in pairs], dtype=np.float64)
        most = float(np.abs(numbers).max(initial=0.0)) or 1.0
        rows = Rows(
            (
                Texts("pair", [f"{names[earlier]} > {names[later]}" for later, earlier in pairs]),
                Numbers("score", numbers, places=3, signs=True, look="bar", high=most),
                Numbers("sd", numbers / answer.spread if answer.spread else numbers * np.nan, places=0, signs=True),
            ),
            tuple(range(count)),
            by="score",
            only=only,
        )
        self._list = key, _Listed(rows, pairs)
        return self._list[1]

    def _pair(self, picture: Picture, answer: CompositionAnswer) -> tuple[int, int]:
        """The later and the earlier head under the cursor."""
        layer, head = picture.head()
        return min(layer * answer.n_heads + head, len(answer.values) - 1), min(self._earlier, len(answer.values) - 1)

    def _row(self, picture: Picture, answer: CompositionAnswer) -> int:
        """The row under the cursor; the first where the list has no such pair."""
        pairs, pair = self._listed(picture, answer).pairs, self._pair(picture, answer)
        return pairs.index(pair) if pair in pairs else 0

    def draw(self, picture: Picture, width: int, height: int) -> Page:
        self._grid = None
        answer, question = self._answer(picture), picture.question(Composition)
        if answer is None:
            share = "" if picture.progress is None else f": {picture.progress:.0%}"
            said = "multiplying the heads' weights, once per model" if picture.ready is not None else self.WAITING
            return self.blank(said + share, width, question.kind)
        only = f' "{visible_text(question.only)}"' if question.only else ""
        full = f"{question.kind}: by the later head's {MEANS[question.kind]}{only}"
        title = self.titled(picture, width, full, f"{question.kind}{only}", question.kind, "")
        if question.as_map:
            return self._map(picture, answer, width, height, title)
        listed = self._listed(picture, answer)
        page = listed.rows.page(self.palette, width, height, self._row(picture, answer), self._at)
        said = f"{answer.baseline:.3f} ± {answer.spread:.4f} random"
        return changed(
            page,
            title=title,
            legend=((said.replace("0.", "."), self.palette.dim),),
        )

    def _map(self, picture: Picture, answer: CompositionAnswer, width: int, height: int, title: str) -> Page:
        names = tuple(f"{at // answer.n_heads}.{at % answer.n_heads}" for at in range(len(answer.values)))
        most = float(np.nanmax(np.abs(answer.values), initial=0.0))
        later, earlier = self._pair(picture, answer)
        self._grid = grid = Grid(
            answer.values, names, names, width, -most, most, signs=True, cursor=(later, earlier), most=6
        )
        legend = grid.legend(self.palette, f"{names[earlier]} > {names[later]} {grid.number()}")
        return grid.page(self.palette, height, title=title, legend=legend.border, foot=legend.foot)

    # Moving

    def hit(self, picture: Picture, index: int, x: int, left: int) -> Focus | None:
        if (answer := self._answer(picture)) is None:
            return None
        if self._grid is not None:
            cell = self._grid.hit(index, x, left)
            return None if cell is None or min(cell) < 0 else self._looked(answer, *cell)
        pairs = self._listed(picture, answer).pairs
        return self._looked(answer, *pairs[index]) if 0 <= index < len(pairs) else None

    def _looked(self, answer: CompositionAnswer, later: int, earlier: int) -> Focus | None:
        self._earlier = earlier
        self.renew()
        if self.picture is None:
            return None
        return replace(self.picture.focus, layer=later // answer.n_heads, head=later % answer.n_heads)

    def move(self, dx: int, dy: int) -> None:
        picture = self.picture
        if picture is None or (answer := self._answer(picture)) is None:
            return
        if picture.question(Composition).as_map:
            later, earlier = self._pair(picture, answer)
            last = len(answer.values) - 1
            later, earlier = max(0, min(later + dy, last)), max(0, min(earlier + dx, last))
        else:
            listed = self._listed(picture, answer)
            if dx:
                self._at = listed.rows.beside(self._at, dx)
                self.renew()
            if not dy or not listed.pairs:
                return
            later, earlier = listed.pairs[listed.rows.moved(self._row(picture, answer), dy)]
        self._earlier = earlier
        self.look(layer=later // answer.n_heads, head=later % answer.n_heads)
        self.renew()

    def _cursor(self) -> tuple[CompositionAnswer, int, int] | None:
        """The answer and the pair under the cursor: in a list the row's."""
        picture = self.picture
        if picture is None or (answer := self._answer(picture)) is None:
            return None
        if picture.question(Composition).as_map:
            return answer, *self._pair(picture, answer)
        pairs = self._listed(picture, answer).pairs
        return (answer, *pairs[self._row(picture, answer)]) if pairs else None

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
        found = self._cursor()
        return "" if found is None else f"{float(found[0].values[found[1], found[2]]):.6g}"

    def row(self) -> str:
        found = self._cursor()
        if found is None or self.picture is None:
            return ""
        answer, later, earlier = found
        heads = answer.n_heads
        pair = f"L{earlier // heads}H{earlier % heads}\tL{later // heads}H{later % heads}"
        return f"{pair}\t{fixed(float(answer.values[later, earlier]), 4)}"


PANE = CompositionPane
