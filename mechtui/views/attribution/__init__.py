"""`attribution [L9H9|L9.mlp] [@POS] [answer]`: what wrote the logit difference (Elhage et al. 2021); with
`measured [zero|mean] [here]` what ablating each head and MLP really changes, and who made up for it."""

from __future__ import annotations

import re
from typing import Any, ClassVar, Literal, Self, get_args

import numpy as np
from msgspec.structs import replace

from mechtui.session.document import Site, Struct, Token
from mechtui.session.grammar.places import format_site, parse_site
from mechtui.session.grammar.words import LineError, cut, one_position, short
from mechtui.session.roles import said
from mechtui.views.over import WORDS as OVER_CASES
from mechtui.views.over import Over, taken
from mechtui.views.question import RUNS, Answer, Question, Run, plain
from mechtui.views.spec import Action, Needs, Numbers, View

TOP = 40
Order = Literal["sorted", "effect", "others", "unsorted", "map"]
# By what is measured.
BY_MEASURED: tuple[Order, ...] = ("effect", "others")
# Parts that are neither a head nor an MLP, and the sum of all.
REST = ("embed", "pos", "bias", "edits", "total")
MEASURED_ALONE = "what is measured is of one prompt: sweep zero L*H* over cases says what zeroing heads changes"
Ablation = Literal["", "zero", "mean"]
ABLATIONS: tuple[Ablation, ...] = ("", "zero", "mean")


class Attribution(Question, frozen=True, tag="attribution"):
    """What every write to the residual stream at `position` (negative: from the end) adds to
    logit(answer) - logit(foil) there, with the final norm's scale held at its value; with `answer` to logit(answer)
    alone, as the model gives it, not centred over the vocabulary.

    site: of one head (L9H9) by the tokens that it read; of one MLP (L9.mlp) by its neurons, the `top` strongest.
    measured: how each head and each MLP is ablated, alone, in a run of its own: by 0, or by its mean as the op `mean`
    has it; empty: not at all. With a site: that one alone, and what all others do about it. here: it is ablated at
    `position` only, not at all positions. order: of the lines on the screen: by their size, by the measured effect, by
    what others did, or as they follow each other in the model; map: layers by heads.
    """

    SHOWN: ClassVar[frozenset[str]] = frozenset({"run", "order"})

    site: Site | None = None
    position: int = -1
    answer: bool = False
    measured: Ablation = ""
    here: bool = False
    top: int = TOP
    order: Order = "sorted"
    run: Run = "edited"
    over: bool = False

    @classmethod
    def parse(cls, line: str, rest: str) -> Self:
        written, over = taken(cut(line)[1:])
        words: dict[str, Any] = {"over": over}
        for word, at in written:
            site = words.get("site")
            if (there := one_position(word, line, at)) is not None:
                words["position"] = there
            elif word == "answer":
                words["answer"] = True
            elif word in ("measured", "here"):
                # Each of the words on how a part is ablated says that it is.
                words.setdefault("measured", "zero")
                words["here"] = words.get("here", False) or word == "here"
            elif word and word in ABLATIONS:
                words["measured"] = word
            elif word in get_args(Order):
                if word == "map" and site is not None:
                    raise LineError(line, at, f"map is of all heads, and this line is of {format_site(site)}")
                words["order"] = word
            elif word in RUNS:
                words["run"] = word
            elif re.fullmatch(r"top[1-9][0-9]{0,4}", word):
                if site is None or site.kind != "layer":
                    raise LineError(line, at, f"{word} counts neurons: it stands behind an MLP, as in L9.mlp {word}")
                words["top"] = int(word[3:])
            elif re.match(r"L[0-9*]", word):
                words["site"] = _opened(parse_site(word, line=line, column=at), line, at)
            else:
                wanted = (
                    "a head (L9H9), an MLP (L9.mlp), a position, as in @-1, answer, measured [zero|mean] [here], "
                    "effect, others, unsorted, map, clean or difference"
                )
                raise LineError(line, at, f"{short(word)} should be {wanted}")
        found = cls(**words)
        if over and (why := found._refuses_over()):
            raise LineError(line, line.index("over"), why)
        return found

    def _refuses_over(self) -> str:
        """Why this is not taken over cases, in a sentence; empty where it is."""
        if self.site is not None:
            return f"what {format_site(self.site)} is made of is another in every case: leave it or over cases out"
        if self.measured:
            return MEASURED_ALONE
        return said(self.position) if self.position > 0 else ""

    def line(self) -> str:
        words = ["attribution"]
        if self.site is not None:
            words.append(format_site(self.site))
        if self.position != -1:
            words.append(f"@{self.position}")
        if self.answer:
            words.append("answer")
        if self.measured:
            words += ["measured"] + ["mean"] * (self.measured == "mean") + ["here"] * self.here
        if self.top != TOP:
            words.append(f"top{self.top}")
        words += [word for word, default in ((self.order, "sorted"), (self.run, "edited")) if word != default]
        words += [OVER_CASES] * self.over
        return " ".join(words)

    @property
    def from_end(self) -> bool:
        return self.over

    @property
    def many_runs(self) -> bool:
        return self.over or (bool(self.measured) and self.site is None)

    def next(self) -> Self:
        orders = [each for each in get_args(Order) if (self.measured and self.site is None) or each not in BY_MEASURED]
        if self.site is not None:
            orders.remove("map")
        at = orders.index(self.order) if self.order in orders else 0
        return replace(self, order=orders[(at + 1) % len(orders)])

    def unmeasured(self) -> Self:
        """The line without what takes runs of its own."""
        return replace(self, measured="", here=False)

    def into(self, site: Site) -> Self:
        """The line of one head or MLP, of the same position, target, ablation and run."""
        return replace(self, site=site, top=TOP, order="sorted", over=False)


