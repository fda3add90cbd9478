"""Programs for nnsight: they run where it is installed (`pip install nnsight`), which the other tests do not need."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from mechtui.export.file import written
from mechtui.session.document import Sae, Session
from mechtui.session.grammar.edits import parse_edit
from mechtui.session.grammar.vectors import parse_vector
from tests.dictionaries import saelens
from tests.engine.conftest import Model
from tests.engine.test_script import PROMPT, SOURCE, exported

nnsight = pytest.importorskip("nnsight")

VECTORS = (
    'd = diff L1.pre "Love" "Hate" | " Mary" " John" unit',
    "n = neuron L0N5",
    "f = feature res 5",
    't = token " Mary"',
    'p = pca L1.mid " Mary" | " John" | " store" | " drink"',
)
EDITS = (
    *("zero L1H2 @-1", "mean L0H1", "resample L1H0.q seed7", "patch L1.pre @10", "freeze L1H1.k @3", "scale L0H0.v x2"),
    *("scale L0.mlp x1.2", "noise embed @3 sd0.2 seed5", "add L0.mid d x2", "project L1.post @-1 t", "add L1.pre p x3"),
    *("scale tcF* @3 x2", "clamp resF3-8 x0.5", "add L0.post f x2"),
    *("add L0.post n", "zero L1N3", "zero L0.attn @2", "# cut L1H1 *>0", "# scale L1H0.scores x0.5"),
)
VIEWS = (
    *("next_tokens", "residual", "attention L1H2", "attention L0H1 value", "lens", "lens mid", "tokens", "loss"),
    *("heads entropy", "sweep zero L1H*", "sweep patch L1.post", "generate 3 prompt"),
)
REFUSED = (
    "attention L1H1 scores",
    "attribution",
    "composition",
    "sweep patch L1.mid",
    "sweep zero L1H*.pattern",
    "effects",
)


def test_a_program_computes_what_was_shown_and_fails_where_a_number_is_another(
    gpt2_model: Model, llama_model: Model, tmp_path: Path
) -> None:
    files = []
    for model in (gpt2_model, llama_model):
        folder, out = tmp_path / str(len(files)), "blocks.1.hook_mlp_out"
        res = saelens(folder / "res", model.shape.d_model, architecture="jumprelu")
        tc = saelens(
            folder / "tc", model.shape.d_model, "blocks.1.mlp.hook_in", architecture="transcoder", hook_out=out
        )
        session = Session(
            saes=(Sae("res", str(res.path)), Sae("tc", str(tc.path))),
            prompt=PROMPT,
            source=SOURCE,
            answer=" Mary",
            foil=" John",
            vectors=tuple(map(parse_vector, VECTORS)),
            edits=tuple(map(parse_edit, EDITS)),
            views=(*VIEWS, *REFUSED),
        )
        it = exported(model, session)
        assert it.left_out == {}
        text = written(it, "a.py", "nnsight")
        assert "transformer_lens" not in text
        sections = re.split(r"^# %% ", text, flags=re.MULTILINE)
        refused = {part.splitlines()[0] for part in sections if "\n# Not computed: " in part}
        assert refused == set(REFUSED)
        assert text.count("\n# Not made: pattern and scores are no module's output") == 2
        files.append(tmp_path / f"{len(files)}.py")
        files[-1].write_text(text, encoding="utf-8")
    row = re.search(r'wanted\["edited", "lens"\] = .*?numbers\("""\n(\S+)', text, re.DOTALL)
    assert row is not None
    wrong = text[: row.start(1)] + "77.5" + text[row.end(1) :]
    files.append(tmp_path / "wrong.py")
    files[-1].write_text(wrong, encoding="utf-8")
    both = tmp_path / "both.py"
    both.write_text(
        f"import runpy\nfor file in {list(map(str, files))!r}:\n    runpy.run_path(file)\n", encoding="utf-8"
    )
    done = subprocess.run([sys.executable, both], capture_output=True, text=True, check=False, cwd=tmp_path)
    assert len(re.findall(r"All [0-9]{3,} cells are as they were", done.stdout)) == 2, done.stderr
    assert done.returncode == 1
    assert "AssertionError: lens, edited run: " in done.stderr
    assert "should be 77.5 and is " in done.stderr
