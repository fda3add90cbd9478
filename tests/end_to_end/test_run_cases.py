"""`mechtui run` over many cases and sessions: equal to one by one, goes on after it was killed, answers again."""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.end_to_end.conftest import Program

CLOSE = 1e-4
CASES = [
    {
        "prompt": "When Mary and John went to the store, John gave a drink to",
        "source": "When John and Mary went to the store, Mary gave a drink to",
        "answer": " Mary",
        "foil": " John",
    },
    {"prompt": "And Tom and Anna went to the park", "source": "And Anna and Tom went to the park", "answer": " Anna"},
    {"prompt": "In the garden Lucy", "source": "In the garden Paul"},
    {
        "prompt": "When Mary and John went to the store, Mary gave a ball to",
        "source": "When Mary and John went to the store, John gave a ball to",
    },
]
ASKED = [
    *("--model", "demo", "--vector", 'v = diff L1.pre "Love" "Hate"', "--edit", "add L1.pre v x2"),
    *("--edit", "patch L2H0", "--edit", "noise L0H1 sd2 seed3", "--edit", "cut L1H1 -1>0"),
    *("--view", "next_tokens", "--view", "residual", "--view", "lens", "--view", "attention L1H2"),
]


def close(one: Any, other: Any) -> None:
    """The same, but for rounding."""
    assert type(one) is type(other)
    if isinstance(one, dict):
        assert one.keys() == other.keys()
        for key in one:
            close(one[key], other[key])
    elif isinstance(one, list):
        assert len(one) == len(other)
        for each, its in zip(one, other, strict=True):
            close(each, its)
    elif isinstance(one, float):
        assert one == pytest.approx(other, abs=CLOSE)
    else:
        assert one == other


def write_cases(path: Path, cases: Sequence[dict[str, str]]) -> Path:
    path.write_text("".join(f"{json.dumps(case)}\n" for case in cases))
    return path


def test_cases_are_answered_as_one_by_one(mechtui: Program, tmp_path: Path) -> None:
    file = write_cases(tmp_path / "cases.jsonl", CASES)
    together = mechtui("run", *ASKED, "--cases", str(file))
    assert together.returncode == 0, together.stderr
    said = [json.loads(line) for line in together.stdout.splitlines()]
    assert [each.pop("case") for each in said] == list(range(len(CASES)))
    # Their lengths differ, and no edit does nothing.
    assert len({len(each["tokens"]) for each in said}) == len(CASES) - 1
    for number in (1, 3):
        texts = [word for name, text in CASES[number].items() for word in (f"--{name}", text)]
        alone = mechtui("run", *ASKED, *texts)
        assert alone.returncode == 0, alone.stderr
        close(said[number], json.loads(alone.stdout))
        assert said[number]["clean"] != said[number]["edited"]


@contextmanager
def running(home: dict[str, str], *arguments: str) -> Iterator[subprocess.Popen[str]]:
    """The program, which is ended behind this."""
    pipe = subprocess.PIPE
    command = [sys.executable, "-m", "mechtui", *arguments]
    process = subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, text=True, env=home)
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def wait_for_lines(process: subprocess.Popen[str], file: Path, count: int) -> None:
    """Until that many stand in the file."""
    while process.poll() is None:
        if file.exists() and file.read_bytes().count(b"\n") >= count:
            return
        time.sleep(0.001)
    raise AssertionError(process.communicate()[1])


