"""Weights that hold NaN or infinite numbers: the model loads and says which, and every view answers."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from mechtui.engine.api import Engine, SessionError
from mechtui.engine.model import Model
from mechtui.link.frames import HEADER, decode_reply, encode
from mechtui.link.messages import Answered
from mechtui.session.document import Session
from mechtui.views import parse_question, specs
from mechtui.worker.check import Plain, compare
from tests.engine.all_views import session_for
from tests.engine.conftest import load_now
from tests.lines import PROMPT, of_one_prompt, write_files

BIAS = "transformer.h.1.mlp.c_fc.bias"


def _with(folder: Path, to: Path, name: str, value: float) -> Path:
    """A copy whose tensor begins with this value."""
    made = shutil.copytree(folder, to)
    weights = load_file(made / "model.safetensors")
    weights[name].view(-1)[0] = value
    save_file(weights, made / "model.safetensors", {"format": "pt"})
    return made


@pytest.fixture(scope="module")
def odd_model(gpt2_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Model:
    return load_now(_with(gpt2_folder, tmp_path_factory.mktemp("odd") / "model", BIAS, float("nan")))


@pytest.mark.parametrize("value", [float("nan"), float("-inf")])
@pytest.mark.parametrize("directly", [False, True])
def test_what_holds_them_is_said(value: float, directly: bool, gpt2_folder: Path, tmp_path: Path) -> None:
    said = load_now(_with(gpt2_folder, tmp_path / "model", BIAS, value), directly=directly).ready.odd
    assert "1 weight tensor of " in said
    assert f" holds numbers that are not finite (NaN or infinite): {BIAS}; what they" in said
    assert load_now(gpt2_folder, directly=directly).ready.odd == ""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_files(tmp_path_factory.mktemp("lines"))


@pytest.mark.parametrize("name", specs())
def test_every_view_answers_or_says_why_not(
    name: str, odd_model: Model, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    question = parse_question(of_one_prompt(name)[0] if of_one_prompt(name) else name)
    try:
        answers = list(Engine(odd_model).open(session_for(odd_model, "zero L0H1", cases="")).answer(question))
    except SessionError as error:
        assert "\n" not in str(error)  # noqa: PT017
        return
    for clean, edited, _ in answers[-1:]:
        for answer in (clean, edited):
            if answer is not None:
                json.dumps(answer.json(), allow_nan=False)
        assert isinstance(decode_reply(encode(Answered(1, question, clean, edited, 1.0))[HEADER.size :]), Answered)


def test_what_comes_before_them_is_as_it_was(odd_model: Model, gpt2_model: Model) -> None:
    runs = [Engine(model).open(Session(prompt=PROMPT)).clean for model in (odd_model, gpt2_model)]
    torch.testing.assert_close(*(run.activation("blocks.1.hook_resid_mid") for run in runs), atol=1e-5, rtol=1e-5)
    assert runs[0].activation("blocks.1.hook_resid_post").isnan().all()
    assert runs[0].logits().isnan().all()


def test_no_number_is_the_same_as_none_where_hugging_face_has_it_too(odd_model: Model, gpt2_model: Model) -> None:
    own = odd_model.bridge.original_model
    ids = Engine(odd_model).open(Session(prompt=PROMPT)).ids
    checked = compare(Engine(odd_model), Plain(own, ids), lambda: False)
    assert checked.sentence == ""
    assert checked.differences["logits"] == 0.0
    other = compare(Engine(gpt2_model), Plain(own, ids), lambda: False)
    assert "inf away from Hugging Face's own" in other.sentence
