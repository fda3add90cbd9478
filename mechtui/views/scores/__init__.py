"""`scores [COLUMN] [up] ["TEXT"]`: what each head does on random tokens said twice, and whether it copies."""

from __future__ import annotations

from typing import ClassVar, Literal, Self, get_args

import numpy as np
from msgspec.structs import replace

from mechtui.session.grammar.loose import choice, fields, flag, text
from mechtui.session.grammar.words import quote
from mechtui.views.question import Answer, Question, after
from mechtui.views.spec import Action, Cost, Follows, View

Column = Literal[
    "induction",
    "previous",
    "duplicate",
    "copying",
    "attribution",
    "measured",
    "others",
    "norm",
    "sweep",
    "entropy",
    "first",
    "label",
    "head",
]
COLUMNS: tuple[Column, ...] = get_args(Column)
# What a head can be called by, and the share of its attention from which on it is: more than half, so that no head
# has two names, and none has one for what it mostly does not do. Attention to the first token earns no name: most
# heads rest there, and that says nothing of what they do when they do something.
LABELS = ("induction", "previous", "duplicate")
EARNED = 0.5
MEASURING = "measuring the heads on random tokens said twice, once per model"


class Scores(Question, frozen=True, tag="scores"):
    """How the list is shown. by: the column that sorts it, the largest first, or with `up` the smallest. only: words
    that a row must have in its name or label."""

    SHOWN: ClassVar[frozenset[str]] = frozenset({"by", "up", "only"})
    OF_MODEL: ClassVar[frozenset[str]] = frozenset({"only"})

    by: Column = "induction"
    up: bool = False
    only: str = ""

    @classmethod
    def parse(cls, line: str, rest: str) -> Self:
        wanted = f'{", ".join(COLUMNS)}, up or a text in double quotes, as "L3H"'
        return cls(**fields(line, wanted, choice("by", COLUMNS), flag("up"), text("only")))

    def line(self) -> str:
        words = ["scores"]
        if self.by != "induction":
            words.append(self.by)
        if self.up:
            words.append("up")
        if self.only:
            words.append(quote(self.only))
        return " ".join(words)

    def next(self) -> Self:
        """Sorted by the next column."""
        return replace(self, by=after(self.by, COLUMNS), up=False)


class ScoresAnswer(Answer, frozen=True, tag="scores", eq=False):
    """The scores are [layer, head]: shares of attention 0..1, and copying -1..1; NaN is what was not computed (yet).
    label: what a head is called, empty for most. lengths: of the stretches that were said twice, in tokens; count:
    texts of each; bos: whether they began with BOS. repeat: a text of random words said twice, to look at."""

    induction: np.ndarray
    previous: np.ndarray
    duplicate: np.ndarray
    copying: np.ndarray
    first: np.ndarray
    label: tuple[tuple[str, ...], ...]
    lengths: tuple[int, ...]
    count: int
    bos: bool
    repeat: str = ""


def labels(scores: dict[str, np.ndarray]) -> tuple[tuple[str, ...], ...]:
    """[layer][head]: the one of LABELS whose score [layer, head] is more than `EARNED`, else empty."""
    layers, heads = scores[LABELS[0]].shape

    def label(place: tuple[int, int]) -> str:
        return max(
            (name for name in LABELS if scores[name][place] > EARNED), key=lambda n: scores[n][place], default=""
        )

    return tuple(tuple(label((layer, head)) for head in range(heads)) for layer in range(layers))


SPEC = View(
    question=Scores,
    answer=ScoresAnswer,
    title="Heads ranked",
    go="i",
    shows=(
        "Every head in one row, sorted by a column. On random tokens said twice (stretches of n = 32, 64 and 96), as a "
        "share of attention: induction, from t in the second half to t-n+1; previous, from t to t-1; duplicate, from t "
        "in the second half to t-n. copying: the sum of the eigenvalues of W_U W_O W_V W_E over the sum of their "
        "sizes, -1 to 1. Of the prompt, at the selected token: attribution to the logit difference, the last "
        "sweep, entropy of the attention, attention to the first token; where `attribution measured` stands (r in its "
        "pane), what ablating the head really changes (measured), what all others do about it (others) and of that the "
        "final norm's scale (norm); after `sweep zero L*H*` others, too. ● is a marked head, * an edited one."
    ),
    read=(
        "A head is called by what takes more than half of its attention; most have no name. ⏎ shows its attention; "
        "with a random repeat as the prompt, induction is a stripe there."
    ),
    trap=(
        "The scores are of random tokens: a head that does this there may do something else in a text, and a head "
        "without a name may do much. copying is of the weights alone: a head copies only what it attends to."
    ),
    paper=(
        "Olsson et al. 2022, In-context Learning and Induction Heads; Elhage et al. 2021, A Mathematical Framework for "
        "Transformer Circuits (copying)"
    ),
    words=("induction head", "pattern", "OV circuit", "logit difference", "entropy"),
    cost=Cost.OWN_RUNS,
    follows=Follows.MODEL,
    line_words=(
        ("previous", "by attention to the token before"),
        ("duplicate", "by attention to this token's earlier place"),
        ("copying", "by whether what is read is what is raised"),
        ("attribution", "by what is added to the logit difference"),
        ("measured", "by what ablating it really changes"),
        ("others", "by what the others did about that"),
        ("norm", "by the final norm's share of that"),
        ("sweep", "by the last sweep over the heads"),
        ("entropy", "by entropy of the attention"),
        ("first", "by attention to the first token"),
        ("label", "by what heads are called"),
        ("head", "as they stand in the model"),
        ("up", "the smallest first"),
    ),
    footer=("mark_head", "zero", "mean", "patch", "sort_here", "only_heads", "who_head", "write_repeat"),
    actions=(
        Action("mark_head", ("H",), "mark", "Mark the head, or not; zero, mean and patch act on all that are marked."),
        Action("unmark_heads", ("X",), "unmark all", "Take the marks of all heads."),
        Action("sort_here", ("t",), "sort", "Sort by the cursor's column; once more, the smallest first."),
        Action("only_heads", ("w",), "only", "List only the heads that have some words in name or label."),
        Action("who_head", ("B",), "who", "Who put this here? The paths into the head's query at the selected token."),
        Action(
            "write_repeat", ("r",), "repeat", "Make random words said twice the prompt: there induction is a stripe."
        ),
    ),
)
