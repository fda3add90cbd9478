"""`circuit L9H9 [" word"|trigrams|directions]`: what a head could do on any text, read from its weights."""

from __future__ import annotations

from typing import Any, ClassVar, Literal, Self, get_args

from msgspec.structs import replace

from mechtui.session.document import Struct, Token
from mechtui.session.grammar.places import one_head
from mechtui.session.grammar.words import LineError, cut, one_of, one_position, quote, short, unquote
from mechtui.views.question import Answer, Question, after
from mechtui.views.spec import Action, Cost, Follows, View

What = Literal["word", "trigrams", "directions"]
WHATS: tuple[What, ...] = get_args(What)
# Tokens of each list, trigrams and directions that are named, and tokens of each of those.
TOP, TRIGRAMS, DIRECTIONS, EACH = 20, 200, 12, 3


class Circuit(Question, frozen=True, tag="circuit"):
    """One head's QK and OV circuit over the vocabulary. word: the token that is asked about, as text; empty: the one
    that stands at `position` in the prompt. what: of that word, or the head's strongest skip-trigrams, or the singular
    directions of both circuits. only: words that a row of a list must have in it."""

    SHOWN: ClassVar[frozenset[str]] = frozenset({"only"})
    OF_MODEL: ClassVar[frozenset[str]] = frozenset({"only"})

    layer: int = 0
    head: int = 0
    what: What = "word"
    word: str = ""
    position: int = -1
    only: str = ""

    @classmethod
    def parse(cls, line: str, rest: str) -> Self:
        words = cut(line)[1:]
        site = one_head(line, words, 'circuit L9H9 " word"')
        found = cls(site.layers.first, site.index.first)
        for word, at in words[1:]:
            if (what := one_of(word, WHATS)) is not None:
                found = replace(found, what=what)
            elif (position := one_position(word, line, at)) is not None:
                found = replace(found, position=position)
            elif word.startswith('"'):
                name = "word" if found.what == "word" else "only"
                found = replace(found, **{name: unquote(word, line, at)})
            else:
                problem = (
                    f'{short(word)} should be a token in double quotes, as " Mary", a position, trigrams or directions'
                )
                raise LineError(line, at, problem)
        return found

    def line(self) -> str:
        words = [f"circuit L{self.layer}H{self.head}"]
        words += [quote(self.word)] if self.word else []
        words += [self.what] if self.what != "word" else []
        words += [quote(self.only)] if self.only and self.what != "word" else []
        words += [f"@{self.position}"] if self.position != -1 else []
        return " ".join(words)

    def asked(self) -> Self:
        """Of trigrams and directions no word is asked, and of a word that is named no position."""
        found = super().asked()
        if self.what != "word":
            return replace(found, word="", position=-1)
        return replace(found, position=-1) if self.word else found

    def next(self) -> Self:
        """The next list, whole: words that narrowed the one before say nothing of it."""
        return replace(self, what=after(self.what, WHATS), only="")


class Scored(Struct, frozen=True):
    """A token and its number."""

    token: Token
    value: float


class Trigram(Struct, frozen=True):
    """[source … destination -> out]. destinations: those that attend to the source most; outs: what it raises most.
    value: the attention preference of the first in nats times the logit of the first."""

    source: Token
    destinations: tuple[Token, ...]
    outs: tuple[Token, ...]
    value: float


class Direction(Struct, frozen=True):
    """A singular direction of the OV or the QK circuit. size: its singular value; share: of the sum of all squares. Per
    side the tokens furthest along it, and those furthest against it."""

    circuit: Literal["OV", "QK"]
    number: int
    size: float
    share: float
    reads: tuple[Token, ...]
    writes: tuple[Token, ...]
    against_reads: tuple[Token, ...]
    against_writes: tuple[Token, ...]


class CircuitAnswer(Answer, frozen=True, tag="circuit", eq=False):
    """token: what was asked about; None for trigrams and directions. attends: the keys that its query prefers, and
    attended: the queries that prefer its key, in nats above the mean key. raises, lowers: logits that attending to it
    changes; raised_by: what raises its own logit when it is attended to; all in logits before the final norm's scale,
    less their mean over the vocabulary. own, rank: its own logit when attended to, and how many tokens are raised
    more."""

    what: What
    token: Token | None = None
    attends: tuple[Scored, ...] = ()
    attended: tuple[Scored, ...] = ()
    raises: tuple[Scored, ...] = ()
    lowers: tuple[Scored, ...] = ()
    raised_by: tuple[Scored, ...] = ()
    own: float | None = None
    rank: int | None = None
    trigrams: tuple[Trigram, ...] = ()
    directions: tuple[Direction, ...] = ()

    def json(self) -> dict[str, Any]:
        def texts(tokens: tuple[Token, ...]) -> list[str]:
            return [token.text for token in tokens]

        if self.what == "trigrams":
            rows = [
                {
                    "source": each.source.text,
                    "destinations": texts(each.destinations),
                    "outs": texts(each.outs),
                    "value": each.value,
                }
                for each in self.trigrams
            ]
            return {"trigrams": rows}
        if self.what == "directions":
            names = ("reads", "writes", "against_reads", "against_writes")
            return {
                "directions": [
                    {
                        "circuit": each.circuit,
                        "number": each.number,
                        "size": each.size,
                        "share": each.share,
                        **{name: texts(getattr(each, name)) for name in names},
                    }
                    for each in self.directions
                ]
            }
        lists = ("attends", "attended", "raises", "lowers", "raised_by")
        return {
            "token": self.token.text if self.token else None,
            **{
                name: [
                    {"token": each.token.text, "id": each.token.id, "value": each.value} for each in getattr(self, name)
                ]
                for name in lists
            },
            "own": self.own,
            "rank": self.rank,
        }


SPEC = View(
    question=Circuit,
    answer=CircuitAnswer,
    title="Circuit",
    go="w",
    shows=(
        "One head read from its weights, over the whole vocabulary. Of a word: which tokens its query prefers "
        "(attends) and which queries prefer it (attended), as the attention score less the mean key's, in nats; which "
        "logits it raises and lowers when it is attended to, and what raises its own (raised by), in logits before the "
        "final norm's scale, less their mean. trigrams: the strongest [source … destination -> out], by the product of "
        "both. directions: the largest singular directions of OV and QK, and the tokens at their ends."
    ),
    read=(
        "A head that copies raises the word that it attends to: rank 0. An induction head's own words say little by "
        "their embeddings: it reads what an earlier head wrote, see Composition."
    ),
    trap=(
        "Each token stands as its embedding alone, normed: what earlier layers add is left out, and that is most of "
        "what heads of later layers read. Positions, rotary ones too, are left out."
    ),
    paper="Elhage et al. 2021, A Mathematical Framework for Transformer Circuits.",
    words=("OV circuit", "QK circuit", "logit", "nat"),
    cost=Cost.OWN_RUNS,
    follows=Follows.TEXTS,
    line_words=(
        ("trigrams", "the strongest skip-trigrams"),
        ("directions", "singular directions of both circuits"),
    ),
    footer=("circuit_word", "summary", "circuit_try", "maximise"),
    actions=(
        Action(
            "circuit_word",
            ("w",),
            "word…",
            "Ask about another word, a token with its blank, as in ` Mary`; in a list, show only rows with it.",
        ),
        Action(
            "circuit_try",
            ("o",),
            "try it",
            "Write a prompt in which the row should come true: source and destination, with the out as answer.",
        ),
    ),
)