def _opened(site: Site, line: str, at: int) -> Site:
    """The site, if it is one head's output or one MLP's. Raises LineError."""
    one = site.layers.first == site.layers.last and (site.kind == "layer" or site.index.first == site.index.last)
    if not one or site.part != ("z" if site.kind == "head" else "mlp"):
        raise LineError(line, at, f"{short(format_site(site))} is not one head (L9H9) and not one MLP (L9.mlp)")
    return site


class Components(Struct, frozen=True, tag="components", eq=False):
    """heads [layer, head]; mlps [layer] (NaN without an MLP); embed, pos; bias: attention's output biases, the
    final norm's and the unembedding's; edits: what edits added to or took from the residual stream itself."""

    heads: np.ndarray
    mlps: np.ndarray
    embed: float
    pos: float
    bias: float
    edits: float


class Sources(Struct, frozen=True, tag="sources", eq=False):
    """Of one head: tokens [pos], what its write owes to each token that it read: attention times the value without its
    bias. attention [pos]: the weight alone. bias: what it owes to the values' bias; edits: to edits of the head's
    output."""

    tokens: np.ndarray
    attention: np.ndarray
    bias: float
    edits: float


class Neurons(Struct, frozen=True, tag="neurons", eq=False):
    """Of one MLP: neurons [top] (their numbers), values [top], activations [top] (hook_post), those first that are
    strongest in any run or differ most between the runs; rest: what the others write together; bias: the MLP's output
    bias; edits: what edits of the MLP's output added."""

    neurons: tuple[int, ...]
    values: np.ndarray
    activations: np.ndarray
    rest: float
    bias: float
    edits: float


class Ablated(Struct, frozen=True, tag="ablated", eq=False):
    """What ablating each part alone does to the logit difference, each table [layer, head, and behind the heads the MLP
    where the model has some]; NaN where it was not computed (yet).

    op: zero or mean. here: at the question's position only, else at all. direct: of it, what goes of the part's own
    line. measured: the change. frozen: the same run, read with the final norm's scale held at what it is without the
    ablation; all that comes before the final norm runs anew, earlier norms among it.
    """

    op: Ablation
    here: bool
    direct: np.ndarray
    measured: np.ndarray
    frozen: np.ndarray

    @property
    def others(self) -> np.ndarray:
        """What the rest of the model did about it, the final norm among it."""
        found: np.ndarray = self.measured - self.direct
        return found

    @property
    def norm(self) -> np.ndarray:
        """Of `others`, what the final norm's other scale does."""
        found: np.ndarray = self.measured - self.frozen
        return found

    def json(self) -> dict[str, Any]:
        return {
            "ablation": self.op,
            "here": self.here,
            "direct": plain(self.direct),
            "measured": plain(self.measured),
            "measured_frozen": plain(self.frozen),
            "norm": plain(self.norm),
            "others": plain(self.others),
        }


class Repair(Struct, frozen=True, tag="repair", eq=False):
    """Who made up for one part that is ablated: by how much each direct contribution changes, with the final norm's
    scale held; with `norm`, what that scale then does, they add up to the measured change.

    op, here: as in `Ablated`. heads [layer, head]; mlps [layer] (NaN without an MLP), the ablated one among them; bias:
    of norms behind a block's parts; edits: what edits do otherwise. direct: what goes of the part's own line.
    """

    op: Ablation
    here: bool
    heads: np.ndarray
    mlps: np.ndarray
    bias: float
    edits: float
    norm: float
    direct: float


