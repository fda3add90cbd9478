"""The logit lens beside plain Hugging Face: hidden states, the final norm and the unembedding, in numpy."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM

from mechtui.engine.api import Cancelled, Engine, SessionError
from mechtui.engine.model import Model
from mechtui.session.document import Session
from mechtui.views import parse_question
from mechtui.views.lens import LensAnswer, compute
from tests import folders
from tests.engine.conftest import load_now
from tests.engine.twin import SOURCE, session_of

CLOSE = 1e-4
ANSWER, FOIL = " Mary", " John"

kinds = pytest.mark.parametrize("kind", ["gpt2", "llama"])


class Plain:
    """A Hugging Face model and what it says after each layer."""

    def __init__(self, folder: Path) -> None:
        self.model: Any = AutoModelForCausalLM.from_pretrained(folder, attn_implementation="eager").eval()
        body = getattr(self.model, "transformer", None) or self.model.model
        self.blocks = getattr(body, "h", None) or body.layers
        self.norm = getattr(body, "ln_f", None) or body.norm

    @torch.no_grad()
    def logits(self, ids: tuple[int, ...]) -> dict[str, np.ndarray]:
        """Row's name -> [pos, d_vocab] float64."""
        mids: list[torch.Tensor] = []
        handles = [
            (getattr(block, "ln_2", None) or block.post_attention_layernorm).register_forward_pre_hook(
                lambda _module, inputs: mids.append(inputs[0][0])
            )
            for block in self.blocks
        ]
        states = self.model(torch.tensor([ids]), output_hidden_states=True, use_cache=False).hidden_states
        for handle in handles:
            handle.remove()
        # The last hidden state has passed the final norm already.
        posts = [self.norm(state[0]) for state in states[1:-1]] + [states[-1][0]]
        rows = {f"L{layer}.mid": self.norm(mid) for layer, mid in enumerate(mids)}
        rows |= {f"L{layer}.post": post for layer, post in enumerate(posts)}
        return {name: self.model.lm_head(row).double().numpy() for name, row in rows.items()}


def check(answer: LensAnswer, plain: dict[str, np.ndarray], targets: list[np.ndarray]) -> None:
    """All numbers of an answer beside those of the logits."""
    final = plain[answer.layers[-1]]
    p = np.exp(final - np.logaddexp.reduce(final, axis=-1, keepdims=True))
    for row, name in enumerate(answer.layers):
        logits = plain[name]
        log_q = logits - np.logaddexp.reduce(logits, axis=-1, keepdims=True)
        q = np.exp(log_q)

        def near(what: str, expected: np.ndarray, row: int = row, name: str = name) -> None:
            np.testing.assert_allclose(getattr(answer, what)[row], expected, atol=CLOSE, err_msg=f"{what} at {name}")

        assert answer.top[row].tolist() == logits.argmax(-1).tolist(), name
        near("prob", q.max(-1))
        near("entropy", -(q * log_q).sum(-1))
        near("kl", (p * (np.log(p) - log_q)).sum(-1))
        for which, ids in zip(("answer", "foil"), targets, strict=True):
            at = np.take_along_axis(logits, ids[:, None], -1)
            near(f"{which}_logit", at[:, 0])
            near(f"{which}_prob", np.take_along_axis(q, ids[:, None], -1)[:, 0])
            if which == "answer":
                assert answer.answer_rank is not None
                assert answer.answer_rank[row].tolist() == (logits > at).sum(-1).tolist(), name


def asked(engine: Engine, line: str, session: Session) -> tuple[LensAnswer, LensAnswer | None]:
    question = parse_question(line)
    ((clean, edited, partial),) = engine.open(session, questions=[question]).answer(question)
    assert isinstance(clean, LensAnswer)
    assert edited is None or isinstance(edited, LensAnswer)
    assert not partial
    return clean, edited


@pytest.fixture
def engine(kind: str, request: pytest.FixtureRequest) -> Engine:
    return Engine(request.getfixturevalue(f"{kind}_model"))


@pytest.fixture
def plain(kind: str, request: pytest.FixtureRequest) -> Plain:
    return Plain(request.getfixturevalue(f"{kind}_folder"))


@kinds
@pytest.mark.parametrize("at_once", [1, 3000, 1 << 24], ids=["one row", "some rows", "all rows"])
@pytest.mark.parametrize("line", ["lens", "lens mid"])
def test_every_number_of_both_runs(
    line: str, at_once: int, engine: Engine, plain: Plain, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compute, "AT_ONCE", at_once)
    opened = engine.open(session_of("zero L1.mlp @2", answer=ANSWER, foil=FOIL))
    clean, edited = asked(engine, line, opened.session)
    assert edited is not None
    parts = ("mid", "post") if "mid" in line else ("post",)
    assert clean.layers == edited.layers == tuple(f"L{layer}.{part}" for layer in range(2) for part in parts)
    ids = [np.full(len(opened.ids), engine.model.single(text)) for text in (ANSWER, FOIL)]
    check(clean, plain.logits(opened.ids), ids)

    def without_two(_module: Any, _inputs: Any, output: torch.Tensor) -> torch.Tensor:
        output = output.clone()
        output[:, 2] = 0
        return output

    handle = plain.blocks[1].mlp.register_forward_hook(without_two)
    after = plain.logits(opened.ids)
    handle.remove()
    check(edited, after, ids)
    assert not np.allclose(clean.prob[-1, 2], edited.prob[-1, 2])


