"""Undo and redo of whole sessions, as a tree: what comes after an undo is a branch, and nothing is lost.

Sessions are frozen and share what they have in common, so keeping many is cheap. A `Tree` is frozen, too: every change
makes a new one, so that another thread may write the one it was given (`mechtui.session.journal`).
"""

from __future__ import annotations

import time
from bisect import bisect_left
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import pairwise
from typing import Any

import msgspec

from mechtui.session.document import Session

LIMIT = 1000
# Seconds after which a change that is no typing does not join the one before.
PAUSE = 1.5


class LogitDiff(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a model said of a session: logit(answer) - logit(foil) after the token at `position` (-1: the last), clean
    and edited; edited is None where no edit is on."""

    clean: float
    edited: float | None = None
    position: int = -1


class Step(msgspec.Struct, frozen=True):
    """One state of the session.

    number: its own, larger than that of any step made before it. parent: the number of the step that it was made from;
    None at the root. session: what undo takes back, see `Session.work`. when: seconds since the epoch at its last
    change. mark: its name; empty where it has none. logit_diff: the newest that was noted.
    """

    number: int
    parent: int | None
    session: Session
    when: float
    mark: str = ""
    logit_diff: LogitDiff | None = None


@dataclass(frozen=True)
class Tree:
    """All steps, and where one stands. Never changed: each method gives another tree.

    steps: by number, in that order. at: the number of the present step. ways: from a step to that of its children where
    one stood last, which is where redo goes.
    """

    steps: Mapping[int, Step]
    at: int
    ways: Mapping[int, int]

    @classmethod
    def begun(cls, step: Step) -> Tree:
        """A tree of one step."""
        return cls({step.number: step}, step.number, {})

    @property
    def step(self) -> Step:
        """The present one."""
        return self.steps[self.at]

    @cached_property
    def root(self) -> Step:
        return next(step for step in self.steps.values() if step.parent is None)

    @cached_property
    def children(self) -> Mapping[int, tuple[int, ...]]:
        """The numbers of each step's children, the oldest first."""
        found: dict[int, list[int]] = {number: [] for number in self.steps}
        for step in self.steps.values():
            if step.parent is not None:
                found[step.parent].append(step.number)
        return {number: tuple(children) for number, children in found.items()}

    def path(self, number: int) -> tuple[int, ...]:
        """The numbers from the root to this step, both included."""
        found: list[int] = []
        at: int | None = number
        while at is not None:
            found.append(at)
            at = self.steps[at].parent
        return tuple(reversed(found))

    def marked(self, mark: str) -> Step | None:
        """The step with this name."""
        return next((step for step in self.steps.values() if mark and step.mark == mark), None)

    def standing(self, number: int) -> Tree:
        """The same tree, with this step as the present one; redo leads to it from all that it comes from."""
        return replace(self.leading(along(self.path(number))), at=number)

    def leading(self, ways: Mapping[int, int]) -> Tree:
        """With these ways for redo."""
        return replace(self, ways={**self.ways, **ways})

    def added(self, step: Step) -> Tree:
        """With a new step, which is now the present one."""
        ways = {} if step.parent is None else {step.parent: step.number}
        return replace(self.put(step).leading(ways), at=step.number)

    def put(self, step: Step) -> Tree:
        """With this step in place of the one of its number."""
        return replace(self, steps={**self.steps, step.number: step})

    def named(self, number: int, mark: str) -> Tree:
        """With this name for a step, which no other has then; empty: without one."""
        former = self.marked(mark)
        tree = self if former is None else self.put(msgspec.structs.replace(former, mark=""))
        return tree.put(msgspec.structs.replace(tree.steps[number], mark=mark))

    def without(self, number: int) -> Tree:
        """The tree without this step; the same one where it cannot be left out: it is the present one, or others come
        from it. Only a root with one child can be: the child is then the root."""
        step, children = self.steps.get(number), self.children.get(number, ())
        if step is None or number == self.at or len(children) > (step.parent is None):
            return self
        left = {each: kept for each, kept in self.steps.items() if each != number}
        for child in children:
            left[child] = msgspec.structs.replace(left[child], parent=None)
        return replace(self, steps=left, ways={a: b for a, b in self.ways.items() if number not in (a, b)})

    def within(self, limit: int) -> Tree:
        """With no more than `limit` steps besides the root: ends of branches are forgotten, the oldest first; where the
        present one is the only end, the root is. What has a mark is forgotten last."""
        tree = self
        while len(tree.steps) > limit + 1:
            ends = [number for number, children in tree.children.items() if not children and number != tree.at]
            root = tree.root.number
            roots = [root] if len(tree.children[root]) == 1 and root != tree.at else []
            choices = [*ends, *roots]
            tree = tree.without(next((each for each in choices if not tree.steps[each].mark), choices[0]))
        return tree


def along(path: tuple[int, ...]) -> dict[int, int]:
    """The ways that lead along a path: from each of its steps to the next."""
    return dict(pairwise(path))


class History:
    """The present session, and how one came to it.

    limit: how many steps besides the first are kept; older ones are forgotten. clock: seconds from any time on, for
    what joins. now: seconds since the epoch, for `Step.when`.
    """

    def __init__(
        self,
        session: Session,
        limit: int = LIMIT,
        clock: Callable[[], float] = time.monotonic,
        now: Callable[[], float] = time.time,
    ) -> None:
        self.tree = Tree.begun(Step(0, None, session, now()))
        self._limit = limit
        self._merge = ""
        self._typing = ""
        self._clock, self._now = clock, now
        self._when = clock()

    def restore(self, tree: Tree) -> None:
        """Go on in this tree, as it was kept. The one before is forgotten."""
        self.tree = tree.within(self._limit)
        self.rest()

    @property
    def present(self) -> Session:
        return self.tree.step.session

    def change(self, session: Session, merge: str = "") -> None:
        """Make `session` the present one: a step that comes from the one before. Other steps stay as they are.

        merge: changes that follow each other closely with the same key are one step ("prompt" for what is typed,
        "nudge 3" for a number held down). What is typed may come in pieces of any length; a new step begins with
        a word, and where typing turns into deleting. So no step ends within a word that is being typed.
        """
        if session == self.present:
            return
        typing, now = _typing(self.present, session), self._clock()
        joins = merge != "" and merge == self._merge
        if typing:
            joins &= typing != "new" and bool(self._typing) and (typing, self._typing) != ("delete", "insert")
        else:
            joins &= not self._typing and now - self._when < PAUSE
        if joins:
            step = self.tree.step
            self.tree = self.tree.put(Step(step.number, step.parent, session, self._now()))
        else:
            step = Step(max(self.tree.steps) + 1, self.tree.at, session, self._now())
            self.tree = self.tree.added(step).within(self._limit)
        # The first letter of a word begins a step that the letters after it join.
        self._merge, self._typing, self._when = merge, "insert" if typing == "new" else typing, now

    def rest(self) -> None:
        """The next change begins a step, however soon it comes."""
        self._merge = ""

    def undo(self) -> Session | None:
        """The session that the present one was made from, now the present one; None at the root."""
        return self.jump(self.tree.step.parent)

    def redo(self) -> Session | None:
        """Of the sessions that were made from the present one, that where one stood last, now the present one; None
        where there is none."""
        return self.jump(self.tree.ways.get(self.tree.at))

    def jump(self, number: int | None) -> Session | None:
        """The session of any step, now the present one; None where there is no such step."""
        if number is None or number not in self.tree.steps:
            return None
        self.rest()
        self.tree = self.tree.standing(number)
        return self.present

    def mark(self, mark: str, number: int | None = None) -> None:
        """Give a step (None: the present one) a name, or with an empty one take its name away. A name belongs to one
        step: another that had it has it no more."""
        self.rest()  # a state with a name stays what it is
        self.tree = self.tree.named(self.tree.at if number is None else number, mark)

    def note(self, logit_diff: LogitDiff) -> None:
        """Remember what a model said of the present session."""
        if logit_diff != self.tree.step.logit_diff:
            self.tree = self.tree.put(msgspec.structs.replace(self.tree.step, logit_diff=logit_diff))


def _typing(old: Session, new: Session) -> str:
    """What kind of typing led from one to the other: "insert", "delete", "new" (an insertion that begins with
    another word), or "" for a change that is no typing."""
    for before, after in ((old.prompt, new.prompt), (old.source, new.source)):
        if before != after:
            return _text_change(before, after)
    return ""


def _text_change(before: str, after: str) -> str:
    if len(after) < len(before):
        return "delete"
    start, _ = common(before, after)
    end = start + len(after) - len(before)
    if before[start:] != after[end:]:
        return "new"  # replaced
    into_word = start > 0 and not after[start - 1].isspace() and not after[start].isspace()
    return "insert" if into_word or after[start:end].isspace() else "new"


def common(old: Sequence[Any], new: Sequence[Any]) -> tuple[int, int]:
    """How much of the begin and of the end two texts, or two lists, have in common; no part is counted twice."""
    least = min(len(old), len(new))
    begin = bisect_left(range(least), True, key=lambda at: old[: at + 1] != new[: at + 1])
    end = bisect_left(range(least - begin), True, key=lambda at: old[len(old) - at - 1 :] != new[len(new) - at - 1 :])
    return begin, end
