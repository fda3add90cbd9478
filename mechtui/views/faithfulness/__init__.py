"""`faithfulness L9H9 L10H0-2 [mlps]`: what a circuit does alone over the cases, and what is left without it."""

from __future__ import annotations

from typing import Any, Self

from msgspec.structs import replace

from mechtui.evidence import Ratio, Summary
from mechtui.session.document import Span, Struct
from mechtui.session.grammar.places import parse_site
from mechtui.session.grammar.words import LineError, cut, short
from mechtui.views.question import Answer, Question, plain
from mechtui.views.spec import Action, Cost, View

# The most that a line names: each is run once without.
MOST = 400


class Part(Struct, frozen=True, order=True):
    """A component: a head, or with head -1 the layer's MLP."""

    layer: int
    head: int = -1

    @property
    def name(self) -> str:
        return f"L{self.layer}.mlp" if self.head < 0 else f"L{self.layer}H{self.head}"


class Faithfulness(Question, frozen=True, tag="faithfulness"):
    """kept: the circuit, in the order in which it was named. mlps: whether MLPs that are not named are ablated, too;
    else all of them run as they are."""

    kept: tuple[Part, ...] = ()
    mlps: bool = False

    @classmethod
    def parse(cls, line: str, rest: str) -> Self:
        kept: list[Part] = []
        mlps = False
        for word, at in cut(line)[1:]:
            if word == "mlps":
                mlps = True
            elif word.startswith("L"):
                kept += _parts(word, line, at)
                mlps = mlps or kept[-1].head < 0
            else:
                what = "a head or an MLP of the circuit, as in L9H9, L10H0-2 or L0.mlp, or mlps"
                raise LineError(line, at, f"{short(word)} should be {what}")
            if len(kept) > MOST:
                raise LineError(line, at, f"a circuit of more than {MOST} components is none")
        return cls(tuple(dict.fromkeys(kept)), mlps)

    def line(self) -> str:
        named = any(part.head < 0 for part in self.kept)
        words = ["faithfulness", *(part.name for part in self.kept), *(["mlps"] if self.mlps and not named else [])]
        return " ".join(words)

    @property
    def costly(self) -> bool:
        return True

    def next(self) -> Self:
        """With all MLPs as they are, or ablated but for those that are named."""
        heads = tuple(part for part in self.kept if part.head >= 0)
        return replace(self, kept=heads, mlps=False) if self.mlps else replace(self, mlps=True)

    def toggled(self, part: Part) -> Self:
        """With this component, or without it where it is there."""
        if part in self.kept:
            return replace(self, kept=tuple(each for each in self.kept if each != part))
        return replace(self, kept=(*self.kept, part))


def _parts(word: str, line: str, at: int) -> list[Part]:
    site = parse_site(word, line=line, column=at)
    is_mlp = site.kind == "layer" and site.part == "mlp"
    if not is_mlp and not (site.kind == "head" and site.part == "z"):
        raise LineError(line, at, f"{word} is no component of a circuit: heads are, as in L9H9, and MLPs, as in L0.mlp")
    spans: list[range] = []
    for span in (site.layers, site.index if not is_mlp else Span(-1, -1)):
        if span.last is None or span.last - span.first >= MOST:
            raise LineError(line, at, f"{word} names too many: write the first and the last, as in L10H0-2")
        spans.append(range(span.first, span.last + 1))
    return [Part(layer, head) for layer in spans[0] for head in spans[1]]


class FaithfulnessAnswer(Answer, frozen=True, tag="faithfulness", eq=False):
    """of: the session's line that names the cases. components: the circuit. Logit differences over them: model: of the
    whole model; circuit: of the circuit alone, all else ablated; nothing: with every component ablated; without: of the
    model with the circuit ablated. faithfulness: (circuit - nothing) / (model - nothing). completeness: (model -
    without) / (model - nothing): 1 where nothing is left without the circuit. drops: of each component of the circuit
    what the circuit alone loses with it. left_out: cases that have no number. left: runs that are still to come."""

    of: str
    components: tuple[str, ...]
    model: Summary
    circuit: Summary
    nothing: Summary
    without: Summary
    faithfulness: Ratio
    completeness: Ratio
    drops: tuple[Summary, ...]
    left_out: int = 0
    left: int = 0

    def json(self) -> dict[str, Any]:
        names = ("of", "model", "circuit", "nothing", "without", "faithfulness", "completeness", "left_out")
        drops = [{"component": name, **plain(drop)} for name, drop in zip(self.components, self.drops, strict=True)]
        return {**{name: plain(getattr(self, name)) for name in names}, "drops": drops}


SPEC = View(
    question=Faithfulness,
    answer=FaithfulnessAnswer,
    title="Faithfulness",
    go="Q",
    beside="cases",
    shows=(
        "Over the session's cases the mean logit difference of the whole model, of the circuit alone (all heads that "
        "are not named, and with mlps all such MLPs, ablated to their mean over the cases of the same length, position "
        "by position), with everything ablated (nothing), and of the model without the circuit; faithfulness = "
        "(circuit - nothing) / (model - nothing), completeness = (model - without) / (model - nothing), each with its "
        "95 % bootstrap interval; and what the circuit alone loses with each of its components."
    ),
    read=(
        "Faithfulness 1: the circuit does alone what the model does. Completeness 1: without it nothing is left; less: "
        "others do the same work. A component whose drop is about 0 may go."
    ),
    trap=(
        "Both depend on what is ablated to: a mean over the cases keeps what all of them say, so that nothing need not "
        "be 0. Faithfulness above 1, or of a circuit that is not complete, says that heads which work against it were "
        "left out. Edits play no part."
    ),
    paper="Wang et al. 2022, Interpretability in the Wild: faithfulness, completeness, minimality.",
    words=("logit difference",),
    cost=Cost.JOB,
    line_words=(("mlps", "MLPs that are not named are ablated, too"),),
    footer=("start", "keep_head", "drop_component", "summary"),
    actions=(
        Action("keep_head", ("w",), "head in/out", "Take the head that the screen looks at into the circuit, or out."),
        Action("drop_component", ("x",), "take out", "Take the component under the cursor out of the circuit."),
    ),
)
