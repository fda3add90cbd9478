"""`residual [clean] [linear|log]`: L2 norms of the residual stream, and of what wrote to it."""

from __future__ import annotations

from typing import ClassVar, Literal, Self, get_args

import numpy as np
from msgspec.structs import replace

from mechtui.session.grammar.words import LineError, cut, one_of, short
from mechtui.views.question import Answer, Question, Run
from mechtui.views.spec import Axis, Numbers, Rows, View

Scale = Literal["auto", "linear", "log"]
SCALES: tuple[Scale, ...] = get_args(Scale)


class Residual(Question, frozen=True, tag="residual"):
    """L2 norms of the residual stream, of attention's and of the MLP's outputs, everywhere. scale: of the bars on the
    screen; auto is log where one token's norm is far above the others'."""

    SHOWN: ClassVar[frozenset[str]] = frozenset({"run", "scale"})

    run: Run = "edited"
    scale: Scale = "auto"

    @classmethod
    def parse(cls, line: str, rest: str) -> Self:
        run: Run = "edited"
        scale: Scale = "auto"
        for word, at in cut(line)[1:]:
            if word in ("clean", "edited"):
                run = "clean" if word == "clean" else "edited"
            elif (named := one_of(word, SCALES)) is not None:
                scale = named
            else:
                raise LineError(line, at, f"{short(word)} should be clean, linear or log")
        return cls(run, scale)

    def line(self) -> str:
        words = ["residual"]
        words += [word for word, default in ((self.run, "edited"), (self.scale, "auto")) if word != default]
        return " ".join(words)

    def next_run(self) -> Self:
        """The residual's two runs: a difference of norms is no norm."""
        return replace(self, run="clean" if self.run == "edited" else "edited")


class ResidualAnswer(Answer, frozen=True, tag="residual", eq=False):
    """sites: L0.pre ... L{n-1}.pre, L{n-1}.post. norm [site, pos]: L2 norms of the residual stream there.
    attn, mlp [layer, pos]: L2 norms of what each wrote (hook_attn_out, hook_mlp_out); NaN without an MLP.
    """

    sites: tuple[str, ...]
    norm: np.ndarray
    attn: np.ndarray
    mlp: np.ndarray


SPEC = View(
    question=Residual,
    answer=ResidualAnswer,
    title="Residual",
    go="r",
    shows=(
        "For every token the L2 norm of the residual stream from L0.pre to the last layer's post, with its least "
        "and greatest value; below, for the selected token, the norm of what attention and the MLP wrote at each "
        "layer."
    ),
    read="All sparklines of a kind have one scale; log says that it is logarithmic.",
    trap="A long write need not move the answer: it may be orthogonal to it, or be taken back by a later layer.",
    words=("residual stream", "L2 norm", "clean, edited"),
    line_words=(("linear", "bars by the norm"), ("log", "bars by its logarithm")),
    rows=Rows(Axis.TOKENS, 3),
    footer=("edit_line", "token_back", "token_next", "summary", "maximise", "start"),
    numbers=(Numbers("norm", "norm", "L2", ("sites", "position")),),
)
