"""Which lists of edits are the same run, and which are not."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from mechtui.engine.api import Engine
from mechtui.engine.model import Model
from mechtui.engine.overlap import in_order
from mechtui.session.document import Bos
from tests.engine.twin import CLOSE, logits, session_of

MOVED = [
    ("zero L1H1", "zero L0H1"),  # of two layers
    ("scale L1.attn x2", "scale L1.pre x2"),  # of two places of one layer
    ("zero L1H1.q", "scale embed x2", "zero L0H1.v"),
    ("patch L1.pre @-1", "scale L0.post @-1 x0.5", "zero L1H0 @-1"),
]


@pytest.mark.parametrize("edits", MOVED)
def test_an_edit_may_move_past_one_of_another_place(model: Model, edits: tuple[str, ...]) -> None:
    engine = Engine(model)
    before = logits(engine, *edits)
    opened = engine.open(session_of(*reversed(edits)))
    assert opened.edited is not None
    assert torch.equal(opened.edited.logits(), before)
    assert opened.ran == "nothing new"
    torch.testing.assert_close(before, logits(Engine(model), *reversed(edits)), atol=CLOSE, rtol=0)


@pytest.mark.parametrize("edits", MOVED)
def test_an_edit_may_be_deleted_and_added_again(model: Model, edits: tuple[str, ...]) -> None:
    engine = Engine(model)
    before = logits(engine, *edits)
    logits(engine, *edits[1:])
    assert torch.equal(logits(engine, *edits[1:], edits[0]), before)


def test_edits_of_one_place_keep_their_order(gpt2_model: Model) -> None:
    engine = Engine(gpt2_model)
    vectors = ('v = diff L1.pre " Mary" " John"',)
    one = logits(engine, "scale L1.pre x0.5", "add L1.pre v x5", vectors=vectors)
    other = logits(engine, "add L1.pre v x5", "scale L1.pre x0.5", vectors=vectors)
    assert (one - other).abs().max() > 0.01
    assert torch.equal(other, logits(Engine(gpt2_model), "add L1.pre v x5", "scale L1.pre x0.5", vectors=vectors))


def test_the_order_of_hook_edits_is_by_layer_then_hook_and_stable(gpt2_model: Model) -> None:
    opened = Engine(gpt2_model).open(session_of("zero L1H1", "zero L0H1", "scale L0H1 x2", "zero embed", "zero L1H0.q"))
    edits = in_order(each for number in range(5) for each in opened.hook_edits(number) or ())
    assert [(edit.op, edit.hook) for edit in edits] == [
        ("zero", "hook_embed"),
        ("zero", "blocks.0.attn.hook_z"),
        ("scale", "blocks.0.attn.hook_z"),
        ("zero", "blocks.1.attn.hook_q"),
        ("zero", "blocks.1.attn.hook_z"),
    ]


def test_effects_and_sweeps_of_moved_edits_are_known(model: Model) -> None:
    """A variant that is the base in another order is the base."""
    engine = Engine(model)
    opened = engine.open(session_of("zero L1H1", "zero L0H1"))
    assert opened.edited is not None
    one, two = (opened.hook_edits(number) or () for number in range(2))
    position = len(opened.ids) - 1
    first, second = opened.edited.variants([(*one, *two), (*two, *one)], position)
    assert torch.equal(first, opened.edited.logits([position])[0])
    assert torch.equal(second, first)


# What decides the value of an edit


VECTORS = ('d = diff L1.pre "Love" "Hate"', 'p = pca L1.post " Mary" " John" @0', "n = neuron L0N5")


@pytest.mark.parametrize("edit", ["add L1.pre d x5", "project L1.post d", "add L1.mlp n x3"])
def test_a_vector_is_read_again_when_bos_changes(gpt2_model: Model, edit: str) -> None:
    """In one text whatever the session's BOS is, so that tokens alone do not tell the runs apart."""
    engine = Engine(gpt2_model)
    begin = gpt2_model.ready.bos_token

    def both(bos: Bos, prompt: str) -> torch.Tensor:
        shown = logits(engine, edit, bos=bos, prompt=prompt, vectors=(VECTORS[0], VECTORS[2]))
        again = logits(Engine(gpt2_model), edit, bos=bos, prompt=prompt, vectors=(VECTORS[0], VECTORS[2]))
        torch.testing.assert_close(shown, again, atol=CLOSE, rtol=0)
        return shown

    with_bos = both("yes", "When Mary and John")
    without = both("no", begin + "When Mary and John")
    assert len(with_bos) == len(without)
    if " d" in edit:  # the vector's own texts begin otherwise
        assert (with_bos - without).abs().max() > 0.01
    else:
        assert torch.equal(with_bos, without)
    both("yes", "When Mary and John")


def test_two_sessions_that_are_open_at_once_keep_their_own_bos(gpt2_model: Model) -> None:
    engine = Engine(gpt2_model)
    one = engine.open(session_of("add L1.pre d x5", bos="yes", vectors=VECTORS[:1]))
    engine.open(session_of(bos="no"))
    assert one.edited is not None
    expected = logits(Engine(gpt2_model), "add L1.pre d x5", bos="yes", vectors=VECTORS[:1])
    torch.testing.assert_close(one.edited.logits(), expected, atol=CLOSE, rtol=0)


def test_a_vector_file_that_is_written_again_is_read_again(gpt2_model: Model, tmp_path: Path) -> None:
    """Even within one tick of the file system's clock, by a program that keeps the time of change."""
    import os

    path = tmp_path / "v.safetensors"
    save_file({"v": torch.ones(32)}, path)
    when = path.stat().st_mtime_ns
    engine = Engine(gpt2_model)
    vector = f"v = file {path}#v"
    one = logits(engine, "add L1.pre v x5", vectors=(vector,))
    other = tmp_path / "other.safetensors"
    save_file({"v": -torch.arange(32.0)}, other)
    os.utime(other, ns=(when, when))
    other.replace(path)
    two = logits(engine, "add L1.pre v x5", vectors=(vector,))
    assert (one - two).abs().max() > 0.01
