"""`directions [2000>64] [unembed|embed|neurons|NAME] [sparse3/200] [seed1] [recovery]`: how many directions have room,
and how few numbers hold a sparse vector.
"""

from __future__ import annotations

import math
import re
from typing import Any, ClassVar, Literal, Self, get_args

import numpy as np
from msgspec.structs import replace

from mechtui.session.document import Sae, Struct
from mechtui.session.grammar.loose import Fields, choice, fields
from mechtui.session.grammar.words import NAME, LineError, short, whole
from mechtui.views.question import Answer, Question, after, plain
from mechtui.views.spec import Action, Cost, Follows, Needs, View

Shows = Literal["cosines", "recovery"]
SHOWS: tuple[Shows, ...] = get_args(Shows)
# Which directions of the model stand beside the random ones.
OFS = ("unembed", "embed", "neurons")
NAMES: dict[str, str] = {"unembed": "unembeddings", "embed": "embeddings", "neurons": "neurons' write vectors"}
COUNT, MOST_COUNT, MOST_DIMS, MOST_FEATURES, MOST_ACTIVE = 2000, 3000, 16_384, 400, 20


def called(of: str) -> str:
    """What the model's directions are."""
    return NAMES.get(of, f"features of {of}")


# Sparse vectors that are recovered from each count of numbers; how close counts as recovered.
TRIALS, RECOVERED = 20, 0.01
# Pairs of the model's directions that are named.
CLOSEST = 8


class Directions(Question, frozen=True, tag="directions"):
    """`count` random unit vectors in `dims` dimensions (0: as many as the model has), and as many of the model's own:
    one of OFS, or the features of the dictionary that the session calls so. active of features: how many numbers of a
    vector are not 0, and how many it has. shows: which is on top. sae: that dictionary, for who asks again when it is
    another; None where it is looked up by its name.
    """

    SHOWN: ClassVar[frozenset[str]] = frozenset({"shows"})

    count: int = COUNT
    dims: int = 0
    of: str = "unembed"
    active: int = 3
    features: int = 200
    seed: int = 0
    shows: Shows = "cosines"
    sae: Sae | None = None

    @classmethod
    def parse(cls, line: str, rest: str) -> Self:
        wanted = f"2000>64, {', '.join(OFS)}, a dictionary's name, sparse3/200, seed1 or one of {', '.join(SHOWS)}"
        readers = _sizes, _sparse, _seed, choice("shows", SHOWS), _of
        return cls(**fields(line, wanted, *readers))

    def line(self) -> str:
        words = ["directions"]
        if self.dims:
            words.append(f"{self.count}>{self.dims}")
        elif self.count != COUNT:
            words.append(str(self.count))
        words += [self.of] if self.of != "unembed" else []
        words += [f"sparse{self.active}/{self.features}"] if (self.active, self.features) != (3, 200) else []
        words += [f"seed{self.seed}"] if self.seed else []
        words += [self.shows] if self.shows != "cosines" else []
        return " ".join(words)

    @property
    def many_runs(self) -> bool:
        # Hundreds of vectors are recovered, after all else that is on the screen.
        return True

    @property
    def saes(self) -> tuple[str, ...]:
        return () if self.of in OFS else (self.of,)

    @property
    def rule(self) -> float:
        """About how many random numbers hold the vector: 2 s ln(n / s) + s (Chandrasekaran et al. 2012)."""
        return 2 * self.active * math.log(self.features / self.active) + self.active

    @property
    def numbers(self) -> tuple[int, ...]:
        """Counts of numbers from which a vector is recovered."""
        most = min(self.features, max(math.ceil(2 * self.rule), 4))
        return tuple(sorted({round(each) for each in np.linspace(1, most, 20)}))

    def for_model(self) -> Self:
        """A dictionary is of one model."""
        return self if self.of in OFS else replace(self, of=OFS[0], sae=None)

    def next(self) -> Self:
        return replace(self, shows=after(self.shows, SHOWS))


def _sizes(word: str, line: str, at: int) -> Fields | None:
    match = re.fullmatch(r"([0-9]+)(?:>([0-9]+))?", word)
    if match is None:
        return None
    count = whole(match[1], line, at)
    if not 2 <= count <= MOST_COUNT:
        raise LineError(line, at, f"{short(word)} should be 2 to {MOST_COUNT:,} directions, as in 2000>64")
    if match[2] is None:
        return {"count": count}
    dims = whole(match[2], line, at + match.start(2))
    if not 2 <= dims <= MOST_DIMS:
        raise LineError(line, at + match.start(2), f"{dims} should be 2 to {MOST_DIMS:,} dimensions, as in 2000>64")
    return {"count": count, "dims": dims}


def _sparse(word: str, line: str, at: int) -> Fields | None:
    match = re.fullmatch(r"sparse([0-9]+)/([0-9]+)", word)
    if match is None:
        return None
    active, features = whole(match[1], line, at), whole(match[2], line, at + match.start(2))
    if not 2 <= features <= MOST_FEATURES or not 1 <= active <= min(features, MOST_ACTIVE):
        limits = f"sparse, how many of them are not 0 (at most {MOST_ACTIVE}), / and 2 to {MOST_FEATURES} numbers"
        raise LineError(line, at, f"{short(word)} should be {limits}, as in sparse3/200")
    return {"active": active, "features": features}