@kinds
def test_without_a_target_the_two_best_of_each_position_stand_in(engine: Engine, plain: Plain) -> None:
    session = session_of("zero L0.mlp")
    clean, edited = asked(engine, "lens", session)
    logits = plain.logits(engine.open(session).ids)
    best = np.argsort(-logits["L1.post"], axis=-1)[:, :2]
    assert clean.auto
    check(clean, logits, [best[:, 0], best[:, 1]])
    assert edited is not None
    assert edited.answers is not None
    assert edited.answers.tolist() == best[:, 0].tolist()
    # What is looked at is then each run's own final token, so that some layer always decides.
    assert edited.deciding.tolist() == edited.top[-1].tolist()
    assert (edited.decides >= 0).all()


@kinds
def test_an_answer_of_several_tokens_is_told_of_and_the_rest_is_there(engine: Engine) -> None:
    session = session_of(answer=" unheard of", foil=FOIL)
    opened = engine.open(session)
    clean, _ = asked(engine, "lens", session)
    assert [(problem.index, problem.where) for problem in opened.problems] == [(-1, "answer")]
    assert (clean.answers, clean.answer_rank, clean.answer_prob, clean.answer_logit) == (None,) * 4
    assert clean.foil_prob is not None
    assert clean.json()["answer_rank"] is None
    assert clean.deciding.tolist() == clean.top[-1].tolist()


def test_which_layer_decides() -> None:
    top = np.array([[7, 1, 7, 1], [7, 7, 1, 1], [7, 7, 7, 1]])
    zeros = np.zeros(top.shape)
    seven = np.full(4, 7)
    answer = LensAnswer(("L0.post", "L1.post", "L2.post"), top, zeros, zeros, zeros, (), False, seven)
    assert answer.decides.tolist() == [0, 1, 2, -1]


@kinds
def test_positions_before_an_edit_and_before_what_is_typed_are_not_read_again(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[int] = []
    logits_of_many = engine.runner.forward.readout.logits_of_many

    def noted(residual: torch.Tensor) -> torch.Tensor:
        read.append(residual.shape[:-1].numel())
        return logits_of_many(residual)

    monkeypatch.setattr(engine.runner.forward.readout, "logits_of_many", noted)
    session = session_of(source="")
    count = len(engine.open(session).ids)
    asked(engine, "lens", session)
    assert sum(read) == 2 * count
    read.clear()
    longer = session_of(prompt=f"{session.prompt} the", source="")
    # Once it has resumed, what it has of earlier positions is the very same.
    assert asked(engine, "lens", longer)[0].prob.shape == (2, count + 1)
    assert sum(read) == 2
    read.clear()
    _, edited = asked(engine, "lens", session_of("zero L1H1 @-1", source=""))
    assert sum(read) == 2
    fresh = asked(Engine(engine.model), "lens", session_of("zero L1H1 @-1", source=""))[1]
    assert edited is not None
    assert fresh is not None
    np.testing.assert_allclose(edited.prob, fresh.prob, atol=1e-6)
    read.clear()
    asked(engine, "lens rank", session)
    assert read == []


@kinds
def test_it_stops_between_two_products(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compute, "AT_ONCE", 1)
    stop = [False]
    opened = engine.open(session_of(), lambda: stop[0])
    _ = opened.clean
    logits_of_many = opened.readout.logits_of_many
    read: list[int] = []

    def then_stop(residual: torch.Tensor) -> torch.Tensor:
        read.append(1)
        stop[0] = len(read) == 3
        return logits_of_many(residual)

    monkeypatch.setattr(opened.readout, "logits_of_many", then_stop)
    with pytest.raises(Cancelled):
        list(opened.answer(parse_question("lens")))
    assert len(read) == 3


def test_a_model_without_mid_says_so(tmp_path: Path) -> None:
    folder, _ = folders.attention_only(tmp_path)
    engine = Engine(load_now(folder))
    with pytest.raises(SessionError, match=r"lens mid: .* has no L\*\.mid: its blocks have no MLP"):
        asked(engine, "lens mid", session_of(source=SOURCE))
    assert asked(engine, "lens", session_of())[0].layers == ("L0.post", "L1.post")


def test_packed_or_not_the_numbers_are_the_same(gpt2_model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    packed = Engine(gpt2_model).runner.forward.readout
    if packed._packed is None:
        pytest.skip("this processor's kernels pack nothing")
    monkeypatch.setattr("mechtui.engine.readout.can_be_packed", lambda _modules: False)
    plain = Engine(gpt2_model).runner.forward.readout
    assert plain._packed is None
    some = torch.randn(3, 5, 32, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        torch.testing.assert_close(packed.logits_of_many(some), plain.logits_of_many(some), atol=1e-5, rtol=1e-5)
