"""`contexts [L5N12 …|res8F1234 …] ["notes.txt"|samples] [lowest]`: where in a text neurons, or a dictionary's features,
fire most, and how often they fire."""

from __future__ import annotations

import re
from typing import Any, ClassVar, Literal, Self, get_args

import numpy as np
from msgspec.structs import replace

from mechtui.session.document import SaeName, Site, Struct, Token
from mechtui.session.grammar.places import parse_site
from mechtui.session.grammar.words import NAME, LineError, cut, one_of, one_position, quote, short, unquote, whole
from mechtui.views import features as of_features
from mechtui.views import neurons as of_neurons
from mechtui.views.features import Features
from mechtui.views.neurons import TOP, Neurons
from mechtui.views.question import Answer, Question, after, plain
from mechtui.views.spec import Action, Cost, Needs, View

End = Literal["highest", "lowest"]
ENDS: tuple[End, ...] = get_args(End)
# What the list of neurons, or of features, is sorted by.
By = Literal["attribution", "activation", "value", "share", "number"]
BYS: tuple[By, ...] = get_args(By)
# Units that a line may name.
MOST = 100
# Contexts of each unit, tokens that are read at once where the line says nothing else, tokens on either side of a
# context's own that are shown, and bins of a unit's histogram.
KEPT, WINDOW, BESIDE, BINS = 10, 128, 24, 32
SAMPLES = "samples"


class Contexts(Question, frozen=True, tag="contexts"):
    """The places of a text where some units fire most: these `neurons` (layer, number), or these `features` of the
    dictionary `sae`; where none is named those that the view `features` lists of that dictionary, without one those
    that `neurons` lists, at `position` by these words (of, by, top). file: the text's; empty for the model's own
    samples. window: tokens that are read at once, BOS among them; 0: as many as usual. end: the largest activations, or
    in gated MLPs the lowest. known: only what was read before; nothing is read for it."""

    OF_MODEL: ClassVar[frozenset[str]] = frozenset({"neurons", "sae", "features"})

    neurons: tuple[tuple[int, int], ...] = ()
    sae: SaeName = SaeName("")
    features: tuple[int, ...] = ()
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
            elif match := re.fullmatch(r"(?!L[0-9*])([\w-]+)F([0-9]+)", word):
                feature = whole(match[2], line, at + match.start(2))
                found = found._of_dictionary(match[1], line, at)
                found = replace(found, features=tuple(dict.fromkeys((*found.features, feature))))
            elif NAME.fullmatch(word) and not re.match("L[0-9*]", word):
                found = found._of_dictionary(word, line, at)
            else:
                wanted = "a neuron (L5N12), a feature (res8F1234), a text file in double quotes, samples, lowest"
                listed = "window128, known, or what lists some: L5, a dictionary's name, @-1, activation, top40"
                raise LineError(line, at, f"{short(word)} should be {wanted}, {listed}")
            if len(found.neurons) + len(found.features) > MOST:
                raise LineError(line, at, f"{MOST} neurons or features are the most of one line")
            if found.sae and (found.neurons or found.of >= 0):
                raise LineError(line, at, "a line is of neurons or of a dictionary's features, not of both")
        by_words = of_features.BYS if found.sae else of_neurons.BYS
        if found.by not in by_words:
            what = f"features of {short(found.sae)}" if found.sae else "neurons"
            raise LineError(line, max(line.find(found.by), 0), f"{what} are listed by {' or '.join(by_words)}")
        return found

    def _of_dictionary(self, name: str, line: str, at: int) -> Self:
        """Raises LineError."""
        if self.sae not in ("", name):
            raise LineError(line, at, f"{short(name)} stands beside {short(self.sae)}: a line is of one dictionary")
        return replace(self, sae=SaeName(name))

    def line(self) -> str:
        words = ["contexts", *self.names]
        words += [self.sae] if self.sae and not self.features else []
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
    def names(self) -> tuple[str, ...]:
        """Of the units that the line names."""
        return (
            *(f"L{layer}N{neuron}" for layer, neuron in self.neurons),
            *(f"{self.sae}F{feature}" for feature in self.features),
        )

    @property
    def listed(self) -> Neurons | Features:
        """The list whose units are looked at where none is named."""
        if self.sae:
            return Features(self.sae, self.position, next(by for by in of_features.BYS if by == self.by), self.top)
        return Neurons(self.of, self.position, next(by for by in of_neurons.BYS if by == self.by), self.top)

    def naming(self, site: Site) -> Self:
        """The same of this neuron, or feature of a dictionary."""
        if site.kind == "neuron":
            pick = site.layers.first, site.index.first
            return replace(self, neurons=(pick,), sae=SaeName(""), features=(), by="attribution")
        features = (site.index.first,)
        return replace(self, neurons=(), of=-1, sae=SaeName(site.sae), features=features, by="attribution")

    def asked(self) -> Self:
        """Where units are named, what would list them says nothing."""
        found = super().asked()
        return replace(found, of=-1, position=-1, by="attribution", top=TOP) if self.names else found

    @property
    def costly(self) -> bool:
        return not self.known

    @property
    def saes(self) -> tuple[str, ...]:
        return (self.sae,) if self.sae else ()

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
    """Of the units with these `names` [unit], L9N77 or res8F1234.

    contexts [unit][place]: where each fires most (of the end `lowest`, where its activation is lowest), the strongest
    first. value [unit, place]: its activation there (a neuron's post), NaN where there is no such place (yet); gate,
    into: what made it in gated MLPs, else None. rate [unit]: the share of tokens at which it is on: its activation is
    above 0, in gated MLPs its gate. histogram [unit, bin]: at how many tokens the activation lies between `bin` [unit]
    times the bin's number and times the next, of those above 0 (of the end `lowest` of those below, by their size); bin
    is NaN where there are none. labels [unit]: features' names, empty where there is none.

    text: the file, or `samples`. counted: tokens that were looked at so far, of `tokens` in all. window: as it is.
    sae: the features' dictionary, empty of neurons. note: why what was read before was not taken, or is not kept; else
    empty.
    """

    text: str
    counted: int
    tokens: int
    window: int
    names: tuple[str, ...]
    rate: np.ndarray
    value: np.ndarray
    contexts: tuple[tuple[Context, ...], ...]
    histogram: np.ndarray
    bin: np.ndarray
    labels: tuple[str, ...]
    gate: np.ndarray | None = None
    into: np.ndarray | None = None
    sae: str = ""
    note: str = ""

    @property
    def sites(self) -> tuple[Site, ...]:
        return tuple(map(parse_site, self.names))

    def json(self) -> dict[str, Any]:
        return {
            **{name: plain(getattr(self, name)) for name in ("text", "counted", "tokens", "window")},
            "units": list(self.names),
            "labels": list(self.labels),
            **{name: plain(getattr(self, name)) for name in ("rate", "histogram", "bin", "value", "gate", "into")},
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
            "note": self.note,
        }


