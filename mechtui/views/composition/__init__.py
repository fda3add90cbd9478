"""`composition [Q|K|V] [map] ["TEXT"]`: which heads could read what earlier ones write, by the weights."""

from __future__ import annotations

from typing import Any, ClassVar, Literal, Self, get_args

import numpy as np
from msgspec.structs import replace

from mechtui.session.grammar.words import LineError, cut, quote, short, unquote
from mechtui.views.question import Answer, Question, after, plain
from mechtui.views.spec import Action, Cost, Follows, View

Kind = Literal["Q", "K", "V"]
KINDS: tuple[Kind, ...] = get_args(Kind)


class Composition(Question, frozen=True, tag="composition"):
    """kind: by which of its inputs the later head reads. as_map: whether all pairs are shown as a table, later heads
    down and earlier ones across, and not the strongest as a list. only: what the names of a pair must have in them."""

    SHOWN: ClassVar[frozenset[str]] = frozenset({"as_map", "only"})

    kind: Kind = "K"
    as_map: bool = False
    only: str = ""

    @classmethod
    def parse(cls, line: str, rest: str) -> Self:
        found = cls()
        for word, at in cut(line)[1:]:
            if word in KINDS:
                found = replace(found, kind=word)
            elif word == "map":
                found = replace(found, as_map=True)
            elif word.startswith('"'):
                found = replace(found, only=unquote(word, line, at))
            else:
                raise LineError(line, at, f'{short(word)} should be Q, K, V, map or a head in double quotes, as "L5H1"')
        return found

    def line(self) -> str:
        words = ["composition", self.kind]
        words += ["map"] if self.as_map else []
        words += [quote(self.only)] if self.only else []
        return " ".join(words)

    def next(self) -> Self:
        """The next of queries, keys and values."""
        return replace(self, kind=after(self.kind, KINDS))


class CompositionAnswer(Answer, frozen=True, tag="composition", eq=False):
    """values [later head, earlier head], heads counted through the layers: the Frobenius norm of the product of both
    heads' matrices over the product of their norms, less `baseline`, which is what random matrices of that shape give
    on average; NaN where the earlier head does not stand in an earlier layer. spread: the standard deviation of such
    random pairs. n_heads: heads of a layer."""

    kind: Kind
    values: np.ndarray
    baseline: float
    spread: float
    n_heads: int

    def json(self) -> dict[str, Any]:
        heads = [f"L{at // self.n_heads}H{at % self.n_heads}" for at in range(len(self.values))]
        said = {name: plain(getattr(self, name)) for name in ("kind", "values", "baseline", "spread")}
        return {**said, "heads": heads}


SPEC = View(
    question=Composition,
    answer=CompositionAnswer,
    title="Composition",
    go="k",
    shows=(
        "How well each head can read what each head of an earlier layer writes, by the weights alone: by its queries "
        "(Q: |W_OV W_QK|), its keys (K: |W_OV W_QK^T|) or its values (V: |W_OV W_OV|), as a Frobenius norm over the "
        "product of both norms, 0 to 1, less what random matrices of that shape give. sd: the same in standard "
        "deviations of such random pairs. All pairs as a table, or the strongest as a list."
    ),
    read=(
        "An induction head reads by its keys what an earlier head wrote of the token before: that pair is high in K. "
        "0 is what random matrices have; below it, a head avoids what another one writes."
    ),
    trap=(
        "What could be read need not be: on a given prompt the earlier head may write nothing, or the later one look "
        "elsewhere. Positions (rotary ones too), biases and the norms' scales are left out, and so are MLPs on the way."
    ),
    paper="Elhage et al. 2021, A Mathematical Framework for Transformer Circuits.",
    words=("OV circuit", "QK circuit", "induction head"),
    cost=Cost.OWN_RUNS,
    follows=Follows.MODEL,
    line_words=(
        ("Q", "read by the later head's queries"),
        ("K", "read by its keys"),
        ("V", "read by its values"),
        ("map", "all pairs as a table"),
    ),
    footer=("summary", "cut_pair", "pair_map", "only_pairs", "pair_later", "pair_earlier"),
    actions=(
        Action("pair_map", ("o",), "map or list", "Show all pairs as a table, or the strongest as a list."),
        Action("only_pairs", ("w",), "only…", "Show only pairs with a head: type its name, as in L5H1."),
        Action("cut_pair", ("x",), "cut path", "Cut the pair's path on this prompt; once more takes the edit away."),
        Action("pair_later", ("r",), "later head", "Look at the attention of the later head of the pair."),
        Action("pair_earlier", ("b",), "earlier head", "Look at the attention of the earlier head of the pair."),
    ),
)
