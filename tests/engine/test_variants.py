"""Variants in batches give what each gives alone, and leave out what they share with their base."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import torch

from mechtui.engine.api import Engine
from mechtui.engine.model import Model
from mechtui.views import parse_question
from tests.engine.conftest import load_now, watched
from tests.engine.twin import CLOSE, LONGER, PROMPT, SOURCE, session_of

VECTORS = ('v = diff L1.pre " Mary" " John"',)
LINES = (
    *("zero L0H1 @-1", "zero L1H0 @-1", "scale L1.mlp @-3 x2", "add L1.pre @-2 v x2", "project L0.post @-1 v"),
    *("patch L0H0", "patch L1H1", "patch L0.post", "patch L1.pre @-5", "patch L0H1.q", "cut L1H0 -1>2"),
    *("cut L0H1 -2>0-3", "zero L0H0", "mean L0.mlp", "noise L1.pre @-1 sd1 seed1", "patch embed @-5"),
    *(
        "freeze L1H0 @-4",
        "zero L1H1.v @-3",
        "cut-path L0H0>L1H1.k",
        "cut-path L0H*>L1H0.q @-2",
        "cut-path embed>L1H1.v",
    ),
    *("patch-path L0.mlp>L1H1.q", "cut-path L0.attn>L1.mlp @-1", "patch-path L0H1>L1.mlp"),
)


@pytest.fixture(params=["gpt2", "llama"])
def model(request: pytest.FixtureRequest, blocks: str) -> Model:
    found: Model = request.getfixturevalue(f"{request.param}_model")
    return found


def alone(model: Model, *edits: str, prompt: str = PROMPT, source: str = SOURCE) -> torch.Tensor:
    opened = Engine(model).open(session_of(*edits, prompt=prompt, source=source, vectors=VECTORS))
    assert not opened.problems
    return (opened.edited or opened.clean).logits()


@pytest.mark.parametrize(
    "before",
    [
        (),
        ("scale L0H0 x0.5",),
        ("zero L1.mlp @2", "patch L0H0 @-3"),
        ("cut-path L0H0>L1H1.q", "cut-path L0.mlp>L1.mlp"),
    ],
)
def test_variants_are_what_each_is_alone(model: Model, before: tuple[str, ...]) -> None:
    """On the clean run, and on an edited one."""
    engine = Engine(model)
    opened = engine.open(session_of(*before, *LINES, vectors=VECTORS))
    assert not opened.problems
    first = tuple(each for number in range(len(before)) for each in opened.hook_edits(number) or ())
    base = engine.run(opened.ids, first)
    variants = [(*first, *(opened.hook_edits(len(before) + number) or ())) for number in range(len(LINES))]
    for got, line in zip(base.variants(variants, len(opened.ids) - 1), LINES, strict=True):
        torch.testing.assert_close(
            got, alone(model, *before, line)[-1], atol=CLOSE, rtol=0, msg=lambda m, n=line: n + m
        )


def test_edits_that_meet_at_one_place_act_in_each_variants_own_order(model: Model) -> None:
    """Though another variant has some of them the other way round, or one of them twice."""
    lines = ("scale L1.pre x3", "add L1.pre v x2", "add L1.pre v x-2")
    ways = ((1, 0), (0, 1), (2, 0), (0, 0), (0, 2, 0))
    opened = Engine(model).open(session_of(*lines, vectors=VECTORS))
    variants = [tuple(each for number in way for each in opened.hook_edits(number) or ()) for way in ways]
    for got, way in zip(opened.clean.variants(variants, len(opened.ids) - 1), ways, strict=True):
        torch.testing.assert_close(got, alone(model, *(lines[number] for number in way))[-1], atol=CLOSE, rtol=1e-5)


@pytest.mark.parametrize("lines", [LINES[1:3], ("zero L1H0.k", "zero L1H1"), ("zero L1H0.v", "cut L1H1 -1>2")])
def test_variants_of_the_last_block_alone(model: Model, lines: tuple[str, ...]) -> None:
    engine = Engine(model)
    opened = engine.open(session_of(*lines))
    variants = [opened.hook_edits(number) or () for number in range(len(lines))]
    for got, line in zip(opened.clean.variants(variants, len(opened.ids) - 1), lines, strict=True):
        torch.testing.assert_close(got, alone(model, line)[-1], atol=CLOSE, rtol=0)


@contextmanager
def computed(model: Model, layer: int) -> Iterator[list[tuple[int, int]]]:
    """(rows, positions) of each batch that passes this layer's MLP, within."""
    seen: list[tuple[int, int]] = []
    with watched(model.bridge.blocks[layer].mlp.out, lambda x: seen.append((x.shape[0], x.shape[1]))):
        yield seen


