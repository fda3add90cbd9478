"""Wᵀ W of the toy model, row by row with what each feature got, and the loss over the sparsities."""

from __future__ import annotations

import re
from dataclasses import replace as changed
from itertools import zip_longest

import numpy as np
from msgspec.structs import replace
from rich.style import Style

from mechtui.none import NONE
from mechtui.paint.bars import bar
from mechtui.paint.heat import Piece
from mechtui.paint.numbers import fixed
from mechtui.paint.scatter import Scatter, scatter
from mechtui.panes.curve import Axis, Series, curve
from mechtui.panes.desk import Desk
from mechtui.panes.grid import Grid
from mechtui.panes.pane import Focus, Line, Page, Pane, Picture, line, lines_page
from mechtui.panes.rows import Numbers, Rows, Texts
from mechtui.session.grammar.words import format_number
from mechtui.views.question import after
from mechtui.views.toy import POINTS, REPRESENTED, SPEC, Toy, ToyAnswer

# Cells of a feature's numbers beside Wᵀ W: norm with its bar, interference, dim.
BAR = 6
COLUMNS = ("norm", "interf", "dim")
BESIDE = 2 + 4 + 1 + BAR + 2 + 6 + 2 + 4
# The curve: its least size beside or below the features, and the most rows that it takes alone; rows of the list below.
LEAST_WIDE, GAP, LEAST_CURVE, MOST_CURVE, LISTED = 44, 3, 8, 16, 5


