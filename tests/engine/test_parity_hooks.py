"""Hooks never outlive a run, and runs without edits are bit-equal before and after."""

from __future__ import annotations

import gc
from typing import Any

import pytest
import torch

from mechtui.engine.api import Cancelled, Engine
from mechtui.views import parse_question
from tests.engine.conftest import watched
from tests.engine.twin import LONGER, SOURCE, Twin, count_hooks, make_twin, session_of

VECTORS = ['v = diff L1.pre "Love" "Hate"']
EDITS = ("zero L1H1 @-1", "cut L0H0 -1>2", "patch L1.mlp", "add L1.pre v x2", "noise embed sd1")


@pytest.fixture(scope="module", params=["gpt2", "llama"])
def twin(request: pytest.FixtureRequest, blocks: str) -> Twin:
    return make_twin(request, blocks)


def ask_everything(twin: Twin, session: Any) -> None:
    opened = twin.engine.open(session)
    opened.clean.logits()
    if opened.edited is not None:
        opened.edited.logits()
        opened.edited.activation("blocks.0.attn.hook_pattern")
    for line in ("next_tokens", "residual", "attention L1H1", "heads norm", "effects"):
        for _ in opened.answer(parse_question(line)):
            pass


def test_no_hook_is_left(twin: Twin) -> None:
    before = count_hooks(twin.engine.model.bridge)
    for i in range(len(EDITS) + 1):
        ask_everything(twin, session_of(*EDITS[:i], vectors=VECTORS))
        assert count_hooks(twin.engine.model.bridge) == before


@pytest.mark.parametrize("at", [0, 1])
def test_no_hook_is_left_by_a_run_that_fails(twin: Twin, at: int) -> None:
    before = count_hooks(twin.engine.model.bridge)

    def fail(*_: Any) -> None:
        raise RuntimeError("out of something")

    text = f"A prompt of its own {at}, so that nothing is resumed"
    with (
        watched(twin.engine.model.bridge.blocks[at].mlp.out, fail),
        pytest.raises(RuntimeError, match="out of something"),
    ):
        ask_everything(twin, session_of(*EDITS, vectors=VECTORS, prompt=text, source=text))
    assert count_hooks(twin.engine.model.bridge) == before
    # And what comes after is right.
    twin.check(session_of(*EDITS, vectors=VECTORS))


@pytest.mark.parametrize("after", [0, 1, 2, 3])
def test_no_hook_is_left_by_a_run_that_is_cancelled(twin: Twin, after: int) -> None:
    before = count_hooks(twin.engine.model.bridge)
    asked = iter(range(100))
    text = f"Another prompt {after} of its own"
    session = session_of(*EDITS, vectors=VECTORS, prompt=text, source=text)
    opened = Engine(twin.engine.model).open(session, cancelled=lambda: next(asked) >= after + 8)
    lines = ("next_tokens", "heads norm", "attention L0H1", "effects")
    with pytest.raises(Cancelled):
        [list(opened.answer(parse_question(line))) for line in lines]
    assert count_hooks(twin.engine.model.bridge) == before


def test_no_pattern_outlives_its_run(twin: Twin) -> None:
    text = "A prompt of its own, once more, so that nothing is resumed"
    opened = Engine(twin.engine.model).open(session_of("zero L0H1.pattern", prompt=text, source=text))
    assert opened.edited is not None
    count = len(opened.ids)
    opened.edited.logits()
    whole = (1, twin.engine.model.shape.n_heads, count, count)
    assert not [one for one in gc.get_objects() if issubclass(type(one), torch.Tensor) and one.shape == whole]


def test_removing_edits_brings_the_first_run_back(twin: Twin) -> None:
    ids = torch.tensor([twin.tokens(session_of()).ids])
    with torch.no_grad():
        bridges_own = twin.bridge(ids)[0]
    first = twin.engine.open(session_of()).clean.logits().clone()
    for i in range(1, len(EDITS) + 1):
        changed = twin.engine.open(session_of(*EDITS[:i], vectors=VECTORS))
        assert changed.edited is not None
        assert not torch.equal(changed.edited.logits(), first)
        assert torch.equal(changed.clean.logits(), first)
    again = twin.engine.open(session_of())
    assert again.edited is None
    assert torch.equal(again.clean.logits(), first)
    # Also when the trace it came from is long gone.
    twin.engine.open(session_of(prompt=LONGER, source=SOURCE)).clean.logits()
    assert torch.equal(Engine(twin.engine.model).open(session_of()).clean.logits(), first)
    with torch.no_grad():
        assert torch.equal(twin.bridge(ids)[0], bridges_own)
