"""`dose [EDIT] [-8..8 [step2]] [layers] [text|text4|text4@L6] [tokens20] [diff|kl|share|loss] [over cases]`: one number
of an edit over a range, and what the model then says.
"""

from __future__ import annotations

import math
import re
from typing import Any, ClassVar, Literal, Self, get_args

import numpy as np
from msgspec.structs import replace

from mechtui.session.document import Edit, Session, Site, Span, Struct, Token, Vector
from mechtui.session.grammar.edits import format_edit, parse_edit
from mechtui.session.grammar.words import LineError, cut, decimal, format_number, one_of, short
from mechtui.session.ops import ops
from mechtui.session.roles import named, same_everywhere
from mechtui.views.over import WORDS as OVER_CASES
from mechtui.views.over import Over, taken
from mechtui.views.question import Answer, Question, after, plain
from mechtui.views.spec import Action, Cost, Needs, View

Shows = Literal["diff", "kl", "share", "loss"]
SHOWS: tuple[Shows, ...] = get_args(Shows)
TEXT_ALONE = "a text goes on from one prompt: leave text or over cases out"
# Points of a line; tokens of a continuation.
MOST_POINTS, MOST_TOKENS = 65, 200
# Low, high, step where the line names none: of a coefficient, of a factor.
RANGES = {"add": (-8.0, 8.0, 2.0), "scale": (0.0, 2.0, 0.25)}
_NUMBER = r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?"
# Words of an edit that has a number, or more: an operation, a site, positions, a vector, the number.
MOST_WORDS = 8
_RANGE = re.compile(rf"({_NUMBER})\.\.({_NUMBER})")
_TEXT = re.compile(rf"text(?:({_NUMBER})(?:@L([0-9]{{1,5}}))?)?")


class Point(Struct, frozen=True):
    """One point: the number, and the layer where layers differ; -1 where they do not."""

    number: float
    layer: int = -1


