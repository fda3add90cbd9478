"""Learning a dictionary on features that were put in by hand, and what is written of it."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.numpy import load_file

from mechtui.embedded import dictionary
from mechtui.embedded.dictionary import Recipe

RECIPE = Recipe(
    "demo", "blocks.0.hook_resid_pre", features=64, groups=(16, 64), active=3, tokens=256, steps=500, idle=50
)


def sparse(count: int, seed: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Activations [count, 32] of 40 features, three of which are on at a time; the features; another 20 of them."""
    generator = torch.Generator().manual_seed(0)
    directions = torch.nn.functional.normalize(torch.randn(40, 32, generator=generator), dim=1)
    others = torch.randn(40, 20, generator=generator)
    generator.manual_seed(seed)
    on = torch.rand(count, 40, generator=generator).argsort(1) < 3
    values = on * (1 + torch.rand(count, 40, generator=generator))
    return 5 * values @ directions + 2, directions, 3 * values @ others - 1


def encoded(folder: Path, activations: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Features and reconstruction by the definition of SAELens's jumprelu, from the file alone."""
    config = json.loads((folder / "cfg.json").read_text())
    state = {name: array.astype(np.float32) for name, array in load_file(folder / "sae_weights.safetensors").items()}
    read = activations - state["b_dec"] if config["apply_b_dec_to_input"] else activations
    before = read @ state["W_enc"] + state["b_enc"]
    features = np.where(before > state["threshold"], np.maximum(before, 0), 0)
    return features, features @ state["W_dec"] + state["b_dec"]


def explained(target: NDArray[np.float32], made: NDArray[np.float32]) -> float:
    return float(1 - ((target - made) ** 2).sum() / ((target - target.mean(0)) ** 2).sum())


def test_it_finds_the_features_that_are_there(tmp_path: Path) -> None:
    activations, directions, _ = sparse(20_000, 1)
    learner = dictionary.learn(RECIPE, activations, activations, seed=0)
    dictionary.fit_threshold(learner, activations)
    dictionary.save(learner, tmp_path, 256)
    held = sparse(2000, 2)[0].numpy()
    features, made = encoded(tmp_path, held)
    assert explained(held, made) > 0.95
    assert 2 < (features > 0).sum(1).mean() < 4
    decoder = load_file(tmp_path / "sae_weights.safetensors")["W_dec"].astype(np.float32)
    assert decoder.dtype == np.float32
    assert np.allclose(np.linalg.norm(decoder, axis=1), 1, atol=2e-3)
    cosines = directions.numpy() @ decoder.T
    assert np.median(cosines.max(1)) > 0.95


def test_a_transcoder_writes_what_another_place_has(tmp_path: Path) -> None:
    recipe = replace(RECIPE, hook="blocks.0.mlp.hook_in", hook_out="blocks.0.hook_mlp_out")
    activations, _, outputs = sparse(20_000, 1)
    learner = dictionary.learn(recipe, activations, outputs, seed=0)
    dictionary.fit_threshold(learner, activations)
    dictionary.save(learner, tmp_path, 256)
    held, _, wanted = sparse(2000, 2)
    features, made = encoded(tmp_path, held.numpy())
    assert explained(wanted.numpy(), made) > 0.8
    assert 2 < (features > 0).sum(1).mean() < 4
    config = json.loads((tmp_path / "cfg.json").read_text())
    assert (config["architecture"], config["d_in"], config["d_out"]) == ("jumprelu_transcoder", 32, 20)
    assert config["metadata"]["hook_name_out"] == "blocks.0.hook_mlp_out"


def test_the_same_seed_gives_the_same_dictionary() -> None:
    activations = sparse(2000, 1)[0]
    short = replace(RECIPE, steps=20)
    one, same, other = (dictionary.learn(short, activations, activations, seed=seed) for seed in (0, 0, 1))
    for name, weight in one.written().items():
        assert torch.equal(weight, same.written()[name]), name
    assert not torch.equal(one.encoder, other.encoder)


def test_dead_features_are_given_what_is_left() -> None:
    activations = sparse(256, 1)[0]

    def moved(weight: float) -> float:
        """How much a feature that has long been off is moved."""
        learner = dictionary.Learner(replace(RECIPE, helpers_weight=weight), activations, activations, seed=0)
        learner.step_number = 1000
        learner.last_on[:] = 1000
        learner.last_on[7] = 0
        learner.encoder.data[:, 7] *= 0.1  # never among the largest, and yet above zero at times
        learner.loss(activations, activations).backward()  # type: ignore[no-untyped-call]
        assert learner.last_on[7] == 0
        assert learner.decoder.grad is not None
        return float(learner.decoder.grad[7].abs().max())

    assert moved(0.03) > 0
    assert moved(0.0) == 0
