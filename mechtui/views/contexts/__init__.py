"""`contexts [L5N12 …] ["notes.txt"|samples] [lowest]`: where in a text neurons fire most, and how often they fire."""

from __future__ import annotations

import re
from typing import Any, Literal, Self, get_args

import numpy as np
from msgspec.structs import replace

from mechtui.session.document import Struct, Token
from mechtui.session.grammar.words import LineError, cut, one_of, one_position, quote, short, unquote, whole
from mechtui.views.neurons import BYS, TOP, By, Neurons
from mechtui.views.question import Answer, Question, after, plain
from mechtui.views.spec import Action, Cost, Needs, View

End = Literal["highest", "lowest"]
ENDS: tuple[End, ...] = get_args(End)
# Neurons that a line may name.
MOST = 100
# Contexts of each neuron, tokens that are read at once where the line says nothing else, and tokens on either side of a
# context's own that are shown.
KEPT, WINDOW, BESIDE = 10, 128, 24
SAMPLES = "samples"


class Contexts(Question, frozen=True, tag="contexts"):
    """Of these neurons (layer, number), or where none is named of those that `neurons` lists at `position` by these
    words (of, by, top), the places of a text where they fire most. file: the text's; empty for the model's own samples.
    window: tokens that are read at once, BOS among them; 0: as many as usual. end: the largest activations, or in gated
    MLPs the lowest. known: only what was read before; nothing is read for it."""

    neurons: tuple[tuple[int, int], ...] = ()
    file: str = ""
    window: int = 0
    end: End = "highest"
    known: bool = False
    of: int = -1
    position: int = -1
    by: By = "attribution"
    top: int = TOP

    @classmethod
    def parse(cls, line: str, rest: str) -> Self:
        found = cls()
        for word, at in cut(line)[1:]:
            if word.startswith('"'):
                found = replace(found, file=unquote(word, line, at))
            elif word == SAMPLES:
                found = replace(found, file="")
            elif match := re.fullmatch(r"L([0-9]+)N([0-9]+)", word):
                pick = whole(match[1], line, at + 1), whole(match[2], line, at + 2 + len(match[1]))
                found = replace(found, neurons=tuple(dict.fromkeys((*found.neurons, pick))))
                if len(found.neurons) > MOST:
                    raise LineError(line, at, f"{MOST} neurons are the most of one line")
            elif match := re.fullmatch(r"L([0-9]+)", word):
                found = replace(found, of=whole(match[1], line, at + 1))
            elif match := re.fullmatch(r"window([0-9]+)", word):
                window = whole(match[1], line, at + len("window"))
                if window < 2:
                    raise LineError(line, at, f"{word} should be at least window2")
                found = replace(found, window=window)
            elif (end := one_of(word, ENDS)) is not None:
                found = replace(found, end=end)
            elif (by := one_of(word, BYS)) is not None:
                found = replace(found, by=by)
            elif re.fullmatch(r"top[1-9][0-9]?", word):
                found = replace(found, top=int(word[3:]))
            elif (position := one_position(word, line, at)) is not None:
                found = replace(found, position=position)
            elif word == "known":
                found = replace(found, known=True)
            else:
                wanted = "a neuron (L5N12), a text file in double quotes, samples, lowest, window128, known"
                listed = "or what lists neurons: L5, @-1, activation, top40"
                raise LineError(line, at, f"{short(word)} should be {wanted}, {listed}")
        return found

    def line(self) -> str:
        words = ["contexts", *(f"L{layer}N{neuron}" for layer, neuron in self.neurons)]
        words += [quote(self.file)] if self.file else []
        words += [f"window{self.window}"] if self.window else []
        words += [self.end] if self.end != "highest" else []
        words += ["known"] if self.known else []
        words += [f"L{self.of}"] if self.of >= 0 else []
        words += [f"@{self.position}"] if self.position != -1 else []
        words += [self.by] if self.by != "attribution" else []
        words += [f"top{self.top}"] if self.top != TOP else []
        return " ".join(words)

    @property
    def listed(self) -> Neurons:
        """The list whose neurons are looked at where none is named."""
        return Neurons(self.of, self.position, self.by, self.top)

    def asked(self) -> Self:
        """Where neurons are named, what would list them says nothing."""
        found = super().asked()
        return replace(found, of=-1, position=-1, by="attribution", top=TOP) if self.neurons else found

    @property
    def costly(self) -> bool:
        return not self.known

    @property
    def reads(self) -> tuple[str, ...]:
        return (self.file,) if self.file else ()

    def next(self) -> Self:
        """The other end of the activations."""
        return replace(self, end=after(self.end, ENDS))


