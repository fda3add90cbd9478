"""`toy [20>5] [sparsity.9] [importance.7] [seed1] [steps2000] [linear] [plane|loss]`: superposition in small models."""

from __future__ import annotations

import re
from typing import Any, ClassVar, Literal, Self, get_args

import numpy as np
from msgspec.structs import replace

from mechtui.none import NONE
from mechtui.session.grammar.loose import Fields, Reader, choice, fields, flag
from mechtui.session.grammar.words import LineError, decimal, format_number, short, whole
from mechtui.views.question import Answer, Question, after, plain
from mechtui.views.spec import Action, Cost, Follows, Needs, View

Shows = Literal["features", "plane", "loss"]
SHOWS: tuple[Shows, ...] = get_args(Shows)
# Sparsities that are trained beside the line's own, for the curve.
GRID = (0.0, 0.3, 0.5, 0.7, 0.8, 0.9, 0.95, 0.97, 0.99)
MOST_FEATURES, MOST_STEPS, MOST_SPARSITY = 64, 20_000, 0.999
# From this length of its column of W on a feature counts as represented; under the other it points nowhere.
REPRESENTED, POINTS = 0.5, 0.1


class Toy(Question, frozen=True, tag="toy"):
    """`features` numbers go through `dims` and back: x -> ReLU(Wᵀ W x + b), trained at this sparsity and at those of
    GRID. sparsity: the probability that a feature is 0. importance: the loss of feature i counts `importance` to the
    i-th. linear: without the ReLU. shows: the features at one sparsity as a list, or
    as points in the plane that they fill most, or the loss over all sparsities."""

    SHOWN: ClassVar[frozenset[str]] = frozenset({"shows"})

    features: int = 20
    dims: int = 5
    sparsity: float = 0.9
    importance: float = 0.7
    seed: int = 0
    steps: int = 2000
    linear: bool = False
    shows: Shows = "features"

    @classmethod
    def parse(cls, line: str, rest: str) -> Self:
        wanted = f"20>5, sparsity.9, importance.7, seed1, steps2000, linear or one of {', '.join(SHOWS)}"
        return cls(
            **fields(
                line,
                wanted,
                _sizes,
                _number("sparsity", 0.0, MOST_SPARSITY),
                _number("importance", 0.01, 1.0),
                _count("seed", 0, None),
                _count("steps", 1, MOST_STEPS),
                flag("linear"),
                choice("shows", SHOWS),
            )
        )

    def line(self) -> str:
        words = ["toy"]
        words += [f"{self.features}>{self.dims}"] if (self.features, self.dims) != (20, 5) else []
        words += [f"sparsity{format_number(self.sparsity)}"] if self.sparsity != 0.9 else []
        words += [f"importance{format_number(self.importance)}"] if self.importance != 0.7 else []
        words += [f"seed{self.seed}"] if self.seed else []
        words += [f"steps{self.steps}"] if self.steps != 2000 else []
        words += ["linear"] * self.linear
        words += [self.shows] if self.shows != "features" else []
        return " ".join(words)

    @property
    def costly(self) -> bool:
        return True

    @property
    def sparsities(self) -> tuple[float, ...]:
        """Those at which a model is trained."""
        return tuple(sorted({*GRID, self.sparsity}))

    def next(self) -> Self:
        return replace(self, shows=after(self.shows, SHOWS))


def _sizes(word: str, line: str, at: int) -> Fields | None:
    match = re.fullmatch(r"([0-9]+)>([0-9]+)", word)
    if match is None:
        return None
    features, dims = whole(match[1], line, at), whole(match[2], line, at + match.start(2))
    if not 2 <= features <= MOST_FEATURES:
        raise LineError(line, at, f"{short(word)} should have 2 to {MOST_FEATURES} features, as in 20>5")
    if not 1 <= dims <= features:
        raise LineError(line, at, f"{short(word)} should have 1 to {features} dimensions for its features, as in 20>5")
    return {"features": features, "dims": dims}


def _number(field: str, least: float, most: float) -> Reader:
    def read(word: str, line: str, at: int) -> Fields | None:
        if not word.startswith(field):
            return None
        value = decimal(word.removeprefix(field))
        if value is None or not least <= value <= most:
            raise LineError(line, at, f"{short(word)} should be {field} and a number from {least:g} to {most:g}")
        return {field: value}

    return read


def _count(field: str, least: int, most: int | None) -> Reader:
    def read(word: str, line: str, at: int) -> Fields | None:
        match = re.fullmatch(f"{field}([0-9]+)", word)
        if match is None:
            return None
        value = whole(match[1], line, at + len(field))
        if value < least or (most is not None and value > most):
            limits = f"from {least} to {most:,}" if most is not None else f"from {least} on"
            raise LineError(line, at, f"{short(word)} should be {field} and a number {limits}")
        return {field: value}

    return read


