"""Blocks that begin behind their heads: that they do where they may, and do not where they may not."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import pytest
import torch

from mechtui.engine.api import Engine
from mechtui.engine.forward.replaced import replaced
from mechtui.engine.model import Model
from tests.engine.conftest import watched
from tests.engine.twin import logits, session_of


@contextmanager
def counted(model: Model, layer: int) -> Iterator[list[int]]:
    """Rows of each batch whose queries this layer computes, within."""
    rows: list[int] = []
    attn = model.bridge.blocks[layer].attn
    # A fused projection runs whole in the model's own attention; a fast block uses a third of it.
    with ExitStack() as stack:
        for each in (attn.q, getattr(attn, "qkv", None)):
            if each is not None:
                stack.enter_context(watched(each, lambda x: rows.append(len(x))))
        yield rows


@pytest.mark.parametrize("layer", [0, 1])
@pytest.mark.parametrize("edit", ["zero L{}H1", "scale L{}.attn x0.5", "patch L{}H0", "scale L{}.post x2"])
def test_an_edit_at_the_heads_outputs_or_behind_leaves_out_what_lies_before(
    model: Model, layer: int, edit: str
) -> None:
    engine = Engine(model)
    logits(engine)
    logits(engine, "patch L0H1", "patch L1H1")  # the source has run, too
    line = edit.format(layer)
    with counted(model, layer) as rows:
        resumed = logits(engine, line)
    assert not rows
    assert torch.equal(resumed, logits(Engine(model), line))


@pytest.mark.parametrize("edit", ["zero L1H1.q", "zero L1H0.pattern", "scale L1.pre x0.5"])
def test_an_edit_before_the_heads_outputs_runs_the_whole_block(model: Model, edit: str) -> None:
    engine = Engine(model)
    logits(engine)
    with counted(model, 1) as rows:
        resumed = logits(engine, edit)
    assert rows == [1]
    assert torch.equal(resumed, logits(Engine(model), edit))


def test_edits_before_and_behind_the_heads_outputs_of_one_block(model: Model) -> None:
    engine = Engine(model)
    logits(engine, "zero L1H1.v")
    with counted(model, 1) as rows:
        resumed = logits(engine, "zero L1H1.v", "zero L1H0")
        again = logits(engine, "zero L1H1.v", "zero L1H0", "scale L1.post x2")
    assert not rows
    with counted(model, 1) as rows:
        other = logits(engine, "zero L1H0.v", "zero L1H0")
    assert rows == [1]
    for got, edits in (
        (resumed, ("zero L1H1.v", "zero L1H0")),
        (again, ("zero L1H1.v", "zero L1H0", "scale L1.post x2")),
        (other, ("zero L1H0.v", "zero L1H0")),
    ):
        assert torch.equal(got, logits(Engine(model), *edits))


def test_text_that_was_typed_bit_by_bit(gpt2_model: Model) -> None:
    """More keystrokes than pieces are kept apart, a change in the middle among them."""
    engine = Engine(gpt2_model)
    text = "When Mary and John"
    for letter in " went to the big old store,":
        text += letter
        engine.open(session_of(prompt=text)).clean.logits()
    text = text.replace("big", "bag")
    engine.open(session_of(prompt=text)).clean.logits()
    engine.open(session_of("zero L0H0", prompt=text)).clean.logits()
    for line in ("zero L0H1", "scale L1H1 x2", "patch L1H0"):
        session = session_of(line, prompt=text, source=text.replace("Mary", "John"))
        opened, afresh = engine.open(session).edited, Engine(gpt2_model).open(session).edited
        assert opened is not None
        assert afresh is not None
        torch.testing.assert_close(opened.logits(), afresh.logits(), atol=1e-4, rtol=0)


def test_variants_join_the_batch_behind_their_heads(model: Model) -> None:
    engine = Engine(model)
    logits(engine, "scale L1H0 x2")  # by then it is known that blocks of this model may begin behind their heads
    opened = engine.open(session_of("zero L0H0", "zero L0H1", "zero L1H0"))
    variants = [opened.hook_edits(number) or () for number in range(3)]
    base = opened.clean
    with counted(model, 0) as first, counted(model, 1) as second:
        got = base.variants(variants, len(opened.ids) - 1)
    assert not first
    assert second == [2]  # the variants of layer 0 only
    for number, edit in enumerate(("zero L0H0", "zero L0H1", "zero L1H0")):
        torch.testing.assert_close(got[number], logits(Engine(model), edit)[-1], atol=1e-4, rtol=0)


def test_of_several_variants_only_the_one_that_changed_runs(gpt2_model: Model) -> None:
    engine = Engine(gpt2_model)
    opened = engine.open(session_of("zero L0H0.q", "scale L0H1.q x2", "scale L0H1.q x3"))
    first, second, third = (opened.hook_edits(number) or () for number in range(3))
    base, last = opened.clean, len(opened.ids) - 1
    before = base.variants([first, second], last)
    with counted(gpt2_model, 0) as rows:
        after = base.variants([first, third], last)
    assert rows == [1]
    assert torch.equal(before[0], after[0])
    torch.testing.assert_close(after[1], logits(Engine(gpt2_model), "scale L0H1.q x3")[-1], atol=1e-4, rtol=0)


def test_a_model_whose_attention_ends_otherwise_runs_whole_blocks(gpt2_model: Model) -> None:
    attn: Any = gpt2_model.bridge.blocks[0].attn
    was = attn.original_component.forward

    def doubled(*args: Any, **kwargs: Any) -> Any:
        output, weights = was(*args, **kwargs)
        return output * 2, weights

    engine = Engine(gpt2_model)
    with replaced(attn.original_component, doubled):
        logits(engine)
        logits(engine, "zero L0H0")  # by then it is known that this block may not begin behind its heads
        with counted(gpt2_model, 0) as rows:
            logits(engine, "zero L0H1")
    assert rows == [1]
