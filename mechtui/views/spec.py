"""What the rest of the program knows of a view: pure data, one `SPEC` in each view's folder."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, IntEnum

from mechtui.views.question import Answer, Question


class Cost(Enum):
    """In the order in which they are asked for. ONE_RUN: answered from the run that all views share. OWN_RUNS: costs a
    few runs more. TEXTS: may have to read many texts first, once; what is read stays. JOB: costs many runs, so it is
    asked for once the user starts it."""

    ONE_RUN = "one run"
    OWN_RUNS = "own runs"
    TEXTS = "texts"
    JOB = "job"


class Follows(IntEnum):
    """What an answer depends on. Each one depends on those before it too: a change of the model changes every answer,
    a change of an edit only those that follow the session."""

    MODEL = 0
    TEXTS = 1
    SESSION = 2


class Needs(Enum):
    """What must be there before an action can do something."""

    NOTHING = "nothing"
    MODEL = "model"
    SOURCE = "source"
    EDITS = "edits"
    VECTORS = "vectors"


@dataclass(frozen=True)
class Action:
    """One thing that can be done.

    keys: textual's key names, the first is the one that is shown. title: two or three words for footer and palette.
    explanation: one sentence. group: heading in help and docs; an action without one works in its view's pane only.
    typing: works while one types. weighty: it costs, overwrites, takes away or leaves, so the palette does it only
    for its own name or key, never for other words that happen to fit. view: whose action it is, empty for the
    program's; the registry fills it in.
    """

    name: str
    keys: tuple[str, ...]
    title: str
    explanation: str
    group: str = ""
    needs: Needs = Needs.NOTHING
    typing: bool = False
    weighty: bool = False
    view: str = ""


class Axis(Enum):
    """What the rows of a pane can be."""

    TOKENS = "tokens"
    LAYERS = "layers"


@dataclass(frozen=True)
class Rows:
    """What the rows of a pane are, and how many it has besides: names above, notes below."""

    of: Axis
    more: int


@dataclass(frozen=True)
class Numbers:
    """Numbers of an answer that can be compared with those of another session's.

    field: where they stand in the answer; `parts.heads` are those of a part. what: their name. unit: theirs. axes: what
    each of the array's axes goes over: layer, head, position, query, key, or the answer's field that names its rows;
    none for a single number.
    """

    field: str
    what: str
    unit: str
    axes: tuple[str, ...] = ()


@dataclass(frozen=True)
class View:
    """A question about a run, and what the board, help, the footer, the palette and the docs say of it.

    question, answer: the structs that cross the wire. title: its pane's. go: the letter that names it after `g`; of a
    view of one's own the letters, of which the first is q. shows: what is shown, in which unit. read: how to read it.
    trap: what it does not say. paper: where it was first described; empty where it needs no source. words: those of the
    glossary that its help explains. glossary: words that it adds there, each with what it means. beside: the view whose
    place it shares in every built-in workspace that has that view and does not name it; empty for none. renews: whether
    a job that was
    started begins again when the session changes. line_words: words for completion, each with a note: those that its
    line takes besides the choices of its fields, and what a choice means. footer: names of the actions that its pane's
    footer offers, in this order. actions: its own; its pane has a method `do_<name>` for each. numbers: those that
    `compare` sets beside another session's. rows: those that its pane fills, so that a high window gives it no more;
    None where it fills as many as there are. alone: whether it is answered without any run of the prompt, so that it is
    where there is none.
    """

    question: type[Question]
    answer: type[Answer]
    title: str
    go: str
    shows: str
    read: str
    trap: str
    paper: str = ""
    words: tuple[str, ...] = ()
    glossary: tuple[tuple[str, str], ...] = ()
    beside: str = ""
    cost: Cost = Cost.ONE_RUN
    follows: Follows = Follows.SESSION
    renews: bool = True
    line_words: tuple[tuple[str, str], ...] = ()
    footer: tuple[str, ...] = ()
    actions: tuple[Action, ...] = ()
    numbers: tuple[Numbers, ...] = ()
    rows: Rows | None = None
    alone: bool = False

    @property
    def name(self) -> str:
        """The view's folder, and the first word of its line."""
        return str(self.question.__struct_config__.tag)

    @property
    def keys(self) -> str:
        """What one presses to come to it, as one writes it: `g l`."""
        return " ".join(f"g{self.go}")
