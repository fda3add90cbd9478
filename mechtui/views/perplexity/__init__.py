"""`perplexity "notes.txt" [window256] [stride128] [loss|edited|change] [up]`: how well a whole text is foreseen."""

from __future__ import annotations

import math
import re
from typing import Any, ClassVar, Literal, Self, get_args

import numpy as np
from msgspec.structs import replace

from mechtui.none import NONE
from mechtui.session.grammar.loose import choice, fields, flag, text
from mechtui.session.grammar.words import LineError, quote, whole
from mechtui.views.question import Answer, Question, after, plain
from mechtui.views.spec import Action, Cost, Needs, View

Order = Literal["text", "loss", "edited", "change"]
ORDERS: tuple[Order, ...] = get_args(Order)
# Tokens that are read at once where the line says nothing else.
WINDOW = 256
EXAMPLE = 'perplexity "notes.txt"'


class Perplexity(Question, frozen=True, tag="perplexity"):
    """The loss of a text file, read window by window. window: tokens that are read at once, BOS among them; 0: 256, or
    as many as the model reads. stride: how much further each window begins than the one before; 0: half a window. by:
    how the windows are sorted: as the text stands, or by a column, the largest first, or with `up` the smallest."""

    SHOWN: ClassVar[frozenset[str]] = frozenset({"by", "up"})

    file: str = ""
    window: int = 0
    stride: int = 0
    by: Order = "text"
    up: bool = False

    @classmethod
    def parse(cls, line: str, rest: str) -> Self:
        wanted = f"a text file in double quotes, window256, stride128, {', '.join(ORDERS)} or up"
        return cls(**fields(line, wanted, text("file"), _size, choice("by", ORDERS), flag("up")))

    def line(self) -> str:
        words = ["perplexity"]
        words += [quote(self.file)] if self.file else []
        words += [f"window{self.window}"] if self.window else []
        words += [f"stride{self.stride}"] if self.stride else []
        words += [self.by] if self.by != "text" else []
        words += ["up"] if self.up else []
        return " ".join(words)

    @property
    def costly(self) -> bool:
        return True

    @property
    def reads(self) -> tuple[str, ...]:
        return (self.file,) if self.file else ()

    def next(self) -> Self:
        """In the next order."""
        return replace(self, by=after(self.by, ORDERS), up=False)


def _size(word: str, line: str, at: int) -> dict[str, Any] | None:
    """window256 or stride128. Raises LineError."""
    match = re.fullmatch(r"(window|stride)([0-9]+)", word)
    if match is None:
        return None
    count, least = whole(match[2], line, at + len(match[1])), 2 if match[1] == "window" else 1
    if count < least:
        raise LineError(line, at, f"{word} should be at least {match[1]}{least}")
    return {match[1]: count}


class PerplexityAnswer(Answer, frozen=True, tag="perplexity", eq=False):
    """Of the windows that were read so far, [window]: loss, the mean of -ln p(token | the tokens before it in the
    window) in nats over the tokens that it counts, NaN where logits were not finite; counts, how many these are; texts,
    how the first of them read.

    windows, tokens: how many there are in all, windows and tokens that count. window, stride: as they are. left_out:
    edits that mean nothing on another text, as lines, each with the reason.
    """

    loss: np.ndarray
    counts: np.ndarray
    texts: tuple[str, ...]
    windows: int
    tokens: int
    window: int
    stride: int
    left_out: tuple[str, ...] = ()

    @property
    def counted(self) -> int:
        """Tokens that were counted so far."""
        return int(self.counts.sum())

    @property
    def mean(self) -> float:
        """In nats per token; NaN where nothing was counted, or where a window's loss is NaN."""
        counts = self.counts.astype(np.float64)
        return float((self.loss.astype(np.float64) * counts).sum() / counts.sum()) if counts.any() else NONE

    @property
    def perplexity(self) -> float:
        """exp(mean); infinite where that is too large for a number."""
        return math.exp(self.mean) if not self.mean > 700 else math.inf

    def json(self) -> dict[str, Any]:
        names = (*self.__struct_fields__, "counted", "mean", "perplexity")
        return {name: plain(getattr(self, name)) for name in names}


SPEC = View(
    question=Perplexity,
    answer=PerplexityAnswer,
    title="Perplexity",
    go="x",
    shows=(
        "The mean loss of a text file, -ln p(token | the tokens before it in its window) in nats, and exp of it, the "
        "perplexity: clean, edited and the change, for the whole text and for every window. Windows overlap: each "
        "begins a stride after the one before and counts the tokens that no window before has counted, so that every "
        "token counts once."
    ),
    read=(
        "A perplexity of 20: as unsure as among 20 equally likely tokens. What an edit costs on ordinary text is the "
        "price of what it does on the prompt."
    ),
    trap=(
        "A window's first tokens have little before them: with a stride as long as the window the loss is higher for "
        "that alone. Tokens of the text that nothing stands before do not count. Perplexities of models with other "
        "tokenizers cannot be compared. Edits at named positions, and those that take from the source, are left out: "
        "this is another text."
    ),
    paper="Hugging Face, Perplexity of fixed-length models: the windows and the stride.",
    words=("perplexity", "nat", "clean, edited"),
    cost=Cost.JOB,
    renews=False,
    line_words=(
        ("window256", "tokens that are read at once"),
        ("stride128", "how much further each window begins"),
        ("up", "the smallest first"),
    ),
    footer=("start", "text_file", "sort_windows", "summary", "maximise"),
    actions=(
        Action("text_file", ("w",), "text file…", "Name the text file whose loss is measured.", needs=Needs.NOTHING),
        Action(
            "sort_windows",
            ("o",),
            "sort here",
            "Sort by the cursor's column, the largest first; once more the smallest first.",
        ),
    ),
)
