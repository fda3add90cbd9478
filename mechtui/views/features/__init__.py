"""`features [NAME] [@POS] [attribution|value|share|number] [top20] [clean|difference]`: the features of a dictionary
that are on at a token."""

from __future__ import annotations

from typing import Any, ClassVar, Literal, Self, get_args

import numpy as np
from msgspec.structs import replace

from mechtui.none import NONE
from mechtui.session.dictionaries import About
from mechtui.session.document import SaeName, Token
from mechtui.session.grammar.loose import Fields, Reader, choice, count, fields, position
from mechtui.session.grammar.words import NAME
from mechtui.views.circuit import Scored
from mechtui.views.question import RUNS, Answer, Question, Run, after, plain
from mechtui.views.spec import Action, Cost, Needs, Numbers, View

By = Literal["attribution", "value", "share", "number"]
BYS: tuple[By, ...] = get_args(By)
# Features that are listed without a word, and tokens that are named of what each raises and lowers.
TOP, WORDS = 20, 5


def _name() -> Reader:
    def read(word: str, line: str, at: int) -> Fields | None:
        return {"of": SaeName(word)} if NAME.fullmatch(word) else None

    return read


class Features(Question, frozen=True, tag="features"):
    """The `top` features of the dictionary `of` (empty: the session's first) that are on at `position` (negative: from
    the end), by what they add to the logit difference, by their activation, by how much of the activation there they
    are, or by their number. run: which run is shown."""

    SHOWN: ClassVar[frozenset[str]] = frozenset({"run"})
    OF_MODEL: ClassVar[frozenset[str]] = frozenset({"of"})

    of: SaeName = SaeName("")
    position: int = -1
    by: By = "attribution"
    top: int = TOP
    run: Run = "edited"

    @classmethod
    def parse(cls, line: str, rest: str) -> Self:
        wanted = (
            f"a dictionary's name, a position, as in @-1, {', '.join(BYS)}, clean, difference or a count, as in top40"
        )
        return cls(
            **fields(line, wanted, position(), choice("by", BYS), count("top", 999), choice("run", RUNS), _name())
        )

    def line(self) -> str:
        words = ["features"]
        words += [self.of] if self.of else []
        words += [f"@{self.position}"] if self.position != -1 else []
        words += [self.by] if self.by != "attribution" else []
        words += [f"top{self.top}"] if self.top != TOP else []
        words += [self.run] if self.run != "edited" else []
        return " ".join(words)

    @property
    def saes(self) -> tuple[str, ...]:
        return (self.of,)

    def next(self) -> Self:
        return replace(self, by=after(self.by, BYS))


class FeaturesAnswer(Answer, frozen=True, tag="features", eq=False):
    """The features with the numbers `features` [feature], in the order that was asked for: those that are on in either
    run, or that differ most between the two; both runs list the same.

    value [feature]: activations at `position`; values [feature, pos]: at all. share [feature]: the length of what the
    feature writes over that of the activation there. attribution [feature]: what it adds to logit(answer) -
    logit(foil), read through the final norm with its scale held, as in the ledger; None where there is nothing to
    attribute, and why says so. rest: what the other features add, bias: what the dictionary writes whatever is on,
    skip: what goes around the features, error: what the dictionary does not have; with the features they add up to
    total, the direct effect of what passes there. labels: features' names, empty where there is none. raises, lowers:
    tokens whose logits a direction changes most, per unit of activation, before the final norm's scale and less the
    vocabulary's mean; cosines [feature, vector] to the session's `vectors`, NaN for one that cannot be made.

    on [pos]: how many features are on. counted: positions that what follows counts: all, but for BOS. l0: the mean of
    `on`; explained_variance: 1 - the mean square of the error over that of the activation less its mean, over these
    positions. norm, error_norm [pos]: lengths. loss, loss_reconstructed, loss_zeroed: the mean -ln p of a token, in
    nats, of the run, with the reconstruction in the place of what passes there, and with 0; loss_recovered: the share
    of what 0 costs that the reconstruction does not; NaN while they are not computed, and where they cannot be.
    """

    about: About
    position: int
    features: np.ndarray
    value: np.ndarray
    values: np.ndarray
    share: np.ndarray
    labels: tuple[str, ...]
    raises: tuple[tuple[Scored, ...], ...]
    lowers: tuple[tuple[Scored, ...], ...]
    vectors: tuple[str, ...]
    cosines: np.ndarray
    on: np.ndarray
    norm: np.ndarray
    error_norm: np.ndarray
    counted: int
    l0: float
    explained_variance: float
    attribution: np.ndarray | None = None
    rest: float = NONE
    bias: float = NONE
    skip: float = NONE
    error: float = NONE
    total: float = NONE
    loss: float = NONE
    loss_reconstructed: float = NONE
    loss_zeroed: float = NONE
    loss_recovered: float = NONE
    answer: Token | None = None
    foil: Token | None = None
    auto: bool = False
    why: str = ""

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(f"{self.about.name}F{feature}" for feature in self.features)

    def json(self) -> dict[str, Any]:
        def words(lists: tuple[tuple[Scored, ...], ...]) -> list[list[dict[str, Any]]]:
            return [[{"token": e.token.text, "id": e.token.id, "value": e.value} for e in each] for each in lists]

        numbers = ("value", "attribution", "share", "values")
        parts = ("rest", "bias", "skip", "error", "total")
        quality = ("on", "norm", "error_norm", "counted", "l0", "explained_variance")
        losses = ("loss", "loss_reconstructed", "loss_zeroed", "loss_recovered")
        return {
            "dictionary": plain(self.about),
            "position": self.position,
            "answer": None if self.answer is None else self.answer.text,
            "foil": None if self.foil is None else self.foil.text,
            "auto": self.auto,
            "feature": self.features.tolist(),
            **{name: plain(getattr(self, name)) for name in numbers},
            "labels": list(self.labels),
            "raises": words(self.raises),
            "lowers": words(self.lowers),
            "vectors": list(self.vectors),
            "cosines": plain(self.cosines),
            **{name: plain(getattr(self, name)) for name in (*parts, *quality, *losses)},
            "why": self.why,
        }