class ToyAnswer(Answer, frozen=True, tag="toy", eq=False):
    """A model for each of `sparsities`; `at` is that of the line.

    importance [feature]. weights [model, dimension, feature]: W; bias [model, feature]. loss [model]: the mean over
    examples of the sum over features of importance times (x - x')². apart [model]: the same where as many features as
    there are dimensions, the most important ones, are kept exactly, and of the others their mean; nothing [model]: of
    all of them the mean. step: how many of `steps` are done.
    """

    sparsities: tuple[float, ...]
    at: int
    importance: np.ndarray
    weights: np.ndarray
    bias: np.ndarray
    loss: np.ndarray
    apart: np.ndarray
    nothing: np.ndarray
    step: int
    steps: int

    @property
    def gram(self) -> np.ndarray:
        """[model, feature, feature]: Wᵀ W. Row i says what feature i gives to each of them."""
        weights = self.weights.astype(np.float64)
        return np.asarray(np.einsum("sdi,sdj->sij", weights, weights))

    @property
    def norms(self) -> np.ndarray:
        """[model, feature]: the length of its column of W."""
        return np.asarray(np.linalg.norm(self.weights.astype(np.float64), axis=1))

    @property
    def represented(self) -> np.ndarray:
        """[model]: features whose column is longer than REPRESENTED."""
        return np.asarray((self.norms > REPRESENTED).sum(1))

    @property
    def _shared(self) -> np.ndarray:
        """[model, feature, feature]: (Ŵ_i·W_j)² with Ŵ_i of length 1; NaN for a feature that points nowhere."""
        norms = self.norms
        along = np.where(norms > POINTS, norms, NONE)
        return np.asarray((self.gram / along[:, :, None]) ** 2)

    @property
    def interference(self) -> np.ndarray:
        """[model, feature]: the sum of (Ŵ_i·W_j)² over all others j."""
        shared = self._shared
        return np.asarray(shared.sum(2) - np.einsum("sii->si", shared))

    @property
    def dimensionality(self) -> np.ndarray:
        """[model, feature]: ‖W_i‖² over the sum of (Ŵ_i·W_j)² over all j."""
        return np.asarray(self.norms**2 / self._shared.sum(2))

    def json(self) -> dict[str, Any]:
        of_line = {"gram": self.gram[self.at], "weights": self.weights[self.at], "bias": self.bias[self.at]}
        names = ("sparsities", "loss", "apart", "nothing", "represented", "norms", "interference", "dimensionality")
        return {
            "sparsity": self.sparsities[self.at],
            "step": self.step,
            "steps": self.steps,
            "importance": plain(self.importance),
            **{name: plain(getattr(self, name)) for name in names},
            **{name: plain(value) for name, value in of_line.items()},
        }


SPEC = View(
    question=Toy,
    answer=ToyAnswer,
    title="Toy",
    go="T",
    shows=(
        "A toy model of superposition, x -> ReLU(Wᵀ W x + b), trained here: n features of which each is 0 with "
        "probability `sparsity`, else even in 0..1, go through m dimensions and back. The loss is the sum over "
        "features of importance_i · (x_i − x'_i)², importance_i = importance to the i-th. Wᵀ W, while it is learned; "
        "of each feature norm, ‖W_i‖, interference, the sum over others of (Ŵ_i·W_j)², and dim, its share of a "
        "dimension, ‖W_i‖² / Σ_j (Ŵ_i·W_j)². Below, the loss over the sparsity as a share of what it is without any "
        "feature, beside that of the m most important features kept apart. s shows the columns W_i as points: in two "
        "dimensions where they lie, of more dimensions in the two that hold most of Σ‖W_i‖²."
    ),
    read=(
        "A diagonal of m ones: each dimension has one feature. More features than dimensions, with ± off the diagonal: "
        "superposition; where features are rarely on together, they may share. ←→ goes through the sparsities: the "
        "curve falls under the line of the features kept apart where superposition pays."
    ),
    trap=(
        "A toy: its features are independent, known and given. Another seed may find another arrangement as good. "
        "Features of a model are none of these, and nothing here is of the model that is loaded."
    ),
    paper="Elhage et al. 2022, Toy Models of Superposition",
    words=("superposition", "sparsity", "interference"),
    glossary=(
        (
            "superposition",
            "more features than dimensions: their directions are not orthogonal, and each reads others",
        ),
        ("sparsity", "how probable it is that a feature is 0 in an example"),
        ("interference", "what a feature's direction reads of the others: the sum of (Ŵ_i·W_j)²"),
    ),
    cost=Cost.JOB,
    follows=Follows.MODEL,
    renews=False,
    alone=True,
    beside="contexts",
    line_words=(
        ("20>5", "features, and the dimensions that they go through"),
        ("sparsity.9", "how probable it is that a feature is 0"),
        ("importance.7", "each feature counts so many times the one before"),
        ("seed1", "another beginning, and other examples"),
        ("steps2000", "of the training"),
        ("linear", "without the ReLU"),
        ("features", "Wᵀ W and the features at one sparsity"),
        ("plane", "the features as points"),
        ("loss", "over all sparsities"),
    ),
    footer=("start", "other_seed", "without_relu", "summary", "maximise"),
    actions=(
        Action("other_seed", ("r",), "next seed", "Train it from the next seed.", needs=Needs.NOTHING),
        Action(
            "without_relu",
            ("o",),
            "linear",
            "Leave the ReLU out, so that only the most important features are kept; once more puts it back.",
            needs=Needs.NOTHING,
        ),
    ),
)
