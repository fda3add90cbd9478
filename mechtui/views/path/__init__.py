"""`path L8H6.q`: which earlier parts put there what a head, an MLP or the logits read; `path L5H5>L8H6.q`: one of them,
position by position."""

from __future__ import annotations

from typing import Any, ClassVar, Literal, Self

import numpy as np
from msgspec.structs import replace

from mechtui.session.document import ALL, Edit, ModelShape, Positions, Range, Site, Span
from mechtui.session.grammar.places import format_site
from mechtui.session.grammar.words import LineError, cut, one_cell, one_of, one_position, quote, short, unquote
from mechtui.session.path_op import parse_path, parse_receiver, path_edit, writes_before
from mechtui.views.question import RUNS, Answer, Question, Run, after, plain
from mechtui.views.spec import Action, Cost, Needs, View
from mechtui.views.sweep import Left

Part = Literal["q", "k", "v", "mlp", "logits"]
Order = Literal["effect", "moves"]
ORDERS: tuple[Order, ...] = ("effect", "moves")
# What `s` leads through.
PARTS: tuple[Part, ...] = ("q", "k", "v", "mlp", "logits")
HEAD_PARTS = ("q", "k", "v")


class Path(Question, frozen=True, tag="path"):
    """What the paths that end in a receiver do, each alone, to the logit difference.

    part, layer, head: the receiver; head counts query heads, also of keys and values. sender: of one path alone, whose
    rows are positions; None: a row for each sender. at: the position at which the receiver reads; None: all of them.
    other: the other end of the attention score that is looked at: the key of a query, the query of a key. cut: the
    sender's write is taken away though there is a source. layers: senders are whole layers' attention, not its heads.
    by: what the list is sorted by. only: what the names of senders must have in them.
    """

    SHOWN: ClassVar[frozenset[str]] = frozenset({"run", "by", "only"})
    OF_MODEL: ClassVar[frozenset[str]] = frozenset({"only"})

    part: Part = "q"
    layer: int = 0
    head: int = 0
    sender: Site | None = None
    at: int | None = None
    other: int | None = None
    cut: bool = False
    layers: bool = False
    run: Run = "edited"
    by: Order = "effect"
    only: str = ""

    @classmethod
    def parse(cls, line: str, rest: str) -> Self:
        found = cls()
        for number, (word, at) in enumerate(cut(line)[1:]):
            position = one_position(word, line, at)
            if word in RUNS:
                found = replace(found, run=next(run for run in RUNS if run == word))
            elif (order := one_of(word, ORDERS)) is not None:
                found = replace(found, by=order)
            elif word in ("cut", "layers"):
                found = replace(found, **{word: True})
            elif word.startswith('"'):
                found = replace(found, only=unquote(word, line, at))
            elif position is not None:
                found = replace(found, at=position, other=None)
            elif (cell := one_cell(word, line, at)) is not None:
                found = found.of_cell(*cell)
            elif number == 0 and word == "logits":
                found = replace(found, part="logits")
            elif number == 0:
                found = replace(found, **_read(word, line, at))
            else:
                what = "@14, 14>2, cut, layers, moves, clean, difference or a sender's name in double quotes"
                raise LineError(line, at, f"{short(word)} should be {what}")
        if found.part == "logits" and found.at is not None:
            raise LineError(line, line.index("logits"), "logits are those after the last token: leave the position out")
        if found.part == "mlp" and found.other is not None:
            raise LineError(line, 0, f"L{found.layer}.mlp attends to nothing: name one position, as in @14")
        return found

    def of_cell(self, query: int, key: int) -> Self:
        """Of one cell of an attention table."""
        return replace(self, at=query, other=key) if self.part == "q" else replace(self, at=key, other=query)

    def line(self) -> str:
        name = self.receiver_name()
        words = ["path", name if self.sender is None else f"{format_site(self.sender)}>{name}"]
        if self.other is not None:
            words.append(f"{self.at}>{self.other}" if self.part == "q" else f"{self.other}>{self.at}")
        elif self.at is not None:
            words.append(f"@{self.at}")
        words += ["cut"] * self.cut + ["layers"] * self.layers
        words += [self.run] * (self.run != "edited") + [self.by] * (self.by != "effect")
        words += [quote(self.only)] if self.only else []
        return " ".join(words)

    @property
    def costly(self) -> bool:
        # A write's way to the logits needs no run.
        return self.part != "logits"

    def next(self) -> Self:
        """The next of queries, keys, values, MLP and logits; with all senders."""
        part = after(self.part, PARTS)
        return replace(self, part=part, at=None, other=None, sender=None)

    def receiver_name(self) -> str:
        if self.part == "logits":
            return "logits"
        return f"L{self.layer}.mlp" if self.part == "mlp" else f"L{self.layer}H{self.head}.{self.part}"

    def receiver(self, shape: ModelShape) -> Site | None:
        """The site that an edit names: of keys and values that of the head's group. None: the logits."""
        layers = Span(self.layer, self.layer)
        if self.part == "logits":
            return None
        if self.part == "mlp":
            return Site("layer", layers, part="mlp")
        head = self.head if self.part == "q" else self.head * shape.n_kv_heads // shape.n_heads
        return Site("head", layers, Span(head, head), self.part)

    def senders(self, shape: ModelShape) -> list[Site]:
        """All that can write before the receiver reads, in the model's order."""
        receiver = self.receiver(shape)
        found = [Site("embed")] + [Site("pos")] * shape.has_pos
        for layer in range(shape.n_layers):
            span = Span(layer, layer)
            heads = [Site("head", span, Span(head, head), "z") for head in range(shape.n_heads)]
            parts = [Site("layer", span, part="attn")] if self.layers else heads
            parts += [Site("layer", span, part="mlp")] * (shape.d_mlp > 0)
            found += [each for each in parts if receiver is None or writes_before(each, layer, receiver, self.layer)]
        return found

    def edit(self, op: str, sender: Site, shape: ModelShape, positions: Positions | None = None) -> Edit:
        """The line of one path. positions: where it ends; None: where the question says."""
        receiver = self.receiver(shape)
        assert receiver is not None
        if positions is None:
            positions = ALL if self.at is None else Positions((Range(self.at, self.at),))
        return path_edit(op, sender, receiver, positions=positions)