SPEC = View(
    question=Features,
    answer=FeaturesAnswer,
    title="Features",
    go="F",
    shows=(
        "The features of a dictionary (a sparse autoencoder or a transcoder) that are on at the selected token: the "
        "activation (value), the length of what the feature writes as a share of that of what passes there, and what it"
        " adds to the logit difference directly: value times its direction, read through the final norm whose scale is "
        "held. The error, what the dictionary does not have, is a line as they are: features, bias (b_dec) and error "
        "add up to the direct effect of all that passes there. Of each its label, where a file has some, its size over "
        "the prompt, and the tokens whose logits its direction raises and lowers. Above them how good the dictionary is"
        " on this prompt: how many features are on at a token (L0), the share of the variance that it explains (EV), "
        "and how much of the loss that putting 0 there costs it recovers. BOS does not count."
    ),
    read=(
        "A large error, or a low share of loss recovered, says that the features are not what the model uses here. "
        "Words are of the direct way to the unembedding; a feature of an early layer works through later ones. s sorts "
        "by value, share or number. enter shows the places of a text where a feature fires most."
    ),
    trap=(
        "A label says what somebody saw in the texts that excite a feature most; at low values it often fires for "
        "something else. The line is the direct effect only. A dictionary that was made on other weights, or without "
        "BOS, is refused; one that was made on other texts is not, and its error says so."
    ),
    paper=(
        "Bricken et al. 2023, Towards Monosemanticity; Cunningham et al. 2023, Sparse Autoencoders Find Highly "
        "Interpretable Features; gated: Rajamanoharan et al. 2024; top-k: Gao et al. 2024; JumpReLU: Rajamanoharan et "
        "al. 2024; transcoders: Dunefsky et al. 2024"
    ),
    words=("feature", "dictionary", "L0", "logit difference", "residual stream", "clean, edited"),
    glossary=(
        ("dictionary", "directions learned so that few of them, added up, give an activation: a sparse autoencoder's."),
        ("feature", "one direction of a dictionary, and how much of it there is: its activation."),
        ("L0", "how many features are on at a token."),
    ),
    cost=Cost.OWN_RUNS,
    line_words=(
        ("value", "the largest activations"),
        ("share", "those that are most of what passes there"),
        ("number", "by their number"),
        ("top40", "the 40 strongest"),
    ),
    footer=("into", "zero", "clamp_feature", "feature_vector", "next_dictionary", "summary", "next_run", "token_back"),
    actions=(
        Action(
            "next_dictionary",
            ("D",),
            "dictionary",
            "Show the next dictionary of the session.",
            needs=Needs.MODEL,
        ),
        Action("clamp_feature", ("x",), "clamp", "Hold the feature at twice its activation here: + and - change it."),
        Action(
            "feature_vector",
            ("w",),
            "as vector",
            "Make the feature's direction a steering vector of the session.",
            needs=Needs.MODEL,
        ),
    ),
    numbers=(
        Numbers("on", "features that are on", "features", ("position",)),
        Numbers("explained_variance", "variance explained", "of 1"),
        Numbers("error_norm", "length of the error", "L2", ("position",)),
    ),
)
