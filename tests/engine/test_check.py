"""The self-check of a loaded model: what it compares, and that it sees what is broken."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM

from mechtui.engine import apply
from mechtui.engine.api import Cancelled, Engine
from mechtui.engine.model import Model
from mechtui.worker import check
from tests import folders
from tests.engine.conftest import load_now


@pytest.fixture(params=["gpt2", "llama"])
def model(request: pytest.FixtureRequest, tmp_path: Path) -> Model:
    return load_now(getattr(folders, request.param)(tmp_path))


def checked(model: Model) -> check.Checked:
    assert model.plain is not None
    return check.compare(Engine(model), model.plain, lambda: False)


def test_a_sound_model_holds(model: Model) -> None:
    found = checked(model)
    assert found.sentence == ""
    assert found.differences.keys() == {"logits", "pattern", "z"}
    assert max(found.differences.values()) < 1e-4


def test_the_plain_runs_are_hugging_faces(gpt2_folder: Path) -> None:
    model = load_now(gpt2_folder)
    plain = AutoModelForCausalLM.from_pretrained(gpt2_folder, attn_implementation="eager").eval()
    ids = torch.tensor([model.tokenizer.encode(check.TEXT)[: check.TOKENS]])
    assert model.plain is not None
    with torch.no_grad():
        clean = plain(ids).logits[0]
        for block in plain.transformer.h:  # without what the heads write, only the projection's bias is left
            block.attn.c_proj.register_forward_pre_hook(lambda _module, args: (torch.zeros_like(args[0]),))
        without = plain(ids).logits[0]
    found = model.plain.run()
    torch.testing.assert_close(found["logits"], clean)
    torch.testing.assert_close(found["z"], without)
    assert (clean - without).abs().max() > 0.1


def test_half_precision_holds(gpt2_folder: Path) -> None:
    assert checked(load_now(gpt2_folder, dtype="bfloat16")).sentence == ""


def test_folded_weights_hold(gpt2_folder: Path) -> None:
    assert checked(load_now(gpt2_folder, fold_ln=True)).sentence == ""


def test_other_logits_are_said(model: Model) -> None:
    # Every weight is shared with the plain model, so that this norm gets one of its own.
    norm = model.bridge.blocks[0].ln1.original_component
    norm.weight = torch.nn.Parameter(norm.weight.detach() * 2)
    assert checked(model).sentence.startswith("Self-check: logits are up to ")


@pytest.mark.parametrize(("site", "op"), [("pattern", "scale"), ("z", "zero")])
def test_an_edit_that_is_discarded_is_said(model: Model, site: str, op: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(apply.VALUES, op, lambda part: part.old)
    found = checked(model)
    assert found.sentence.startswith(f"Self-check: edits at {site} give logits up to ")
    assert found.differences["logits"] < found.tolerance


def test_what_is_refused_is_not_compared(model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise check.EditError("no such edit here")

    monkeypatch.setattr(check, "resolve", refuse)
    assert checked(model).differences.keys() == {"logits"}


def test_the_plain_model_holds_no_weights_of_its_own(model: Model) -> None:
    assert model.plain is not None
    mine = {tensor.data_ptr() for tensor in model.bridge.original_model.parameters()}
    assert all(tensor.data_ptr() in mine for tensor in model.plain.model.parameters())


def test_what_arrives_meanwhile_goes_first(model: Model) -> None:
    assert model.plain is not None
    engine = Engine(model)
    asked: list[bool] = []

    def at(number: int) -> Callable[[], bool]:
        asked.clear()
        return lambda: asked.append(True) or len(asked) > number

    cuts = (0, 1, 5, 20, 40)  # in the plain runs and in the engine's
    for number in cuts:
        with pytest.raises(Cancelled):
            check.compare(engine, model.plain, at(number))
    assert check.compare(engine, model.plain, lambda: False).sentence == ""


def test_an_architecture_that_is_not_described_is_compared_in_its_logits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(check.plain, "FAMILIES", {})
    model = load_now(folders.gpt2(tmp_path))
    assert checked(model).differences.keys() == {"logits"}


def test_one_of_transformer_lenss_own_has_no_plain_runs() -> None:
    assert load_now("attn-only-1l").plain is None


def test_logits_that_are_no_numbers_do_not_hold(model: Model) -> None:
    assert model.plain is not None
    model.plain.run()["logits"][-1, 0] = torch.nan
    assert checked(model).sentence.startswith("Self-check: logits are up to inf away")