class Dose(Question, frozen=True, tag="dose"):
    """`edit` with each number of a range instead of its own: the coefficient of `add`, the factor of `scale`.

    edit: None for the one under the cursor, or the session's first that has such a number. over: low, high, step; None:
    -8..8 step2 for `add`, 0..2 step0.25 for `scale`. layers: at every layer, with the vector read there where it is
    read at a layer. text: every point is continued, too, by `tokens` tokens, or (at) one point only. shows: what the
    curve or the map shows. cases: means over the session's cases; no text then.
    """

    SHOWN: ClassVar[frozenset[str]] = frozenset({"shows"})

    edit: Edit | None = None
    over: tuple[float, float, float] | None = None
    layers: bool = False
    text: bool = False
    at: Point | None = None
    tokens: int = 20
    shows: Shows = "diff"
    cases: bool = False

    @classmethod
    def parse(cls, line: str, rest: str) -> Self:
        words, cases = taken(cut(line)[1:])
        found = cls(cases=cases)
        step: tuple[float, int] | None = None
        edit, used = _edit(line, words) if words and words[0][0] in ops() else (None, 0)
        found = replace(found, edit=edit)
        for number, (word, at) in enumerate(words[used:], used):
            if (span := _RANGE.fullmatch(word)) is not None:
                found = replace(found, over=(_number(span[1], line, at), _number(span[2], line, at), 0.0))
            elif word == "step" and number + 1 < len(words):
                continue
            elif word.startswith("step") or words[number - 1][0] == "step":
                value = decimal(word.removeprefix("step"))
                if value is None or value <= 0:
                    raise LineError(line, at, f"{short(word)} should be a step above 0, as in step2")
                step = (value, at)
            elif word == "layers":
                found = replace(found, layers=True)
            elif (shows := one_of(word, SHOWS)) is not None:
                found = replace(found, shows=shows)
            elif (text := _TEXT.fullmatch(word)) is not None:
                point = None if text[1] is None else Point(_number(text[1], line, at), int(text[2] or -1))
                found = replace(found, text=True, at=point)
            elif (count := re.fullmatch(r"tokens([1-9][0-9]{0,2})", word)) is not None and int(count[1]) <= MOST_TOKENS:
                found = replace(found, tokens=int(count[1]))
            else:
                wanted = "an edit, a range (-8..8), step2, layers, text, text4, tokens20, over cases or one of "
                wanted += ", ".join(SHOWS)
                raise LineError(line, at, f"{short(word)} should be {wanted}")
        if found.layers and edit is not None and edit.site.kind != "layer":
            raise LineError(line, words[0][1], "layers go with an edit of a layer's part, as in add L6.pre NAME")
        if cases and found.text:
            raise LineError(line, line.index("text"), TEXT_ALONE)
        if cases and edit is not None and (why := same_everywhere(edit)):
            raise LineError(line, words[0][1], why)
        if not cases and edit is not None and (role := named(edit.positions)):
            raise LineError(line, line.index(role), f"{role} is a position of cases: write {OVER_CASES} behind it")
        return found._with_step(line, step)

    def _with_step(self, line: str, step: tuple[float, int] | None) -> Self:
        if self.over is None:
            if step is not None:
                raise LineError(line, step[1], "a step needs a range before it, as in -8..8 step2")
            return self
        low, high, _ = self.over
        at = line.index("..")
        if not low < high:
            raise LineError(line, at, f"{format_number(low)} should be less than {format_number(high)}")
        by = step[0] if step is not None else (high - low) / 8
        if (high - low) / by > MOST_POINTS - 1:
            raise LineError(line, at, f"that are more than {MOST_POINTS} points: take a longer step")
        return replace(self, over=(low, high, by))

    def line(self) -> str:
        words = ["dose"]
        if self.edit is not None:
            words.append(called(self.edit))
        if self.over is not None:
            low, high, step = (format_number(each) for each in self.over)
            words += [f"{low}..{high}", f"step{step}"]
        words += ["layers"] * self.layers
        if self.text:
            words.append("text" if self.at is None else f"text{_point(self.at)}")
        words += [f"tokens{self.tokens}"] * (self.tokens != 20) + [self.shows] * (self.shows != "diff")
        words += [OVER_CASES] * self.cases
        return " ".join(words)

    @property
    def costly(self) -> bool:
        return True

    @property
    def saes(self) -> tuple[str, ...]:
        return (self.edit.site.sae,) if self.edit is not None and self.edit.site.kind == "feature" else ()

    def next(self) -> Self:
        """The next measure."""
        return replace(self, shows=after(self.shows, SHOWS))

    def numbers(self, edit: Edit) -> tuple[float, ...]:
        """The edit's numbers, from low to high."""
        low, high, step = self.over or RANGES.get(edit.op, RANGES["add"])
        count = math.floor((high - low) / step + 1e-9) + 1
        # Nine digits of a step below 1 count; what is behind them is the sum's rounding.
        digits = 9 - min(math.floor(math.log10(step)), 0)
        return tuple(round(low + number * step, digits) for number in range(count))

    def chosen(self, session: Session, index: int = 0) -> Edit | None:
        """The edit that is dosed: its own, else that of the session at this place, else the first that has a number."""
        if self.edit is not None:
            return self.edit
        here = session.edits[index : index + 1]
        return next((bare(each) for each in (*here, *session.edits) if ops()[each.op].number == "factor"), None)


def _number(text: str, line: str, at: int) -> float:
    """Of a word that begins at this column. Raises LineError for one that float32 does not hold."""
    if (value := decimal(text)) is None:
        raise LineError(line, at, f"{short(text)} is too large for a number of an edit")
    return value


def _point(point: Point) -> str:
    return format_number(point.number) + (f"@L{point.layer}" if point.layer >= 0 else "")


def _edit(line: str, words: list[tuple[str, int]]) -> tuple[Edit, int]:
    """The edit, with or without its number, that the words begin with, and how many of them are its own. What can be
    read as a part of it is one, so that a vector may have any name. Raises LineError."""
    name, first = words[0]
    if ops()[name].number != "factor":
        names = [each for each, op in ops().items() if op.number == "factor"]
        raise LineError(line, first, f"{name} has no number to be dosed; {' and '.join(names)} have one")
    errors: list[LineError] = []
    for used in range(min(len(words), MOST_WORDS), 0, -1):
        last, end = words[used - 1]
        text = line[first : end + len(last)]
        for whole in (text, f"{text} x1"):
            try:
                return bare(parse_edit(whole, roles=True)), used
            except LineError as error:
                errors.append(error)
    # Of the shortest reading that says more than that something is missing.
    wrong = max(errors, key=lambda error: error.column)
    raise LineError(line, min(first + wrong.column, len(line)), wrong.problem)


def bare(edit: Edit) -> Edit:
    """An edit whatever its number and its switch."""
    return replace(edit, factor=1.0, on=True)


