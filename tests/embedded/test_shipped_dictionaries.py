"""The dictionaries in the wheel: complete, small, in SAELens's layout, and labelled as their card says."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file

from mechtui.embedded import DICTIONARIES, MODELS, labels
from mechtui.engine.dictionaries import labels as read_labels
from mechtui.selftest.features import read_dictionary
from tests.embedded.test_dictionary import encoded

MEGABYTES = 12
HOOKS = {"res2": ("hook", "hook"), "mlp3": ("hook", "hook_out")}
SHIPPED = [pytest.param(model, name, id=f"{model}-{name}") for model, all in DICTIONARIES.items() for name in all]


@pytest.mark.parametrize(("model", "name"), SHIPPED)
def test_it_is_laid_out_as_saelens_does(model: str, name: str) -> None:
    folder = DICTIONARIES[model][name]
    config = json.loads((folder / "cfg.json").read_text())
    state = load_file(folder / "sae_weights.safetensors")
    width = json.loads((MODELS[model] / "config.json").read_text())["n_embd"]
    assert config["d_in"] == width
    assert config["d_sae"] == 8 * width
    assert {name: array.shape for name, array in state.items()} == {
        "W_enc": (width, 8 * width),
        "b_enc": (8 * width,),
        "W_dec": (8 * width, width),
        "b_dec": (width,),
        "threshold": (8 * width,),
    }
    assert {array.dtype.name for array in state.values()} == {"float16"}
    assert config["architecture"] == ("jumprelu_transcoder" if "hook_name_out" in config["metadata"] else "jumprelu")
    assert config["metadata"]["model_name"] == model
    assert config["metadata"]["prepend_bos"]


@pytest.mark.parametrize(("model", "name"), SHIPPED)
def test_at_least_thirty_features_have_labels_that_hold(model: str, name: str) -> None:
    folder = DICTIONARIES[model][name]
    made = labels.load(folder / labels.FILE)
    assert len(made) >= 30
    assert len({label.feature for label in made}) == len(made)
    assert all(labels.earned(label) for label in made)
    log = json.loads((folder / "log.json").read_text())
    assert log["labels"] == len(made)
    assert all(0 <= label.feature < log["recipe"]["features"] for label in made)
    card = (MODELS[model] / "CARD.md").read_text()
    assert f"{log['recovered']:.1%}" in card


@pytest.mark.parametrize(("model", "name"), SHIPPED)
def test_the_program_reads_it_as_its_files_say(model: str, name: str) -> None:
    """Beside numpy on the files, at made-up activations of which some features are on."""
    folder = DICTIONARIES[model][name]
    made = read_dictionary(name, folder)
    state = load_file(folder / "sae_weights.safetensors")
    rng = np.random.default_rng(0)
    directions = state["W_enc"].T[rng.integers(0, 2048, (20, 3))].astype(np.float32)
    activations = (30 * (directions / np.linalg.norm(directions, axis=-1, keepdims=True)).sum(1)).astype(np.float32)
    if not made.transcodes:
        activations += state["b_dec"].astype(np.float32)
    features, written = encoded(folder, activations)
    x = torch.from_numpy(activations)
    assert (features > 0).any(1).all()
    np.testing.assert_allclose(made.encode(x), features, atol=1e-3, rtol=1e-4)
    np.testing.assert_allclose(made.decode(made.encode(x), x), written, atol=1e-3, rtol=1e-4)
    assert made.hooks == tuple(json.loads((folder / "log.json").read_text())["recipe"][key] for key in HOOKS[name])
    beside = read_labels.beside(folder)
    assert beside is not None
    said = read_labels.read(str(beside), made.n_features)
    assert said == {label.feature: label.description for label in labels.load(folder / labels.FILE)}


def test_all_of_them_are_small() -> None:
    files = [file for all in DICTIONARIES.values() for folder in all.values() for file in folder.iterdir()]
    assert sum(file.stat().st_size for file in files) <= MEGABYTES * 2**20
