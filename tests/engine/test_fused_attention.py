"""Attention in one operation, where nobody looks at a pattern: a plain model's numbers."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch.nn import functional

from mechtui.engine.api import Engine
from mechtui.engine.forward import choice, direct
from mechtui.engine.forward.choice import TRIAL
from mechtui.views import parse_question
from mechtui.views.sweep import SweepAnswer
from tests.engine.twin import CLOSE, PROMPT, Twin, make_twin, session_of

WHERE: tuple[Any, ...] = (choice, direct)


@pytest.fixture(scope="module", params=["gpt2", "llama"])
def twin(request: pytest.FixtureRequest) -> Twin:
    return make_twin(request)


@pytest.fixture
def fused(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """However short the text; how many queries each call had, but for those on which blocks are tried out."""
    calls: list[int] = []
    plain = functional.scaled_dot_product_attention

    def noted(q: Any, *more: Any, **named: Any) -> Any:
        if q.shape[2] != TRIAL:
            calls.append(q.shape[2])
        return plain(q, *more, **named)

    for module in WHERE:
        monkeypatch.setattr(module, "FUSED_FROM", 1)
    monkeypatch.setattr(functional, "scaled_dot_product_attention", noted)
    return calls


@pytest.mark.parametrize(
    "edits", [(), ("zero L1H1.q @-1", "patch L0H2 @1"), ("scale L0.mid x2",), ("cut-path L0H0>L1H1.k",)]
)
def test_a_run_and_what_resumes_from_it_are_a_plain_models(
    twin: Twin, edits: tuple[str, ...], fused: list[int]
) -> None:
    engine = Engine(twin.engine.model)
    for prompt in (PROMPT, f"{PROMPT} John and", PROMPT.replace("store", "big old store")):
        session = session_of(*edits, prompt=prompt)
        opened = engine.open(session)
        got = (opened.edited or opened.clean).logits()
        torch.testing.assert_close(got, twin.expected(session), atol=CLOSE, rtol=0)
    assert max(fused) > min(fused), "whole texts, and what comes after kept keys"


def test_many_runs_at_once_and_their_gradients_too(twin: Twin, fused: list[int]) -> None:
    session = session_of(answer=" Mary", foil=" John")
    found = []
    for least in (10**6, 1):
        for module in WHERE:
            module.FUSED_FROM = least  # the fixture sets it back
        *_, (answer, _, _) = Engine(twin.engine.model).open(session).answer(parse_question("sweep patch L*H*"))
        assert isinstance(answer, SweepAnswer)
        found.append(answer)
    one, two = found
    torch.testing.assert_close(torch.from_numpy(two.values), torch.from_numpy(one.values), atol=CLOSE, rtol=0)
    assert one.estimates is not None
    assert two.estimates is not None
    torch.testing.assert_close(torch.from_numpy(two.estimates), torch.from_numpy(one.estimates), atol=CLOSE, rtol=0)
    assert fused


def test_a_pattern_that_is_looked_at_or_edited_is_there(twin: Twin, fused: list[int]) -> None:
    session = session_of("scale L1H1.pattern x0.5", "scale L0H0.scores x2", "cut L1H2 -1>0-3")
    engine = Engine(twin.engine.model)
    opened = engine.open(session, questions=(parse_question("heads entropy"),))
    assert opened.edited is not None
    torch.testing.assert_close(opened.edited.logits(), twin.expected(session), atol=CLOSE, rtol=0)
    for _ in opened.answer(parse_question("heads entropy")):
        pass
    assert not fused
