"""`geometry [L6.post] [days|months|numbers|"Paris" "Rome" …] [in "It is {}"] [axes2,3] [clean|difference]`: principal
components of what a layer makes of some words.
"""

from __future__ import annotations

import re
from typing import Any, ClassVar, Literal, Self, get_args

import numpy as np
from msgspec.structs import replace

from mechtui.session.document import Part, Vector
from mechtui.session.grammar.places import parse_site
from mechtui.session.grammar.words import LineError, cut, one_of, quote, short, unquote
from mechtui.views.question import RUNS, Answer, Question, Run, after, plain
from mechtui.views.spec import Action, Cost, Needs, View

Kind = Literal["days", "months", "numbers"]
KINDS: tuple[Kind, ...] = get_args(Kind)
# The words of a set, and the text that each stands at the end of, where the line names no other.
WORDS: dict[Kind, str] = {
    "days": "Monday Tuesday Wednesday Thursday Friday Saturday Sunday",
    "months": "January February March April May June July August September October November December",
    "numbers": "one two three four five six seven eight nine ten eleven twelve",
}
TEXTS: dict[Kind, str] = {"days": "Today is {}", "months": "The month is {}", "numbers": "The number is {}"}
TEXT, PLACE = "It is {}", "{}"
# Words of a line; components that are told.
LEAST, MOST, COMPONENTS = 3, 100, 6


class Geometry(Question, frozen=True, tag="geometry"):
    """Of each word, at the end of `text`, the activation at its last token; of all of them the principal components.

    at, part: the layer, -1 for the middle one, and its place. words: those of the line, else those of `of`. text: ends
    in `{}`, which stands for the word; empty for that of the set. axes: the components that are shown, from 1.
    """

    SHOWN: ClassVar[frozenset[str]] = frozenset({"axes", "run"})

    at: int = -1
    part: Part = "post"
    of: Kind = "days"
    words: tuple[str, ...] = ()
    text: str = ""
    axes: tuple[int, int] = (1, 2)
    run: Run = "edited"

    @classmethod
    def parse(cls, line: str, rest: str) -> Self:
        found, text_next = cls(), False
        for word, at in cut(line)[1:]:
            if text_next:
                found, text_next = replace(found, text=_text(word, line, at)), False
            elif word == "in":
                text_next = True
            elif word.startswith('"'):
                found = replace(found, words=(*found.words, unquote(word, line, at)))
                if len(found.words) > MOST:
                    raise LineError(line, at, f"{MOST} words are the most of one line")
            elif (kind := one_of(word, KINDS)) is not None:
                found = replace(found, of=kind, words=())
            elif (run := one_of(word, RUNS)) is not None:
                found = replace(found, run=run)
            elif word.startswith("axes"):
                found = replace(found, axes=_axes(word, line, at))
            elif word.startswith("L"):
                site = parse_site(word, line=line, column=at)
                if site.kind != "layer" or site.part is None or site.layers.first != site.layers.last:
                    raise LineError(line, at, f"{short(word)} is not one place of the stream, as in L6.post")
                found = replace(found, at=site.layers.first, part=site.part)
            else:
                wanted = f'a place (L6.post), {", ".join(KINDS)}, words in double quotes, in "It is {{}}", axes2,3 '
                raise LineError(line, at, f"{short(word)} should be {wanted}or one of {', '.join(RUNS)}")
        if text_next:
            raise LineError(line, len(line), 'a text should stand behind in, with {} for the word: in "It is {}"')
        if found.words and len(set(found.words)) < LEAST:
            at = line.index('"')
            raise LineError(line, at, f"{LEAST} different words are the least that have two axes between them")
        return found

    def line(self) -> str:
        words = ["geometry"]
        words += [f"L{self.at}.{self.part}"] if self.at >= 0 else []
        words += [self.of] if self.of != "days" and not self.words else []
        words += [quote(word) for word in self.words]
        words += ["in", quote(self.text)] if self.text else []
        words += ["axes{},{}".format(*self.axes)] if self.axes != (1, 2) else []
        words += [self.run] if self.run != "edited" else []
        return " ".join(words)

    @property
    def shown_words(self) -> tuple[str, ...]:
        """The words, each once."""
        return tuple(dict.fromkeys(self.words)) or tuple(WORDS[self.of].split())

    @property
    def texts(self) -> tuple[str, ...]:
        """Each word in its text."""
        text = self.text or (TEXT if self.words else TEXTS[self.of])
        return tuple(text.replace(PLACE, word) for word in self.shown_words)

    def vector(self, name: str, layer: int, component: int) -> Vector:
        """A component of the clean run as a steering vector. layer: that of the answer."""
        return Vector(name, "pca", layer, self.part, texts=self.texts, component=component)

    def next(self) -> Self:
        """The next set of words."""
        kind = self.of if self.words else after(self.of, KINDS)
        return replace(self, of=kind, words=(), text="")


