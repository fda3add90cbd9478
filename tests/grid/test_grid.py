"""A fast part of the grid on every architecture: what came out is what docs/models.md says. `python -m tests.grid`
makes all of it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from mechtui.engine.api import Engine
from mechtui.engine.forward.replaced import replaced
from mechtui.link.messages import Load
from mechtui.session.document import Session
from mechtui.session.grammar.edits import parse_edit
from mechtui.softmax import softmax_stood_in
from mechtui.views import parse_question
from mechtui.views.attribution import AttributionAnswer, Components
from mechtui.worker.models.load import load
from tests.grid.compare import COLUMNS, PROMPT
from tests.grid.families import FAMILIES, make
from tests.grid.table import committed, row, written

FAST = ("logits", "residual", "attention", "lens", "attribution", "sweep", "pattern", "scores")


@pytest.mark.parametrize("name", FAMILIES)
def test_an_architecture_is_right_or_refused_as_the_table_says(name: str, tmp_path: Path) -> None:
    found = row(name, tmp_path / "model", FAST)
    assert found == {what: committed()[name][what] for what in FAST}


@pytest.mark.parametrize("name", ["gpt2", "gpt2 unscaled", "opt", "llama", "gemma 2", "olmo 2", "granite"])
def test_weights_of_norms_that_are_folded_change_no_number_or_are_refused(name: str, tmp_path: Path) -> None:
    assert row(name, tmp_path / "model", ("folded",))["folded"] == committed()[name]["folded"]


@pytest.mark.parametrize(
    "name", ["gpt2", "falcon alibi", "mpt", "gemma 3", "granite", "olmo", "olmo 2", "phi-3 window"]
)
def test_in_half_precision_the_parts_of_attribution_add_up_to_its_rounding(name: str, tmp_path: Path) -> None:
    model = load(Load(str(make(name, tmp_path)), device="cpu", dtype="bfloat16"), lambda *_: None, lambda: False)
    session = Session(
        prompt=PROMPT, answer=" Mary", foil=" John", bos="no", edits=(parse_edit("scale L1H1-2.pattern @-1 x0.5"),)
    )
    opened = Engine(model).open(session)
    assert not opened.problems
    *_, (clean, edited, _) = opened.answer(parse_question("attribution"))
    for run, answer in ((opened.clean, clean), (opened.edited, edited)):
        assert isinstance(answer, AttributionAnswer)
        assert run is not None
        logits = run.logits([-1])[0]
        shown = float(logits[model.single(" Mary")] - logits[model.single(" John")])
        parts = answer.parts
        assert isinstance(parts, Components)
        named = [np.nansum(parts.heads), np.nansum(parts.mlps), parts.embed, parts.pos, parts.bias, parts.edits]
        assert sum(named) == pytest.approx(shown, abs=answer.rounding)
        assert answer.rounding < 0.5, answer.rounding
    assert edited != clean


@pytest.mark.parametrize("op", ["scale {} x0.5", "zero {}", "mean {}"])
def test_an_attention_only_models_scores_and_patterns_are_changed_as_by_hand(op: str) -> None:
    """Its own attention, with the softmax taken by hand."""
    model = load(Load("attn-only-2l", device="cpu"), lambda *_: None, lambda: False)
    line = op.format("L1H*.scores")
    opened = Engine(model).open(Session(prompt=PROMPT, edits=(parse_edit(line),)))
    assert opened.edited is not None
    attend = model.bridge.blocks[1].attn.original_component

    def by_hand(scores: Tensor, softmax: Callable[[Tensor], Tensor]) -> Tensor:
        seen = scores > -torch.inf
        seen_only = torch.where(seen, scores, 0)
        means = seen_only.sum(-1, keepdim=True) / seen.sum(-1, keepdim=True)
        new = {"scale": scores * 0.5, "zero": torch.zeros_like(scores), "mean": means.expand_as(scores)}[
            op.split(maxsplit=1)[0]
        ]
        return softmax(torch.where(seen, new, -torch.inf))

    own = attend.forward

    def forward(*args: Any, **kwargs: Any) -> Any:
        with softmax_stood_in(by_hand):
            return own(*args, **kwargs)

    with replaced(attend, forward), torch.no_grad():
        expected = model.bridge.original_model(torch.tensor([list(opened.ids)]))
    expected = expected if isinstance(expected, Tensor) else expected.logits
    torch.testing.assert_close(opened.edited.logits(), expected[0], atol=1e-4, rtol=1e-4)
    assert (opened.clean.logits() - expected[0]).abs().max() > 0.01


def test_nothing_in_the_table_is_wrong_and_it_is_as_the_grid_writes_it() -> None:
    rows = committed()
    assert list(rows) == list(FAMILIES)
    for name, found in rows.items():
        assert tuple(found) == COLUMNS, name
        assert not [says for says in found.values() if says.startswith("wrong")], name
        assert not [says for says in found.values() if says != "right" and "the model" not in says], "no name is said"
    assert committed.__globals__["TABLE"].read_text(encoding="utf-8") == written(rows)
