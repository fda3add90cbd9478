"""A view that does not stand in mechtui: docs/dev/add-a-view.md is written to files, and the program run with it."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.end_to_end.conftest import Program

ROOT = Path(__file__).parents[2]
# A second view, whose letters begin with those of the first.
SURER = """from mechtui.views import Answer, Question, View
class Surer(Question, frozen=True, tag="surer"): pass
class SurerAnswer(Answer, frozen=True, tag="surer", eq=False): pass
SPEC = View(question=Surer, answer=SurerAnswer, title="Surer", go="qce", shows="A.", read="B.", trap="C.")
"""
PAGE = (ROOT / "docs" / "dev" / "add-a-view.md").read_text("utf-8")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The folder of views that the page makes."""
    files = re.findall(r"^`(views/certainty/\w+\.py)`.*?```python\n(.*?)```", PAGE, re.DOTALL | re.MULTILINE)
    assert [Path(path).stem for path, _ in files] == ["__init__", "compute", "pane", "script", "example"]
    for path, text in files:
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(text)
    return tmp_path / "views"


def test_the_commands_of_the_page_answer_it(folder: Path, home: dict[str, str]) -> None:
    [commands] = re.findall(r"```sh\n(.*?)```", PAGE, re.DOTALL)
    program = f'mechtui() {{ {sys.executable} -P -m mechtui "$@" --view "next_tokens @3 top1"; }}\n'
    done = subprocess.run(
        ["bash", "-euc", program + commands],
        capture_output=True,
        text=True,
        timeout=180,
        check=False,
        env={**home, "PYTHONPATH": str(ROOT)},
        cwd=folder.parent,
    )
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)["clean"]
    assert len(said["certainty"]["most"]) == len(json.loads(done.stdout)["tokens"])
    assert said["certainty"]["most"][3] == pytest.approx(said["next_tokens @3 top1"]["top"][0]["prob"], abs=1e-6)


def test_the_screen_and_the_program_have_it(folder: Path, home: dict[str, str]) -> None:
    """tests/views/own.py, in a process that knows the view."""
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", str(ROOT / "tests/views/own.py")]
    done = subprocess.run(
        command,
        capture_output=True,
        text=True,
        timeout=180,
        check=False,
        env={**home, "MECHTUI_VIEWS": str(folder)},
        cwd=ROOT,
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(
    ("path", "was", "now", "sentence"),
    [
        ("__init__.py", 'go="qc"', 'go="h"', "go='h' should be q and one letter or more, as in 'qc'"),
        ("__init__.py", 'go="qc"', 'go="q"', "go='q' should be q and one letter or more, as in 'qc'"),
        ("__init__.py", 'beside="lens"', 'beside="lense"', "beside='lense' names no view; there are attention, "),
        ("../surer/__init__.py", "", SURER, "go='qce' and 'qc' of certainty begin alike: change one of them"),
        ("__init__.py", 'tag="certainty"', 'tag="sure"', 'tag="sure" should be the name of the folder, certainty'),
        ("__init__.py", "SPEC =", "SPECS =", "views/certainty has no SPEC that is a mechtui.views.View"),
        ("__init__.py", "import numpy as np", "import nunpy as np", "cannot be imported: ModuleNotFoundError: "),
        ("../heads/__init__.py", "", "", "views/heads has a name that mechtui itself uses"),
        ("../question/__init__.py", "", "", "views/question has a name that mechtui itself uses"),
    ],
)
def test_what_cannot_be_taken_in_is_told_at_the_start(
    path: str, was: str, now: str, sentence: str, folder: Path, home: dict[str, str], mechtui: Program
) -> None:
    file = folder / "certainty" / path
    file.resolve().parent.mkdir(exist_ok=True)
    file.write_text(file.read_text().replace(was, now) if file.exists() else now)
    home["MECHTUI_VIEWS"] = str(folder)
    done = mechtui("run", "--prompt", "a", "--view", "certainty")
    assert done.returncode == 2
    assert done.stdout == ""
    assert sentence in done.stderr
    assert done.stderr.count("\n") == 1


def test_a_folder_that_is_not_there_is_told(tmp_path: Path, home: dict[str, str], mechtui: Program) -> None:
    home["MECHTUI_VIEWS"] = str(tmp_path / "none")
    done = mechtui("run", "--prompt", "a")
    assert (done.returncode, done.stderr) == (2, f"mechtui: MECHTUI_VIEWS: there is no folder {tmp_path / 'none'}\n")


def test_nothing_is_loaded_from_the_current_folder(folder: Path, home: dict[str, str]) -> None:
    for place in (folder, folder.parent):
        done = subprocess.run(
            [sys.executable, "-P", "-m", "mechtui", "run", "--prompt", "a", "--view", "certainty"],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
            env={**home, "PYTHONPATH": str(ROOT)},
            cwd=place,
        )
        assert done.returncode == 2
        assert "certainty is not a question" in done.stderr