def _text(word: str, line: str, at: int) -> str:
    text = unquote(word, line, at) if word.startswith('"') else ""
    if not text.endswith(PLACE) or text.count(PLACE) != 1:
        raise LineError(
            line, at, f'{short(word)} should be a text in double quotes that ends in {{}}, as in "It is {{}}"'
        )
    return text


def _axes(word: str, line: str, at: int) -> tuple[int, int]:
    match = re.fullmatch(r"axes([1-9]),([1-9])", word)
    numbers = (int(match[1]), int(match[2])) if match else (0, 0)
    if numbers[0] == numbers[1] or max(numbers) > COMPONENTS:
        raise LineError(
            line, at, f"{short(word)} should be axes and two of the numbers 1 to {COMPONENTS}, as in axes2,3"
        )
    return numbers


class GeometryAnswer(Answer, frozen=True, tag="geometry", eq=False):
    """words, their order in all else. layer, part: where they are read. explained [component]: its share of the
    variance. coordinates [word, component]: the activation less the mean, along each axis; an axis has length 1 and its
    largest number is positive. in_clean: the same along the axes of the clean run, from its mean. left_out: edits that
    mean nothing on another text, as lines, each with the reason."""

    words: tuple[str, ...]
    layer: int
    part: Part
    explained: np.ndarray
    coordinates: np.ndarray
    in_clean: np.ndarray
    left_out: tuple[str, ...] = ()

    def json(self) -> dict[str, Any]:
        names = ("words", "layer", "part", "explained", "coordinates", "in_clean", "left_out")
        return {name: plain(getattr(self, name)) for name in names}


SPEC = View(
    question=Geometry,
    answer=GeometryAnswer,
    title="Geometry",
    go="G",
    shows=(
        "What a layer makes of some words, as points in a plane: each word stands at the end of a short text of its "
        "own, and its activation h is read at its last token. The axes are principal components: the singular vectors "
        "of h − mean over the words, X = U S Vᵀ, a word's place is U S, and a component explains s² / Σ s² of the "
        "variance. Edits act in these runs, too."
    ),
    read=(
        "Days and months often lie in a circle, numbers along a curve: neighbours in meaning are neighbours here. w "
        "takes the horizontal axis as a steering vector, to add it or to project it out; ^ and _ go through the "
        "layers; with c the words move along the clean run's axes when an edit is on."
    ),
    trap=(
        "Of n words there are n − 1 directions: a few words always fit well into two, whatever the model knows of "
        "them. Two components that explain as much are any two axes of their plane, and signs are by convention. What "
        "a layer shows need not be what the model uses: steer along it and see."
    ),
    paper="Engels et al. 2024, Not All Language Model Features Are Linear",
    words=("principal component", "explained variance", "steering vector", "clean, edited"),
    glossary=(
        ("principal component", "the direction in which points differ most, then the next one at a right angle to it"),
        ("explained variance", "the share of the squared distances from the mean that lies along a component"),
    ),
    cost=Cost.OWN_RUNS,
    alone=True,
    beside="dose",
    line_words=(
        ("L6.post", "where it is read"),
        ("days", "Monday to Sunday"),
        ("months", "January to December"),
        ("numbers", "one to twelve"),
        ("axes2,3", "the components that are shown"),
    ),
    footer=("axis_vector", "next_axes", "deeper", "shallower", "summary", "next_run", "maximise"),
    actions=(
        Action(
            "axis_vector", ("w",), "axis as vector", "Make the horizontal axis a steering vector.", needs=Needs.MODEL
        ),
        Action("next_axes", ("o",), "next axes", "Show the next two components."),
        Action("deeper", ("circumflex_accent",), "deeper", "Read it one layer later.", needs=Needs.MODEL),
        Action("shallower", ("underscore",), "shallower", "Read it one layer earlier.", needs=Needs.MODEL),
    ),
)