SPEC = View(
    question=Contexts,
    answer=ContextsAnswer,
    title="Contexts",
    go="M",
    shows=(
        "The ten places of a text at which a neuron's activation (post), or a feature's (value), is largest, with the "
        "token marked and what stands around it; in gated MLPs gate and in, where post = act(gate) · in, and with s "
        "the ten lowest. on: the share of the text's tokens at which it is on: post > 0, in gated MLPs gate > 0, a "
        "feature's value > 0. Below them a histogram of the values above 0, with s of those below it, in bins of one "
        "width. Of a list of neurons or features, the first place of each. The text is a file, or 64 samples that the "
        "model writes itself at temperature 1."
    ),
    read=(
        "What the places have in common is what the neuron or the feature may stand for. A text is read once for all "
        "neurons of the model, or all features of a dictionary, and kept: of neurons in the cache folder, of features "
        "beside their dictionary, so that any other has its contexts at once. Beside Features it follows the cursor "
        "there. enter makes a context the prompt: its last token gives the same activation."
    ),
    trap=(
        "The largest activations are extremes, not what a unit mostly does, and it may mean several things: the "
        "histogram says how few they are. Contexts are of the model without edits, and of this text alone. A text is "
        "read in windows, in which the first tokens have little before them."
    ),
    paper="Bills et al. 2023, Language models can explain neurons in language models; Nanda 2022, Neuroscope.",
    words=("context", "neuron", "feature", "dictionary"),
    cost=Cost.JOB,
    renews=False,
    line_words=(
        ("L5N12", "this neuron"),
        ("res8F1234", "this feature of a dictionary"),
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
            "Make the context the prompt; in a list, show the contexts of its row. u goes back.",
        ),
        Action("context_file", ("w",), "text file…", "Name the text file that is read.", needs=Needs.NOTHING),
        Action("own_samples", ("r",), "own samples", "Read samples that the model writes itself.", needs=Needs.NOTHING),
        Action("list_contexts", ("o",), "list", "Show the first context of each neuron, or feature, of the list."),
    ),
)