def _read(word: str, line: str, at: int) -> dict[str, Any]:
    """The receiver, and the sender where there is one, of a question's first word. Raises LineError."""
    sender = None
    if word.endswith(">logits"):
        raise LineError(line, at, "logits are read at one position: path logits ranks what writes to them")
    if ">" in word:
        sender, receiver = parse_path(word, line, at)
        if not _one(sender):
            raise LineError(line, at, f"{short(format_site(sender))} is not one sender; one is L5H5, L5.mlp or embed")
    else:
        receiver = parse_receiver(word, line, at)
    if not _one(receiver):
        raise LineError(line, at, f"{short(format_site(receiver))} is not one receiver; one is L8H6.q or L8.mlp")
    part = next(each for each in PARTS if each == receiver.part)
    head = receiver.index.first if receiver.kind == "head" else 0
    return {"part": part, "layer": receiver.layers.first, "head": head, "sender": sender}


def _one(site: Site) -> bool:
    if site.kind in ("embed", "pos"):
        return True
    return site.layers.first == site.layers.last and (site.kind != "head" or site.index.first == site.index.last)


class PathAnswer(Answer, frozen=True, tag="path", eq=False):
    """receiver: as an edit names it, of keys and values the head's group; "logits". how: what becomes of a sender's
    write: cut, or patched from the source.

    senders: the rows' names: senders, or `@5`, the positions of one path. effect: by how much each path alone changes
    logit(answer) - logit(foil) after the last token. moves: of queries and keys by how much it changes the attention
    score from `query` to `key`, in nats; of values at `key`, and of an MLP at `query`, by which share of its own length
    what is given changes along itself: -1 where all of it goes; NaN of the logits. NaN where a value was not computed
    (yet). score: that attention score, None of others. baseline: the logit difference without any of it; together: what
    all paths at once change, None where they would leave nothing to read. left: None once all is computed.
    """

    receiver: str
    how: Literal["cut", "patch"]
    senders: tuple[str, ...]
    effect: np.ndarray
    moves: np.ndarray
    baseline: float
    query: int | None = None
    key: int | None = None
    score: float | None = None
    together: float | None = None
    left: Left | None = None

    def json(self) -> dict[str, Any]:
        said = {name: plain(getattr(self, name)) for name in self.__struct_fields__}
        return said if self.left else {name: value for name, value in said.items() if name != "left"}


SPEC = View(
    question=Path,
    answer=PathAnswer,
    title="Path",
    go="p",
    shows=(
        "What a receiver (the queries, keys or values of a head, an MLP, the logits) reads of each earlier sender: the "
        "receiver alone reads the stream less the sender's write, x - w + w', then its norm, with w' the write in the "
        "source's run, or 0 without a source (cut). Held at their values: all heads and MLPs between both. Anew: the "
        "receiver's norm, and all behind the receiver. effect: the change of the logit difference after the last "
        "token; score: of the attention score q⋅k/√d from one query to one key, in nats; share: of what a value or an "
        "MLP gives, along itself."
    ),
    read=(
        "Who put this here? The sender with the largest effect. A path that is cut and takes the effect away carries "
        "it; patched from a source that differs in one word, it carries that word. w makes the path an edit: "
        "cut-path L5H5>L8H6.q. Some senders move the score and no logit: another head does the same."
    ),
    trap=(
        "Wang et al. let MLPs between sender and receiver run anew, so that a way through them counts as direct; here "
        "that way is the MLP's own row. Senders' effects do not add up: the norm and the softmax are no sums. Without "
        "a source 0 is far from what the receiver ever reads."
    ),
    paper=(
        "Wang et al. 2022, Interpretability in the Wild (path patching); Goldowsky-Dill et al. 2023, Localizing Model "
        "Behavior with Path Patching (all else held)."
    ),
    words=("path patching", "logit difference", "source", "clean, edited", "scores"),
    cost=Cost.JOB,
    line_words=(
        ("logits", "what writes to the logits themselves"),
        ("cut", "take the write away, though there is a source"),
        ("layers", "whole layers' attention as senders"),
        ("moves", "sorted by what of the receiver's own moves: score or share"),
    ),
    footer=("start", "summary", "path_edit", "path_here", "path_sort", "path_layers", "only_senders"),
    actions=(
        Action("path_edit", ("w",), "as edit", "Make the row's path an edit; once more takes it away."),
        Action("cut_path", ("x",), "cut path", "Cut the row's path; once more takes the edit away.", needs=Needs.MODEL),
        Action("path_sort", ("o",), "sort", "Sort by the effect, or by what of the receiver's own moves."),
        Action("path_here", ("H",), "here, all", "Paths that end at the selected token, or at all positions."),
        Action("path_layers", ("t",), "heads, layers", "Heads as senders, or each layer's attention as one."),
        Action("path_positions", ("b",), "positions", "The row's path position by position; again: all senders."),
        Action("only_senders", ("r",), "only…", "Show only senders whose names have these words: L5, mlp."),
    ),
)
