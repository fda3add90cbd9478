"""Steering vectors that point nowhere, or somewhere by rounding alone, are refused in one sentence."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from mechtui.engine.api import Engine, SessionError
from mechtui.engine.model import Model
from mechtui.views import parse_question
from tests.engine.conftest import load_now
from tests.engine.twin import CLOSE, session_of

SAME = [
    ('pca L1.pre "Love" | "Love" | "Love"', "its texts have the same activation"),
    # The last token alone decides what the first block reads in a model without position embeddings.
    ('pca L0.pre " Mary Love" | " John Love" | "Love Love"', "its texts have the same activation"),
    ('pca L1.post "Love Hate" | "Love John" @0', "its texts have the same activation"),
    ('diff L1.post "Love" "Love"', "both sides have the same activation"),
    ('diff L1.mid "Love" "Love" | "Hate" "Hate" unit', "both sides have the same activation"),
    ('diff L1.pre "Love" "Hate" | "Hate" "Love"', "both sides have the same activation"),
    ('diff L1.pre "Love Hate" "Love John" unit @0', "both sides have the same activation"),
]


@pytest.fixture(scope="module")
def half(llama_folder: Path) -> Model:
    return load_now(llama_folder, dtype="bfloat16")


@pytest.mark.parametrize("source", SAME)
@pytest.mark.parametrize("name", ["llama_model", "half"])
def test_texts_that_do_not_differ_have_no_direction(
    name: str, source: tuple[str, str], request: pytest.FixtureRequest
) -> None:
    engine = Engine(request.getfixturevalue(name))
    line, sentence = source
    for edit in ("add L1.pre v x5", "project L1.pre v"):
        opened = engine.open(session_of(edit, vectors=(f"v = {line}",)))
        (problem,) = opened.problems
        assert sentence in problem.sentence
        assert line in problem.sentence
        assert opened.edited is None
        with pytest.raises(SessionError, match=r"can be applied nowhere.*same activation"):
            list(opened.answer(parse_question("sweep add L*.pre v x2")))
        *_, (answer, _, _) = opened.answer(parse_question("vectors"))
        assert answer.vectors[0].problem == problem.sentence


@pytest.mark.parametrize("name", ["llama_model", "half"])
def test_texts_that_differ_have_one(name: str, request: pytest.FixtureRequest) -> None:
    engine = Engine(request.getfixturevalue(name))
    for line in ('pca L0.pre "Love" | "Hate"', 'pca L1.mid " Mary" | " John" | " drink"', 'diff L1.pre "Love" "Hate"'):
        assert not engine.open(session_of("add L1.pre v x5", vectors=(f"v = {line}",))).problems


def test_directions_that_are_as_large_as_one_another_are_no_first(llama_model: Model) -> None:
    """Three texts whose embeddings are the corners of an equal triangle."""
    engine = Engine(llama_model)
    weight = llama_model.bridge.original_model.model.embed_tokens.weight
    ids = [llama_model.single(text) for text in ("Love", "Hate", " Mary")]
    kept = weight[ids].clone()
    try:
        weight[ids] = torch.eye(3, weight.shape[1])
        opened = engine.open(session_of("add L1.pre v x5", vectors=('v = pca L0.pre "Love" | "Hate" | " Mary"',)))
    finally:
        weight[ids] = kept
    assert "differ as much in two directions" in opened.problems[0].sentence


@pytest.mark.parametrize(
    ("value", "sentence"),
    [
        (torch.zeros(36), "is zero everywhere"),
        (torch.full((36,), float("nan")), "not finite"),
        (torch.tensor([float("inf")] + [0.0] * 35), "not finite"),
        (torch.ones(35), "has shape 35"),
        (torch.full((36,), 1e-30), ""),
        (torch.full((36,), 1e30), ""),
    ],
)
def test_a_files_vector(value: torch.Tensor, sentence: str, llama_model: Model, tmp_path: Path) -> None:
    """However small or large: what it projects out is the component along its direction."""
    save_file({"v": value}, tmp_path / "v.safetensors")
    vectors = tuple(f"{name} = file {tmp_path}/v.safetensors#v{unit}" for name, unit in (("v", ""), ("u", " unit")))
    opened = Engine(llama_model).open(session_of("project L1.pre v", "add L1.pre u x5", vectors=vectors))
    if sentence:
        assert all(sentence in problem.sentence for problem in opened.problems)
        assert len(opened.problems) == 2
        return
    assert not opened.problems
    assert opened.edited is not None
    clean = opened.clean.activation("blocks.1.hook_resid_pre")
    unit = torch.ones(36) / 6
    expected = clean - (clean @ unit)[:, None] * unit + 5 * unit
    torch.testing.assert_close(opened.edited.activation("blocks.1.hook_resid_pre"), expected, atol=1e-4, rtol=0)


# Numbers that are no longer finite


@pytest.mark.parametrize("view", ["next_tokens", "residual", "lens", "heads", "generate 3", "attention L0H0"])
@pytest.mark.parametrize(
    ("edit", "where"),
    [("scale L1.pre x3e38", "layer 1"), ("scale embed x3e38", "layer 0"), ("scale L1.post x3e38", "layer 1")],
)
def test_a_run_whose_numbers_are_no_longer_finite_says_so(edit: str, where: str, view: str, gpt2_model: Model) -> None:
    opened = Engine(gpt2_model).open(session_of(edit, edit))
    with pytest.raises(SessionError, match=f"the edited run.*not finite from {where} on.*smaller"):
        list(opened.answer(parse_question(view)))


def test_effects_and_sweeps_leave_out_what_is_not_finite(gpt2_model: Model) -> None:
    opened = Engine(gpt2_model).open(session_of("scale L1.pre x3e38", "zero L0H1"))
    *_, (effects, _, _) = opened.answer(parse_question("effects"))
    assert effects.effect[0] is None
    assert effects.effect[1] is not None
    assert effects.together is None
    *_, (sweep, _, _) = Engine(gpt2_model).open(session_of()).answer(parse_question("sweep scale L*.post x3e38"))
    first, last = sweep.json()["values"]
    assert set(first) == {None}
    # Behind the last block only the last position is looked at.
    assert last[-1] is None
    assert np.abs(np.array(last[:-1], dtype=float)).max() < CLOSE


@pytest.mark.parametrize(
    ("sites", "why"),
    [
        ("L2-9H*", "its layers are 0 to 1"),
        ("L0H2-9", "its heads are 0 to 3"),
        ("L0-2.mlp", "its layers are 0 to 1"),
        ("L0H3-4.k", "its heads are 0 to 3"),
    ],
)
def test_a_sweep_is_refused_as_the_edit_of_its_name_is(sites: str, why: str, gpt2_model: Model) -> None:
    opened = Engine(gpt2_model).open(session_of(f"zero {sites}"))
    sentence = f"{gpt2_model.ready.name} has no {sites}: {why}"
    assert opened.problems[0].sentence == sentence
    with pytest.raises(SessionError) as refused:
        list(opened.answer(parse_question(f"sweep zero {sites}")))
    assert str(refused.value) == f"sweep zero {sites}: {sentence}"


@pytest.mark.parametrize(
    ("model", "source", "why"),
    [
        ("gpt2_model", 'diff L2.pre "Love" "Hate"', "L2.pre: its layers are 0 to 1"),
        ("gpt2_model", "neuron L1N9999", "L1N9999: its neurons are 0 to 127"),
        ("attention_only", "neuron L1N3", "L1N3: its blocks have no MLP"),
        ("attention_only", 'diff L1.mlp "Love" "Hate"', "L1.mlp: its blocks have no MLP"),
        ("attention_only", 'pca L1.mid "Love" | "Hate"', "L1.mid: its blocks have no MLP"),
    ],
)
def test_a_vector_of_what_the_model_has_not_is_refused_by_its_name(
    model: str, source: str, why: str, request: pytest.FixtureRequest
) -> None:
    loaded: Model = request.getfixturevalue(model)
    opened = Engine(loaded).open(session_of("add L1.pre v x5", vectors=(f"v = {source}",)))
    sentence = f"v: {loaded.ready.name} has no {why}"
    assert [(each.where, each.sentence) for each in opened.problems] == [("add L1.pre v x5", sentence)]
    ((answer, _, _),) = opened.answer(parse_question("vectors"))
    assert answer.vectors[0].problem == sentence


@pytest.fixture(scope="module")
def attention_only() -> Model:
    return load_now("attn-only-2l")


@pytest.mark.parametrize(
    ("view", "why"),
    [
        ("attention L2H0", "L2H0: its layers are 0 to 1"),
        ("attention L1H4 scores", "L1H4: its heads are 0 to 3"),
        ("sweep mean L2.pre", "L2.pre: its layers are 0 to 1"),
    ],
)
def test_a_view_of_what_the_model_has_not_is_refused_by_its_name(view: str, why: str, gpt2_model: Model) -> None:
    with pytest.raises(SessionError) as refused:
        list(Engine(gpt2_model).open(session_of()).answer(parse_question(view)))
    assert str(refused.value) == f"{view}: {gpt2_model.ready.name} has no {why}"
