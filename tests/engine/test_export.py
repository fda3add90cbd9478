"""Scripts and notebooks of the embedded models, in processes of their own."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

from mechtui.engine.api import Engine
from mechtui.export.file import written
from mechtui.session.document import Session
from mechtui.session.grammar.vectors import parse_vector
from mechtui.session.ops import ops
from mechtui.views import specs
from tests.dictionaries import saelens
from tests.engine.all_views import session_for
from tests.engine.conftest import load_now
from tests.engine.test_script import exported
from tests.lines import PROMPT, SOURCE, lines_of, refused, write_files

VECTORS = (
    'd = diff L1.pre "Love" "Hate" | " Mary" " John" unit',
    'p = pca L1.mid " Mary" | " John" | " store" | " drink"',
    "r = feature res2 7 unit",
)
EDITS = (
    *(
        "zero L3H2 @-1",
        "mean L2H1",
        "resample L2H2.q seed7",
        'patch L1.pre @" gave"',
        "freeze L1H1 @3",
        "scale L2.mlp x1.2",
        "clamp L2N5 x2",
    ),
    *("noise embed @3 sd0.2 seed5", "add L1.mid d x2", "project L1.post @-1 t", "add L2.pre p", "# add L3.pre n x9"),
    *("clamp res2F5-9 @-1 x2", "scale mlp3F* x1.2", "mean res2F30-99", "add L2.mid r x2"),
    *("cut L2H0 *>0", "scale L3H3.scores x0.5", "add L2.post f x2", "cut-path L1H1>L3H0.q", "patch-path L0H4>L2.mlp"),
)
ATTENTION_ALONE = (
    *("zero L1H2 @-1", "mean L1H1.pattern", "resample L1H2.q seed7", "patch L1.pre @10", "freeze L1H1.v @3"),
    *("scale L0.attn x2", "noise L0H*.pattern @2-7 sd0.5", "add L1.pre d x2", "project L1.post @-1 t", "cut L1H0 *>0"),
)
# Of each view the first lines: all of them would take long in a notebook.
ALL = tuple(line for name in specs() for line in lines_of(name)[:3] if line not in refused(name))


def test_a_notebook_of_every_op_vector_and_view_runs_from_top_to_bottom(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = load_now("demo")
    monkeypatch.chdir(write_files(tmp_path))
    file = tmp_path / "v.safetensors"
    Engine(model).save_vectors(Session(model="demo", vectors=(parse_vector(VECTORS[0]),)), str(file))
    vectors = (*VECTORS, f"f = file {file}#d")
    assert {edit.removeprefix("# ").split()[0] for edit in EDITS} == set(ops())
    it = exported(model, session_for(model, *EDITS, vectors=vectors, views=ALL))
    assert it.left_out == {}
    notebook = nbformat.reads(written(it, "a.ipynb"), as_version=4)
    nbformat.validate(notebook)
    assert "Not computed" in "".join(cell.source for cell in notebook.cells)  # generation with a cut
    where = {"metadata": {"path": str(tmp_path)}}
    NotebookClient(notebook, timeout=300, kernel_name="python3", resources=where).execute()
    said = notebook.cells[-1].outputs[0].text
    assert re.fullmatch(r"All [0-9]{4,5} cells are as they were on the screen\.\n", said)


def test_a_script_runs_and_fails_where_a_number_is_another(tmp_path: Path) -> None:
    """By the command, in processes that know nothing of each other."""
    file = tmp_path / "a.py"
    made = saelens(tmp_path / "sae", 256, architecture="gated")
    of_features = (f"--sae=a={made.path}", "--edit=scale aF* x1.5", "--vector=f = feature a 3", "--edit=add L1.post f")
    options = (
        [*of_features]
        + [f"--edit={edit}" for edit in ATTENTION_ALONE]
        + [f"--vector={VECTORS[0]}", '--vector=t = token " Mary"']
    )
    views = (
        "next_tokens",
        "attention L1H2 scores",
        "lens",
        "scores",
        "effects",
        "circuit L1H2",
        "composition K",
        "bigrams",
        "loss",
        "path L1H5.k cut",
    )
    options += [f"--view={line}" for line in views]
    options += ["--view=sweep zero L1H*", "--source", SOURCE, "--answer", " Mary", "--foil", " John"]
    command = [sys.executable, "-m", "mechtui", "export", "script", "--model", "attn-only-2l", "--prompt", PROMPT]
    done = subprocess.run([*command, *options, "--output", file], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, ""), done.stderr
    program = file.read_text(encoding="utf-8")
    assert "import mechtui" not in program
    assert "from mechtui" not in program
    # One number of the pattern, and one of the sweep's.
    place = program.index('wanted["edited", "attention L1H2 scores"]')
    row = program.index("\n", program.index('numbers("""', place)) + 1
    number = program[row:].split()[0]
    changed = program[:row] + program[row:].replace(number, "77.5", 1)
    both = tmp_path / "both.py"
    both.write_text(
        "import runpy\n"
        f"print('first', list(runpy.run_path({str(file)!r})['wanted'])[0])\n"
        f"runpy.run_path({str(tmp_path / 'changed.py')!r})\n",
        encoding="utf-8",
    )
    (tmp_path / "changed.py").write_text(changed, encoding="utf-8")
    # Without PYTHONPATH: what is imported is installed, as it is for whoever gets the file.
    done = subprocess.run([sys.executable, both], capture_output=True, text=True, check=False, cwd=tmp_path)
    assert "first ('clean', 'next_tokens')" in done.stdout, done.stderr
    assert re.search(r"All [0-9]+ cells are as they were on the screen", done.stdout)
    assert done.returncode == 1
    wrong = "attention L1H2 scores, edited run: scores[0][0] should be 77.5 and is "
    assert done.stderr.splitlines()[-1].startswith(f"AssertionError: {wrong}{number[:3]}")
