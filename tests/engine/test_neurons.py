"""Neurons against plain modules and raw weights: what goes in, what comes out, what they add, and their words."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from mechtui.engine.api import Engine, SessionError
from mechtui.session.document import Session
from mechtui.session.grammar.places import parse_site
from mechtui.session.hook_edits import EditError
from mechtui.views import parse_question
from mechtui.views.circuit import Scored
from mechtui.views.neurons import Neurons, NeuronsAnswer
from tests.engine.conftest import load_now
from tests.engine.reference import Activations, run
from tests.engine.twin import CLOSE, Twin, make_twin, session_of
from tests.grid.families import LAYERS, MLP, make


@pytest.fixture(scope="module", params=["gpt2", "llama"])
def twin(request: pytest.FixtureRequest) -> Twin:
    return make_twin(request)


class Plain:
    """A layer's MLP in transformers' own modules. gate, into: normed stream -> [pos, neuron]; GPT-2 has no gate.
    out [neuron, d_model]."""

    def __init__(self, twin: Twin, layer: int) -> None:
        self.norm: Callable[[Tensor], Tensor]
        if hasattr(twin.plain, "transformer"):
            block = twin.plain.transformer.h[layer]
            self.norm, self.gate, self.into = block.ln_2, None, block.mlp.c_fc
            self.out = block.mlp.c_proj.weight
        else:
            block = twin.plain.model.layers[layer]
            self.norm, self.gate, self.into = block.post_attention_layernorm, block.mlp.gate_proj, block.mlp.up_proj
            self.out = block.mlp.down_proj.weight.T
        self.opens: Any = self.gate or self.into


def linear(twin: Twin, rows: Tensor) -> Tensor:
    """What the final norm does to every stream alike."""
    if hasattr(twin.plain, "transformer"):
        return (rows - rows.mean(-1, keepdim=True)) * twin.plain.transformer.ln_f.weight
    scaled: Tensor = rows * twin.plain.model.norm.weight
    return scaled


def scale(twin: Twin, final: Tensor) -> Tensor:
    if hasattr(twin.plain, "transformer"):
        return (final.var(correction=0) + twin.plain.config.layer_norm_epsilon).sqrt()
    return (final.pow(2).mean() + twin.plain.config.rms_norm_eps).sqrt()


@torch.no_grad()
def added(twin: Twin, kept: Activations, layer: int, at: int, answer: int, foil: int) -> Tensor:
    """[neuron]: what each adds to the logit difference, the final norm's scale held."""
    last = twin.plain.config.num_hidden_layers - 1
    U = twin.plain.lm_head.weight
    direction = (U[answer] - U[foil]) / scale(twin, kept["post", last][at])
    product: Tensor = kept["neuron", layer][at] * (linear(twin, Plain(twin, layer).out) @ direction)
    return product


def words(found: tuple[Scored, ...], scores: Tensor, sign: int = 1) -> None:
    """These are the largest (with -1 the smallest) of the scores."""
    best = (sign * scores).topk(len(found)).values * sign
    np.testing.assert_allclose([each.value for each in found], best, atol=CLOSE)
    np.testing.assert_allclose(scores[[each.token.id for each in found]], best, atol=CLOSE)


EDITS = ("zero L1H2", "scale L0N5 x-3", "zero L1N7 @3")


