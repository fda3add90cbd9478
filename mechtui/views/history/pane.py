"""The tree of all states, a row for each."""

from __future__ import annotations

import time
from dataclasses import replace as changed

import numpy as np
from msgspec.structs import replace

from mechtui.none import NONE
from mechtui.panes.desk import Desk
from mechtui.panes.pane import Focus, Page, Pane, Picture
from mechtui.panes.rows import GAP, Column, Numbers, Rows, Texts, ordered
from mechtui.session.changes import CannotError
from mechtui.session.document import Session
from mechtui.session.history import Step, Tree
from mechtui.session.told import told
from mechtui.views import Question, spec_of
from mechtui.views.compare import Compare
from mechtui.views.history import SPEC, History
from mechtui.visible import seen

# Cells that the lines of branches take at most before a row.
DEEPEST = 12
# Of what was changed so many cells are shown beside all columns, and beside those without the time.
LEAST, NARROW = 24, 14


class HistoryPane(Pane):
    VIEW = SPEC
    OF_SESSION = True

    def __init__(self, *, name: str | None = None, id: str | None = None, classes: str | None = None) -> None:
        super().__init__(name=name, id=id, classes=classes)
        # The state under the cursor, and which one was the present one when it was put there: it follows that one.
        self._cursor: int | None = None
        self._at: int | None = None
        self._made: tuple[Tree, History, int, Rows, tuple[int, ...]] | None = None
        # The words of each state, and the sessions that they say the difference of: finding them again for each of a
        # thousand states at every change would hold up the keys.
        self._words: dict[int, tuple[Session | None, Session, str]] = {}

    def _chosen(self, tree: Tree) -> int:
        """The number of the state under the cursor."""
        if self._at != tree.at or self._cursor not in tree.steps:
            self._cursor, self._at = tree.at, tree.at
        assert self._cursor is not None
        return self._cursor

    def _rows(self, picture: Picture, tree: Tree) -> tuple[Rows, tuple[int, ...]]:
        """The list, and the number of each row's state."""
        question = picture.question(History)
        made, width = self._made, self._room().width
        if made is None or made[0] is not tree or made[1:3] != (question, width):
            made = self._made = (tree, question, width, *_listed(tree, self._told(tree), question, width))
        return made[3:]

    def _told(self, tree: Tree) -> dict[int, str]:
        """What was changed to get to each state."""
        before, self._words = self._words, {}
        for number, step in tree.steps.items():
            parent = None if step.parent is None else tree.steps[step.parent].session
            known = before.get(number)
            if known is None or known[0] is not parent or known[1] is not step.session:
                known = parent, step.session, _words(parent, step.session)
            self._words[number] = known
        return {number: words for number, (_, _, words) in self._words.items()}

    def draw(self, picture: Picture, width: int, height: int) -> Page:
        tree = picture.tree
        if tree is None:
            return self.blank(self.waiting(picture), width)
        rows, numbers = self._rows(picture, tree)
        chosen = self._chosen(tree)
        page = rows.page(self.palette, width, height, numbers.index(chosen))
        question = picture.question(History)
        which = ", marks and branches" if question.marks else ""
        count = f"{len(tree.steps)} state{'' if len(tree.steps) == 1 else 's'}"
        step = tree.steps[chosen]
        mark = f"{seen(step.mark)}: " if step.mark else ""
        return changed(
            page,
            title=self.titled(picture, width, f"{count}{which}, logit difference", f"{count}{which}", count),
            legend=((f"{mark}{_when(step.when)}", self.palette.bold),),
        )

    def hit(self, picture: Picture, index: int, x: int, left: int) -> Focus | None:
        if picture.tree is not None and index >= 0:
            rows, numbers = self._rows(picture, picture.tree)
            if index < len(rows.order):
                self._go_to(picture.tree, numbers[rows.order[index]])
        return None

    def _go_to(self, tree: Tree, number: int) -> None:
        self._cursor, self._at = number, tree.at
        self.renew()

    def move(self, dx: int, dy: int) -> None:
        if self.picture is None or self.picture.tree is None or not dy:
            return
        tree = self.picture.tree
        rows, numbers = self._rows(self.picture, tree)
        self._go_to(tree, numbers[rows.moved(numbers.index(self._chosen(tree)), dy)])

    def search(self, text: str, forward: bool = True) -> bool:
        if self.picture is None or self.picture.tree is None or not text:
            return False
        tree = self.picture.tree
        rows, numbers = self._rows(self.picture, tree)
        here = numbers.index(self._chosen(tree))
        found = [row for row in rows.order if text.lower() in rows.row_text(row).lower() and row != here]
        later = [row for row in found if row > here]
        if not found:
            return False
        row = (later or found)[0] if forward else ([row for row in found if row < here] or found)[-1]
        self._go_to(tree, numbers[row])
        return True

    # The view's own actions

    def do_jump(self, desk: Desk) -> None:
        desk.jump(self._chosen(_tree(desk)))

    def do_mark_state(self, desk: Desk) -> None:
        number = self._chosen(_tree(desk))
        desk.open_line("mark", _tree(desk).steps[number].mark, number)

    def do_only_states(self, desk: Desk) -> None:
        desk.open_line("narrow", desk.picture.question(History).only)

    def do_compare_state(self, desk: Desk) -> None:
        tree = _tree(desk)
        step = tree.steps[self._chosen(tree)]
        if step.number == tree.at:
            raise CannotError("This is the present state: move to another one to compare it with.")
        question = Compare(mark=step.mark) if step.mark else Compare(step=step.number)
        desk.put(question)
        desk.go(spec_of(question).name)

    def narrowed(self, only: str) -> Question:
        return replace(History() if self.picture is None else self.picture.question(History), only=only)

    # The clipboard

    def value(self) -> str:
        if self.picture is None or self.picture.tree is None:
            return ""
        said = self.picture.tree.steps[self._chosen(self.picture.tree)].logit_diff
        return "" if said is None else f"{said.clean if said.edited is None else said.edited:.6g}"

    def row(self) -> str:
        if self.picture is None or self.picture.tree is None:
            return ""
        rows, numbers = self._rows(self.picture, self.picture.tree)
        return rows.row_text(numbers.index(self._chosen(self.picture.tree)))


