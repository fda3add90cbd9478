"""Paths that cannot be: one sentence wherever one is taken, and nothing is opened that may never end."""

from __future__ import annotations

import os
import stat
import sys
from pathlib import Path

import pytest

from mechtui.cli import main
from mechtui.config import ConfigError, settings
from mechtui.session import case_templates, cases
from mechtui.session.document import Session
from mechtui.session.paths import PathError, decoded, read_text, to_read, to_write, write_private
from mechtui.session.storage import StorageError, load, save

LONG = "x" * 300
NOWHERE = {
    "": "a file's name should stand here",
    "~nouser/a.toml": "there is no user nouser",
    "a\0b": "no name of a file",
    "/": "is a folder",
    "/dev/zero": "is no regular file",
    LONG: "file name too long",
    "/dev/null/a": "",
}


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for name in ("CONFIG", "STATE"):
        monkeypatch.setenv(f"XDG_{name}_HOME", str(tmp_path / name))
    os.mkfifo("pipe")
    os.symlink("loop", "loop")
    return tmp_path


def plain(sentence: str) -> None:
    assert "Error" not in sentence
    assert "Errno" not in sentence
    assert "Traceback" not in sentence
    assert len(sentence) < 400


@pytest.mark.parametrize(("name", "why"), [*NOWHERE.items(), ("pipe", "is no regular file"), ("loop", "")])
def test_what_cannot_be_read_or_written_says_why(name: str, why: str) -> None:
    for take in (to_read, to_write):
        with pytest.raises(PathError) as error:
            take(name)
        assert why in str(error.value)
        plain(str(error.value))
    with pytest.raises(StorageError) as problem:
        load(name)
    plain(str(problem.value))
    with pytest.raises(StorageError) as problem:
        save(Session(), name)
    plain(str(problem.value))


@pytest.mark.skipif(os.geteuid() == 0, reason="root may do everything")
def test_what_is_not_allowed_says_why(here: Path) -> None:
    locked = here / "locked"
    locked.mkdir(mode=0)
    with pytest.raises(PathError, match="permission denied"):
        to_read("locked/a.toml")
    with pytest.raises(StorageError, match="permission denied"):
        save(Session(), "locked/a.toml")


def test_folders_and_what_is_not_there() -> None:
    with pytest.raises(PathError, match=r"there is no file a\.toml"):
        to_read("a.toml")
    with pytest.raises(PathError, match="there is no folder no"):
        to_write("no/a.toml")
    with pytest.raises(PathError, match="names a folder"):
        to_write("a.toml/")


def test_a_text_that_is_no_text(here: Path) -> None:
    (here / "s.toml").write_bytes(b"mechtui = 1\nprompt = '\xff'\n")
    with pytest.raises(StorageError, match="byte 22 is not UTF-8"):
        load("s.toml")


def test_a_byte_order_mark_is_none_of_the_text(here: Path) -> None:
    (here / "a.txt").write_bytes(b"\xef\xbb\xbfone\r\ntwo\rthree\n")
    assert read_text("a.txt") == "one\ntwo\nthree\n"
    assert decoded("a.txt") == "one\r\ntwo\rthree\n"
    (here / "families.toml").write_bytes(b"\xef\xbb\xbf" + case_templates.BUILT_IN.read_bytes())
    assert case_templates.load("families.toml") == case_templates.built_in()
    (here / "b.txt").write_bytes(b"\xef\xbb\xbfa\xff")
    with pytest.raises(PathError, match="byte 4 is not UTF-8"):
        read_text("b.txt")


def test_of_a_file_that_is_too_large_no_more_is_read(here: Path) -> None:
    for name, load_it in (("a.csv", cases.load), ("a.toml", case_templates.load)):
        (here / name).touch()
        os.truncate(name, 1 << 40)  # all of it would be more than the memory has
        with pytest.raises(cases.CasesError, match=rf"{name} is larger than the [0-9]+ MiB of text that are read"):
            load_it(name)


def test_a_link_is_followed_and_stays(here: Path) -> None:
    (here / "real").write_text("old")
    os.symlink("real", "link")
    write_private(to_write("link"), "new")
    assert (here / "link").is_symlink()
    assert (here / "real").read_text() == "new"
    assert stat.S_IMODE((here / "real").stat().st_mode) == 0o600


@pytest.mark.parametrize("name", ["n" * 245, "é" * 120, "m" * 250 + ".toml"])
def test_a_name_as_long_as_a_name_may_be_can_be_written(here: Path, name: str) -> None:
    write_private(to_write(name), "text")
    assert (here / name).read_text() == "text"
    assert len([path for path in here.iterdir() if path.is_file() and not path.is_symlink()]) == 1


@pytest.mark.parametrize("kind", ["folder", "pipe", "bytes"])
def test_a_config_file_that_cannot_be_read(here: Path, kind: str) -> None:
    file = here / "config.toml"
    {"folder": file.mkdir, "pipe": lambda: os.mkfifo(file), "bytes": lambda: file.write_bytes(b"\xff")}[kind]()
    with pytest.raises(ConfigError) as error:
        settings({}, {}, file)
    plain(str(error.value))


@pytest.mark.parametrize("name", ["~nouser/log", "a\0b"])
def test_a_log_that_cannot_be(here: Path, name: str) -> None:
    with pytest.raises(ConfigError) as error:
        settings({"log_file": name}, {}, here / "none.toml")
    plain(str(error.value))


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--session", "~nouser/a.toml"), "there is no user nouser"),
        (("--session", "/"), "is a folder"),
        (("--session", "/dev/zero"), "is no regular file"),
        (("--session", "pipe"), "is no regular file"),
        (("--session", "views.toml"), "zzz should be a count"),
        (("run", "~nouser/a.toml"), "there is no user nouser"),
        (("run", "--prompt", "a", "--output", "~nouser/a.json"), "there is no user nouser"),
        (("run", "--prompt", "a", "--output", "/.json/"), ""),
        (("run", "--prompt", "a", "--output", LONG + ".json"), "file name too long"),
        (("run", "--prompt", "a", "--output", "no/a.json"), "there is no folder no"),
        (("run", "--prompt", "a", "--log-file", "~nouser/a"), "there is no user nouser"),
        (("run",), "there is no prompt"),
        (("run", "--view", "next_tokens"), "there is no prompt"),
    ],
)
def test_the_command_line(
    here: Path,
    arguments: tuple[str, ...],
    said: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (here / "views.toml").write_text('mechtui = 1\nviews = ["generate zzz"]\n')
    monkeypatch.setattr(sys, "argv", ["mechtui", *arguments])
    with pytest.raises(SystemExit) as stop:
        main()
    assert stop.value.code == 2
    shown = capsys.readouterr().err
    assert said in shown
    plain(shown)


def test_a_mistake_of_ours_is_a_sentence_and_a_traceback_in_the_log(
    here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(*_: object) -> None:
        raise ZeroDivisionError("a mistake of ours")

    monkeypatch.setattr("mechtui.headless.run_headless", fail)
    monkeypatch.setattr(sys, "argv", ["mechtui", "run", "--prompt", "a"])
    with pytest.raises(SystemExit) as stop:
        main()
    assert stop.value.code == 4
    log = here / "STATE" / "mechtui" / "worker.log"
    shown = capsys.readouterr().err
    assert str(log) in shown
    plain(shown)
    assert "a mistake of ours" in log.read_text()
