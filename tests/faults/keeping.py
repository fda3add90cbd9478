"""A session is kept, renamed, left for another and opened again, while the disk fails."""

from __future__ import annotations

import os
from pathlib import Path
from tempfile import TemporaryDirectory
from unittest.mock import patch

from mechtui.app import opening
from mechtui.app.keeping import Keeper, State
from mechtui.app.opening import Opened
from mechtui.app.recent import Recent
from mechtui.session import keeping
from mechtui.session.document import Session
from mechtui.session.history import History
from mechtui.session.storage import StorageError
from tests.faults.injector import Fault, files

SAID = "The session is not being kept: "
PROMPTS = ("When", "When Mary", "When Mary and", "When Mary and John", "When Mary and John went")


class _Quiet(Keeper):
    """Writes when it is told to, and not by a thread of its own."""

    def _wake(self) -> None:
        pass


class Sitting:
    """What one sits at: a session with its history, kept as the app keeps it. said: what the keeper said."""

    def __init__(self, opened: Opened) -> None:
        self.history = opening.resumed(opened.session, opened.tree)
        self.keeper = _Quiet(opened.kept)
        self.said: list[str] = []

    def type(self, prompt: str) -> None:
        self.history.change(Session(prompt=prompt))
        self.keep()

    def keep(self) -> None:
        self.keeper.put(State(self.history.present, self.history.tree))
        self.said.append(self.keeper.now())

    def rename(self, name: str) -> bool:
        try:
            self.keeper.rename(name)
        except StorageError as error:
            self.said.append(f"{SAID}{error}")
            return False
        return True

    def end(self) -> None:
        self.said.append(self.keeper.close())


def _begin() -> Sitting:
    sitting = Sitting(opening.new(Session(prompt=PROMPTS[0])))
    sitting.history = History(Session(prompt=PROMPTS[0]))
    return sitting


def _prompts(opened: Opened) -> list[str]:
    """Of all steps of its history."""
    assert opened.tree is not None
    return [step.session.prompt for step in opened.tree.steps.values()]


def lives(fault: Fault) -> None:
    """One session from its first letter to the next program. Raises AssertionError where something is lost, or said
    otherwise than in one sentence; anything else that is raised is a traceback that a user would see."""
    with TemporaryDirectory() as folder, patch.dict(os.environ, {"XDG_STATE_HOME": folder}):
        sitting = _begin()
        with files(fault):
            sitting.keep()
            for prompt in PROMPTS[1:3]:
                sitting.type(prompt)
            renamed = sitting.rename("mine")
            sitting.type(PROMPTS[3])
        fault.heal()
        # What was on the disk in the middle of it can be read, whatever failed.
        for about in keeping.listed():
            assert not about.problem, about.problem
        sitting.keep()
        assert not sitting.said[-1]
        sitting.end()
        _check_said(sitting.said)
        name = "mine" if renamed else keeping.last()
        opened = opening.kept(name)
        assert opened.session.prompt == PROMPTS[3]
        assert _prompts(opened) == list(PROMPTS[:4])
        opened.kept.release()
        left = {each.name for each in Path(folder, "mechtui", "sessions").iterdir()}
        assert {f"{name}.history", f"{name}.toml"} <= left
        assert len([each for each in left if each.endswith(".toml")]) == 1


def comes_back(fault: Fault) -> None:
    """A session that was kept is opened again, and gone on with, while the disk fails."""
    with TemporaryDirectory() as folder, patch.dict(os.environ, {"XDG_STATE_HOME": folder}):
        before = _begin()
        before.keep()
        for prompt in PROMPTS[1:4]:
            before.type(prompt)
        before.end()
        name = keeping.last()
        opened, said = None, ""
        with files(fault):
            try:
                opened = opening.kept(name)
            except StorageError as error:
                said = str(error)
        assert "\n" not in said
        if opened is None:
            fault.heal()
            opened = opening.kept(name)
        sitting = Sitting(opened)
        with files(fault):
            sitting.type(PROMPTS[4])
        fault.heal()
        sitting.keep()
        assert not sitting.said[-1]
        sitting.end()
        _check_said(sitting.said)
        again = opening.kept(sitting.keeper.name or keeping.last())
        assert again.session.prompt == PROMPTS[4]
        again.kept.release()
        # All steps stand in the history, or in what of it could not be read and was put aside.
        sessions = Path(folder, "mechtui", "sessions")
        held = "".join(each.read_text() for each in sessions.iterdir() if ".history" in each.name)
        for word in (" Mary", " and", " John", " went"):
            assert word in held, f"{word} is gone"


def recent_lines(fault: Fault) -> None:
    """A list of what was typed lately: an entry may be left out, and those before stay."""
    with TemporaryDirectory() as folder, patch.dict(os.environ, {"XDG_STATE_HOME": folder}):
        recent = Recent("lines", 8)
        recent.add("one")
        with files(fault):
            for entry in ("two", "three"):
                try:
                    recent.add(entry)
                except OSError:
                    continue  # which the app leaves out
            recent.read()
        fault.heal()
        assert recent.read()[-1] == "one"
        assert recent.add("four")[0] == "four"


def _check_said(said: list[str]) -> None:
    for sentence in filter(None, said):
        assert sentence.startswith(SAID), sentence
        assert "\n" not in sentence
        assert "Error" not in sentence, sentence


RUNS = {"a session is kept": lives, "a session comes back": comes_back, "a list grows": recent_lines}
