"""The lens with a translator, beside plain Hugging Face hidden states translated by hand."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from mechtui.engine.api import Engine, SessionError
from mechtui.engine.model import Model
from mechtui.views import parse_question
from tests import folders
from tests.engine.conftest import load_now
from tests.engine.test_lens import ANSWER, FOIL, Plain, asked, check
from tests.engine.test_script import exported, run, text_of
from tests.engine.twin import session_of


@pytest.fixture(scope="module")
def gpt2_3_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return folders.gpt2(tmp_path_factory.mktemp("gpt2"), layers=3)


@pytest.fixture(scope="module")
def gpt2_3(gpt2_3_folder: Path) -> Model:
    return load_now(gpt2_3_folder)


def some(*shape: int, seed: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed)) / shape[-1] ** 0.5


def jacobian(width: int, layers: int) -> dict[str, torch.Tensor]:
    return {f"J.{layer}": some(width, width, seed=layer).half() for layer in range(layers - 1)} | {
        "b.0": some(width, seed=9)
    }


def tuned(width: int, layers: int, prefix: str = "layer_translators.") -> dict[str, torch.Tensor]:
    weights = {f"{prefix}{layer}.weight": some(width, width, seed=layer) for layer in range(layers)}
    return weights | {f"{prefix}{layer}.bias": some(width, seed=layer + 9) for layer in range(layers)}


class Translated(Plain):
    """What a plain model says after each layer through a lens of the kind, by hand."""

    def __init__(self, folder: Path, held: dict[str, torch.Tensor]) -> None:
        super().__init__(folder)
        self.held = {name: tensor.float() for name, tensor in held.items()}

    def _through(self, layer: int, h: torch.Tensor) -> torch.Tensor:
        if f"J.{layer}" in self.held:
            return torch.stack([self.held[f"J.{layer}"] @ row for row in h]) + self.held.get(f"b.{layer}", 0)
        (name,) = (each for each in (f"layer_translators.{layer + 1}", f"{layer + 1}") if f"{each}.weight" in self.held)
        return h + torch.stack([self.held[f"{name}.weight"] @ row for row in h]) + self.held[f"{name}.bias"]

    @torch.no_grad()
    def logits(self, ids: tuple[int, ...]) -> dict[str, np.ndarray]:
        states = self.model(torch.tensor([ids]), output_hidden_states=True, use_cache=False).hidden_states
        posts = [self.norm(self._through(layer, h[0])) for layer, h in enumerate(states[1:-1])] + [states[-1][0]]
        return {f"L{layer}.post": self.model.lm_head(row).double().numpy() for layer, row in enumerate(posts)}


@pytest.mark.parametrize("kind", ["jacobian", "tuned", "tuned-lens's own names"])
@pytest.mark.parametrize("family", ["gpt2_3", "llama"])
def test_every_number_live_and_as_a_program(
    family: str, kind: str, request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    model: Model = request.getfixturevalue("gpt2_3" if family == "gpt2_3" else "llama_model")
    width, layers = model.shape.d_model, model.shape.n_layers
    prefix = "" if "own" in kind else "layer_translators."
    held = jacobian(width, layers) if kind == "jacobian" else tuned(width, layers, prefix)
    save_file(held, "a lens.safetensors", metadata={"model": "another"})
    plain = Translated(request.getfixturevalue(f"{family}_folder"), held)
    line, engine = 'lens file "a lens.safetensors"', Engine(model)
    session = session_of("zero L0.mlp @2", answer=ANSWER, foil=FOIL)
    opened = engine.open(session)
    clean, edited = asked(engine, line, session)
    assert clean.translator == f"{'Jacobian' if kind == 'jacobian' else 'tuned'} lens a lens, fitted on another"
    ids = [np.full(len(opened.ids), model.single(text)) for text in (ANSWER, FOIL)]
    check(clean, plain.logits(opened.ids), ids)
    assert edited is not None

    def without_two(_module: Any, _inputs: Any, output: torch.Tensor) -> torch.Tensor:
        output = output.clone()
        output[:, 2] = 0
        return output

    handle = plain.blocks[0].mlp.register_forward_hook(without_two)
    check(edited, plain.logits(opened.ids), ids)
    handle.remove()
    off = asked(engine, line, session_of("# zero L0.mlp @2", answer=ANSWER, foil=FOIL))
    assert off[1] is None
    assert np.array_equal(off[0].prob, clean.prob)
    # The logit lens of the same stream is another, and the last layer the same.
    bare, _ = asked(engine, "lens", session)
    assert bare.translator == ""
    assert not np.allclose(bare.prob[:-1], clean.prob[:-1])
    assert np.array_equal(bare.prob[-1], clean.prob[-1])
    run(text_of(exported(model, session_of("zero L0.mlp @2", answer=ANSWER, views=(line,)))))
    # Another content is another lens.
    save_file({name: tensor.flip(-1).contiguous() for name, tensor in held.items()}, "a lens.safetensors")
    assert not np.allclose(asked(engine, line, session)[0].prob[:-1], clean.prob[:-1])


def lens_of(**changes: torch.Tensor | None) -> dict[str, torch.Tensor]:
    """A Jacobian lens of three layers of width 32, but for these."""
    held: dict[str, Any] = {**jacobian(32, 3), **{name.replace("_", "."): each for name, each in changes.items()}}
    return {name: each for name, each in held.items() if each is not None}


@pytest.mark.parametrize(
    ("held", "problem"),
    [
        (lens_of(J_1=torch.eye(16)), "the matrix for L1.post is 16x16, and .* wants 32x32"),
        (lens_of(b_0=torch.ones(32, 1)), "the bias for L0.post is 32x1, and .* wants 32"),
        (lens_of(J_1=None), "it has no matrix for L1.post of "),
        (lens_of(J_2=torch.eye(32)), "it translates L2.post, and of .* a lens translates L0.post to L1.post"),
        (lens_of(J_0=torch.full((32, 32), float("nan"))), "the matrix for L0.post holds what is no finite number"),
        (tuned(32, 4), "it translates L2.post, and of"),
        ({"w": torch.eye(32)}, "holds w, and no translator: J.0, J.1, "),
    ],
)
def test_what_does_not_fit_is_said(
    held: dict[str, torch.Tensor], problem: str, gpt2_3: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    save_file(held, "f.safetensors")
    with pytest.raises(SessionError, match=f"^f.safetensors:? {problem}"):
        list(Engine(gpt2_3).open(session_of()).answer(parse_question("lens file f.safetensors")))


def test_nothing_but_safetensors_is_read(gpt2_3: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    opened = Engine(gpt2_3).open(session_of())
    torch.save({"J": {0: torch.eye(32)}}, "lens.pt")
    Path("lens.pt").rename("other")
    for file, problem in (
        ("lens.pt", "is a pickle"),
        ("none", "is no file none"),
        ("other", "is no safetensors"),
    ):
        with pytest.raises(SessionError, match=problem):
            list(opened.answer(parse_question(f"lens file {file}")))