@pytest.mark.parametrize(
    ("edits", "positions"),
    [
        (("zero L0H0 @-1", "zero L0H1 @-1"), 1),
        (("zero L0H0 @-1", "zero L0H1 @-3"), 3),
        (("patch L0H0", "patch L0H1"), 5),  # the prompts part at the second name, five tokens from the end
        (("patch L0H0 @-1", "zero L0H1 @-2"), 2),
        (("zero L0H0", "zero L0H1"), 0),  # all of them
    ],
)
def test_only_positions_from_the_first_that_differs_run(model: Model, edits: tuple[str, ...], positions: int) -> None:
    engine = Engine(model)
    opened = engine.open(session_of(*edits))
    variants = [opened.hook_edits(number) or () for number in range(2)]
    base = opened.clean
    opened.edited  # noqa: B018 - by then the source has run, too
    count = len(opened.ids)
    differ = [a != b for a, b in zip(opened.ids, opened.source_ids, strict=True)]
    assert count - differ.index(True) == 5
    with computed(model, 0) as first, computed(model, 1) as last:
        got = base.variants(variants, count - 1)
    assert sum(rows * length for rows, length in first) <= 2 * (positions or count)
    assert max(length for _, length in first) == (positions or count)
    assert last == [(2, 1)]  # only this position's logits are asked for
    for logits, edit in zip(got, edits, strict=True):
        torch.testing.assert_close(logits, alone(model, edit)[-1], atol=CLOSE, rtol=0)


@pytest.mark.parametrize("edit", ["mean L1H0", "noise L1.mlp sd1 seed1"])
def test_the_last_block_runs_whole_for_what_looks_at_all_positions(model: Model, edit: str) -> None:
    engine = Engine(model)
    opened = engine.open(session_of("zero L0H0", edit))
    variants = [opened.hook_edits(number) or () for number in range(2)]
    base = opened.clean  # by then the blocks have been tried out
    with computed(model, 1) as last:
        got = base.variants(variants, len(opened.ids) - 1)
    assert {length for _, length in last} == {len(opened.ids)}
    for logits, line in zip(got, ("zero L0H0", edit), strict=True):
        torch.testing.assert_close(logits, alone(model, line)[-1], atol=CLOSE, rtol=0)


def test_a_source_of_another_length_is_patched_as_it_is_aligned(model: Model) -> None:
    engine = Engine(model)
    opened = engine.open(session_of("patch L0H0", "patch L1.pre", prompt=PROMPT, source=LONGER))
    assert not opened.problems
    variants = [opened.hook_edits(number) or () for number in range(2)]
    for got, edit in zip(
        opened.clean.variants(variants, len(opened.ids) - 1), ("patch L0H0", "patch L1.pre"), strict=True
    ):
        torch.testing.assert_close(got, alone(model, edit, source=LONGER)[-1], atol=CLOSE, rtol=0)


# Half precision rounds by a share of each number; a run of these models has logits of a few units.
ROUNDING = {"float32": 1e-4, "float16": 0.02, "bfloat16": 0.15}


@pytest.mark.parametrize("dtype", ROUNDING)
@pytest.mark.parametrize("shape", ["gpt2", "llama"])
def test_sweeps_and_effects_in_every_precision(
    dtype: str, shape: str, blocks: str, request: pytest.FixtureRequest
) -> None:
    """Of every kind of block; several variants join behind the same heads' outputs."""
    model = load_now(request.getfixturevalue(f"{shape}_folder"), blocks == "direct", dtype=dtype)
    engine = Engine(model)
    opened = engine.open(session_of(*LINES, vectors=VECTORS))
    assert not opened.problems
    variants = [opened.hook_edits(number) or () for number in range(len(LINES))]
    several = ("mean L*.mlp", "zero L*H*", "scale L*.post x0.5")
    for got, line in zip(opened.clean.variants(variants, len(opened.ids) - 1), LINES, strict=True):
        torch.testing.assert_close(
            got, alone(model, line)[-1], atol=ROUNDING[dtype], rtol=0, msg=lambda m, n=line: n + m
        )
    for sweep in several:
        *_, (answer, _, partial) = opened.answer(parse_question(f"sweep {sweep}"))
        assert not partial
        assert torch.isfinite(torch.from_numpy(answer.values)).all()
