"""Fitting a lens, beside plain torch on Hugging Face's own model."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors import safe_open
from torch import Tensor
from transformers import AutoModelForCausalLM

from mechtui import fitting
from mechtui.cli import cli
from mechtui.engine import translators
from mechtui.engine.model import Model
from mechtui.fitting import Wanted, jacobian, measure, texts, tuned
from tests.engine.conftest import load_now
from tests.engine.test_lens import Plain

WORDS = ("When", " Mary", " John", " and", " went", " to", " the", " store", " gave", " a", " drink", " old", ".")
TEXT = "".join(random.Random(0).choices(WORDS, k=4000))


@pytest.fixture
def text_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.chdir(tmp_path)
    Path("a.txt").write_text(TEXT)
    return "a.txt"


def nothing(*_: Any) -> None:
    pass


def kl_by_hand(plain: Plain, rows: Tensor, through: Any) -> list[float]:
    """through(layer, h): what a lens makes of what leaves a layer."""
    sums = np.zeros(2)
    count = 0
    for ids in rows:
        with torch.no_grad():
            states = plain.model(ids[None], output_hidden_states=True).hidden_states
            final = plain.model.lm_head(states[-1][0, 1:]).double().log_softmax(-1)
            first = plain.model.lm_head(plain.norm(through(0, states[1][0, 1:]))).double().log_softmax(-1)
        sums[0] += float((final.exp() * (final - first)).sum())
        count += len(ids) - 1
    return (sums / count).tolist()


@pytest.mark.parametrize("family", ["gpt2", "llama"])
def test_a_tuned_lens_comes_nearer_and_is_the_same_for_a_seed(
    family: str, text_file: str, request: pytest.FixtureRequest
) -> None:
    model: Model = request.getfixturevalue(f"{family}_model")
    plain = Plain(request.getfixturevalue(f"{family}_folder"))
    rows = texts.rows_for(model, text_file, 0)
    before = measure.kl(model, rows.held_out, None, nothing)
    np.testing.assert_allclose(before, kl_by_hand(plain, rows.held_out, lambda _layer, h: h), atol=1e-4)
    told: list[tuple[Any, ...]] = []
    fitted, again = (tuned.fit(model, rows.fitted, 12, 3, lambda *said: told.append(said)) for _ in range(2))
    assert [said[1:3] for said in told[:12]] == [(step + 1, 12) for step in range(12)]
    after = measure.kl(model, rows.held_out, fitted.translator("t"), nothing)
    matrix, bias = fitted.matrices[0], fitted.biases[0]
    np.testing.assert_allclose(
        after, kl_by_hand(plain, rows.held_out, lambda _layer, h: h + h @ matrix.T + bias), atol=1e-4
    )
    assert after[0] < 0.95 * before[0]
    assert after[1] == before[1] == pytest.approx(0, abs=1e-6)
    assert torch.equal(matrix, again.matrices[0])
    other = tuned.fit(model, rows.fitted, 12, 4, nothing)
    assert not torch.equal(matrix, other.matrices[0])


def test_a_steps_gradient_is_that_of_the_kl(gpt2_model: Model, gpt2_folder: Path, text_file: str) -> None:
    """Of one batch, computed in parts and at once."""
    plain = Plain(gpt2_folder)
    rows = texts.rows_for(gpt2_model, text_file, 0).fitted[:2]
    engine = fitting_engine(gpt2_model)
    stream = measure.streams(engine, rows)[:, :, 1:].flatten(1, 2)
    matrix, bias = torch.zeros(32, 32, requires_grad=True), torch.full((32,), 0.1, requires_grad=True)
    tuned._step(engine, stream, [matrix], [bias])
    states = plain.model(rows, output_hidden_states=True).hidden_states
    h, end = (each[:, 1:].flatten(0, 1).detach() for each in (states[1], states[-1]))
    W, b = torch.zeros(32, 32, requires_grad=True), torch.full((32,), 0.1, requires_grad=True)
    final = plain.model.lm_head(end).log_softmax(-1).detach()
    here = plain.model.lm_head(plain.norm(h + h @ W.T + b)).log_softmax(-1)
    torch.nn.functional.kl_div(here, final, log_target=True, reduction="batchmean").backward()
    torch.testing.assert_close(matrix.grad, W.grad, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(bias.grad, b.grad, atol=1e-5, rtol=1e-4)


def fitting_engine(model: Model) -> Any:
    from mechtui.engine.api import Engine

    return Engine(model)


def test_a_jacobian_lens_is_the_mean_of_what_a_small_change_does(
    gpt2_model: Model, gpt2_folder: Path, text_file: str
) -> None:
    rows = texts.rows_for(gpt2_model, text_file, 0).fitted
    fitted = jacobian.fit(gpt2_model, rows, 2, 0, nothing)
    plain: Any = AutoModelForCausalLM.from_pretrained(gpt2_folder, attn_implementation="eager").eval()
    first, last = plain.transformer.h
    found = []
    for ids in rows[:2]:
        held: dict[str, Tensor] = {}

        def leaf(_module: Any, _inputs: Any, output: Any, held: dict[str, Tensor] = held) -> Any:
            whole = output if isinstance(output, Tensor) else output[0]
            held["h"] = whole.detach().requires_grad_(True)
            return held["h"] if isinstance(output, Tensor) else (held["h"], *output[1:])

        def end(_module: Any, _inputs: Any, output: Any, held: dict[str, Tensor] = held) -> None:
            held["end"] = output if isinstance(output, Tensor) else output[0]

        handles = [first.register_forward_hook(leaf), last.register_forward_hook(end)]
        plain(ids[None])
        for handle in handles:
            handle.remove()
        skip = min(16, len(ids) // 4)
        valid = slice(skip, len(ids) - 1)
        J = torch.zeros(32, 32)
        for out in range(32):
            (grad,) = torch.autograd.grad(held["end"][0, valid, out].sum(), held["h"], retain_graph=True)
            J[out] = grad[0, valid].mean(0)
        found.append(J)
    torch.testing.assert_close(fitted.matrices[0], torch.stack(found).mean(0), atol=1e-4, rtol=1e-4)
    assert not fitted.biases


def fit(model: Path, *, count: int = 6, **said: Any) -> int:
    return fitting.run(Wanted(str(model), text="a.txt", count=count, device="cpu", **said))


def test_the_command_writes_a_lens_that_the_lens_reads(
    gpt2_folder: Path, text_file: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fitting.Wanted, "path", lambda self: Path("l.safetensors"))
    assert fit(gpt2_folder) == 0
    said = capsys.readouterr().out.splitlines()
    assert said[0].startswith("tuned lens, 6 of 6 steps of 8 rows of a.txt (")
    row = next(line.split() for line in said if line.startswith("L0.post"))
    assert float(row[2]) < float(row[1])
    with safe_open("l.safetensors", framework="pt") as file:
        about = file.metadata()
    assert (about["model"], about["seed"]) == (str(gpt2_folder), "0")
    model = load_now(gpt2_folder)
    read = translators.read("l.safetensors", model.ready)
    assert read.name == "tuned lens l"
    rows = texts.rows_for(model, "a.txt", 0)
    assert f"{measure.kl(model, rows.held_out, read, nothing)[0]:.4f}" == row[2]


def test_what_is_fitted_when_it_is_interrupted_is_kept(
    gpt2_folder: Path, text_file: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    streams, ran = tuned.streams, []

    def then_stop(*of: Any) -> Tensor:
        ran.append(1)
        if len(ran) > steps:
            raise KeyboardInterrupt
        return streams(*of)

    monkeypatch.setattr(tuned, "streams", then_stop)
    steps = 0
    assert fit(gpt2_folder, output="l.safetensors") == 130
    assert not Path("l.safetensors").exists()
    assert "nothing is written" in capsys.readouterr().err
    ran.clear()
    steps = 3
    assert fit(gpt2_folder, output="l.safetensors") == 130
    assert "tuned lens, 3 of 6 steps" in capsys.readouterr().out
    assert translators.read("l.safetensors", load_now(gpt2_folder).ready).matrices[0].any()


def test_a_lens_that_is_written_is_told_when_its_measuring_is_interrupted(
    gpt2_folder: Path, text_file: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    kl = measure.kl

    def then_stop(model: Model, rows: Tensor, translator: Any, tell: Any) -> list[float]:
        if translator is not None:
            raise KeyboardInterrupt
        return kl(model, rows, translator, tell)

    monkeypatch.setattr(measure, "kl", then_stop)
    assert fit(gpt2_folder, output="l.safetensors") == 130
    out, err = capsys.readouterr()
    assert "l.safetensors is written" in out
    assert not err.strip()
    assert translators.read("l.safetensors", load_now(gpt2_folder).ready).matrices[0].any()


@pytest.mark.parametrize(
    ("said", "status", "sentence"),
    [
        ({"output": "there.safetensors"}, 2, "there.safetensors is there already: name another file"),
        ({"output": "lens.pt"}, 2, "lens.pt should end in .safetensors"),
        ({"output": "no/lens.safetensors"}, 2, "there is no folder no"),
        ({"text": "short.txt"}, 2, "short.txt has 3 tokens, and a lens is fitted on"),
        ({"text": "none.txt"}, 2, "there is no file none.txt"),
        ({"model": "attn-only-1l"}, 4, "attn-only-1l has one layer"),
        ({"model": "nowhere"}, 3, "nowhere"),
    ],
)
def test_what_cannot_be_fitted_is_said(
    said: dict[str, Any], status: int, sentence: str, text_file: str, gpt2_folder: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    Path("there.safetensors").touch()
    Path("short.txt").write_text("Love Love")
    of = {"model": str(gpt2_folder), "text": text_file, "output": "l.safetensors", "device": "cpu", **said}
    assert fitting.run(Wanted(**of)) == status
    err = capsys.readouterr().err.strip()
    assert sentence in err
    assert len(err.splitlines()) == 1
    assert not Path("l.safetensors").exists()


def test_the_command_line_says_what_is_wanted(monkeypatch: pytest.MonkeyPatch) -> None:
    wanted: list[Wanted] = []

    def noted(each: Wanted) -> int:
        wanted.append(each)
        return 0

    monkeypatch.setattr(fitting, "run", noted)
    for line in ("lens fit", "lens fit m --kind jacobian --count 9 --seed 2 --text a --output b --device cpu"):
        with pytest.raises(SystemExit):
            cli.main(line.split(), standalone_mode=False)
    assert wanted == [Wanted(), Wanted("m", "a", "b", "jacobian", 9, 2, "cpu")]
