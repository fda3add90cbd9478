"""The view of features against plain modules and plain numpy: what is on, what it adds, and what is lost."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from msgspec.structs import replace
from torch import Tensor, nn

from mechtui.engine.api import Engine, SessionError
from mechtui.session.document import Sae
from mechtui.views import parse_question
from mechtui.views.dictionary_script import reading
from mechtui.views.features import FeaturesAnswer
from tests.dictionaries import Made, saelens
from tests.engine.conftest import load_now
from tests.engine.reference import Activations, run
from tests.engine.test_neurons import linear, scale, words
from tests.engine.twin import CLOSE, Twin, make_twin, session_of

EDITS = ("zero L0H1", "scale L0.mlp @4 x1.5")


@pytest.fixture(scope="module", params=["gpt2", "llama"])
def twin(request: pytest.FixtureRequest) -> Twin:
    return make_twin(request)


@dataclass
class Place:
    """Where a dictionary stands. x, y [pos, width]: what it reads and what passes where it writes, of a plain run.
    in_stream: directions there as rows of the stream; None where nothing is written. module: whose input (or output) y
    is."""

    made: Made
    x: Callable[[Activations], Tensor]
    y: Callable[[Activations], Tensor]
    in_stream: Callable[[Tensor], Tensor] | None
    module: nn.Module
    input: bool


def place(twin: Twin, name: str, folder: Path) -> Place:
    gpt2 = hasattr(twin.plain, "transformer")
    block: Any = (twin.plain.transformer.h if gpt2 else twin.plain.model.layers)[1]
    attention = block.attn.c_proj if gpt2 else block.self_attn.o_proj
    down = block.mlp.c_proj if gpt2 else block.mlp.down_proj
    norm = block.ln_2 if gpt2 else block.post_attention_layernorm
    d_model, d_mlp = twin.engine.model.shape.d_model, twin.engine.model.shape.d_mlp
    d_z = twin.engine.model.shape.n_heads * twin.engine.model.shape.d_head

    def stays(rows: Tensor) -> Tensor:
        return rows

    def through(module: Any) -> Callable[[Tensor], Tensor]:
        return lambda rows: rows @ (module.weight if gpt2 else module.weight.T)

    match name:
        case "pre":
            made = saelens(folder, d_model)
            return Place(made, lambda k: k["pre", 1], lambda k: k["pre", 1], stays, block, True)
        case "z":
            made = saelens(folder, d_z, "blocks.1.attn.hook_z", architecture="topk", more={"k": 9})
            z = lambda k: k["z", 1].flatten(1)  # noqa: E731
            return Place(made, z, z, through(attention), attention, True)
        case "act":
            made = saelens(folder, d_mlp, "blocks.1.mlp.hook_post", architecture="jumprelu")
            return Place(made, lambda k: k["neuron", 1], lambda k: k["neuron", 1], through(down), down, True)
        case "in":
            made = saelens(folder, d_model, "blocks.1.ln2.hook_normalized")
            normed = lambda k: norm(k["mid", 1])  # noqa: E731
            return Place(made, normed, normed, None, block.mlp, True)
        case _:
            made = saelens(
                folder,
                d_model,
                "blocks.1.ln2.hook_normalized",
                architecture="skip_transcoder",
                hook_out="blocks.1.hook_mlp_out",
            )
            return Place(made, lambda k: norm(k["mid", 1]), lambda k: k["mlp", 1], stays, block.mlp, False)


@contextmanager
def in_place(there: Place, rows: Tensor, first: int) -> Iterator[None]:
    """Within, these rows stand where y did, from position `first` on."""

    def put(value: Tensor) -> Tensor:
        value = value.clone()
        value[0, first:] = rows[first:]
        return value

    def before(_module: nn.Module, inputs: tuple[Any, ...]) -> tuple[Any, ...]:
        return (put(inputs[0]), *inputs[1:])

    if there.input:
        handle = there.module.register_forward_pre_hook(before)
    else:
        handle = there.module.register_forward_hook(lambda _module, _inputs, output: put(output))
    try:
        yield
    finally:
        handle.remove()


@torch.no_grad()
def loss(twin: Twin, ids: list[int]) -> float:
    tokens = torch.tensor([ids])
    return float(twin.plain(tokens, labels=tokens).loss)


@pytest.mark.parametrize("name", ["pre", "z", "act", "in", "transcoder"])
@torch.no_grad()
def test_features_as_plain_modules_have_them(twin: Twin, name: str, tmp_path: Path) -> None:
    there = place(twin, name, tmp_path / "a")
    texts = [twin.tokenizer.decode([i]) for i in twin.tokens(session_of()).ids]
    target = {"answer": texts[-1], "foil": texts[-2]}
    answer, foil = (twin.text_ids(text, ())[0] for text in target.values())
    more: dict[str, Any] = {**target, "bos": "yes", "saes": (Sae("a", str(there.made.path)),)}
    session = session_of(*EDITS, **more, vectors=('t = token " Mary"',))
    text = twin.tokens(session)
    ids, first = text.ids, len(text.bos)
    assert first == 1
    U = twin.plain.lm_head.weight
    pairs = [*twin.engine.open(session).answer(parse_question("features a @-2 top30"))]
    assert [partial for *_, partial in pairs] == [True, False]  # what costs runs comes behind
    clean, edited, _ = pairs[-1]
    listed: dict[str, list[int]] = {}
    at = len(ids) - 2
    for which, found, edits in (("clean", clean, ()), ("edited", edited, session.edits)):
        assert isinstance(found, FeaturesAnswer)
        kept = run(twin.plain, ids, edits)[1]
        x, y = there.x(kept).numpy(), there.y(kept).numpy()
        acts = there.made.encode(x)
        rebuilt = there.made.decode(acts, x)
        error = y - rebuilt
        listed[which] = found.features.tolist()
        np.testing.assert_allclose(found.values, acts[:, found.features].T, atol=CLOSE)
        np.testing.assert_allclose(found.value, acts[at, found.features], atol=CLOSE)
        own = there.made.directions[found.features]
        sizes = np.linalg.norm(own, axis=1) * acts[at, found.features] / np.linalg.norm(y[at])
        np.testing.assert_allclose(found.share, sizes, atol=CLOSE)
        np.testing.assert_array_equal(found.on, (acts != 0).sum(1))
        np.testing.assert_allclose(found.error_norm, np.linalg.norm(error, axis=1), atol=CLOSE, rtol=1e-4)
        assert found.l0 == pytest.approx((acts[first:] != 0).sum(1).mean())
        spread = (y[first:] - y[first:].mean(0)) ** 2
        explained = 1 - (error[first:] ** 2).sum() / spread.sum()
        assert found.explained_variance == pytest.approx(explained, abs=1e-3, rel=1e-3)
        if which == "clean":
            assert found.loss == pytest.approx(loss(twin, ids), abs=CLOSE)
            for mine, rows in ((found.loss_reconstructed, rebuilt), (found.loss_zeroed, np.zeros_like(y))):
                with in_place(there, torch.from_numpy(rows.astype(np.float32)), first):
                    assert mine == pytest.approx(loss(twin, ids), abs=1e-3)
        recovered = (found.loss_zeroed - found.loss_reconstructed) / (found.loss_zeroed - found.loss)
        assert found.loss_recovered == pytest.approx(recovered, rel=1e-3)
        if there.in_stream is None:
            assert found.attribution is None
            assert "written by nobody" in found.why
            assert not any(found.raises)
            continue
        to_stream = there.in_stream
        direction = (U[answer] - U[foil]) / scale(twin, kept["post", 1][at])

        def reads(rows: Any, direction: Tensor = direction, to_stream: Any = to_stream) -> Tensor:
            """What rows that pass there add to the logit difference."""
            product: Tensor = linear(twin, to_stream(torch.as_tensor(rows).float())) @ direction
            return product

        by_feature = reads(there.made.directions) * torch.from_numpy(acts[at]).float()
        assert found.attribution is not None
        np.testing.assert_allclose(found.attribution, by_feature[found.features.tolist()], atol=CLOSE)
        # The error is a line as the features are: together they are all that passes there adds.
        assert found.error == pytest.approx(float(reads(error[at : at + 1])), abs=CLOSE)
        assert found.total == pytest.approx(float(reads(y[at : at + 1])), abs=CLOSE)
        parts = float(found.attribution.sum()) + found.rest + found.bias + found.skip + found.error
        assert parts == pytest.approx(found.total, abs=CLOSE)
        assert (abs(found.skip) > 0.01) == (name == "transcoder")
        for row, feature in enumerate(found.features[:3].tolist()):
            stream = to_stream(torch.from_numpy(there.made.directions[[feature]]))[0]
            logits = linear(twin, stream) @ U.T
            words(found.raises[row], logits - logits.mean())
            words(found.lowers[row], logits - logits.mean(), -1)
            cosine = torch.cosine_similarity(stream, U[twin.text_ids(" Mary", ())[0]], dim=0)
            assert found.cosines[row, 0] == pytest.approx(float(cosine), abs=CLOSE)
    assert listed["clean"] == listed["edited"]


def test_an_edit_changes_it_and_without_the_edit_it_is_as_it_was(twin: Twin, tmp_path: Path) -> None:
    made = saelens(tmp_path / "a", twin.engine.model.shape.d_model)
    session = session_of("zero L0H1", answer=" Mary", foil=" John", saes=(Sae("a", str(made.path)),))
    off = replace(session, edits=tuple(replace(edit, on=False) for edit in session.edits))
    [(before, none)] = twin.answers(off, "features")
    [(clean, edited)] = twin.answers(session, "features a")
    [(after, _)] = twin.answers(off, "features")
    assert none is None
    assert isinstance(edited, FeaturesAnswer)
    assert isinstance(clean, FeaturesAnswer)
    assert np.abs(edited.value - clean.value).max() > 1e-3
    assert edited.loss != clean.loss
    assert before.json() == after.json()


ORDERS = {
    "value": lambda found: np.abs(found.value),
    "share": lambda found: found.share,
    "number": lambda found: -found.features,
    "attribution": lambda found: np.abs(found.attribution),
}


def test_what_sorts_them(twin: Twin, tmp_path: Path) -> None:
    made = saelens(tmp_path / "a", twin.engine.model.shape.d_model)
    session = session_of(answer=" Mary", foil=" John", saes=(Sae("a", str(made.path)),))
    for by, key in ORDERS.items():
        [(found, _)] = twin.answers(session, f"features a {by} top6")
        assert isinstance(found, FeaturesAnswer)
        assert len(found.features) == 6
        assert (np.diff(key(found)) <= 1e-6).all(), by
        assert found.labels == ("",) * 6


def test_in_linear_mode_and_without_a_target_there_is_less(twin: Twin, tmp_path: Path) -> None:
    made = saelens(tmp_path / "a", twin.engine.model.shape.d_model)
    saes = (Sae("a", str(made.path)),)
    session = session_of("zero L0H1", answer=" Mary", foil=" John", linear=True, saes=saes)
    [(clean, edited)] = twin.answers(session, "features a")
    assert isinstance(clean, FeaturesAnswer)
    assert isinstance(edited, FeaturesAnswer)
    assert np.isnan([clean.loss, edited.loss_recovered]).all()
    assert np.abs(edited.value - clean.value).max() > 1e-3
    [(found, _)] = twin.answers(session_of(answer=" Mary", saes=saes), "features a")
    assert isinstance(found, FeaturesAnswer)
    assert found.attribution is None
    assert "a foil" in found.why
    assert (np.diff(found.value) <= 0).all()  # then they are sorted by their value
    with pytest.raises(SessionError, match="there is no dictionary of features: the session names none"):
        twin.answers(session_of(), "features")


def test_a_model_of_attention_alone_has_features_too(tmp_path: Path) -> None:
    model = load_now("attn-only-2l")
    made = saelens(tmp_path / "a", model.shape.d_model)
    session = session_of(answer=" Mary", foil=" John", saes=(Sae("a", str(made.path)),))
    [*_, (found, _, _)] = Engine(model).open(session).answer(parse_question("features"))
    assert isinstance(found, FeaturesAnswer)
    assert found.loss_zeroed > found.loss
    other = saelens(tmp_path / "b", model.shape.d_model, "blocks.0.hook_mlp_out")
    with pytest.raises(SessionError, match=r"reads or writes L0\.mlp, and .* has no L0\.mlp: its blocks have no MLP"):
        Engine(model).open(replace(session, saes=(Sae("b", str(other.path)),))).dictionary("b")


def test_a_program_finds_the_dictionary_that_travels_with_its_model_beside_it() -> None:
    model = load_now("demo", directly=True)
    session = session_of(answer=" Mary", foil=" John", model="demo")
    opened = Engine(model).open(session)
    [*_, (found, _, _)] = opened.answer(parse_question("features"))
    assert isinstance(found, FeaturesAnswer)
    assert found.about.name == "res2"
    code = reading("dictionary_0", found.about, "demo")
    assert 'load_file(MODEL.parent / "demo-res2/sae_weights.safetensors")' in code