MANY = [
    {name: text if name in ("answer", "foil") else "And then " * (number // 4) + text for name, text in case.items()}
    for number in range(60)
    for case in [CASES[number % 4]]
]
OF_MANY = ("run", *ASKED[:6], "--edit", "patch L2H0", "--cases")


@pytest.fixture(scope="module")
def anew(tmp_path_factory: pytest.TempPathFactory) -> list[Any]:
    """The results of a run that nothing ended."""
    folder = tmp_path_factory.mktemp("anew")
    cases = write_cases(folder / "cases.jsonl", MANY)
    command = [sys.executable, "-m", "mechtui", *OF_MANY, str(cases)]
    environment = {**os.environ, "XDG_STATE_HOME": str(folder), "XDG_CONFIG_HOME": str(folder)}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=True)
    return [json.loads(line) for line in done.stdout.splitlines()]


@pytest.mark.parametrize(("format", "sign"), [("jsonl", signal.SIGKILL), ("csv", signal.SIGINT)])
def test_a_run_that_was_ended_goes_on(
    mechtui: Program, home: dict[str, str], tmp_path: Path, anew: list[Any], format: str, sign: signal.Signals
) -> None:
    cases = write_cases(tmp_path / "cases.jsonl", MANY)
    output = tmp_path / f"out.{format}"
    kept = output if format == "jsonl" else tmp_path / f"out.{format}.part"
    command = (*OF_MANY, str(cases), "--output")
    with running(home, *command, str(output)) as process:
        wait_for_lines(process, kept, 3)
        process.send_signal(sign)
        _, stderr = process.communicate()
    assert process.returncode == (-signal.SIGKILL if sign == signal.SIGKILL else 130)
    whole = [line for line in kept.read_text().splitlines(keepends=True) if line.endswith("\n")]
    assert 3 <= len(whole) < len(MANY)
    if sign == signal.SIGINT:
        assert f"results are kept in {kept}; the same command goes on" in stderr
        assert "mechtui: interrupted" in stderr
    # A line that was being written; and a mark, to see that what is there is not computed again.
    first = json.loads(whole[0])
    first["clean"]["next_tokens"]["logit_diff"] = 1234.5
    whole[0] = f"{json.dumps(first)}\n"
    kept.write_text("".join(whole) + '{"fingerprint": "ab')

    done = mechtui(*command, str(output))
    assert done.returncode == 0, done.stderr
    assert f"mechtui: {len(whole)} of {len(MANY)} results are there from before" in done.stderr
    assert len(anew) == len(MANY)
    if format == "jsonl":
        found = [json.loads(line) for line in output.read_text().splitlines()]
        assert [each.pop("fingerprint") for each in found][: len(whole)] == [
            json.loads(each)["fingerprint"] for each in whole
        ]
        assert found[0]["clean"]["next_tokens"]["logit_diff"] == 1234.5
        first = anew[0]["clean"]["next_tokens"]
        found[0]["clean"]["next_tokens"]["logit_diff"] = first["logit_diff"]
        close(found, anew)
        again = mechtui(*command, str(output))
        assert (again.returncode, again.stdout) == (0, "")
        assert "all 60 results were computed before" in again.stderr
        changed = mechtui(*command, str(output), "--edit", "zero L0H0")
        assert changed.returncode == 2
        assert f"{output} line 1 is of another session" in changed.stderr
        assert len(output.read_text().splitlines()) == len(MANY)
    else:
        assert not kept.exists()
        with output.open(newline="") as file:
            rows = [row for row in csv.DictReader(file) if (row["run"], row["key"]) == ("clean", "logit_diff")]
        assert [int(row["case"]) for row in rows] == list(range(len(MANY)))
        assert rows[0]["value"] == "1234.5"
        diffs = [each["clean"]["next_tokens"]["logit_diff"] for each in anew]
        close([float(row["value"]) if row["value"] else None for row in rows][1:], diffs[1:])


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="children are found in /proc")
def test_a_model_process_that_dies_is_a_run_that_failed_and_what_was_finished_stays(
    home: dict[str, str], tmp_path: Path
) -> None:
    cases = write_cases(tmp_path / "cases.jsonl", MANY)
    output = tmp_path / "out.jsonl"
    with running(home, *OF_MANY, str(cases), "--output", str(output)) as process:
        wait_for_lines(process, output, 2)
        [child] = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        os.kill(int(child), signal.SIGKILL)
        _, stderr = process.communicate()
    assert process.returncode == 4
    count = len(output.read_text().splitlines())
    assert f"mechtui: {count} of {len(MANY)} results are kept in {output}; the same command goes on" in stderr
    assert "): The model process was killed (SIGKILL)" in stderr  # and in which case
    assert "Traceback" not in stderr


def test_several_sessions_load_a_model_once(mechtui: Program, tmp_path: Path) -> None:
    for name, model, edits in (("a", "demo", "zero L0H0"), ("b", "demo@before", ""), ("c", "demo", "zero L1H1")):
        text = f'mechtui = 1\nmodel = "{model}"\nprompt = "Mary and {name}"\nviews = ["residual"]\n'
        (tmp_path / f"{name}.toml").write_text(text + (f'edits = ["{edits}"]\n' if edits else ""))
    files = [str(tmp_path / f"{name}.toml") for name in "abc"]
    output = tmp_path / "out.npz"
    done = mechtui("run", *files, "--output", str(output))
    assert done.returncode == 0, done.stderr
    with np.load(output) as stored:
        said = json.loads(str(stored["json"]))
        # Those of one model stand together.
        assert [each["file"] for each in said] == [files[0], files[2], files[1]]
        for number, each in enumerate(said):
            norm = stored[f"{number}/clean/residual/norm"]
            np.testing.assert_array_equal(norm, each["clean"]["residual"]["norm"])
        assert "1/edited/residual/norm" in stored
        assert "2/edited/residual/norm" not in stored
    assert [each["model"]["name"] for each in said] == ["demo", "demo", "demo@before"]
    alone = mechtui("run", files[2])
    close({"file": files[2], **json.loads(alone.stdout)}, said[1])


def test_a_session_or_a_prompt_comes_from_the_standard_input(home: dict[str, str]) -> None:
    session = 'mechtui = 1\nmodel = "demo"\nprompt = "Mary and John"\n'
    for arguments, given, prompt in (
        (["run", "-"], session, "Mary and John"),
        (["run", "--model", "demo", "--prompt", "-"], "Mary\nand\n", "Mary\nand"),
    ):
        with running(home, *arguments) as process:
            stdout, stderr = process.communicate(given)
            assert process.returncode == 0, stderr
        assert json.loads(stdout)["session"]["prompt"] == prompt
    with running(home, "run", "-") as process:
        _, stderr = process.communicate('mechtui = 1\nmodle = "demo"\n')
    assert process.returncode == 2
    assert "the standard input: modle is no key of a session; did you mean model?" in stderr


