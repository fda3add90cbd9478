"""What the screen looks at, and everything that a pane may paint from."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from functools import lru_cache
from typing import TypeVar

import msgspec
from msgspec.structs import replace

from mechtui.link.messages import Answered, EditProblem, Ready
from mechtui.paint.tokens import visible
from mechtui.paint.tokens import width as cells
from mechtui.session.document import Edit, Focus, Session, Site, Swept, Token
from mechtui.session.grammar.edits import format_edit
from mechtui.session.grammar.words import LineError
from mechtui.session.history import Tree
from mechtui.views import Question, parse_question, specs, state
from mechtui.views.cases import Cases
from mechtui.views.question import FOLLOWING
from mechtui.views.tokens import Tokens, TokensAnswer

Kind = TypeVar("Kind", bound=Question)

# What every picture is made of: panes name positions by their tokens.
BASE = Tokens()
# What is asked besides, last of all, where the session names cases.
OVER = Cases()


class Picture(msgspec.Struct, frozen=True, eq=False):
    """Everything a pane may paint from. `answered` is the newest answer to the pane's own question, which may
    be older than the session: then `stale` is True and the pane says so. earlier: what was set for another prompt
    than the present one, of "target" and "source". job: whether the pane's job was started. progress: its share that is
    computed, 0 to 1; None where nothing is under way. refused: why the pane's question has no answer; empty where it
    may have one. over: the newest answer over the session's cases; over_stale: it is older than the session;
    over_refused: why there is none. idle: there is no model, and none is being loaded. sweeps: those that were made,
    the newest last. tree: all states of the session. unit: the feature's site that the list of features on the screen
    stands on; None where there is no such list."""

    session: Session
    focus: Focus
    ready: Ready | None
    tokens: TokensAnswer | None
    answered: tuple[Answered, ...] = ()
    problems: tuple[EditProblem, ...] = ()
    stale: bool = False
    earlier: frozenset[str] = frozenset()
    job: bool = False
    progress: float | None = None
    refused: str = ""
    over: Answered | None = None
    over_stale: bool = False
    over_refused: str = ""
    idle: bool = False
    sweeps: tuple[Swept, ...] = ()
    tree: Tree | None = None
    unit: Site | None = None

    def same(self, other: Picture) -> bool:
        """Whether it is made of the very same things: then it looks the same, too."""
        return (
            self.session is other.session
            and self.ready is other.ready
            and self.tokens is other.tokens
            and self.sweeps is other.sweeps
            and self.tree is other.tree
            and self.over is other.over
            and len(self.answered) == len(other.answered)
            and all(mine is its for mine, its in zip(self.answered, other.answered, strict=True))
            and (self.over_stale, self.over_refused) == (other.over_stale, other.over_refused)
            and (
                self.focus,
                self.problems,
                self.stale,
                self.earlier,
                self.job,
                self.progress,
                self.refused,
                self.idle,
                self.unit,
            )
            == (
                other.focus,
                other.problems,
                other.stale,
                other.earlier,
                other.job,
                other.progress,
                other.refused,
                other.idle,
                other.unit,
            )
        )

    def question(self, kind: type[Kind]) -> Kind:
        """The line of a view as it stands, about what the screen looks at."""
        question = state(self.session.views, kind)
        layer, head = self.head()
        # The last token stays the last one while text is added behind it.
        position = -1 if self.focus.position == -1 else self.position()
        if question.from_end and position >= 0:
            position -= len(self.tokens.tokens) if self.tokens else 1
        now = {"layer": layer, "head": head, "position": position}
        return replace(question, **{name: now[name] for name in FOLLOWING if name in question.__struct_fields__})

    def applied(self) -> tuple[Edit, ...]:
        """The session's edits that are on, less those that the model refuses."""
        if not self.problems:
            return self.session.active_edits()
        refused = {problem.where for problem in self.problems if problem.index >= 0}
        return tuple(edit for edit in self.session.active_edits() if format_edit(edit) not in refused)

    def refused_target(self) -> str:
        """Why the model refuses the answer or the foil; empty where it takes what is named."""
        return next((each.sentence for each in self.problems if each.where in ("answer", "foil")), "")

    @property
    def differs(self) -> bool:
        """Whether there is a logit difference: answer and foil are named, or neither, and the model takes them."""
        return bool(self.session.answer) == bool(self.session.foil) and not self.refused_target()

    def document(self, shown: Iterable[str]) -> Session:
        """The session as it is saved: the lines of its views name the head and the token that the screen looks at, and
        of the views that are shown those have a line that would look elsewhere without one; with the sweeps."""
        lines = list(self.session.views)
        kinds: set[type[Question]] = set()
        for at, line in enumerate(lines):
            # Of several lines of a view the first is the pane's; one that means nothing stays as it is.
            with suppress(LineError):
                kind = type(parse_question(line))
                if kind not in kinds:
                    kinds.add(kind)
                    lines[at] = self.question(kind).line()
        for view in shown:
            question = self.question(specs()[view].question)
            if type(question) not in kinds and not question.costly and question != question.unfocused():
                lines.append(question.line())
        return replace(self.session, views=tuple(lines), sweeps=self.sweeps)

    def position(self) -> int:
        """The focused position as an index from 0; 0 without tokens."""
        count = len(self.tokens.tokens) if self.tokens else 1
        position = self.focus.position
        return max(0, min(position + count if position < 0 else position, count - 1))

    def head(self) -> tuple[int, int]:
        """The focused (layer, head), clamped to the model's."""
        layer, head = max(self.focus.layer, 0), max(self.focus.head, 0)
        if self.ready is None:
            return layer, head
        shape = self.ready.shape
        return min(layer, shape.n_layers - 1), min(head, shape.n_heads - 1)

    def token(self, position: int) -> str:
        """The token there, with everything in it visible; empty where there is none."""
        tokens = self.tokens.tokens if self.tokens else ()
        return visible(tokens[position]) if 0 <= position < len(tokens) else ""

    def widest_token(self) -> int:
        """Cells of the longest token, for a column that holds them."""
        return _widest(self.tokens.tokens) if self.tokens else 0

    def answer(self, question: type[Question]) -> Answered | None:
        """The answer to a question of this kind."""
        return next((each for each in self.answered if isinstance(each.question, question)), None)


@lru_cache(8)
def _widest(tokens: tuple[Token, ...]) -> int:
    return max((cells(visible(token)) for token in tokens), default=0)
