"""`composition [Q|K|V] [@POS|QUERY>KEY] [here] [map] ["TEXT"]`: which heads could read what earlier ones write, by the
weights, and what they read of it on this prompt."""

from __future__ import annotations

from typing import Any, ClassVar, Literal, Self, get_args

import numpy as np
from msgspec.structs import replace

from mechtui.session.grammar.loose import choice, fields, flag, text
from mechtui.session.grammar.words import one_cell, one_position, quote
from mechtui.views.question import RUNS, Answer, Question, Run, after, plain
from mechtui.views.spec import Action, Cost, View

Kind = Literal["Q", "K", "V"]
KINDS: tuple[Kind, ...] = get_args(Kind)


class Composition(Question, frozen=True, tag="composition"):
    """kind: by which of its inputs the later head reads. as_map: whether all pairs are shown as a table, later heads
    down and earlier ones across, and not the strongest as a list. only: what the names of a pair must have in them.
    here: whether the list is sorted by what the pairs do on this prompt, and the table shows it. position: the query at
    which this prompt is looked at. key: the key; None: for each later head the one that it attends to most."""

    SHOWN: ClassVar[frozenset[str]] = frozenset({"as_map", "only", "here", "run"})
    OF_MODEL: ClassVar[frozenset[str]] = frozenset({"only"})

    kind: Kind = "K"
    as_map: bool = False
    only: str = ""
    here: bool = False
    position: int = -1
    key: int | None = None
    run: Run = "edited"

    @classmethod
    def parse(cls, line: str, rest: str) -> Self:
        wanted = 'Q, K, V, @13, 13>5, here, map, clean, difference or a head in double quotes, as "L5H1"'
        readers = (
            choice("kind", KINDS),
            choice("run", RUNS),
            flag("as_map", "map"),
            flag("here"),
            _place,
            text("only"),
        )
        return cls(**fields(line, wanted, *readers))

    def line(self) -> str:
        words = ["composition", self.kind]
        if self.key is not None:
            words.append(f"{self.position}>{self.key}")
        elif self.position != -1:
            words.append(f"@{self.position}")
        words += ["here"] * self.here + ["map"] * self.as_map + [self.run] * (self.run != "edited")
        words += [quote(self.only)] if self.only else []
        return " ".join(words)

    def next(self) -> Self:
        """The next of queries, keys and values."""
        return replace(self, kind=after(self.kind, KINDS))


def _place(word: str, line: str, at: int) -> dict[str, Any] | None:
    """@13 or 13>5. Raises LineError."""
    query, cell = one_position(word, line, at), one_cell(word, line, at)
    if query is not None:
        return {"position": query, "key": None}
    return None if cell is None else {"position": cell[0], "key": cell[1]}


class CompositionAnswer(Answer, frozen=True, tag="composition", eq=False):
    """values [later head, earlier head], heads counted through the layers: the Frobenius norm of the product of both
    heads' matrices over the product of their norms, less `baseline`, which is what random matrices of that shape give
    on average; NaN where the earlier head does not stand in an earlier layer. spread: the standard deviation of such
    random pairs. n_heads: heads of a layer.

    contribution [later head, earlier head]: what the earlier head wrote of what the later one reads on this prompt, see
    `mechtui.engine.contributions`: of Q and K in nats of the attention score from `query` to the later head's key, of V
    as a share of the value at that key, along itself. keys: of each head the key that it is looked at with. score
    [later head]: that attention score; NaN of V. refused: why there is none of them; empty where there are.
    """

    kind: Kind
    values: np.ndarray
    baseline: float
    spread: float
    n_heads: int
    contribution: np.ndarray
    query: int
    keys: tuple[int, ...]
    score: np.ndarray
    refused: str = ""

    @property
    def heads(self) -> tuple[str, ...]:
        """The heads' names, through the layers."""
        return tuple(f"L{at // self.n_heads}H{at % self.n_heads}" for at in range(len(self.values)))

    def json(self) -> dict[str, Any]:
        names = [name for name in self.__struct_fields__ if name != "n_heads"]
        said = {name: plain(getattr(self, name)) for name in names}
        if self.refused:
            said |= dict.fromkeys(("contribution", "keys", "score"))
        return {**said, "heads": list(self.heads)}


SPEC = View(
    question=Composition,
    answer=CompositionAnswer,
    title="Composition",
    go="k",
    shows=(
        "How well each head can read what each head of an earlier layer writes, by the weights alone: by its queries "
        "(Q: |W_OV W_QK|), its keys (K: |W_OV W_QK^T|) or its values (V: |W_OV W_OV|), as a Frobenius norm over the "
        "product of both norms, 0 to 1, less what random matrices of that shape give. sd: the same in standard "
        "deviations of such random pairs. here: what the earlier head's write w is of what the later one reads on this "
        "prompt, norm's scale s held: of Q and K the part (w W / s)⋅k or q⋅(w W / s), over √d, of the attention score "
        "from the selected token to the key that the head attends to most, in nats; of V the part of the value at that "
        "key, along itself."
    ),
    read=(
        "An induction head reads by its keys what an earlier head wrote of the token before: that pair is high in K. "
        "0 is what random matrices have; below it, a head avoids what another one writes. High in both numbers: the "
        "pair can work, and does so here. With embeddings, MLPs and biases the parts add up to the score, or to 1. H "
        "sorts by them, enter measures a pair as a path, x cuts it."
    ),
    trap=(
        "What could be read need not be: on a given prompt the earlier head may write nothing, or the later one look "
        "elsewhere. Positions (rotary ones too), biases and the norms' scales are left out of the weights' number, and "
        "so are MLPs on the way. here is of one query and one key: what is written alike at all keys moves no "
        "attention. A path that is cut leaves its norm another scale: enter and x tell a little more or less."
    ),
    paper=(
        "Elhage et al. 2021, A Mathematical Framework for Transformer Circuits: composition, and the path expansion of "
        "attention scores."
    ),
    words=("OV circuit", "QK circuit", "induction head", "scores", "nat"),
    cost=Cost.OWN_RUNS,
    line_words=(
        ("Q", "read by the later head's queries"),
        ("K", "read by its keys"),
        ("V", "read by its values"),
        ("here", "sorted by what the pairs do on this prompt; in a table, that"),
        ("map", "all pairs as a table"),
    ),
    footer=("summary", "cut_pair", "pair_here", "pair_map", "only_pairs", "pair_later", "pair_earlier"),
    actions=(
        Action("pair_map", ("o",), "map or list", "Show all pairs as a table, or the strongest as a list."),
        Action("pair_here", ("H",), "here", "By what the pairs do on this prompt; once more: by the weights."),
        Action("only_pairs", ("w",), "only…", "Show only pairs with a head: type its name, as in L5H1."),
        Action("cut_pair", ("x",), "cut path", "Cut the pair's path on this prompt; once more takes the edit away."),
        Action("pair_later", ("r",), "later head", "Look at the attention of the later head of the pair."),
        Action("pair_earlier", ("b",), "earlier head", "Look at the attention of the earlier head of the pair."),
    ),
)
