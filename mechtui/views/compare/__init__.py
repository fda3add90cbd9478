"""`compare ["FILE.toml"|mark "NAME"|step 3|model "NAME"] [@POS] [clean]`: this session beside another one."""

from __future__ import annotations

from typing import Any, ClassVar, Self

from msgspec.structs import replace

from mechtui.session.document import Session, Struct
from mechtui.session.grammar.words import LineError, cut, one_position, quote, short, unquote, whole
from mechtui.views.question import Answer, Question, Run
from mechtui.views.spec import Action, Cost, View

# What may say which session is the other one.
OTHERS = ("file", "mark", "step", "model")


class Compare(Question, frozen=True, tag="compare"):
    """What differs between this session and another, and in the numbers of every view that one run answers.

    The other is a session `file`; the state of the history that is called `mark`, or has this number (`step`); this
    session on another `model`; without any of these the state before this one. position (negative: from the end): of
    the next token. run: which run is shown. other: the state of the history, once it was found. views: the questions
    whose numbers are compared; none: those of the session's lines, and every other view's own.
    """

    SHOWN: ClassVar[frozenset[str]] = frozenset({"run"})

    file: str = ""
    mark: str = ""
    step: int | None = None
    model: str = ""
    position: int = -1
    run: Run = "edited"
    other: Session | None = None
    views: tuple[str, ...] = ()

    @property
    def reads(self) -> tuple[str, ...]:
        return (self.file,) if self.file else ()

    @classmethod
    def parse(cls, line: str, rest: str) -> Self:
        found: dict[str, Any] = {}
        words = iter(cut(line)[1:])
        for word, at in words:
            name = "file"
            value: str | int = ""
            if word in OTHERS[1:]:
                name, value = word, _named(word, next(words, ("", len(line))), line)
            elif word.startswith('"'):
                value = unquote(word, line, at)
            elif (there := one_position(word, line, at)) is not None:
                name, value = "position", there
            elif word in ("clean", "edited"):
                name, value = "run", word
            else:
                wanted = 'a session file in double quotes, mark "NAME", step 3, model "NAME", a position or clean'
                raise LineError(line, at, f"{short(word)} should be {wanted}")
            if name in OTHERS and (two := set(OTHERS) & set(found) - {name}):
                raise LineError(line, at, f"{name} and {two.pop()} are two sessions: take one of them")
            found[name] = value
        return cls(**found)

    def line(self) -> str:
        words = ["compare"]
        words += [quote(self.file)] if self.file else []
        words += ["mark", quote(self.mark)] if self.mark else []
        words += ["step", str(self.step)] if self.step is not None else []
        words += ["model", quote(self.model)] if self.model else []
        words += [f"@{self.position}"] if self.position != -1 else []
        words += [self.run] if self.run != "edited" else []
        return " ".join(words)

    def next_run(self) -> Self:
        """The two runs: a difference of the states is shown in any case."""
        return replace(self, run="clean" if self.run == "edited" else "edited")


def _named(name: str, following: tuple[str, int], line: str) -> str | int:
    """What a word behind mark, step or model says. Raises LineError."""
    word, at = following
    if not word or (name == "step" and not word.isdecimal()):
        wanted = "a number, as in step 3" if name == "step" else f'a name, as in {name} "before"'
        raise LineError(line, at, f"{name} should be followed by {wanted}")
    if name == "step":
        return whole(word, line, at)
    return unquote(word, line, at) if word.startswith('"') else word


class Compared(Struct, frozen=True):
    """One number of both.

    view: the line of the view that it is of. what: which of its numbers. where: a place at which the two differ most,
    as L3H5 or @14; empty for a number that has none, and where nothing differs. this, other: its values. unit: theirs.
    """

    view: str
    what: str
    where: str
    this: float
    other: float
    unit: str


class CompareAnswer(Answer, frozen=True, tag="compare", eq=False):
    """One run of both sessions: the clean ones, or those with the edits that are on.

    other: what the other session is called. changes: what is other in this session, in words. numbers: the logit
    difference and the probabilities of the likeliest next tokens of both, then for every view's every table the places
    where the two differ most, at most three, the largest difference first. positions: how many of this prompt's tokens
    have a partner in the other's; tables are compared at those. left_out: views that one of the two has an answer of
    which cannot be set beside the other's, and why.
    """

    other: str
    changes: tuple[str, ...]
    numbers: tuple[Compared, ...]
    positions: int
    left_out: tuple[str, ...] = ()


SPEC = View(
    question=Compare,
    answer=CompareAnswer,
    title="Compare",
    go="j",
    shows=(
        "This session beside another: what differs in prompt, target, edits and vectors; then the logit difference and "
        "the likeliest next tokens of both, and of every view's table the place p where the two differ most, "
        "argmax |this[p] - other[p]|, with both numbers there; where there is room, the next places, too. The other "
        "is the state before, one of the history (x there), a session file, or this session on another model, which is "
        "then loaded beside the first and stays."
    ),
    read=(
        "difference = this - other, in the unit at the end of its row. Tokens are paired as patching pairs them; what "
        "has no partner is left out. c shows the clean runs."
    ),
    trap=(
        "Each logit difference is of its own session's target. Between two prompts or two models a place may differ "
        "most because it means something else there. A second model takes its own memory beside the first."
    ),
    words=("logit difference", "clean, edited", "source"),
    cost=Cost.OWN_RUNS,
    footer=("compare_with", "next_run", "undo", "maximise"),
    actions=(
        Action(
            "compare_with", ("w",), "with another", 'Say with what: a session file, as in "other.toml", or a model.'
        ),
    ),
)