@pytest.mark.parametrize("line", ["neurons @-2 top9", "neurons L1 activation top6", "neurons @3 top99"])
@torch.no_grad()
def test_neurons_as_the_modules_have_them(twin: Twin, line: str) -> None:
    texts = [twin.tokenizer.decode([i]) for i in twin.tokens(session_of()).ids]
    target = {"answer": texts[-1], "foil": texts[-2]}
    answer, foil = (twin.text_ids(text, ())[0] for text in target.values())
    # Asked of the clean run first: what is kept of it must not stand for what an edit changes.
    twin.answers(session_of(**target), line)
    session = session_of(*EDITS, **target)
    ((clean, edited),) = twin.answers(session, line)
    question = parse_question(line)
    assert isinstance(question, Neurons)
    ids = twin.tokens(session).ids
    at = question.position % len(ids)
    layers = range(twin.plain.config.num_hidden_layers) if question.of < 0 else (question.of,)
    strengths = []
    for found, edits in ((clean, ()), (edited, session.edits)):
        assert isinstance(found, NeuronsAnswer)
        kept = run(twin.plain, ids, edits)[1]
        by_added = {layer: added(twin, kept, layer, at, answer, foil) for layer in layers}
        by_active = {layer: kept["neuron", layer][at] for layer in layers}
        strengths.append(torch.cat([*(by_added if question.by == "attribution" else by_active).values()]))
        assert (found.into is None) == hasattr(twin.plain, "transformer")
        for row, (layer, neuron) in enumerate(zip(found.layers.tolist(), found.neurons.tolist(), strict=True)):
            mlp = Plain(twin, layer)
            np.testing.assert_allclose(found.post[row], kept["neuron", layer][:, neuron], atol=CLOSE)
            normed = mlp.norm(kept["mid", layer])
            np.testing.assert_allclose(found.pre[row], mlp.opens(normed)[:, neuron], atol=CLOSE)
            if found.into is not None:
                np.testing.assert_allclose(found.into[row], mlp.into(normed)[:, neuron], atol=CLOSE)
            assert found.attribution is not None
            assert found.attribution[row] == pytest.approx(float(by_added[layer][neuron]), abs=CLOSE)
            assert found.norm[row] == pytest.approx(float(mlp.out[neuron].norm()), abs=CLOSE)
            words(found.reads[row], mlp.opens(mlp.norm(twin.plain.get_input_embeddings().weight))[:, neuron])
            logits = linear(twin, mlp.out[neuron]) @ twin.plain.lm_head.weight.T
            words(found.raises[row], logits - logits.mean())
            words(found.lowers[row], logits - logits.mean(), -1)
        named = dict(zip(found.names, found.post, strict=True))
        assert "L1N7" not in named or (named["L1N7"][3] == 0) == bool(edits)
    strength = torch.stack([*strengths, strengths[1] - strengths[0]]).abs().amax(0)
    assert isinstance(clean, NeuronsAnswer)
    assert isinstance(edited, NeuronsAnswer)
    assert clean.names == edited.names
    width = len(strength) // len(layers)
    found_strength = [
        float(strength[(layer - layers[0]) * width + neuron])
        for layer, neuron in zip(clean.layers.tolist(), clean.neurons.tolist(), strict=True)
    ]
    wanted = strength.sort(descending=True).values[: min(question.top, len(strength))]
    np.testing.assert_allclose(found_strength, wanted, atol=CLOSE)
    # What was taken back is as it was, to the bit.
    ((again, none),) = twin.answers(session_of(*(f"# {edit}" for edit in EDITS), **target), line)
    assert none is None
    for row, name in enumerate(again.names):  # type: ignore[union-attr]
        if name in clean.names:
            np.testing.assert_array_equal(again.post[row], clean.post[clean.names.index(name)])  # type: ignore[union-attr]


def test_what_a_run_has_from_its_heads_on_is_its_own(twin: Twin) -> None:
    """A run that begins at its heads' outputs has another stream before its MLP than the run that it begins from."""
    line, session = "neurons L1 activation top3", session_of("zero L1H2")
    twin.answers(session_of(), line)
    ((_, edited),) = twin.answers(session, line)
    assert isinstance(edited, NeuronsAnswer)
    kept = run(twin.plain, twin.tokens(session).ids, session.edits)[1]
    mlp = Plain(twin, 1)
    with torch.no_grad():
        wanted = mlp.opens(mlp.norm(kept["mid", 1])).T[edited.neurons]
    np.testing.assert_allclose(edited.pre, wanted, atol=CLOSE)


def test_without_a_foil_there_are_activations_only(twin: Twin) -> None:
    session = session_of(answer=" st")
    with pytest.raises(SessionError, match=r"give the session a foil.*; neurons activation needs none"):
        twin.answers(session, "neurons")
    ((answer, _),) = twin.answers(session, "neurons activation top3")
    assert isinstance(answer, NeuronsAnswer)
    assert answer.attribution is None
    assert "give the session a foil" in answer.why


@pytest.mark.parametrize(
    ("model", "line", "sentence"),
    [
        ("attn-only-2l", "neurons", "attn-only-2l has no L0N0: its blocks have no MLP"),
        ("demo", "neurons L9", "demo has no L9N0: its layers are 0 to 3"),
    ],
)
def test_what_a_model_has_not_is_said(model: str, line: str, sentence: str) -> None:
    opened = Engine(load_now(model)).open(Session(prompt="a"), questions=[parse_question(line)])
    with pytest.raises(SessionError, match=sentence):
        list(opened.answer(parse_question(line)))


@pytest.mark.parametrize("kind", ["opt", "falcon alibi"])
def test_there_are_as_many_neurons_as_the_weights_have(kind: str, tmp_path: Path) -> None:
    """Not four times the stream's width, which the bridge says of these models."""
    model = load_now(make(kind, tmp_path))
    assert model.shape.d_mlp == MLP
    with pytest.raises(EditError, match=f"its neurons are 0 to {MLP - 1}"):
        Engine(model).open(Session(prompt="a")).check_site(parse_site(f"L1N{MLP}"))
    ((answer, _, _),) = Engine(model).open(Session(prompt="a b")).answer(parse_question("neurons activation top99"))
    assert isinstance(answer, NeuronsAnswer)
    assert set(answer.names) == {f"L{layer}N{neuron}" for layer in range(LAYERS) for neuron in range(MLP)}
