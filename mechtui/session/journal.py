"""A history as lines of JSON that are only ever added to.

`written(None, tree)` is all of a tree; `written(before, after)` is what to add to a file that holds `before` so that it
holds `after`. Trees are frozen, so both may be called from any thread. `read` takes what it can of a file, and never
fails: a line that is torn or means nothing is passed over, and so is a step whose parent was on such a line. An empty
line means nothing, so one may be written before what follows a line that may be torn.

    {"history": 1}                                                   the first line: the version
    {"step": 0, "when": 1764496000.5, "change": {...}}               a root: what was above it is of another tree
    {"step": 4, "parent": 2, "when": ..., "change": {"prompt": [9, 0, " Mary"]}, "mark": "...", "logit_diff": {...}}
    {"step": 4, "mark": "before the cut"}                            it has this name now; an empty one: none
    {"step": 4, "logit_diff": {"clean": 3.1, "edited": 0.2, "position": -1}}
    {"step": 2, "way": 4}                                            redo leads from 2 to 4
    {"at": 4}                                                        one stands here
    {"forget": 1}

A change names the fields of the session that are other than the parent's (at a root: than those of an empty session),
each as [how much of the parent's begin stays, how much of its end, what stands between]. A line for a step that is
known takes its place; one stands at a step that is new, and redo leads to it. The file grows with every change: where
it is much longer than `written(None, tree)`, that should take its place.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Annotated, Any

import msgspec
from msgspec.structs import fields, replace

from mechtui.session.document import Session
from mechtui.session.grammar.edits import format_edit, parse_edit
from mechtui.session.grammar.saes import format_sae, parse_sae
from mechtui.session.grammar.vectors import format_vector, parse_vector
from mechtui.session.history import LogitDiff, Step, Tree, along, common

VERSION = 1
# Characters that the sessions of a tree hold together; of a file that says more, the oldest steps are forgotten.
MOST = 100_000_000
# Fields whose items are structs: how they are written and read.
AS_LINES: dict[str, tuple[Callable[[Any], str], Callable[[str], Any]]] = {
    "edits": (format_edit, parse_edit),
    "vectors": (format_vector, parse_vector),
    "saes": (format_sae, parse_sae),
}
# Fields that are on or off: written as a text, empty for off.
SWITCHES, ON = ("linear",), "on"
# What undo takes back: `Session.work`.
TYPES = {field.name: field.type for field in fields(Session) if field.name not in ("sweeps", "screen", "focus", "file")}

Number = Annotated[int, msgspec.Meta(ge=0, le=2**53)]
Change = tuple[Number, Number, str | tuple[str, ...]]
Seconds = Annotated[float, msgspec.Meta(ge=0, le=1e11)]


class _Line(msgspec.Struct, frozen=True, omit_defaults=True):
    """Any line of the file."""

    history: int | None = None
    step: Number | None = None
    parent: Number | None = None
    when: Seconds | None = None
    change: dict[str, Change] | None = None
    mark: str | None = None
    logit_diff: LogitDiff | None = None
    way: Number | None = None
    at: Number | None = None
    forget: Number | None = None


_DECODER = msgspec.json.Decoder(_Line)


def written(before: Tree | None, after: Tree) -> str:
    """What to add to a file that holds `before` (None: an empty file) so that it holds `after`; empty where they are
    the same. Whole lines."""
    return "".join(map(_text, _lines(before, after)))


def read(text: str) -> Tree | None:
    """The tree that a file holds, as far as it can be read; None where there is none."""
    tree: Tree | None = None
    held: dict[int, int] = {}  # the characters that each step holds and its parent does not
    for each in text.split("\n"):
        with suppress(ValueError, RecursionError):
            line = _DECODER.decode(each)
            if line.history not in (None, VERSION):
                return None
            step = _step(line, tree)
            more = _more(step, tree) if step is not None else 0
            if more > MOST:
                break
            tree = _taken(line, step, tree)
            if tree is None:
                continue
            if line.forget is not None and line.forget not in tree.steps:
                held.pop(line.forget, None)
            if step is None:
                continue
            # What it was before stays where others may share it.
            if step.number in held and tree.children[step.number]:
                more += held[step.number]
            held = {step.number: more} if step.parent is None else held | {step.number: more}
            while sum(held.values()) > MOST and len(tree.steps) > 1:
                tree = tree.within(len(tree.steps) - 2)
                held = {number: characters for number, characters in held.items() if number in tree.steps}
    if tree is None:
        return None
    return Tree(dict(sorted(tree.steps.items())), tree.at, tree.ways)


# Writing


def _text(line: _Line) -> str:
    # ensure_ascii: half a character (a lone surrogate) can be written, too.
    return json.dumps(msgspec.to_builtins(line), allow_nan=False) + "\n"


def _lines(before: Tree | None, after: Tree) -> Iterator[_Line]:
    if before is after:
        return
    if before is None:
        yield _Line(history=VERSION)
    if before is not None and not _grew(before, after):
        before = None  # the line of a root begins another tree
    for step in after.steps.values():
        yield from _step_lines(before.steps.get(step.number) if before else None, step, after)
    # Where these lines alone lead to.
    new = [step for step in after.steps.values() if before is None or step.number not in before.steps]
    at = new[-1].number if new else before.at if before else after.root.number
    ways = (dict(before.ways) if before else {}) | {step.parent: step.number for step in new if step.parent is not None}
    if at != after.at:
        yield _Line(at=after.at)
        ways |= along(after.path(after.at))
    for number, way in after.ways.items():
        if ways.get(number) != way:
            yield _Line(step=number, way=way)
    if before is not None:
        # The ends of branches before what they come from; roots from the first on.
        roots = before.path(after.root.number)[:-1]
        gone = [number for number in before.steps if number not in after.steps and number not in roots]
        for number in (*reversed(gone), *roots):
            yield _Line(forget=number)


def _grew(before: Tree, after: Tree) -> bool:
    """Whether one tree was made of the other by adding to it and forgetting."""
    root = before.steps.get(after.root.number)
    if root is None or (root.session, root.when) != (after.root.session, after.root.when):
        return False
    both = (step for step in after.steps.values() if step.number in before.steps and step.parent is not None)
    return all(before.steps[step.number].parent == step.parent for step in both)


def _step_lines(old: Step | None, new: Step, tree: Tree) -> Iterator[_Line]:
    if old is None or (old.session, old.when) != (new.session, new.when):
        parent = Session() if new.parent is None else tree.steps[new.parent].session
        change = dict(_change(parent, new.session))
        mark = new.mark or None
        yield _Line(None, new.number, new.parent, new.when, change, mark, _finite(new.logit_diff))
        return
    if old.mark != new.mark:
        yield _Line(step=new.number, mark=new.mark)
    if old.logit_diff != new.logit_diff and _finite(new.logit_diff) is not None:
        yield _Line(step=new.number, logit_diff=new.logit_diff)


def _finite(said: LogitDiff | None) -> LogitDiff | None:
    """JSON has no word for a number that is not finite."""
    return said if said is not None and math.isfinite(said.clean) and math.isfinite(said.edited or 0.0) else None


def _change(parent: Session, session: Session) -> Iterator[tuple[str, Change]]:
    for name in TYPES:
        old, new = _said(parent, name), _said(session, name)
        if old != new:
            begin, end = common(old, new)
            between = new[begin : len(new) - end]
            if name in AS_LINES:
                between = tuple(map(AS_LINES[name][0], between))
            yield name, (begin, end, between)


def _said(session: Session, name: str) -> Any:
    """What a field holds, as something that has a length."""
    value = getattr(session, name, None)
    return value if name not in SWITCHES else ON if value else ""


# Reading


def _step(line: _Line, tree: Tree | None) -> Step | None:
    """The step that a line says in full; None where it says none, or one that cannot be in the tree. Raises ValueError
    for a change that means nothing."""
    if line.step is None or line.when is None or line.change is None:
        return None
    parent = Session()
    if line.parent is not None:
        if tree is None or line.parent not in tree.steps:
            return None
        known = tree.steps.get(line.step)
        if line.parent >= line.step or (known is not None and known.parent != line.parent):
            return None
        parent = tree.steps[line.parent].session
    changed = {name: _changed(name, _said(parent, name), change) for name, change in line.change.items()}
    return Step(line.step, line.parent, replace(parent, **changed), line.when, line.mark or "", line.logit_diff)


def _changed(name: str, old: Any, change: Change) -> Any:
    begin, end, between = change
    if name not in TYPES or begin + end > len(old):
        raise ValueError(name)
    if not isinstance(between, str) and name in AS_LINES:
        new: Any = (*old[:begin], *map(AS_LINES[name][1], between), *old[len(old) - end :])
        return new
    if isinstance(between, str) is not isinstance(old, str):
        raise ValueError(name)
    if name in SWITCHES:
        if between not in ("", ON):
            raise ValueError(name)
        return between == ON
    return msgspec.convert(old[:begin] + between + old[len(old) - end :], TYPES[name])


def _more(step: Step, tree: Tree | None) -> int:
    """The characters of what a step does not share with its parent."""
    parent = Session() if step.parent is None or tree is None else tree.steps[step.parent].session
    both = ((_said(parent, name), _said(step.session, name)) for name in TYPES)
    return sum(len(new) for old, new in both if new is not old)


def _taken(line: _Line, step: Step | None, tree: Tree | None) -> Tree | None:
    """The tree after this line."""
    if step is not None and step.parent is None:
        return Tree.begun(step)
    if tree is None:
        return None
    if step is not None:
        bare = replace(step, mark="")
        tree = tree.put(bare) if step.number in tree.steps else tree.added(bare)
        return tree.named(step.number, step.mark)
    if line.change is not None:
        return tree
    if line.step is not None and line.step in tree.steps:
        tree = _noted(line, line.step, tree)
    if line.at is not None and line.at in tree.steps:
        tree = tree.standing(line.at)
    return tree if line.forget is None else tree.without(line.forget)


def _noted(line: _Line, number: int, tree: Tree) -> Tree:
    if line.mark is not None:
        tree = tree.named(number, line.mark)
    if line.logit_diff is not None:
        tree = tree.put(replace(tree.steps[number], logit_diff=line.logit_diff))
    return tree if line.way is None or line.way not in tree.children[number] else tree.leading({number: line.way})