def test_every_case_that_cannot_be_answered_is_named_before_any_is(mechtui: Program, tmp_path: Path) -> None:
    wrong = [{"answer": " Maryland"}, {}, {"prompt": "ab " * 2000}, {"source": "ab " * 2000}]
    cases = write_cases(tmp_path / "cases.jsonl", [{"prompt": "Mary and John", **texts} for texts in wrong])
    output = tmp_path / "out.jsonl"
    done = mechtui("run", "--model", "demo", "--cases", str(cases), "--output", str(output))
    assert done.returncode == 2
    lines = done.stderr.splitlines()
    assert len(lines) == 3
    assert lines[0].startswith(f'mechtui: case 0 ({cases} line 1): answer " Maryland" is ')
    assert lines[1].startswith(f"mechtui: case 2 ({cases} line 3): the prompt has ")
    assert lines[2].startswith(f"mechtui: case 3 ({cases} line 4): the source has ")
    assert not output.exists()


def test_every_mistake_of_every_file_is_named_with_its_file(mechtui: Program, tmp_path: Path) -> None:
    texts = {
        "a": 'prompt = "Mary"\nedits = ["zreo L0H0", "zero L0"]\nviews = ["lnes"]',
        "b": 'modle = "demo"',
        "c": 'prompt = "Mary"',
        "d": 'model = "demo"',
    }
    files = {name: tmp_path / f"{name}.toml" for name in texts}
    for name, text in texts.items():
        files[name].write_text(f"mechtui = 1\n{text}\n")
    done = mechtui("run", *map(str, files.values()))
    said = [line for line in done.stderr.splitlines() if line.startswith("mechtui: ")]
    assert done.returncode == 2
    assert [line.split(": ")[1] for line in said] == [str(files[name]) for name in "aaab"]
    assert "zreo is not an operation; did you mean zero?" in said[0]
    assert "lnes is not a question; did you mean lens?" in said[2]
    assert "modle is no key" in said[3]
    # What only the model knows, of one file too, and all of it.
    edits = 'edits = ["zero L9H0", "# zero L8H0", "zero L7H0"]'
    files["c"].write_text(f'mechtui = 1\nmodel = "demo"\nprompt = "Mary"\n{edits}\n')
    done = mechtui("run", str(files["c"]))
    said = [line for line in done.stderr.splitlines() if line.startswith("mechtui: ")]
    assert [line.split(": ")[1] for line in said] == [str(files["c"])] * 2
    assert "has no L9H0" in said[0]
    assert "has no L7H0" in said[1]


def test_a_file_is_watched(home: dict[str, str], tmp_path: Path) -> None:
    file = tmp_path / "session.toml"

    def write(edit: str) -> None:
        # At once, as an editor does, so that no half of it is read.
        (tmp_path / "new").write_text(f'mechtui = 1\nmodel = "demo"\nprompt = "Mary and John"\nedits = ["{edit}"]\n')
        os.replace(tmp_path / "new", file)

    write("zero L0H0")
    with running(home, "run", "--watch", str(file)) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        first = json.loads(process.stdout.readline())
        write("zreo L0H0")
        assert f"{file}: zreo is not an operation; did you mean zero?" in process.stderr.readline()
        assert [process.stderr.readline().strip() for _ in range(2)] == ["zreo L0H0", "^"]
        write("zero L9H0")
        said = process.stderr.readline()
        assert f"mechtui: {file}: " in said
        assert "has no L9H0" in said
        assert [process.stderr.readline().strip() for _ in range(2)] == ["zero L9H0", "^"]
        file.unlink()
        assert "there is no file" in process.stderr.readline()
        write("zero L1H0")
        second = json.loads(process.stdout.readline())
        process.send_signal(signal.SIGINT)
        stdout, stderr = process.communicate()
    assert process.returncode == 130
    assert (stdout, stderr) == ("", "mechtui: interrupted\n")
    assert first["session"]["edits"] == ["zero L0H0"]
    assert second["session"]["edits"] == ["zero L1H0"]
    assert first["clean"] == second["clean"]
    assert first["edited"] != second["edited"]


def test_what_is_read_is_not_written_over(mechtui: Program, tmp_path: Path) -> None:
    cases = tmp_path / "cases.csv"
    cases.write_text("prompt\nMary and\n")
    link = tmp_path / "link.csv"
    link.symlink_to(cases)
    for output in (cases, link):
        done = mechtui("run", "--model", "demo", "--cases", str(cases), "--output", str(output))
        assert done.returncode == 2
        assert done.stderr == f"mechtui: --output {output} is read as {cases}: name another file\n"
    assert cases.read_text() == "prompt\nMary and\n"