def called(edit: Edit) -> str:
    """An edit's line without its number."""
    return format_edit(bare(edit)).rpartition(" ")[0]


def dosed(edit: Edit, number: float, layer: int = -1) -> Edit:
    """The edit of one point."""
    site = edit.site if layer < 0 else replace(edit.site, layers=Span(layer, layer))
    return replace(edit, factor=number, site=site, on=True)


def read_at(vector: Vector, site: Site, layer: int) -> Vector:
    """The vector that goes with a layer: read there, where it is read at a layer; else itself."""
    if layer < 0 or vector.source not in ("diff", "mean", "pca") or site.part is None:
        return vector
    return replace(vector, layer=layer, part=site.part)


class DoseAnswer(Answer, frozen=True, tag="dose", eq=False):
    """edit: the line of what is dosed, without its number. numbers: its numbers. layers: a row for each; -1 where the
    edit acts where its line says. All tables are [row, number], NaN where nothing was computed.

    logit_diff: logit(answer) - logit(foil) at the last position; baseline: without the edit. kl: KL(clean || here) of
    the next token there, in nats. share: the length of what the edit adds over the length of the activation that it
    adds it to, median over its positions. tokens: the greedy continuations, empty where there is none. loss: their
    mean -ln p by the clean model without any edit, in nats. runs, done: points, and continuations that were asked for.
    over: of means over the cases what these say of logit_diff besides; runs and done are of cases then.
    """

    edit: str
    numbers: tuple[float, ...]
    layers: tuple[int, ...]
    logit_diff: np.ndarray
    kl: np.ndarray
    share: np.ndarray
    loss: np.ndarray
    tokens: tuple[tuple[tuple[Token, ...], ...], ...]
    baseline: float | None
    runs: int
    done: int
    over: Over | None = None

    def json(self) -> dict[str, Any]:
        said = {name: plain(getattr(self, name)) for name in ("edit", "numbers", "baseline")}
        said["layers"] = None if self.layers == (-1,) else list(self.layers)
        said |= {name: plain(getattr(self, name)) for name in ("logit_diff", "kl", "share", "loss")}
        text = [["".join(token.text for token in point) or None for point in row] for row in self.tokens]
        if self.over is None:
            return {**said, "text": text}
        of_cases = self.over.json()
        return {**said, "sign_share": of_cases.pop("share"), **of_cases}


SPEC = View(
    question=Dose,
    answer=DoseAnswer,
    title="Dose",
    go="f",
    shows=(
        "One number of an edit over a range: the coefficient of add, the factor of scale. After the last token the "
        "logit difference, KL(clean || steered) in nats, and the length of what is added as a share of the "
        "activation's (median over its positions); with t the text that the model then continues greedily, and its "
        "loss: the mean -ln p, in nats, that the clean model without any edit gives that text. Layers by numbers are "
        "a map."
    ),
    read=(
        "Where the logit difference moves while KL and the text's loss stay low, the vector does what it is for; where "
        "the loss rises, the text falls apart. w takes the point as the edit."
    ),
    trap=(
        "A logit difference says nothing of the text. Added lengths above the activation's own (share 1) leave what "
        "the model was trained on. A repeated word has a low loss, too: read the text. What holds on one prompt may "
        "not on the next: `over cases` behind the line takes means over the session's cases."
    ),
    paper="Turner et al. 2023, Activation Addition; Rimsky et al. 2024, Steering Llama 2 via CAA",
    words=("steering vector", "logit difference", "clean, edited", "nat"),
    cost=Cost.JOB,
    line_words=(
        ("-8..8", "the range"),
        ("step2", "from one point to the next"),
        ("layers", "at every layer, the vector read there"),
        ("text", "every point is continued"),
        ("text4", "that point is continued"),
        ("tokens20", "of a continuation"),
        (OVER_CASES, "means over the session's cases"),
    ),
    footer=("start", "take_point", "say_point", "say_all", "by_layer", "summary"),
    actions=(
        Action("take_point", ("w",), "as edit", "Give the edit the number under the cursor.", needs=Needs.MODEL),
        Action("say_point", ("t",), "text here", "Continue the text greedily with the number under the cursor."),
        Action("say_all", ("T",), "all texts", "Continue the text with every number; once more leaves them out."),
        Action("by_layer", ("o",), "layers", "At every layer, the vector read there; once more at its own layer only."),
    ),
)  # fmt: skip