class ToyPane(Pane):
    VIEW = SPEC

    def __init__(self, *, name: str | None = None, id: str | None = None, classes: str | None = None) -> None:
        super().__init__(name=name, id=id, classes=classes)
        self._feature = 0
        self._model: int | None = None  # the sparsity that is looked at, once the cursor was moved
        self._of: Toy | None = None  # whose models it is one of
        self._plot: Scatter | None = None

    def cursor(self) -> str:
        model = "" if self._model is None else f"-{self._model}"
        return f"{self._feature}{model}" if self._feature or model else ""

    def put_cursor(self, cursor: str) -> None:
        if (found := re.fullmatch(r"([0-9]{1,3})(?:-([0-9]{1,3}))?", cursor, re.ASCII)) is not None:
            self._feature = int(found[1])
            self._model = None if found[2] is None else int(found[2])

    # What is shown

    def _answer(self, picture: Picture) -> ToyAnswer | None:
        asked = picture.question(Toy).asked()
        answered = picture.answer(Toy)
        if answered is None or answered.question != asked:
            return None
        return answered.clean if isinstance(answered.clean, ToyAnswer) else None

    def _where(self, answer: ToyAnswer) -> tuple[int, int]:
        """The model and the feature that are looked at."""
        model = answer.at if self._model is None else min(self._model, len(answer.sparsities) - 1)
        return model, min(self._feature, len(answer.importance) - 1)

    def draw(self, picture: Picture, width: int, height: int) -> Page:
        self._plot = None
        question, answer = picture.question(Toy), self._answer(picture)
        if question.asked() != self._of:
            self._model = None if self._of is not None else self._model
            self._of = question.asked()
        called = f"{question.features}>{question.dims}{' linear' if question.linear else ''}"
        if answer is None:
            rest = f"{len(question.sparsities)} sparsities, {question.steps:,} steps, seed {question.seed}"
            said = "starting" if picture.job else f"{called}, {rest}: nothing is trained yet, . trains it"
            return self.blank(said, width, called)
        model, feature = self._where(answer)
        state = "" if answer.step == answer.steps else f" step {answer.step:,} of {answer.steps:,}"
        sparsity = f"sparsity {format_number(answer.sparsities[model])}"
        count = f"{int(answer.represented[model])} of {question.features} represented"
        losses = f"loss {_share(answer)[model]:.0%}, apart {_apart(answer)[model]:.0%}"
        title = self.titled(
            picture,
            width,
            f"{called} {sparsity}{state} ─ {count}, {losses}",
            f"{called} {sparsity}{state} ─ {count}",
            f"{called} {sparsity}{state}",
            state.strip() or sparsity,
        )
        pages = {"features": self._features, "plane": self._plane, "loss": self._losses}
        return changed(pages[question.shows](answer, model, feature, width, height), title=title)

    def _plane(self, answer: ToyAnswer, model: int, feature: int, width: int, height: int) -> Page:
        """The features that point somewhere; in a small room as a list."""
        points, names = _points(answer.weights[model])
        there = answer.norms[model] > POINTS
        labels = [f"x{number}" for number in range(len(there))]
        xs, ys = (np.where(there, each, NONE) for each in points)
        self._plot = plot = scatter(xs, ys, names, width, height, self.palette, feature, labels=labels, signs=False)
        if not plot.lines:
            return self._features(answer, model, feature, width, height)
        said = f"{labels[feature]} norm {fixed(float(answer.norms[model, feature])) or '0'}"
        lines = [line(*pieces) for pieces in plot.lines]
        cursor = None if plot.cell is None else plot.cell[0]
        return lines_page(lines, cursor=cursor, legend=((said, self.palette.bold),))

    def _features(self, answer: ToyAnswer, model: int, feature: int, width: int, height: int) -> Page:
        count = len(answer.importance)
        names = tuple(f"x{number}" for number in range(count))
        label = len(names[-1]) + 2
        room = width - BESIDE
        numbers = label + 2 * count <= room
        beside = width - (label + 2 * count + BESIDE) >= LEAST_WIDE + GAP and height >= count + 1
        if beside:
            room = label + 2 * count
        grid = Grid(
            answer.gram[model],
            names,
            tuple(map(str, range(count))),
            room if numbers else width,
            -1.0,
            1.0,
            signs=True,
            cursor=(feature, feature),
            most=2 if beside else 7,
            # A number that has no room for its second place is better told by its shade.
            digits=4,
        )
        found = f"{names[feature]} norm {fixed(float(answer.norms[model, feature])) or '0'}"
        page = grid.page(self.palette, height, legend=grid.legend(self.palette, found, "Wᵀ W").border)
        if not numbers:
            return page
        wide = grid.label + grid.wide * count
        head = page.head(0)
        titles = f"  {COLUMNS[0]:<{5 + BAR}}  {COLUMNS[1]:>6}  {COLUMNS[2]:>4}"
        if head:
            head[-1] = [*_padded(head[-1], wide), *line((titles, self.palette.dim))]
        lines = [
            *head,
            *(
                [*_padded(page.row(each, 0), wide), *line(*self._numbers(answer, model, each, each == feature))]
                for each in range(count)
            ),
        ]
        size = width - wide - BESIDE - GAP
        if beside:
            drawn = self._curve(answer, model, size, min(len(lines), MOST_CURVE))
            lines = [
                [*_padded(left, wide + BESIDE + GAP), *right]
                for left, right in zip_longest(lines, drawn, fillvalue=line())
            ]
        elif (left := height - len(lines)) >= LEAST_CURVE + 1:
            lines += [line(), *self._curve(answer, model, width, min(left - 1, MOST_CURVE))]
        body = lines[len(head) :]
        return changed(
            page,
            rows=len(body),
            row=lambda index, left: body[index],
            head=lambda left: lines[: len(head)],
            head_rows=len(head),
            cursor_x=None,
            wide=0,
        )

    def _numbers(self, answer: ToyAnswer, model: int, feature: int, here: bool) -> list[Piece]:
        norm = float(answer.norms[model, feature])
        look = self.palette.plain if norm > REPRESENTED else self.palette.dim
        look = look + self.palette.bold if here else look
        interference = fixed(float(answer.interference[model, feature]))
        share = fixed(float(answer.dimensionality[model, feature]))
        return [
            (f"  {fixed(norm):>4} ", look),
            (bar(min(norm, 1.0), BAR), self.palette.accent),
            (f"  {interference:>6}  {share:>4}", look),
        ]

    def _curve(self, answer: ToyAnswer, model: int, width: int, height: int) -> list[Line]:
        """The loss of all models as a share of the loss without any feature."""
        values = {"trained": _share(answer), "most important apart": _apart(answer)}
        looks: list[Style] = [self.palette.edited, self.palette.clean]
        return curve(
            [Series(name, each, look) for (name, each), look in zip(values.items(), looks, strict=True)],
            width,
            height,
            self.palette,
            points=[format_number(each).lstrip("0") or "0" for each in answer.sparsities],
            of="sparsity",
            xs=[float(-np.log(1 - each)) for each in answer.sparsities],
            axis=Axis("loss, of 1 without any feature", low=0.0),
            cursor=model,
        )

    def _losses(self, answer: ToyAnswer, model: int, feature: int, width: int, height: int) -> Page:
        tall = min(MOST_CURVE, height - LISTED)
        drawn = self._curve(answer, model, width, tall) if tall >= LEAST_CURVE - 2 else []
        page = self._list(answer).page(self.palette, width, height - len(drawn), model)
        said = f"{int(answer.represented[model])} represented"
        return changed(
            page,
            head=lambda left: [*drawn, *page.head(left)],
            head_rows=len(drawn) + page.head_rows,
            legend=((said, self.palette.bold),),
        )

    def _list(self, answer: ToyAnswer) -> Rows:
        dims = answer.weights.shape[1]
        held = (answer.norms**2).sum(1)
        return Rows(
            (
                Texts("sparsity", tuple(map(format_number, answer.sparsities))),
                Numbers("loss", answer.loss, places=5),
                Numbers("apart", answer.apart, places=5),
                Numbers("of nothing", _share(answer), "share"),
                Numbers("represented", answer.represented.astype(np.float32), "repr", places=0),
                Numbers("dims a feature", np.where(held > 0, dims / np.maximum(held, 1e-9), NONE), "dims"),
            ),
            tuple(range(len(answer.sparsities))),
        )

    # The cursor

    def _here(self) -> ToyAnswer | None:
        return None if self.picture is None else self._answer(self.picture)

    def move(self, dx: int, dy: int) -> None:
        if (answer := self._here()) is None or self.picture is None:
            return
        model, feature = self._where(answer)
        if self.picture.question(Toy).shows == "loss":
            dx, dy = dx + dy, 0
        if dx:
            self._model = max(0, min(model + dx, len(answer.sparsities) - 1))
        self._feature = max(0, min(feature + dy, len(answer.importance) - 1))
        self.renew()

    def hit(self, picture: Picture, index: int, x: int, left: int) -> Focus | None:
        answer = self._here()
        if answer is None or index < 0:
            return None
        if self._plot is not None and self._plot.lines:
            if there := self._plot.at.get((index, x + left)):
                self._feature = after(self._feature, there)
        elif picture.question(Toy).shows == "loss":
            self._model = min(index, len(answer.sparsities) - 1)
        elif index < len(answer.importance):
            self._feature = index
        self.renew()
        return None

    # The view's own actions

    def _asked(self) -> Toy:
        question = self._question()
        assert isinstance(question, Toy)
        return question

    def do_other_seed(self, desk: Desk) -> None:
        question = self._asked()
        desk.put(replace(question, seed=question.seed + 1))
        self.start(desk)

    def do_without_relu(self, desk: Desk) -> None:
        question = self._asked()
        desk.put(replace(question, linear=not question.linear))
        self.start(desk)

    # The clipboard

    def value(self) -> str:
        if (answer := self._here()) is None or self.picture is None:
            return ""
        model, feature = self._where(answer)
        if self.picture.question(Toy).shows == "loss":
            return f"{float(answer.loss[model]):.6g}"
        return f"{float(answer.norms[model, feature]):.6g}"

    def row(self) -> str:
        if (answer := self._here()) is None or self.picture is None:
            return ""
        model, feature = self._where(answer)
        if self.picture.question(Toy).shows == "loss":
            return self._list(answer).row_text(model)
        numbers = (*answer.gram[model, feature], answer.norms[model, feature], answer.interference[model, feature])
        return "\t".join((f"x{feature}", *(fixed(float(each)) for each in numbers)))


def _share(answer: ToyAnswer) -> np.ndarray:
    """[model]: the loss as a share of that without any feature."""
    return np.asarray(answer.loss / answer.nothing)


def _apart(answer: ToyAnswer) -> np.ndarray:
    return np.asarray(answer.apart / answer.nothing)


def _points(weights: np.ndarray) -> tuple[np.ndarray, tuple[str, str]]:
    """[2, feature]: where the columns of W [dimension, feature] lie; of more than two dimensions along the two
    directions that hold most of them. And the axes' names."""
    dims = len(weights)
    if dims <= 2:
        return np.vstack([weights, np.zeros_like(weights)])[:2], ("h0", "h1" if dims == 2 else "")
    axes, sizes, _ = np.linalg.svd(weights.astype(np.float64), full_matrices=False)
    shares = sizes**2 / max(float((sizes**2).sum()), 1e-12)
    return axes[:, :2].T @ weights, (f"1st direction {shares[0]:.0%}", f"2nd direction {shares[1]:.0%}")


def _padded(found: Line, width: int) -> Line:
    """The line with blanks up to this width."""
    used = sum(segment.cell_length for segment in found)
    return [*found, *line(" " * max(width - used, 0))]


PANE = ToyPane