def _of(word: str, line: str, at: int) -> Fields | None:
    return {"of": word} if NAME.fullmatch(word) else None


def _seed(word: str, line: str, at: int) -> Fields | None:
    match = re.fullmatch(r"seed([0-9]+)", word)
    return None if match is None else {"seed": whole(match[1], line, at + len("seed"))}


class Cosines(Struct, frozen=True):
    """Of all pairs of some directions. count: how many directions. share [bin] of the pairs; mean and standard
    deviation; largest: the cosine whose size is."""

    count: int
    share: tuple[float, ...]
    mean: float
    sd: float
    largest: float


class Pair(Struct, frozen=True):
    """Two of the model's directions, as it names them."""

    first: str
    second: str
    cosine: float


class DirectionsAnswer(Answer, frozen=True, tag="directions", eq=False):
    """dims: of the random directions. edges [bin + 1] of the cosines' bins, of which the
    outermost hold what lies further out. random, model: their cosines. bound: no
    more than one pair of random directions is expected to lie further from 0. closest: of the model's, the largest size
    first.

    numbers: counts of numbers from which sparse vectors were recovered; [number]: error, the median over `trials` of
    the length of what is missing over the length of the vector, low and high, its quartiles; recovered, the share with
    an error under 0.01; NaN for what is not computed yet. rule: about how many numbers it takes.
    """

    dims: int
    of: str
    edges: tuple[float, ...]
    random: Cosines
    model: Cosines
    bound: float
    closest: tuple[Pair, ...]
    numbers: tuple[int, ...]
    error: np.ndarray
    low: np.ndarray
    high: np.ndarray
    recovered: np.ndarray
    rule: float
    trials: int = TRIALS

    @property
    def done(self) -> int:
        """Counts of numbers that are computed."""
        return int(np.isfinite(self.error).sum())

    def json(self) -> dict[str, Any]:
        return {name: plain(getattr(self, name)) for name in self.__struct_fields__}


SPEC = View(
    question=Directions,
    answer=DirectionsAnswer,
    title="Directions",
    go="D",
    shows=(
        "How many directions have room. n random unit vectors in k dimensions: the cosines of all pairs, as shares of "
        "the pairs, beside those of as many of the model's own directions: its unembeddings or embeddings, less their "
        "mean, its neurons' write vectors, or what the features of a dictionary write. Random cosines have mean 0 and "
        "standard deviation 1/√k; beyond √(2 ln(n(n − 1)) / k) no more than one pair is expected. Below, compressed "
        "sensing: a vector of which 3 of 200 numbers are not 0 is known by m random combinations of it, y = A x, and "
        "recovered as the x of least Σ|x| that gives y: the error ‖x̂ − x‖ / ‖x‖ over m, median and quartiles of 20."
    ),
    read=(
        "The number of nearly orthogonal directions grows exponentially with the dimensions (Johnson and "
        "Lindenstrauss): so features can outnumber them. A model's histogram that is wider than the random one: "
        "directions with something in common; below stand the closest. Where the error falls to 0, so few numbers hold "
        "all of the sparse vector, about 2 s ln(n/s) + s."
    ),
    trap=(
        "Nearly orthogonal is not orthogonal: many small cosines add up when many features are on at once, which is "
        "why sparsity matters. A model need not recover anything by least Σ|x|; this says what is possible. Tokens "
        "that are written alike (capitals, blanks) make the largest cosines of a vocabulary."
    ),
    paper="Johnson and Lindenstrauss 1984; Candès, Romberg and Tao 2006; Elhage et al. 2022",
    words=("superposition", "unembedding", "compressed sensing", "sparsity"),
    glossary=(
        ("compressed sensing", "a sparse vector is found again from far fewer combinations than it has numbers"),
    ),
    cost=Cost.OWN_RUNS,
    follows=Follows.MODEL,
    alone=True,
    beside="contexts",
    line_words=(
        ("2000>64", "so many directions in so many dimensions"),
        ("unembed", "W_U, a direction for each token, less their mean"),
        ("embed", "W_E, a direction for each token, less their mean"),
        ("neurons", "rows of W_out, of all layers"),
        ("NAME", "what the features of this dictionary write"),
        ("sparse3/200", "3 of 200 numbers are not 0"),
        ("seed1", "other draws"),
        ("cosines", "the cosines on top"),
        ("recovery", "the recovery on top"),
    ),
    footer=("other_directions", "other_draws", "summary", "maximise"),
    actions=(
        Action(
            "other_directions",
            ("o",),
            "which",
            "Take other directions of the model.",
            needs=Needs.NOTHING,
        ),
        Action("other_draws", ("r",), "next seed", "Draw from the next seed.", needs=Needs.NOTHING),
    ),
)
