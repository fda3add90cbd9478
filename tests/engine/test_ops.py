"""Every op has all its parts; and one that docs/dev/add-an-op.md makes does all that the others do."""

from __future__ import annotations

import contextlib
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import AutoModelForCausalLM

from mechtui.app import palette
from mechtui.app.edits_line import Known, complete_edit
from mechtui.engine import apply
from mechtui.engine.api import Engine
from mechtui.engine.model import Model
from mechtui.session import changes
from mechtui.session import ops as folder
from mechtui.session.document import Session
from mechtui.session.grammar.edits import format_edit, parse_edit
from mechtui.session.grammar.words import LineError
from mechtui.session.hook_edits import EditError
from mechtui.session.ops import ops
from mechtui.session.path_op import PathOp
from mechtui.session.storage import dumps, loads
from mechtui.views import parse_question
from tests.engine import test_parity, test_script
from tests.engine.test_script import PROMPT, run, with_logits
from tests.engine.twin import session_of

PAGE = (Path(__file__).parents[2] / "docs" / "dev" / "add-an-op.md").read_text(encoding="utf-8")


def test_every_op_has_its_file_its_function_its_parity_and_its_program() -> None:
    names = set(ops())
    assert {file.stem.replace("_", "-") for file in Path(folder.__file__).parent.glob("[a-z]*.py")} == names
    assert set(apply.VALUES) == names
    by_line = {line.split()[0] for line in (*test_parity.CUTS, *test_parity.PATHS)}
    assert set(test_parity.OPS) | by_line == names
    assert {line.split()[0] for line in test_script.EDITS} | {"freeze"} == names


@pytest.mark.parametrize("name", ops())
def test_what_it_offers_is_a_line_that_reads_back(name: str) -> None:
    """A site and an argument of what is offered make a line; what + and - make of it is one too."""
    op = ops()[name]
    if isinstance(op, PathOp):
        site = "L0H1>L1H2.q"
    else:
        site = next(site for site in ("L1H2", "L1.pre", "L1N2") if not op.refuses(parse_edit(f"zero {site}").site))
    arguments = [word for word, _ in op.examples if name != "add"] or ["v" if name in ("add", "project") else ""]
    if name == "cut":
        arguments = [word for word, _ in op.choices((), (), [('" John"', "position 3")])]
    for argument in arguments:
        edit = parse_edit(f"{name} {site} {argument}")
        assert parse_edit(format_edit(edit)) == edit
        if op.number:
            for sign in (1, -1):
                nudged = op.nudged(edit, sign)
                assert parse_edit(format_edit(nudged)) == nudged
                assert op.least <= getattr(nudged, op.number) <= op.most


@pytest.mark.parametrize("line", [*test_parity.CUTS, *test_parity.PATHS, *test_script.EDITS])
def test_on_a_longer_text_an_edit_acts_or_says_that_it_does_not(line: str, gpt2_model: Model) -> None:
    edit = parse_edit(line.removeprefix("# "))
    vectors = test_script.VECTORS
    opened = Engine(gpt2_model).open(session_of(prompt="Mary gave", source="John gave", vectors=vectors))
    longer = tuple(gpt2_model.encode(PROMPT * 2, "no"))
    with contextlib.suppress(EditError):
        assert opened.hook_edits_elsewhere(edit, longer)


@pytest.fixture
def clip(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Within, the op of the page is there."""
    session_half, engine_half = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    (tmp_path / "clip.py").write_text(session_half, encoding="utf-8")
    with monkeypatch.context() as patch:
        patch.setattr(folder, "__path__", [*folder.__path__, str(tmp_path)])
        patch.setattr(apply, "VALUES", dict(apply.VALUES))
        patch.setitem(apply.__dict__, "clip", None)  # taken out again
        exec(compile(engine_half, "add-an-op.md", "exec"), apply.__dict__)
        ops.cache_clear()
        yield
    ops.cache_clear()
    sys.modules.pop("mechtui.session.ops.clip", None)


def test_the_op_of_the_page_has_a_line(clip: None) -> None:
    edit = parse_edit("clip L*.mlp @-1 x0.25")
    assert format_edit(edit) == "clip L*.mlp @-1 x0.25"
    session = Session(edits=(edit,))
    assert loads(dumps(session)) == session
    assert format_edit(changes.nudge(session, 0, 1).edits[0]) == "clip L*.mlp @-1 x0.75"
    assert format_edit(changes.nudge(session, 0, -1).edits[0]) == "clip L*.mlp @-1 x0"
    with pytest.raises(LineError, match="-1 should be x and a number from 0 to"):
        parse_edit("clip L1.mlp x-1")
    assert [each.word for each in complete_edit("cli", Known(session))] == ["clip"]
    assert [each.word for each in complete_edit("clip L1.mlp x", Known(session))] == ["x1", "x3"]
    assert palette.is_line("clip L1.mlp x3")
    assert parse_question("sweep clip L*.mlp x3").line() == "sweep clip L*.mlp x3"


LINES = ["clip L1.mlp x0.05", "clip L*.mlp @3,-1 x0.02", "clip L0.mlp x0.01"]


@pytest.mark.parametrize("line", LINES)
def test_the_op_of_the_page_runs_as_by_hand(clip: None, line: str, gpt2_model: Model, gpt2_folder: Path) -> None:
    edit = parse_edit(line)
    opened = Engine(gpt2_model).open(Session(prompt=PROMPT, edits=(edit,), bos="no"))
    assert not opened.problems
    assert opened.edited is not None
    plain = AutoModelForCausalLM.from_pretrained(gpt2_folder, attn_implementation="eager", dtype=torch.float32).eval()
    places = [3, len(opened.ids) - 1] if "@" in line else list(range(len(opened.ids)))

    def by_hand(_module: object, _inputs: object, output: Tensor) -> Tensor:
        output = output.clone()
        output[0, places] = output[0, places].clamp(-edit.factor, edit.factor)
        return output

    blocks = plain.transformer.h
    for block in blocks if "L*" in line else [blocks[int(line.split("L")[1][0])]]:
        block.mlp.register_forward_hook(by_hand)
    with torch.no_grad():
        expected = plain(torch.tensor([list(opened.ids)])).logits[0]
    torch.testing.assert_close(opened.edited.logits(), expected, atol=1e-4, rtol=0)
    assert (opened.clean.logits() - expected).abs().max() > 1e-2


@pytest.mark.parametrize("line", [*LINES, "clip L1H0-1 x0.05", "clip L1H2.pattern @-1 x0.1", "clip embed x0.1"])
def test_the_program_makes_the_op_of_the_page(clip: None, line: str, gpt2_model: Model, gpt2_folder: Path) -> None:
    program, logits = with_logits(gpt2_model, Session(prompt=PROMPT, edits=(parse_edit(line),), bos="no"))
    names: dict[str, Any] = run(program)
    torch.testing.assert_close(names["edited_logits"][0], logits, atol=1e-4, rtol=1e-4)
    assert not torch.equal(names["edited_logits"], names["clean_logits"])