class AttributionAnswer(Answer, frozen=True, tag="attribution", eq=False):
    """Contributions in logits; all parts add up to `total`: logit(answer) - logit(foil) at `position`, or what the
    head or the MLP contributes to it.

    answer, foil: whose logits; without a foil the answer's alone. auto: the clean run's two best tokens stand in.
    rounding: what the parts may miss of `total`, in float32 0.001; where they miss more there is no answer. ablated:
    with `measured`, what ablating each part does; None without it. Of one part that is ablated (`Repair`) `total` is
    the measured change. over: of means over the cases, what these say of `writes` besides; position counts from the end
    then, and answer and foil are each case's own.
    """

    position: int
    answer: Token
    foil: Token | None
    auto: bool
    parts: Components | Sources | Neurons | Repair
    total: float
    rounding: float
    ablated: Ablated | None = None
    over: Over | None = None

    def json(self) -> dict[str, Any]:
        if self.over is not None:
            means = {"writes": self.writes(), "mean": plain(self.means)}
            own = {"position": self.position, **self._parts(), "total": self.total, "rounding": self.rounding}
            return own | means | self.over.json()
        return {
            "position": self.position,
            "answer": self.answer.text,
            "foil": None if self.foil is None else self.foil.text,
            "auto": self.auto,
            **self._parts(),
            "total": self.total,
            "rounding": self.rounding,
            **({} if self.ablated is None else self.ablated.json()),
        }

    def writes(self) -> list[str]:
        """The names of the parts, in the order of `means`."""
        assert isinstance(self.parts, Components)
        layers, heads = self.parts.heads.shape
        each = [f"L{layer}H{head}" for layer in range(layers) for head in range(heads)]
        return [*each, *(f"L{layer}.mlp" for layer in range(layers)), *REST]

    @property
    def means(self) -> np.ndarray:
        """[write] of all parts and their sum."""
        parts = self.parts
        assert isinstance(parts, Components)
        rest = [*(getattr(parts, name) for name in REST[:-1]), self.total]
        return np.concatenate([parts.heads.ravel(), parts.mlps, np.array(rest, dtype=np.float32)])

    def _parts(self) -> dict[str, Any]:
        said: dict[str, Any] = plain(self.parts)
        if not isinstance(self.parts, Repair):
            return said
        return {"ablation": said.pop("op"), **said, "others": self.total - self.parts.direct}


SPEC = View(
    question=Attribution,
    answer=AttributionAnswer,
    title="Attribution",
    go="d",
    shows=(
        "What each write to the residual stream at the selected token adds to logit(answer) minus logit(foil), in "
        "logits: the embedding, each head, each MLP, the biases, and what edits added. A write w counts as "
        "w · (W_U[answer] - W_U[foil]) through the final norm, whose scale is held at its value. Opened, a head is "
        "what it owes to each token that it read (attention times value through W_O), an MLP what its neurons write."
    ),
    read=(
        "All lines add up to the last one, the logit difference; lines out of sight are added up before it. The larger "
        "of both runs sorts, so that a line that an edit silences stays where it was. Orange "
        "speaks for the answer, blue for the foil; * is edited. Once `sweep zero L*H*` was made of the session as it "
        "is, each head has two more numbers after the last token: by how much zeroing it changes the logit difference "
        "(zeroed, measured), and what the rest of the model did about it (others: zeroed plus the line, which went), "
        "so that self-repair is a number; ● marks heads whose measured effect has the other sign or is off by more "
        "than half. r measures it for MLPs, too, at any token, by 0 or by the mean (`measured zero`, `measured mean`, "
        "`here`: at this token only), behind all else that is on the screen: measured = direct + others, where direct "
        "is what goes of the line itself. norm is the share of others that the final norm's scale has: measured less "
        "the same run read with that scale held; earlier norms are not held. Then enter shows who made up for a part: "
        "by how much each line changes when it is ablated; they add up to what is measured."
    ),
    trap=(
        "This is the direct way only: a head that works through later heads has no share of its own here, and zeroing "
        "a head may cost less than its line says, because later ones make up for it. It is that of one prompt: `over "
        "cases` behind the line takes means over the session's cases, which still add up, each with its interval."
    ),
    paper=(
        "Elhage et al. 2021, A Mathematical Framework for Transformer Circuits; McGrath et al. 2023, The Hydra Effect "
        "(self-repair); Rushing and Nanda 2024, Explorations of Self-Repair in Language Models (the final norm's share)"
    ),
    words=("logit difference", "self-repair", "unembedding", "residual stream", "clean, edited"),
    line_words=(
        ("measured", "what ablating each part really changes"),
        ("zero", "measured by 0"),
        ("mean", "measured by the part's mean over the prompt"),
        ("here", "measured with the part ablated at this token only"),
        ("effect", "sorted by what is measured"),
        ("others", "sorted by what the others did about it"),
        (OVER_CASES, "means over the session's cases"),
    ),
    footer=("summary", "next_run", "measure", "zero", "alone", "undo", "maximise"),
    actions=(
        Action(
            "alone",
            ("A",),
            "answer alone",
            "Attribute the answer's logit alone, or answer minus foil again.",
            needs=Needs.MODEL,
        ),
        Action(
            "measure",
            ("r",),
            "measure",
            "Measure what zeroing each head and MLP really changes; again: by their means; again: no more.",
            needs=Needs.MODEL,
        ),
        Action(
            "measure_here",
            ("H",),
            "here, all",
            "Ablate at the selected token only, or at all tokens again, and measure.",
            needs=Needs.MODEL,
        ),
        Action(
            "cut_source",
            ("x",),
            "cut source",
            "Of an opened head, remove the attention from the selected token to the line's.",
            needs=Needs.MODEL,
        ),
    ),
    numbers=(
        Numbers("parts.heads", "heads", "logits", ("layer", "head")),
        Numbers("parts.mlps", "MLPs", "logits", ("layer",)),
    ),
)