class Context(Struct, frozen=True):
    """A place in a text: the token, what stands before and after it, and the text that as a prompt gives the same
    activation at its last token."""

    before: str
    token: Token
    after: str
    prompt: str


class ContextsAnswer(Answer, frozen=True, tag="contexts", eq=False):
    """The neurons of `layers` [neuron] with the numbers `neurons` [neuron].

    contexts [neuron][place]: where each fires most (of the end `lowest`, where its activation is lowest), the strongest
    first. value [neuron, place]: its activation there (post), NaN where there is no such place (yet); gate, into: what
    made it in gated MLPs, else None. rate [neuron]: the share of tokens at which it is on: its activation is above 0,
    in gated MLPs its gate.

    text: the file, or `samples`. counted: tokens that were looked at so far, of `tokens` in all. window: as it is.
    """

    text: str
    counted: int
    tokens: int
    window: int
    layers: np.ndarray
    neurons: np.ndarray
    rate: np.ndarray
    value: np.ndarray
    contexts: tuple[tuple[Context, ...], ...]
    gate: np.ndarray | None = None
    into: np.ndarray | None = None

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(f"L{layer}N{neuron}" for layer, neuron in zip(self.layers, self.neurons, strict=True))

    def json(self) -> dict[str, Any]:
        return {
            **{name: plain(getattr(self, name)) for name in ("text", "counted", "tokens", "window")},
            "neurons": list(self.names),
            **{name: plain(getattr(self, name)) for name in ("rate", "value", "gate", "into")},
            "contexts": [
                [
                    {
                        "before": each.before,
                        "token": each.token.text,
                        "id": each.token.id,
                        "after": each.after,
                        "prompt": each.prompt,
                    }
                    for each in found
                ]
                for found in self.contexts
            ],
        }


SPEC = View(
    question=Contexts,
    answer=ContextsAnswer,
    title="Contexts",
    go="M",
    shows=(
        "The ten places of a text at which a neuron's activation (post) is largest, with the token marked and what "
        "stands around it; in gated MLPs gate and in, where post = act(gate) · in, and with s the ten lowest. on: the "
        "share of the text's tokens at which it is on, post > 0, in gated MLPs gate > 0. Of a list of neurons, the "
        "first place of each. The text is a file, or 64 samples that the model writes itself at temperature 1."
    ),
    read=(
        "What the places have in common is what the neuron may stand for. A text is read once for all neurons of the "
        "model and kept on the disk, so that any other neuron has its contexts at once. enter makes a context the "
        "prompt: its last token gives the same activation."
    ),
    trap=(
        "The largest activations are a neuron's extremes, not what it mostly does: it may mean several things. "
        "Contexts are of the model without edits, and of this text alone. A text is read in windows, in which the "
        "first tokens have little before them."
    ),
    paper="Bills et al. 2023, Language models can explain neurons in language models; Nanda 2022, Neuroscope.",
    words=("context", "neuron"),
    cost=Cost.JOB,
    renews=False,
    line_words=(
        ("L5N12", "this neuron"),
        ("samples", "the model's own samples as the text"),
        ("lowest", "the lowest activations, of gated MLPs"),
        ("window128", "tokens that are read at once"),
        ("known", "what was read before, nothing more"),
    ),
    footer=("start", "context", "context_file", "own_samples", "summary", "maximise"),
    actions=(
        Action(
            "context",
            ("enter",),
            "into",
            "Make the context the prompt; in a list, show the neuron's contexts. u goes back.",
        ),
        Action("context_file", ("w",), "text file…", "Name the text file that is read.", needs=Needs.NOTHING),
        Action("own_samples", ("r",), "own samples", "Read samples that the model writes itself.", needs=Needs.NOTHING),
        Action("list_contexts", ("o",), "list", "Show the first context of each neuron in the list of neurons."),
    ),
)