def _tree(desk: Desk) -> Tree:
    tree = desk.picture.tree
    if tree is None:
        raise CannotError("There is no history here.")
    return tree


def _listed(tree: Tree, words: dict[int, str], question: History, width: int) -> tuple[Rows, tuple[int, ...]]:
    lines = _branches(tree)
    numbers = tuple(number for number, _ in lines)
    steps = [tree.steps[number] for number in numbers]
    names = [
        f"{before}{'●' if step.number == tree.at else '○'} {words[step.number]}"
        for step, (_, before) in zip(steps, lines, strict=True)
    ]
    columns: list[Column] = []
    if any(step.mark for step in steps):
        columns.append(Texts("mark", [seen(step.mark) for step in steps], most=20))
    columns += [_logit_diffs(name, steps) for name in ("clean", "edited")]
    places = [step.logit_diff.position if step.logit_diff else -1 for step in steps]
    if any(place != -1 for place in places):
        columns.append(Texts("at", ["" if place == -1 else f"@{place}" for place in places]))
    columns.append(Texts("when", [_when(step.when) for step in steps]))
    # The changes get the room that the other columns leave; in a narrow pane the numbers go before the time.
    taken = [max(column.cells, len(column.name)) + GAP for column in columns]
    room = width - sum(taken) - 2
    if room < LEAST:
        room = max(width - sum(taken[:-1]) - 2, NARROW)
    columns.insert(0, Texts("state", names, most=room))
    order = ordered(columns, only=question.only)
    if question.marks:
        order = tuple(row for row in order if _looked_for(steps[row], tree))
    return Rows(tuple(columns), order, only=question.only), numbers


def _looked_for(step: Step, tree: Tree) -> bool:
    return bool(step.mark) or step.number == tree.at or step.parent is None or len(tree.children[step.number]) != 1


def _branches(tree: Tree) -> list[tuple[int, str]]:
    """Each state's number with the lines before it, from the first on: a branch that was left stands before the way
    that goes on."""
    found = []
    stack = [(tree.root.number, "", "")]
    while stack:
        number, before, below = stack.pop()
        found.append((number, before))
        children = tree.children[number]
        if not children:
            continue
        on = tree.ways.get(number, children[-1])
        stack.append((on, below, below))
        inner = f"{below}│ " if len(below) < DEEPEST else below
        branch = f"{below}├ " if len(below) < DEEPEST else below
        stack += [(child, branch, inner) for child in reversed(children) if child != on]
    return found


def _words(parent: Session | None, session: Session) -> str:
    """What was changed to get here."""
    if parent is None:
        return seen("; ".join(told(Session(model=session.model), session)) or "an empty session")
    return seen("; ".join(told(parent, session)) or "as before")


def _logit_diffs(run: str, steps: list[Step]) -> Numbers:
    said = [None if step.logit_diff is None else getattr(step.logit_diff, run) for step in steps]
    return Numbers(run, np.array([NONE if each is None else each for each in said], dtype=float), signs=True)


def _when(seconds: float) -> str:
    """The time of today, else the day."""
    at, now = time.localtime(seconds), time.localtime()
    if at[:3] == now[:3]:
        return time.strftime("%H:%M:%S", at)
    return time.strftime("%d %b" if at[0] == now[0] else "%d %b %Y", at)


PANE = HistoryPane
