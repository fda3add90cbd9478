"""`neurons [L5] [@POS] [attribution|activation] [top20] [clean|difference]`: the MLP neurons that matter at a token."""

from __future__ import annotations

import re
from typing import Any, ClassVar, Literal, Self, get_args

import numpy as np
from msgspec.structs import replace

from mechtui.session.document import Token
from mechtui.session.grammar.loose import choice, count, fields, position
from mechtui.session.grammar.words import whole
from mechtui.views.circuit import Scored
from mechtui.views.question import RUNS, Answer, Question, Run, after, plain
from mechtui.views.spec import Action, Needs, View

By = Literal["attribution", "activation"]
BYS: tuple[By, ...] = get_args(By)
# Neurons that are listed without a word, and tokens that are named of what each reads and writes.
TOP, WORDS = 20, 5


class Neurons(Question, frozen=True, tag="neurons"):
    """The `top` neurons at `position` (negative: from the end) of the layer `of` (-1: of all layers), by what they add
    to the logit difference, or by their activation's size. run: which run is shown."""

    SHOWN: ClassVar[frozenset[str]] = frozenset({"run"})

    of: int = -1
    position: int = -1
    by: By = "attribution"
    top: int = TOP
    run: Run = "edited"

    @classmethod
    def parse(cls, line: str, rest: str) -> Self:
        wanted = f"a layer (L5), a position, as in @-1, {', '.join(BYS)}, clean, difference or a count, as in top40"
        return cls(**fields(line, wanted, _layer, position(), choice("by", BYS), count("top"), choice("run", RUNS)))

    def line(self) -> str:
        words = ["neurons"]
        words += [f"L{self.of}"] if self.of >= 0 else []
        words += [f"@{self.position}"] if self.position != -1 else []
        words += [self.by] if self.by != "attribution" else []
        words += [f"top{self.top}"] if self.top != TOP else []
        words += [self.run] if self.run != "edited" else []
        return " ".join(words)

    def next(self) -> Self:
        return replace(self, by=after(self.by, BYS))


def _layer(word: str, line: str, at: int) -> dict[str, Any] | None:
    """L5. Raises LineError."""
    match = re.fullmatch(r"L([0-9]+)", word)
    return None if match is None else {"of": whole(match[1], line, at + 1)}


class NeuronsAnswer(Answer, frozen=True, tag="neurons", eq=False):
    """The neurons of `layers` [neuron] with the numbers `neurons` [neuron], the strongest first: those that are in
    either run, or that differ most between the two; both runs list the same.

    post [neuron, pos]: activations. pre [neuron, pos]: what goes into the activation function; in gated MLPs that is
    the gate, and into [neuron, pos] is what it is multiplied by, None without gates. attribution [neuron]: activation
    times what the neuron's write adds to logit(answer) - logit(foil) at `position`, the norms' scales held, as in the
    ledger; None where there is nothing to attribute, and why says so. norm [neuron]: the L2 norm of the row of W_out.
    reads: the tokens whose embeddings alone, normed, open the neuron most, with the pre-activation (the gate) that they
    give. raises, lowers: the tokens whose logits its write vector changes most, per unit of activation, before the
    final norm's scale and less the vocabulary's mean.
    """

    position: int
    layers: np.ndarray
    neurons: np.ndarray
    post: np.ndarray
    pre: np.ndarray
    norm: np.ndarray
    reads: tuple[tuple[Scored, ...], ...]
    raises: tuple[tuple[Scored, ...], ...]
    lowers: tuple[tuple[Scored, ...], ...]
    into: np.ndarray | None = None
    attribution: np.ndarray | None = None
    answer: Token | None = None
    foil: Token | None = None
    auto: bool = False
    why: str = ""

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(f"L{layer}N{neuron}" for layer, neuron in zip(self.layers, self.neurons, strict=True))

    def json(self) -> dict[str, Any]:
        def scored(lists: tuple[tuple[Scored, ...], ...]) -> list[list[dict[str, Any]]]:
            return [[{"token": e.token.text, "id": e.token.id, "value": e.value} for e in each] for each in lists]

        return {
            "position": self.position,
            "answer": None if self.answer is None else self.answer.text,
            "foil": None if self.foil is None else self.foil.text,
            "auto": self.auto,
            "neurons": list(self.names),
            **{name: plain(getattr(self, name)) for name in ("attribution", "post", "pre", "into", "norm")},
            **{name: scored(getattr(self, name)) for name in ("reads", "raises", "lowers")},
            "why": self.why,
        }


SPEC = View(
    question=Neurons,
    answer=NeuronsAnswer,
    title="Neurons",
    go="m",
    shows=(
        "The MLP neurons that add most to the logit difference at the selected token (attribution: activation times "
        "what the row of W_out adds to logit(answer) - logit(foil), the norms' scales held), or whose activation is "
        "largest. Of each its activation (post), what goes into the activation function (pre; in gated MLPs gate and "
        "in, whose product with the gate's activation is post), its size over the prompt, the tokens whose embeddings "
        "alone open it (reads), and those whose logits its write vector raises and lowers."
    ),
    read=(
        "A neuron with a large activation and no attribution writes elsewhere, or to later layers. z zeroes it, + and "
        "- change what scales it, w makes its write vector a steering vector; enter shows where it fires most."
    ),
    trap=(
        "Words are of the direct way from the embedding, and to the unembedding: in the middle of a model what a "
        "neuron reads and writes passes many layers. Neurons mean several things at once, and one prompt shows one."
    ),
    paper=(
        "Geva et al. 2021, Transformer Feed-Forward Layers Are Key-Value Memories; gated MLPs: Shazeer 2020, GLU "
        "Variants Improve Transformer."
    ),
    words=("neuron", "logit difference", "clean, edited"),
    line_words=(
        ("L5", "of one layer"),
        ("activation", "the largest activations"),
        ("top40", "the 40 strongest"),
    ),
    footer=("zero", "scale_neuron", "neuron_vector", "summary", "token_back", "token_next", "into"),
    actions=(
        Action("scale_neuron", ("x",), "scale", "Scale the neuron's activation, twice at first: + and - change it."),
        Action(
            "neuron_vector",
            ("w",),
            "as vector",
            "Make the neuron's write vector a steering vector of the session.",
            needs=Needs.MODEL,
        ),
    ),
)
