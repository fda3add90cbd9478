"""`mechtui selftest MODEL` beside Hugging Face: all holds on sound models, and what is broken is named."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from mechtui.engine import apply
from mechtui.selftest import checks
from mechtui.selftest.compare import OPS, SITES, Comparison, Outcome
from mechtui.selftest.subject import CannotMeasure, Subject, load
from mechtui.session.hook_edits import EditError
from tests import folders


@pytest.fixture(params=["gpt2", "llama"])
def subject(request: pytest.FixtureRequest) -> Subject:
    return load(str(request.getfixturevalue(f"{request.param}_folder")))


def outcomes(subject: Subject) -> dict[str, Outcome]:
    return {outcome.what: outcome for outcome in Comparison(subject).outcomes()}


def test_all_of_a_sound_model_is_compared_and_holds(subject: Subject) -> None:
    found = outcomes(subject)
    assert [outcome.text for outcome in found.values() if not outcome.holds] == []
    assert not any(outcome.refused for outcome in found.values())
    sites = [site for site in SITES if site != "pos" or subject.model.shape.has_pos]
    assert [what.removeprefix("edits at ") for what in found if what.startswith("edits at ")] == sites
    comparison = Comparison(subject)
    logits = comparison.clean[0].numel()
    for site in sites:  # add and project mean something in the residual stream only, resample not at patterns
        ops = len(OPS) - (site in ("z", "q", "k", "v", "neuron", "pattern", "scores")) * 2
        assert found[f"edits at {site}"].compared == logits * (ops - (site in ("pattern", "scores")))


def test_what_is_done_by_hand_changes_something(subject: Subject) -> None:
    comparison = Comparison(subject)
    # freeze restores what an edit of the embedding before it changed
    disturbed, _ = comparison.run(comparison.ids, comparison.by_hand("freeze", "nowhere", None))
    for site in SITES[:13]:
        index, _ = comparison._site(site)
        for op in OPS:
            if op in ("add", "project") and index is not None:
                continue
            logits, _ = comparison.run(comparison.ids, comparison.by_hand(op, site, index))
            before = disturbed if op == "freeze" else comparison.clean[0]
            assert (logits - before).abs().max() > 1e-2, (op, site)


def test_an_op_that_is_discarded_is_named(subject: Subject, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(part: apply.Part) -> torch.Tensor:
        return part.old if part.edit.hook.endswith("hook_k") else apply.scale(part)

    monkeypatch.setitem(apply.VALUES, "scale", broken)
    found = outcomes(subject)
    assert [what for what, outcome in found.items() if not outcome.holds] == ["edits at k"]
    assert "scale L1H" in found["edits at k"].where
    lines = [check for check in checks.beside_plain(subject) if check.passed is False]
    assert [check.what for check in lines] == ["as Hugging Face: edits at k"]


def test_other_weights_are_seen(subject: Subject) -> None:
    norm = subject.bridge.ln_final.original_component
    norm.weight = torch.nn.Parameter(norm.weight.detach() * 1.1)
    found = outcomes(subject)
    assert not found["logits"].holds
    assert not found["attribution and its sum"].holds
    assert found["attention patterns and scores"].holds


def test_what_is_refused_is_said(subject: Subject, monkeypatch: pytest.MonkeyPatch) -> None:
    from mechtui.engine import api

    def resolve(edit: Any, *rest: Any) -> Any:
        if edit.site.part == "v":
            raise EditError("this model has no values to speak of")
        return real(edit, *rest)

    real = api.resolve
    monkeypatch.setattr(api, "resolve", resolve)
    outcome = outcomes(subject)["edits at v"]
    assert outcome.holds is None
    assert outcome.text.startswith("refused: this model has no values")


def test_what_fails_is_a_line_that_fails(subject: Subject, monkeypatch: pytest.MonkeyPatch) -> None:
    def crash(*_: object) -> None:
        raise RuntimeError("sizes do not match\nand more")

    monkeypatch.setattr("mechtui.views.lens.compute.answers", crash)
    found = outcomes(subject)
    assert (found["logit lens"].holds, found["logit lens"].text) == (False, "mechtui failed: sizes do not match")
    assert [what for what, outcome in found.items() if not outcome.holds] == ["logit lens"]


def test_what_cannot_be_compared_is_said(tmp_path: Path) -> None:
    with pytest.raises(CannotMeasure, match="TransformerLens's own"):
        Comparison(load("attn-only-2l"))
    (line,) = checks.beside_plain(load("attn-only-2l"))
    assert line.measured.startswith("not compared: ")
    subject = load(str(folders.gpt2(tmp_path)))
    subject.model.plain.model.config.model_type = "another"  # type: ignore[union-attr]
    with pytest.raises(CannotMeasure, match="modules of another"):
        Comparison(subject)


def test_a_difference_is_one() -> None:
    outcome = Outcome("x")
    outcome.near("equal", [1.0, float("nan")], [1.0, float("nan")])
    assert outcome.holds
    outcome.near("off", [2.0], [2.1])
    assert (outcome.holds, outcome.where) == (False, "off")
    blank = Outcome("x")
    blank.near("blank", [float("nan")], [1.0])
    assert blank.holds is False
    shape = Outcome("x")
    shape.near("shape", [1.0, 1.0], [1.0])
    assert shape.holds is False
    assert Outcome("x", refused=["no"]).holds is None
