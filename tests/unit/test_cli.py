"""The command line, as a process where what is imported or measured matters."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import get_args

import pytest
from click.testing import CliRunner

from mechtui.cli import DTYPES, _given, _session, cli
from mechtui.config import Dtype, Settings, settings
from mechtui.export.run_command import arguments
from mechtui.session.document import Session
from mechtui.session.grammar.edits import parse_edit
from mechtui.session.grammar.vectors import parse_vector
from tests.conftest import Typed


def python(*arguments: str, env: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *arguments], capture_output=True, text=True, timeout=60, check=False, env=env
    )


@pytest.mark.parametrize("flag", ["--help", "--version"])
def test_help_and_version_import_nothing_but_what_reads_the_command_line(flag: str) -> None:
    script = (
        "import sys; before = set(sys.modules)\n"
        f"sys.argv = ['mechtui', '{flag}']\n"
        "from mechtui.cli import main\n"
        "try:\n    main()\nexcept SystemExit as stop:\n    assert not stop.code, stop.code\n"
        "loaded = {name.partition('.')[0] for name in set(sys.modules) - before} - set(sys.stdlib_module_names)\n"
        "assert loaded <= {'mechtui', 'click'}, loaded\n"
    )
    done = python("-c", script)
    assert done.returncode == 0, done.stderr
    assert "mechtui" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "stderr"),
    [
        (["--edit", "zreo L9H9"], "zreo is not an operation; did you mean zero?"),
        (["--edit", "zero L9H9 @" + '"'], 'this " is never closed'),
        (["--vector", "v = dif L6.pre"], "dif is not a source; did you mean diff?"),
        (["--with-cases", "iio 64"], "iio is no family of cases; did you mean ioi?"),
        (["--session", "no.toml"], "there is no file no.toml"),
        (["--device", "gpu"], "device = 'gpu' should be auto, cpu, cuda, cuda:N or mps"),
        (["--modle", "gpt2"], "No such option"),
        (["run", "--view", "atention L9H9", "--prompt", "a"], "atention is not a question; did you mean attention?"),
        (["run", "--output", "a.txt"], "--output a.txt should end in .json, .jsonl, .npz or .csv, or be -"),
        (["run", "--output", "-", "--format", "npz"], "--format npz goes into a file"),
        (["run", "--cases", "a.txt"], "--cases: a.txt should end in .jsonl or .csv"),
        (["run", "--cases", "none.csv"], "--cases: there is no file none.csv"),
        (["run", "-", "--prompt", "-"], "- stands for the standard input, which can be read only once"),
        (["run", "--watch", "--prompt", "a"], "--watch needs a session file"),
        (["run", "--watch", "-"], "--watch needs a session file"),
        (["run", "--output", "/nowhere/a.json"], "there is no folder /nowhere"),
        (["nix"], "No such command"),
    ],
)
def test_mistakes_end_with_status_2_and_say_what_would_be_right(
    typed: Typed, arguments: list[str], stderr: str
) -> None:
    done = typed(*arguments)
    assert stderr in done.stderr
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    assert done.stdout == ""


def test_a_mistake_in_a_line_is_shown_with_a_caret() -> None:
    done = python("-m", "mechtui", "--edit", "zero L9H9.zz")
    assert done.stderr.splitlines()[-2:] == ["  zero L9H9.zz", "           ^"]


@pytest.mark.parametrize("where", ["flag", "file", "variable"])
def test_an_unknown_theme_is_refused_wherever_it_is_said(
    where: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from textual.theme import BUILTIN_THEMES

    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    monkeypatch.setattr("os.isatty", lambda stream: True)
    monkeypatch.setattr("mechtui.app.app.Mechtui", lambda *_: pytest.fail("the app was begun"))
    if where == "file":
        (tmp_path / "mechtui").mkdir()
        (tmp_path / "mechtui" / "config.toml").write_text('theme = "drakula"\n')
    if where == "variable":
        monkeypatch.setenv("MECHTUI_THEME", "drakula")
    done = CliRunner().invoke(cli, ["--theme", "drakula"] if where == "flag" else [])
    assert done.exit_code == 2
    assert "there is no theme drakula; did you mean dracula? themes are mechtui, " in done.output
    assert all(name in done.output for name in BUILTIN_THEMES)


def test_only_flags_that_were_typed_count() -> None:
    assert _given({"model": None, "edit": (), "prompt": "", "mouse": False}) == {"prompt": "", "mouse": False}


def test_the_command_line_knows_every_dtype() -> None:
    assert get_args(Dtype) == DTYPES


def test_flags_overrule_the_session_file_and_add_edits(tmp_path: Path) -> None:
    file = tmp_path / "s.toml"
    file.write_text('mechtui = 1\nmodel = "m"\nprompt = "p"\nanswer = "a"\nedits = ["zero L0H0"]\n')
    given = {"prompt": "typed", "edit": ("zero L0H1",)}
    chosen = Settings(model="default", prompt="typed", foil="default", edit=("zero L0H1",))
    assert _session(chosen, given, str(file)) == Session(
        model="m", prompt="typed", answer="a", edits=(parse_edit("zero L0H0"), parse_edit("zero L0H1"))
    )
    assert _session(Settings(model="other"), {"model": "other"}, str(file)).model == "other"


def test_cases_of_a_flag_overrule_those_of_a_file(tmp_path: Path) -> None:
    file = tmp_path / "s.toml"
    file.write_text('mechtui = 1\ncases = "agreement 8"\n')
    read = {line: _session(Settings(cases=line), {"cases": line}, str(file)).cases for line in ("ioi  4", "")}
    assert read == {"ioi  4": "ioi 4", "": ""}
    assert _session(Settings(cases="ioi 4"), {}, str(file)).cases == "agreement 8", "a variable says less than a file"
    assert _session(Settings(cases="ioi  4"), {}, None).cases == "ioi 4"


def test_the_command_of_a_session_asks_for_that_session() -> None:
    session = Session(
        model="demo",
        prompt="a b",
        source="a c",
        answer=" a",
        foil=" b",
        edits=(parse_edit("zero L0H0"), parse_edit("# zero L0H1")),
        vectors=(parse_vector('v = token " a"'),),
        bos="no",
        align="left",
        references=("one", "two"),
        cases='mine 8 "my cases.toml"',
        linear=True,
    )
    words = arguments(session, ["heads"], Settings())
    with cli.commands["run"].make_context("run", words[2:]) as context:
        given = _given(context.params)
    assert given.pop("views") == ("heads",)
    for name in ("output", "watch"):
        del given[name]
    assert _session(settings(given, {}, Path("/nowhere")), given, None) == session


def test_a_lone_surrogate_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        _session(Settings(prompt="a\udcff"), {}, None)
    assert stop.value.code == 2
    assert "prompt: character 1 is no character but half of one" in capsys.readouterr().err


def test_a_published_line_as_a_session(tmp_path: Path) -> None:
    from mechtui.selftest.claims import CLAIMS
    from mechtui.session.storage import load
    from mechtui.views import parse_question

    for number, claim in enumerate(CLAIMS, 1):
        file = tmp_path / f"{number}.toml"
        done = CliRunner().invoke(cli, ["selftest", "gpt2", "--open", str(number), "-o", str(file)])
        assert done.exit_code == 0, done.output
        assert load(file) == claim.session
        assert claim.session.model == "gpt2"
        assert all(parse_question(line) for line in claim.session.views)
    again = CliRunner().invoke(cli, ["selftest", "gpt2", "--open", "1", "-o", str(tmp_path / "1.toml")])
    assert again.exit_code == 2
    assert "is there already" in again.output


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["gpt2", "--open", "0"], "there is no line 0: mechtui selftest gpt2 has lines 1 to "),
        (["demo", "--open", "1"], "those are of gpt2: demo has none"),
        (
            ["gpt2", "-o", "x.toml"],
            "mechtui: -o (--session-file) writes the session of one line: say which with --open N",
        ),
        (["gpt2", "--open", "1", "-o", "~nobody-of-this-name/x.toml"], "there is no user nobody-of-this-name"),
        (["gpt2", "--open", "1", "-o", "/dev/null"], "is no regular file"),
        (["gpt2", "--open", "1"], "the app needs a terminal"),
    ],
)
def test_a_line_that_cannot_be_opened_is_said(arguments: list[str], said: str) -> None:
    done = CliRunner().invoke(cli, ["selftest", *arguments])
    assert done.exit_code == 2
    assert said in done.output


def test_opening_a_published_line_opens_the_app(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    opened = []
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    monkeypatch.setattr("os.isatty", lambda stream: True)
    monkeypatch.setattr("mechtui.app.app.run", lambda first, settings: opened.append(first.session))
    assert CliRunner().invoke(cli, ["selftest", "some/gpt2", "--open", "2"]).exit_code == 0
    (session,) = opened
    assert (session.model, session.answer) == ("some/gpt2", " Mary")


@pytest.mark.parametrize("number", [0, 7])
def test_a_table_has_numbers_only_where_lines_have_them_and_whole_headings(number: int) -> None:
    from rich.console import Console

    from mechtui.selftest.checks import Check
    from mechtui.selftest.report import table

    long = "a sentence of many words that takes all the room there is " * 2
    console = Console(width=80)
    with console.capture() as shown:
        console.print(table("demo", [Check(long, long, long, True, number)]))
    (heading,) = [line for line in shown.get().splitlines() if "measured" in line]
    names = [name.strip() for name in heading.strip("┃").split("┃")]
    assert names == [*(["#"] if number else []), "what", "expected", "measured", "verdict"]


def test_a_reader_that_has_enough_is_no_failure() -> None:
    code = (
        "import os, sys; read, write = os.pipe(); os.close(read); os.dup2(write, 1); "
        "sys.argv[1:] = ['info']; from mechtui.cli import main; import mechtui.info; "
        "mechtui.info.lines = lambda: (f'line {n}' for n in range(9)); main()"
    )
    done = python("-c", code)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize(
    ("arguments", "file", "model"),
    [
        (["mine.toml"], "mine.toml", None),
        (["--model", "demo", "a/mine.toml", "--foil", " x"], "a/mine.toml", "demo"),
        (["--model", "demo"], None, "demo"),
        (["--session", "mine.toml"], "mine.toml", None),
    ],
)
def test_a_session_file_in_a_command_s_place_is_opened(
    arguments: list[str], file: str | None, model: str | None
) -> None:
    context = cli.make_context("mechtui", arguments)
    assert (context.params["session_file"], context.params["model"]) == (file, model)


def test_a_word_that_is_no_session_file_is_no_command() -> None:
    result = CliRunner().invoke(cli, ["mine.json"])
    assert result.exit_code == 2
    assert "No such command 'mine.json'" in result.stderr
