"""Kept sessions: under their names, one program at a time, private, whole, with their history."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import queue
import stat
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from mechtui.app.keeping import Keeper, State
from mechtui.app.opening import called, demonstration, kept, new, plain, resumed, with_model
from mechtui.link.client import open_log
from mechtui.session import keeping, listing
from mechtui.session.document import Focus, Screen, Session, Swept
from mechtui.session.grammar.edits import parse_edit
from mechtui.session.history import History, Tree
from mechtui.session.keeping import MOST, Kept, automatic, last, listed, named, read
from mechtui.session.paths import state_dir
from mechtui.session.storage import StorageError, load
from mechtui.session.sweeps import made_of


@pytest.fixture(autouse=True)
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    return tmp_path / "state" / "mechtui"


def files(state: Path) -> list[Path]:
    return sorted((state / "sessions").glob("*.toml"))


def tree(*sessions: Session) -> Tree:
    history = History(sessions[0])
    for session in sessions[1:]:
        history.change(session)
    return history.tree


def of(*sessions: Session) -> State:
    """What is kept of a program in which these came one after the other."""
    return State(sessions[-1], tree(*sessions))


def left(session: Session, name: str = "", at: int = 0) -> str:
    """As a program that has ended left it, `at` seconds after the first ones -> its name."""
    files = Kept(name)
    files.write(session)
    files.add(tree(Session(), session))
    files.release()
    os.utime(files._path, (1e9 + at, 1e9 + at))
    return files.name


def test_a_name_is_made_of_model_and_prompt() -> None:
    assert automatic(Session(model="gpt2", prompt="When Mary and John went")) == "gpt2-when-mary-and-john"
    assert automatic(Session(model="EleutherAI/pythia-70m@main")) == "pythia-70m-main"
    assert automatic(Session(model="/models/small.gguf", prompt="Hi")) == "small-hi"
    assert automatic(Session(prompt="Über 東京?")) == "über-東京"
    assert automatic(Session()) == "session"
    assert called(Path("../my runs (2).toml")) == "my-runs-2"


@given(st.text(), st.text())
def test_a_made_name_is_one_that_could_be_given(model: str, prompt: str) -> None:
    name = automatic(Session(model=model, prompt=prompt))
    assert named(name) == name


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("a/b", "letters, digits, - _ and ., and '/' is none of them"),
        (" ", "a session's name should stand here"),
        ("..", "begins with a letter or a digit"),
        ("a" * 61, "at most 60 letters"),
        ("a\u202eb", "is none of them"),
    ],
)
def test_what_can_be_no_name_is_refused(name: str, why: str) -> None:
    with pytest.raises(StorageError, match=why):
        named(name)


def test_sessions_never_overwrite_each_other(state: Path) -> None:
    first, second = Kept(), Kept()
    one = Session(prompt="same words")
    first.write(one)
    second.write(replace(one, foil=" x"))
    assert (first.name, second.name) == ("same-words", "same-words-2")
    first.release()
    assert left(replace(one, answer=" y")) == "same-words-3"
    assert [read(name) for name in ("same-words", "same-words-2")] == [one, replace(one, foil=" x")]


def test_the_second_program_of_a_session_gets_a_copy_with_its_history(state: Path) -> None:
    name = left(Session(prompt="a b"))
    first = kept(name)
    second = kept(name)
    assert (first.kept.name, first.told) == (name, "")
    assert second.told == f"{name} is open in another mechtui: this is a copy of it, {name}-2."
    assert second.tree == first.tree
    keeper = Keeper(second.kept, second.waits)
    assert second.tree is not None
    keeper.begin(State(second.session, second.tree))
    keeper.put(State(replace(second.session, focus=Focus(head=3)), second.tree))
    keeper.close()
    assert [path.stem for path in files(state)] == [name], "a copy that nobody changed is not kept"
    third = kept(name)
    keeper = Keeper(third.kept, third.waits)
    keeper.put(of(Session(), Session(prompt="changed")))
    keeper.close()
    assert read(f"{name}-2").prompt == "changed"
    assert read(name).prompt == "a b"


def test_a_program_that_was_killed_leaves_its_session_to_the_next(state: Path) -> None:
    script = (
        "import os, signal\n"
        "from mechtui.session.document import Session\n"
        "from mechtui.session.keeping import Kept\n"
        "Kept().write(Session(prompt='killed'))\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    subprocess.run([sys.executable, "-c", script], check=False, timeout=60)
    assert last() == "killed"
    assert list(state.rglob("killed.lock")), "nobody was left to take the lock away"
    again = kept("killed")
    assert (again.session, again.told) == (Session(prompt="killed"), "")


def test_a_session_that_another_process_has_is_seen_to_be(state: Path) -> None:
    name = left(Session(prompt="a"))
    script = (
        "import sys\n"
        "from mechtui.session.keeping import Kept\n"
        f"files = Kept({name!r}, existing=True); files.claim(); print('held', flush=True); sys.stdin.read()\n"
    )
    with subprocess.Popen([sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == b"held\n"
        assert next(listed()).running
        assert kept(name).kept.copied == name
        other.communicate()
    assert not next(listed()).running


def test_what_was_open_last_comes_first(state: Path) -> None:
    assert last() == ""
    older, newer = left(Session(prompt="older"), at=1), left(Session(prompt="newer"), at=2)
    assert last() == newer
    opened = kept(older)
    opened.kept.release()
    assert last() == older, "also where nothing was changed"


def test_an_untouched_session_gives_its_name_to_the_next_of_the_same(state: Path) -> None:
    for _ in range(3):
        keeper = Keeper(new(Session(model="demo", prompt="the same")).kept)
        keeper.put(State(Session(model="demo", prompt="the same", focus=Focus(head=1)), tree(Session())))
        assert keeper.close() == ""
    assert [path.stem for path in files(state)] == ["demo-the-same"]
    left(Session(model="demo", prompt="the same"))  # changed now
    left(Session(model="demo", prompt="the same"))
    assert {path.stem for path in files(state)} == {"demo-the-same", "demo-the-same-2"}


@pytest.mark.parametrize("what", ["sweep", "mark", "file"])
def test_what_somebody_has_done_without_a_step_is_not_written_over(state: Path, what: str) -> None:
    session = Session(model="demo", prompt="the same", file="/a/one.toml")
    history = History(session)
    if what == "mark":
        history.mark("before the cut")
    edit = parse_edit("zero L*H*")
    swept = Swept(edit, made_of(session, edit), ("L0",), ("H0",), "logit_diff", ((1.5,),), 1)
    sweeps = (swept,) if what == "sweep" else ()
    keeper = Keeper(new(session).kept)
    keeper.put(State(replace(session, sweeps=sweeps), history.tree))
    assert keeper.close() == ""
    first = {path: path.read_bytes() for path in (state / "sessions").iterdir()}
    again = replace(session, file="/b/one.toml") if what == "file" else session
    keeper = Keeper(new(again).kept)
    keeper.put(State(again, tree(again)))
    assert keeper.close() == ""
    assert {path: path.read_bytes() for path in first} == first
    assert {path.stem for path in files(state)} == {"demo-the-same", "demo-the-same-2"}


def test_the_demonstration_is_kept_once_it_is_changed(state: Path) -> None:
    opened = new(Session())
    assert opened.session == demonstration()
    keeper = Keeper(opened.kept, opened.waits)
    begun = tree(opened.session)
    keeper.begin(State(opened.session, begun))
    keeper.put(State(replace(opened.session, model="demo", focus=Focus(layer=1)), begun))
    assert keeper.now() == ""
    assert not files(state)
    keeper.put(of(opened.session, Session(prompt="mine")))
    assert keeper.now() == ""
    # Back to what it was: what was taken back is worth keeping.
    keeper.put(State(opened.session, tree(opened.session, Session(prompt="mine")).standing(0)))
    keeper.close()
    assert [path.stem for path in files(state)] == ["mine"]
    assert kept("mine").session == opened.session


@pytest.mark.parametrize("refused", [".toml", ".history"])
def test_a_name_that_cannot_be_given_leaves_all_under_the_old_one(
    state: Path, monkeypatch: pytest.MonkeyPatch, refused: str
) -> None:
    name = left(Session(prompt="a"), "one")
    files = Kept(name, existing=True)
    files.claim()
    real = os.rename

    def rename(before: Path, after: Path) -> None:
        if after.name == f"two{refused}":
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        real(before, after)

    with monkeypatch.context() as patch:
        patch.setattr(os, "rename", rename)
        with pytest.raises(StorageError, match="one cannot be renamed: no space left on device"):
            files.rename("two")
    assert {path.name for path in (state / "sessions").iterdir()} == {"one.toml", "one.history", "one.lock"}
    files.rename("two")
    files.release()
    assert kept("two").tree is not None


def test_what_another_program_wrote_last_is_read_once_it_has_let_go(
    state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = left(Session(prompt="a"), "x")
    other = kept(name)
    history = resumed(other.session, other.tree)
    claim = Kept.claim

    def claimed(files: Kept, session: Session | None = None) -> None:
        if other.kept.held and files is not other.kept:
            history.change(Session(prompt="a b"))
            other.kept.write(history.present)
            other.kept.add(history.tree)
            other.kept.release()
        claim(files, session)

    monkeypatch.setattr(Kept, "claim", claimed)
    again = kept(name)
    assert (again.session, again.tree) == (history.present, history.tree)


@pytest.mark.parametrize(("most", "suffix"), [(0, ".toml"), (MOST, ".lock")])
def test_what_a_program_takes_while_another_tidies_stays_its_own(
    state: Path, monkeypatch: pytest.MonkeyPatch, most: int, suffix: str
) -> None:
    name = left(Session(prompt="a"), "x")
    (state / "sessions" / "x.lock").touch()  # of a program that was killed
    other, running = Kept(name, existing=True), keeping._running

    def asked(path: Path) -> bool:
        found = running(path)
        if path.name == f"x{suffix}":
            other.claim()
        return found

    monkeypatch.setattr(keeping, "MOST", most)
    monkeypatch.setattr(keeping, "_running", asked)
    Kept().write(Session(prompt="another"))
    assert other.held
    assert read(name) == Session(prompt="a")
    second = Kept(name, existing=True)
    second.claim()
    assert second.copied == name, "two programs would write it"


def test_what_a_killed_program_left_is_tidied(state: Path) -> None:
    left(Session(prompt="a"), "x")
    old, new = (state / "sessions" / f".x.toml.{end}" for end in ("abcdefgh", "ijklmnop"))
    for each in (old, new):
        each.touch()
    os.utime(old, (1e9, 1e9))
    Kept().write(Session(prompt="another"))
    assert not old.exists()
    assert new.exists(), "somebody may be writing it"


def test_a_session_takes_another_name_and_no_others(state: Path) -> None:
    taken = left(Session(prompt="taken"))
    keeper = Keeper(Kept())
    keeper.put(of(Session(), Session(prompt="a")))
    keeper.now()
    assert keeper.name == "a"
    with pytest.raises(StorageError, match="there is a session taken already"):
        keeper.rename(taken)
    keeper.rename("IOI.2")
    assert keeper.name == "IOI.2"
    keeper.put(of(Session(), Session(prompt="b")))
    keeper.close()
    assert sorted(path.name for path in (state / "sessions").iterdir()) == [
        "IOI.2.history", "IOI.2.toml", "taken.history", "taken.toml",
    ]  # fmt: skip
    assert kept("IOI.2").session == Session(prompt="b")
    assert len(kept("taken-2" if keeping.exists("taken-2") else "taken").tree.steps) == 2  # type: ignore[union-attr]


def test_the_history_comes_back_and_grows(state: Path) -> None:
    keeper = Keeper(Kept("x"))
    states = [Session(), Session(prompt="a"), Session(prompt="a", foil=" b")]
    history = History(states[0])
    for session in states[1:]:
        history.change(session)
        keeper.put(State(session, history.tree))
        assert keeper.now() == ""
    history.undo()
    keeper.put(State(history.present, history.tree))
    keeper.close()
    size = (state / "sessions" / "x.history").stat().st_size
    again = kept("x")
    assert again.tree == history.tree
    resumed_ = resumed(again.session, again.tree)
    assert resumed_.present == states[1]
    assert resumed_.redo() == states[2]
    keeper = Keeper(again.kept)
    resumed_.change(Session(prompt="c"))
    keeper.put(State(resumed_.present, resumed_.tree))
    keeper.close()
    text = (state / "sessions" / "x.history").read_text()
    assert text.count('"history": 1') == 1
    assert len(text) > size
    assert kept("x").tree == resumed_.tree


def test_a_torn_history_is_read_as_far_as_it_goes_and_written_on(state: Path) -> None:
    name = left(Session(prompt="a"), "x")
    path = state / "sessions" / "x.history"
    path.write_bytes(path.read_bytes() + b'{"step": 2, "par')
    again = kept(name)
    history = resumed(again.session, again.tree)
    history.change(Session(prompt="b"))
    keeper = Keeper(again.kept)
    keeper.put(State(history.present, history.tree))
    keeper.close()
    assert kept(name).tree == history.tree


def test_a_history_with_a_byte_that_is_no_text_loses_nothing_else(state: Path) -> None:
    name = left(Session(prompt="a"), "x")
    whole = kept(name)
    whole.kept.release()
    path = state / "sessions" / "x.history"
    path.write_bytes(path.read_bytes() + b"\xff\n")
    assert kept(name).tree == whole.tree


@pytest.mark.parametrize("why", ["version", "disk"])
def test_a_history_that_cannot_be_read_is_put_aside(state: Path, monkeypatch: pytest.MonkeyPatch, why: str) -> None:
    name = left(Session(prompt="a"), "x")
    path = state / "sessions" / "x.history"
    if why == "version":
        path.write_bytes(path.read_bytes().replace(b'"history": 1', b'"history": 2'))
    before, real = path.read_bytes(), os.open

    def broken(file: str | Path, flags: int, mode: int = 0o777) -> int:
        if why == "disk" and file == path:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return real(file, flags, mode)

    for aside in ("x.history.unread", "x.history.unread-2"):
        with monkeypatch.context() as patch:
            patch.setattr(os, "open", broken)
            again = kept(name)
        assert again.tree is None
        keeper = Keeper(again.kept)
        keeper.put(of(Session(prompt="a"), Session(prompt="b")))
        assert keeper.close() == ""
        assert path.with_name(aside).read_bytes() == before
        opened = kept(name)
        assert opened.tree is not None
        assert len(opened.tree.steps) == 2
        opened.kept.release()
        path.write_bytes(before)


def test_a_history_that_is_much_longer_than_it_need_be_is_written_anew(
    state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keeping, "LONG", 2000)
    files, history = Kept("x"), History(Session())
    largest = 0
    for number in range(200):
        history.change(Session(prompt=f"some words {number}"), "prompt")
        history.undo()
        history.redo()
        files.add(history.tree)
        largest = max(largest, (state / "sessions" / "x.history").stat().st_size)
    assert Kept("x", existing=True).history() == history.tree
    assert largest < 20_000, "each change adds a hundred bytes or more"


@pytest.mark.parametrize("ahead", ["session", "history", "neither"])
def test_the_session_is_the_truth_where_the_history_was_not_written_yet(ahead: str) -> None:
    first, second, third = Session(prompt="a"), Session(prompt="a b"), Session(prompt="c")
    known = tree(first, second)
    session = {"session": third, "history": first, "neither": second}[ahead]
    history = resumed(session, known)
    assert history.present == session
    assert set(known.steps) <= set(history.tree.steps)
    assert (len(history.tree.steps) > len(known.steps)) is (ahead == "session")
    assert (history.undo() is None) is (ahead == "history")


class KilledError(BaseException):
    """In the place of SIGKILL."""


def killed(*_: object) -> None:
    raise KilledError


def test_a_program_killed_between_its_two_files_has_lost_nothing(state: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files, history, looks = Kept("x"), History(Session()), Focus(layer=1)
    history.change(Session(prompt="a"))
    files.keep(replace(history.present, focus=looks), history.tree)
    os.utime(files._path, (1e9, 1e9))  # as it was written some time ago
    history.change(Session(prompt="a b"))
    with monkeypatch.context() as patch:
        patch.setattr(keeping, "save", killed)
        with pytest.raises(KilledError):
            files.keep(replace(history.present, focus=looks), history.tree)
    files.release()
    for _ in range(2):  # also where the next program is killed before it writes anything
        opened = kept("x")
        opened.kept.release()
        assert (opened.session, opened.tree) == (Session(prompt="a b", focus=looks), history.tree)
        assert resumed(opened.session, opened.tree).tree == history.tree
    path = state / "sessions" / "x.toml"
    path.write_text('mechtui = 1\nprompt = "by hand"\n')
    os.utime(path, (time.time() + 60, time.time() + 60))
    assert kept("x").session == Session(prompt="by hand"), "what somebody wrote later is the truth"


def test_a_new_session_has_its_own_file_before_its_history(state: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Kept, "add", killed)
    with pytest.raises(KilledError):
        Kept("x").keep(Session(prompt="a"), tree(Session(prompt="a")))
    assert kept("x").session == Session(prompt="a")


def test_what_could_not_be_written_is_written_once_there_is_room_though_nothing_changes(
    state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(handle: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("mechtui.app.keeping.RETRY", 0.01)
    told: queue.SimpleQueue[str] = queue.SimpleQueue()
    keeper = Keeper(Kept("x"))
    keeper.problem = told.put
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        keeper.put(of(Session(prompt="a")))
        assert "no space left on device" in told.get(timeout=30)
    assert told.get(timeout=30) == ""
    assert read("x") == Session(prompt="a")
    assert keeper.close() == ""


def test_where_one_looks_makes_no_step() -> None:
    raw = Session(prompt="a", views=("attention L0H0 scores",))
    saved = replace(
        raw, views=("attention L2H1 scores", "next_tokens @3"), focus=Focus(layer=2, head=1), screen=Screen("Look")
    )
    assert plain(saved) == plain(raw)
    history = resumed(saved.work(), tree(Session(), raw))
    assert history.present is raw or history.present == raw
    assert len(history.tree.steps) == 2


def test_a_model_that_nobody_named_has_its_name_in_all_of_the_history() -> None:
    known = with_model(tree(Session(prompt="a"), Session(prompt="b"), Session(model="gpt2")), "demo")
    assert [step.session.model for step in known.steps.values()] == ["demo", "demo", "gpt2"]
    assert [step.session.prompt for step in known.steps.values()] == ["a", "b", ""]


def test_the_newest_stay_and_those_that_a_program_has(state: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert MOST >= 100
    monkeypatch.setattr(keeping, "MOST", 3)
    running = Kept()
    running.write(Session(prompt="runs"))
    os.utime(running._path, (1e9 - 5, 1e9 - 5))
    for number in range(6):
        left(Session(prompt=f"number {number}"), at=number)
    Kept().write(Session(prompt="another"))
    names = {path.stem for path in files(state)}
    assert names == {"runs", "another", "number-5", "number-4", "number-3"}
    assert {path.stem for path in (state / "sessions").glob("*.history")} == names - {"runs", "another"}
    assert {path.stem for path in (state / "sessions").glob("*.lock")} == {"runs", "another"}


def test_files_and_folders_are_private_under_any_umask(state: Path) -> None:
    before = os.umask(0)
    try:
        left(Session(prompt="a"))
        Kept("held").write(Session(prompt="b"))
        with open_log() as log:
            log.write(b"a")
    finally:
        os.umask(before)
    found = [state.parent, state, *state.rglob("*")]
    assert {path.suffix for path in found} >= {".toml", ".history", ".lock", ".log"}
    for path in found:
        assert stat.S_IMODE(path.stat().st_mode) == (0o700 if path.is_dir() else 0o600), path


def test_links_are_not_followed(state: Path, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.write_text('mechtui = 1\nprompt = "elsewhere"\n')
    elsewhere.chmod(0o644)
    name = left(Session(prompt="mine"))
    folder = state / "sessions"
    (folder / "link.toml").symlink_to(elsewhere)
    (folder / f"{name}.history").unlink()
    (folder / f"{name}.history").symlink_to(elsewhere)
    (state / "worker.log").symlink_to(elsewhere)
    assert [each.name for each in listed()] == [name]
    files = Kept(name, existing=True)
    assert files.history() is None
    files.add(tree(Session()))
    with pytest.raises(OSError, match="symbolic link"):
        open_log()
    assert stat.S_IMODE(elsewhere.stat().st_mode) == 0o644
    assert "elsewhere" in elsewhere.read_text()


def test_a_log_that_others_could_read_becomes_private(state: Path) -> None:
    log = state_dir() / "worker.log"
    log.touch()
    log.chmod(0o644)
    open_log().close()
    assert stat.S_IMODE(log.stat().st_mode) == 0o600


def test_a_log_that_is_a_pipe_without_a_reader_does_not_stop_the_start(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(OSError, match="No such device"):
        open_log(tmp_path / "pipe")


def test_a_file_that_means_nothing_is_passed_over_and_listed_with_the_reason(state: Path) -> None:
    left(Session(prompt="good"), at=1)
    for at, (name, text) in enumerate(
        {"bytes": b"\xff", "toml": b"mechtui = ", "line": b'mechtui = 1\nedits = ["zreo L0H0"]'}.items(), 2
    ):
        path = state / "sessions" / f"{name}.toml"
        path.write_bytes(text)
        os.utime(path, (1e9 + at, 1e9 + at))
    assert last() == "good"
    problems = {each.name: each.problem for each in listed()}
    assert problems["bytes"] == "it is no text"
    assert "is not TOML" in problems["toml"]
    assert "did you mean zero?" in problems["line"]
    assert problems["good"] == ""
    for name in ("bytes", "toml", "line"):
        with pytest.raises(StorageError):
            kept(name)
    with pytest.raises(StorageError, match=r"there is no session goood; did you mean good\?"):
        kept("goood")


def test_a_full_disk_leaves_what_was_kept_and_the_session_is_kept_once_there_is_room(
    state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    keeper = Keeper(Kept("x"))
    keeper.put(of(Session(), Session(prompt="first")))
    assert keeper.now() == ""
    full = True
    sync = os.fsync

    def fsync(handle: int) -> None:
        if full:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        sync(handle)

    monkeypatch.setattr(os, "fsync", fsync)
    told = threading.Event()
    sentences: list[str] = []

    def problem(sentence: str) -> None:
        sentences.append(sentence)
        told.set()

    keeper.problem = problem
    keeper.put(of(Session(), Session(prompt="second")))
    assert told.wait(30)
    assert "no space left on device" in sentences[0]
    assert sentences[0].startswith("The session is not being kept: ")
    assert keeper.unkept
    (path,) = files(state)
    assert load(path) == Session(prompt="first")
    assert [each.name for each in path.parent.iterdir() if each.name.startswith(".")] == []
    full = False
    assert keeper.close() == ""
    assert not keeper.unkept
    assert load(path) == Session(prompt="second")
    assert sentences == sentences[:1]


def test_a_session_that_cannot_be_written_when_another_is_opened_is_written_later(
    state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(handle: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    keeper = Keeper(Kept("x"))
    keeper.put(of(Session(), Session(prompt="first")))
    assert keeper.now() == ""
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        keeper.put(of(Session(), Session(prompt="second")))
        keeper.switch(Kept("y"), waits=False)
        assert "no space left on device" in keeper.now()
        assert keeper.unkept
        assert kept("x").kept.copied == "x", "it is still this program's"
    keeper.put(of(Session(), Session(prompt="other")))
    assert keeper.close() == ""
    assert not keeper.unkept
    assert read("x") == Session(prompt="second")
    assert read("y") == Session(prompt="other")
    again = kept("x")
    assert again.kept.copied == ""
    assert again.tree is not None
    assert again.tree.step.session == Session(prompt="second")


def test_another_session_is_shown_while_the_disk_does_not_answer(state: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    keeper = Keeper(Kept("x"))
    stuck, answers, real = threading.Event(), threading.Event(), os.fsync

    def slow(handle: int) -> None:
        stuck.set()
        assert answers.wait(30)
        real(handle)

    monkeypatch.setattr(os, "fsync", slow)
    keeper.put(of(Session(), Session(prompt="first")))
    assert stuck.wait(30)
    keeper.switch(Kept("y"), waits=False)
    keeper.put(of(Session(), Session(prompt="second")))
    assert keeper.name == ""
    answers.set()
    assert keeper.now() == ""
    assert kept("x").kept.copied == "", "it is left to other programs"
    assert keeper.close() == ""
    assert read("x") == Session(prompt="first")
    assert read("y") == Session(prompt="second")


def test_a_state_folder_that_is_gone_is_told_once_and_writing_goes_on_when_it_is_back(
    state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    keeper = Keeper(Kept("x"))
    keeper.put(of(Session(), Session(prompt="first")))
    assert keeper.now() == ""
    told: queue.SimpleQueue[str] = queue.SimpleQueue()
    keeper.problem = told.put

    def gone() -> Path:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    with monkeypatch.context() as patch:
        patch.setattr(keeping, "state_dir", gone)
        keeper.put(of(Session(), Session(prompt="second")))
        sentence = told.get(timeout=30)
    assert sentence.startswith("The session is not being kept: the state folder cannot be used: ")
    assert keeper._thread is not None
    assert keeper._thread.is_alive()
    keeper.put(of(Session(), Session(prompt="third")))
    assert keeper.close() == ""
    assert read("x") == Session(prompt="third")
    assert told.empty()


def test_the_state_folder_of_another_is_not_used(state: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    state_dir()
    monkeypatch.setattr(os, "geteuid", lambda: 12345)
    with pytest.raises(StorageError, match="it belongs to another user"):
        Kept().write(Session(prompt="a"))


def test_without_a_home_no_folder_is_made_where_the_program_was_started(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_STATE_HOME", "")
    monkeypatch.setattr(os.path, "expanduser", lambda path: path)
    with pytest.raises(OSError, match="there is no home folder"):
        state_dir()
    assert list(tmp_path.iterdir()) == []


def test_the_last_of_many_changes_wins_and_one_thread_writes_at_a_time(
    state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    writing = threading.Lock()
    write = Kept.write

    def alone(kept: Kept, session: Session) -> None:
        assert writing.acquire(blocking=False), "two write at once"
        write(kept, session)
        writing.release()

    monkeypatch.setattr(Kept, "write", alone)
    keeper = Keeper(Kept("x"))
    others = [threading.Thread(target=keeper.now) for _ in range(20)]
    for number, other in enumerate(others):
        keeper.put(of(Session(prompt=str(number))))
        other.start()
    for other in others:
        other.join()
    assert keeper.close() == ""
    assert read("x") == Session(prompt="19")


def test_a_lock_that_is_looked_at_while_it_is_taken_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.open

    def looked_at(path: str | Path, flags: int, mode: int = 0o777) -> int:
        handle = real(path, flags, mode)
        if flags & os.O_CREAT and str(path).endswith(".lock"):
            # Another program asks whether this one runs, between the file's making and its locking.
            other = real(path, os.O_RDWR)
            fcntl.flock(other, fcntl.LOCK_SH)
            threading.Timer(0.1, os.close, [other]).start()
        return handle

    files = Kept("one")
    with monkeypatch.context() as patch:
        patch.setattr(os, "open", looked_at)
        files.write(Session(prompt="one"))
    assert files.name == "one"
    assert next(listed()).running


def test_a_lock_that_another_program_tidied_away_is_made_again(monkeypatch: pytest.MonkeyPatch) -> None:
    real, taken = os.open, []

    def tidied(path: str | Path, flags: int, mode: int = 0o777) -> int:
        handle = real(path, flags, mode)
        if flags & os.O_CREAT and str(path).endswith(".lock") and not taken:
            taken.append(path)
            Path(path).unlink()  # between the file's making and its locking
        return handle

    files = Kept("one")
    with monkeypatch.context() as patch:
        patch.setattr(os, "open", tidied)
        files.write(Session(prompt="one"))
    assert taken
    assert next(listed()).running
    files.release()
    assert not next(listed()).running


def test_the_list_for_people_and_for_programs(state: Path, capsys: pytest.CaptureFixture[str]) -> None:
    listing.show("", every=False, as_json=False)
    assert capsys.readouterr().out == "no session is kept yet\n"
    one = Session(
        model="org/gpt2", prompt="When\nMary \x1b[2J", edits=(parse_edit("zero L1H1"), parse_edit("# mean L0.mlp"))
    )
    left(one, "ioi", at=2)
    left(Session(prompt="東京 " * 200), "long", at=1)
    listing.show("", every=False, as_json=False)
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[2] for line in lines[1:]] == ["ioi", "long"]
    assert "gpt2" in lines[1]
    assert "When Mary" in lines[1]
    assert "\x1b" not in "".join(lines)
    assert lines[2].rstrip().endswith("東京"), "what goes into a pipe is whole"
    assert listing.table(listed(), 80)[2].endswith("…")
    listing.show("mary zero", every=False, as_json=True)
    (said,) = json.loads(capsys.readouterr().out)
    assert (said["name"], said["model"], said["edits"]) == ("ioi", "org/gpt2", ["zero L1H1", "# mean L0.mlp"])
    assert said["open"] is False
    assert time.strptime(said["changed"], "%Y-%m-%dT%H:%M:%S%z").tm_year == 2001
    listing.show("nothing like it", every=True, as_json=False)
    assert "no session has all of these words" in capsys.readouterr().out


def test_more_than_a_few_are_listed_when_asked_for(state: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for number in range(listing.NEWEST + 2):
        left(Session(prompt=f"n {number}"), at=number)
    listing.show("", every=False, as_json=False)
    assert capsys.readouterr().out.splitlines()[-1] == "and 2 older; --all lists them"
    listing.show("", every=True, as_json=False)
    assert len(capsys.readouterr().out.splitlines()) == listing.NEWEST + 3


@pytest.mark.parametrize(
    ("seconds", "said"), [(0, "now"), (59, "now"), (61, "1 min"), (3 * 3600, "3 h"), (86400, "1 d"), (1e8, "1157 d")]
)
def test_how_long_ago(seconds: float, said: str) -> None:
    assert listing.ago(seconds) == said
