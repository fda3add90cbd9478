"""`attention L9H9 [scores|value] [clean|difference] [ranked|folded|whole] [wide4]`: a head's table of query by key."""

from __future__ import annotations

import re
from typing import Any, ClassVar, Literal, Self, get_args

import numpy as np
from msgspec.structs import replace

from mechtui.none import absent
from mechtui.session.grammar.places import one_head
from mechtui.session.grammar.words import LineError, cut, one_of, short
from mechtui.views.question import RUNS, Answer, Question, Run, after
from mechtui.views.spec import Action, Axis, Needs, Numbers, Rows, View

What = Literal["pattern", "scores", "value"]
WHATS: tuple[What, ...] = get_args(What)
# Which keys the screen shows: of each query those that it looks at most, the strongest first or as they stand in the
# text, or all of them. Without a word: all where they can be named, else ranked.
Fold = Literal["", "ranked", "folded", "whole"]
FOLDS: tuple[Fold, ...] = ("ranked", "folded", "whole")
# Cells of a column of the table on the screen.
WIDTHS = (1, 2, 3, 4, 6, 8, 12)


class Attention(Question, frozen=True, tag="attention"):
    """One head's pattern (softmax rows), scores (before the softmax) or value-weighted pattern. fold: which keys the
    screen shows. wide: cells of a column there; 0: as many as there is room for."""

    SHOWN: ClassVar[frozenset[str]] = frozenset({"run", "fold", "wide"})

    layer: int = 0
    head: int = 0
    what: What = "pattern"
    run: Run = "edited"
    fold: Fold = ""
    wide: int = 0

    @classmethod
    def parse(cls, line: str, rest: str) -> Self:
        words = cut(line)[1:]
        site = one_head(line, words, "attention L9H9")
        what: What = "scores" if site.part == "scores" else "pattern"
        run: Run = "edited"
        fold: Fold = ""
        wide = 0
        for word, at in words[1:]:
            if (named := one_of(word, WHATS)) is not None:
                what = named
            elif (which := one_of(word, RUNS)) is not None:
                run = which
            elif (shown := one_of(word, FOLDS)) is not None:
                fold = shown
            elif re.fullmatch(r"wide[0-9]{1,2}", word) and int(word[4:]) in WIDTHS:
                wide = int(word[4:])
            else:
                widths = f"wide1 to wide{WIDTHS[-1]}"
                known = ", ".join((*WHATS, *RUNS[1:], *FOLDS))
                raise LineError(line, at, f"{short(word)} should be {known} or {widths}")
        return cls(site.layers.first, site.index.first, what, run, fold, wide)

    def line(self) -> str:
        words = [f"attention L{self.layer}H{self.head}"]
        words += [word for word, default in ((self.what, "pattern"), (self.run, "edited")) if word != default]
        if self.fold:
            words.append(self.fold)
        if self.wide:
            words.append(f"wide{self.wide}")
        return " ".join(words)

    def next(self) -> Self:
        return replace(self, what=after(self.what, WHATS))


class AttentionAnswer(Answer, frozen=True, tag="attention", eq=False):
    """table [query, key]: pattern (each row adds up to 1), scores, or pattern times the L2 norm of the key's
    value vector divided by the row's sum of that. NaN where the query does not see the key."""

    what: What
    table: np.ndarray

    def json(self) -> dict[str, Any]:
        # A key that is not seen has attention 0; a score there does not exist.
        table = self.table if self.what == "scores" else np.where(absent(self.table), 0.0, self.table)
        from mechtui.views.question import plain

        return {self.what: plain(table)}


SPEC = View(
    question=Attention,
    answer=AttentionAnswer,
    title="Attention",
    go="a",
    shows=(
        "How much each token (row, the query) attends to those before it (column, the key): pattern (rows add up "
        "to 1), scores before the softmax, the pattern weighted by the length of the value vectors (each row divided "
        "by its sum), or the pattern edited minus clean."
    ),
    read=(
        "Blank: the query does not see that key; ·: a number that has no room. With more keys than can be named, a row "
        "has the keys that its query looks at most. Beside it the whole table is a small picture, each dot the "
        "strongest of its block: a stripe is an induction or previous-token head; ┃ is the rows in sight, ▸ and ▾ the "
        "cursor."
    ),
    trap=(
        "A large weight moves little where the value vector is short, as at the first token; and what a position "
        "holds after some layers is not its token alone."
    ),
    paper="Kobayashi et al. 2020, Attention is not only a weight (value-weighted)",
    words=("pattern", "scores", "value-weighted", "edge", "hook_z"),
    line_words=(
        ("scores", "before the softmax"),
        ("value", "the pattern weighted by the length of the value vectors"),
        ("ranked", "the keys that each query looks at most, the strongest first"),
        ("folded", "the same keys as they stand in the text"),
        ("whole", "all keys, also where they cannot be named"),
        ("wide4", "cells of a column"),
    ),
    rows=Rows(Axis.TOKENS, 2),
    footer=("search", "zero", "zero_here", "mean", "patch", "cut", "who_query", "who_key", "summary", "fold"),
    actions=(
        Action("cut", ("x",), "cut", "Remove the attention from the row's token to the column's.", needs=Needs.MODEL),
        Action("who_query", ("B",), "who: query", "Who put this here? The paths into the head's query at this cell."),
        Action("who_key", ("C",), "who: key", "Who put this here? The paths into the head's key at this cell."),
        Action(
            "fold",
            ("t",),
            "fold",
            "Show the keys that each query looks at most, the strongest first or in their places, or all keys.",
            needs=Needs.MODEL,
        ),
        Action("zoom_in", ("right_parenthesis",), "wide cells", "Make the cells wider.", needs=Needs.MODEL),
        Action(
            "zoom_out",
            ("left_parenthesis",),
            "narrow cells",
            "Make the cells narrower, so that more of them fit.",
            needs=Needs.MODEL,
        ),
    ),
    numbers=(Numbers("table", "weight", "as shown", ("query", "key")),),
)
