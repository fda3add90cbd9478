"""What the app begins with: a session that was kept, with its history, or a new one."""

from __future__ import annotations

import re
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

from msgspec.structs import replace

from mechtui.session import keeping
from mechtui.session.document import Session
from mechtui.session.grammar.words import LineError
from mechtui.session.history import History, Tree
from mechtui.session.keeping import Kept
from mechtui.session.storage import StorageError, load
from mechtui.views import check_questions, parse_question


class Opened(NamedTuple):
    """A session, its history, and where both are kept. waits: it need not be kept as long as nobody changes anything in
    it. told: a sentence about it; empty where nothing is to be said."""

    session: Session
    tree: Tree | None
    kept: Kept
    waits: bool = False
    told: str = ""


def demonstration() -> Session:
    """What the program begins with when nothing else is asked for."""
    from mechtui.embedded import DEMO_ANSWER, DEMO_FOIL, DEMO_PROMPT

    return Session(prompt=DEMO_PROMPT, answer=DEMO_ANSWER, foil=DEMO_FOIL)


def new(session: Session, file: str = "") -> Opened:
    """A new session. One without a prompt gets the demonstration's; file: where it was read from."""
    shown = demonstration()
    if not session.prompt:
        target = {} if session.answer or session.foil else {"answer": shown.answer, "foil": shown.foil}
        session = replace(session, prompt=shown.prompt, **target)
    if file:
        session = replace(session, file=file)
    return Opened(session, None, Kept(called(Path(file)) if file else ""), session == shown)


def called(path: Path) -> str:
    """The name of the session that is read from this file."""
    return re.sub(r"[^\w.-]+", "-", path.stem).strip("-.")[: keeping.MADE]


def kept(name: str) -> Opened:
    """The kept session of this name, to go on with; one that another program has is copied. Raises StorageError."""
    files = Kept(name, existing=True)
    with suppress(LineError):
        keeping.read(name)  # before anything is claimed
    with suppress(StorageError):
        files.claim()  # else nothing can be kept just now, which the app says
    # Read once no other program writes it any more, if it can be had.
    there = Kept(name) if files.copied else files
    tree = there.history()
    session = keeping.read(name)
    if tree is not None and there.ahead:
        session = _stepped(session, tree.step.session)
    if files.copied:
        told = f"{name} is open in another mechtui: this is a copy of it, {files.name}."
        return Opened(session, tree, files, waits=True, told=told)
    return Opened(session, tree, files)


def _stepped(session: Session, step: Session) -> Session:
    """What was kept last where the history is ahead: its step, with what no step has."""
    if plain(session) == plain(step):
        return session
    return replace(step, sweeps=session.sweeps, screen=session.screen, focus=session.focus, file=session.file)


def last() -> Opened | None:
    """The session that was open last, to go on with; None where none is kept that can be read."""
    name = keeping.last()
    try:
        return kept(name) if name else None
    except StorageError:
        return None


@lru_cache(16)
def plain(session: Session) -> Session:
    """The session whatever the screen looks at: its question lines name no head and no token."""
    lines = []
    for line in session.views:
        # A line that means nothing, as another version may have kept, stays as it is.
        with suppress(LineError):
            question = parse_question(line).unfocused()
            lines.append("" if question == type(question)() else question.line())
            continue
        lines.append(line)
    return replace(session.work(), views=tuple(sorted(filter(None, lines))))


def resumed(session: Session, tree: Tree | None) -> History:
    """The history to go on with: this session is the present one. What was kept last of the two may be ahead."""
    history = History(session)
    if tree is None:
        return history
    wanted = plain(session)
    steps = {number: plain(step.session) for number, step in tree.steps.items()}
    history.restore(tree)
    if steps[tree.at] == wanted:
        return history
    near = (tree.step.parent, tree.ways.get(tree.at), *reversed(steps))
    there = next((number for number in near if number is not None and steps.get(number) == wanted), None)
    if history.jump(there) is None:
        history.change(session)
    return history


def with_model(tree: Tree, model: str) -> Tree:
    """The history with this model in all sessions that name none: it is what they ran on."""
    for step in tree.steps.values():
        if not step.session.model:
            tree = tree.put(replace(step, session=replace(step.session, model=model)))
    return tree


def file_says(path: Path) -> Session | None:
    """The session that a file holds; None where it holds none."""
    try:
        session = load(path)
        check_questions(session.views)
    except (StorageError, LineError):
        return None
    return plain(session)
