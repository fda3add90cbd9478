"""A few of the random stacks and sequences of tests/engine/stacks.py; the whole is one command, which stands there."""

from __future__ import annotations

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mechtui.engine.forward.fast_blocks.fast_block import FastBlock
from tests.engine.stacks import Subject, Tally, one_sequence, one_stack, subjects

FEW = settings(deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck))
SEEDS = st.integers(0, 2**32)


@pytest.fixture(scope="module")
def every(tmp_path_factory: pytest.TempPathFactory) -> list[Subject]:
    return subjects(tmp_path_factory.mktemp("stacks"))


def test_every_shape_precision_and_kind_of_blocks_is_there(every: list[Subject]) -> None:
    kinds = {kind: [subject for subject in every if kind in subject.name] for kind in ("packed", "exact", "bridge's")}
    assert all(len(found) >= 2 for found in kinds.values())
    assert {subject.dtype for subject in every} == {"float32", "bfloat16"}
    for subject in every:
        with torch.inference_mode():
            subject.engine.run((1, 2, 3))
        blocks = [subject.engine.runner.forward.blocks.chosen.get(layer) for layer in range(3)]
        fast = "bridge's" not in subject.name
        assert [isinstance(block, FastBlock) for block in blocks] == [fast] * 3
        if fast:
            assert [block.exact for block in blocks] == ["exact" in subject.name] * 3


@settings(FEW, max_examples=150)
@given(seed=SEEDS)
def test_stacks_of_edits_are_the_plain_models(every: list[Subject], seed: int) -> None:
    tally = Tally()
    with torch.inference_mode():
        one_stack(every[seed % len(every)], seed, tally)


@settings(FEW, max_examples=24)
@given(seed=SEEDS)
def test_what_was_before_does_not_show(every: list[Subject], seed: int) -> None:
    tally = Tally()
    with torch.inference_mode():
        one_sequence(every[seed % len(every)], seed, 15, tally)
