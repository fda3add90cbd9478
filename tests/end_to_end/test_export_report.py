"""`mechtui export report` as it is installed, and the command that repeats a session."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mechtui.config import Settings
from mechtui.export.run_command import run_command
from mechtui.paint.numbers import fixed, signed
from mechtui.session.storage import loads
from tests.end_to_end.conftest import Program

SESSION = r"""
mechtui = 1
model = "demo"
prompt = "When Mary and John went to the store, John gave a drink to"
source = "Mary's \"$HOME\" `x`; John gave a\tdrink to"
answer = " Mary"
foil = " John"
bos = "yes"
align = "right"
references = ["When Tom and Ann went home", "It's"]
vectors = ['v = diff L2.pre "good" "bad"']
edits = ["patch L3H6", "mean L2H0", "# zero L3H7", "add L2.pre @-1 v x0.5"]
views = ["next_tokens top5", "effects", "attention L3H1", "attribution"]
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    made = tmp_path / "session.toml"
    made.write_text(SESSION)
    return made


def test_a_report_says_what_run_prints(mechtui: Program, file: Path) -> None:
    run = mechtui("run", str(file))
    assert run.returncode == 0, run.stderr
    said = json.loads(run.stdout)
    for name in ("report.html", "report.md"):
        page = file.with_name(name)
        done = mechtui("export", "report", str(file), "--output", str(page))
        assert (done.returncode, done.stdout) == (0, ""), done.stderr
        assert page.stat().st_mode & 0o077 == 0
        text = page.read_text()
        before, after = (said[run]["next_tokens top5"]["logit_diff"] for run in ("clean", "edited"))
        assert f"{signed(before)} → {signed(after)} logits" in text
        for each in said["clean"]["next_tokens top5"]["top"]:
            assert fixed(each["prob"], 3) in text
            assert fixed(each["logit"]) in text
        for effect in said["clean"]["effects"]["effect"]:
            assert signed(effect) in text
        for value in np.ravel(said["edited"]["attribution"]["heads"]):
            assert fixed(float(value), sign=True).strip() in text
    assert mechtui("export", "report", str(file)).stdout == text


def test_the_command_repeats_the_numbers(mechtui: Program, file: Path, home: dict[str, str]) -> None:
    session = loads(SESSION)
    command = run_command(session, session.views, Settings(device="cpu", dtype="float32"))
    assert command.split(" ")[:2] == ["mechtui", "run"]  # shlex knows no $'…'
    line = command.replace("mechtui", f"{shlex.quote(sys.executable)} -m mechtui", 1)
    again = subprocess.run(["bash", "-c", line], capture_output=True, text=True, timeout=180, check=False, env=home)
    assert again.returncode == 0, again.stderr
    first = json.loads(mechtui("run", str(file)).stdout)
    second = json.loads(again.stdout)
    assert first["session"] | {"views": None} == second["session"] | {"views": None}
    assert first["clean"].keys() == second["clean"].keys()
    for run in ("clean", "edited"):
        mine, its = (list(numbers(said[run])) for said in (first, second))
        assert [place for place, _ in mine] == [place for place, _ in its]
        assert len(mine) > 300
        np.testing.assert_allclose([value for _, value in mine], [value for _, value in its], rtol=1e-5, atol=1e-5)


def numbers(said: Any, place: str = "") -> Iterator[tuple[str, float]]:
    """Every number with its place."""
    if isinstance(said, dict):
        for key, value in said.items():
            yield from numbers(value, f"{place}/{key}")
    elif isinstance(said, list):
        for at, value in enumerate(said):
            yield from numbers(value, f"{place}/{at}")
    elif isinstance(said, (int, float)):
        yield place, float(said)


def test_an_edit_that_cannot_be_is_refused(mechtui: Program) -> None:
    done = mechtui("export", "report", "--model", "demo", "--prompt", "Mary and John", "--edit", "zero L9H9")
    assert (done.returncode, done.stdout) == (2, "")
    assert "zero L9H9" in done.stderr


@pytest.mark.parametrize(
    ("output", "sentence"),
    [
        ("report.pdf", "--output report.pdf should end in .html or .md, or be - for the standard output"),
        ("nowhere/report.md", "--output nowhere/report.md cannot be written: there is no folder nowhere"),
    ],
)
def test_where_it_cannot_go_is_said_before_the_model_runs(mechtui: Program, output: str, sentence: str) -> None:
    done = mechtui("export", "report", "--model", "nothing-of-this-name", "--prompt", "x", "--output", output)
    assert (done.returncode, done.stdout) == (2, "")
    assert re.fullmatch(rf"mechtui: {re.escape(sentence)}\n", done.stderr)


def test_without_a_prompt_there_is_nothing_to_report(mechtui: Program) -> None:
    done = mechtui("export", "report", "--model", "demo")
    assert done.returncode == 2
    assert "there is no prompt" in done.stderr
